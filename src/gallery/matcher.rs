//! All galleries in memory, searched on threads of their own.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::sync::oneshot;

use super::index::Index;
use super::scan::{Ask, Scratch, Work};
use super::{
    Applied, Change, Export, Frames, GallerySize, IndexedTemplate, MatchError, Matcher, MatcherFeed, NotAGallery,
    Ranked,
};
use crate::compute::{Pool, PoolConfig, WorkError};
use crate::domain::{AppId, Embedding, Revision};

/// Most searches that share one pass over memory: some multiple of what a kernel takes at once.
const BATCH: usize = 15;

/// A search that waits for a thread.
#[derive(Debug)]
struct Waiting {
    /// Its place in the order.
    ticket: u64,
    probe: Embedding,
    limit: usize,
    since: Instant,
    reply: oneshot::Sender<Result<Ranked, MatchError>>,
}

/// Searches in the order in which they came.
#[derive(Debug, Default)]
struct Queue {
    searches: VecDeque<Waiting>,
    /// Of the last one.
    ticket: u64,
}

#[derive(Debug)]
struct Gallery {
    index: RwLock<Index>,
    queue: Mutex<Queue>,
    /// Whether a thread does this gallery's chores.
    busy: Mutex<bool>,
    idle: Condvar,
    /// Set when nobody searches this gallery any more.
    retired: AtomicBool,
}

/// The exact index: one gallery per application.
///
/// Searches that wait for the same gallery share passes over it; one that comes alone is not made
/// to wait for others. A search reads the gallery as it was when it began and holds no lock
/// meanwhile, so searches and writes do not wait for each other, and a write is seen by all
/// searches that come after it.
pub struct MemoryMatcher {
    galleries: ArcSwap<HashMap<AppId, Arc<Gallery>>>,
    /// Held while the set of galleries changes.
    changing: Mutex<()>,
    threads: usize,
    deadline: Duration,
    pool: Pool<Scratch>,
    work: Arc<Mutex<Work>>,
}

impl fmt::Debug for MemoryMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryMatcher({} galleries, {} threads, ..)", self.galleries.load().len(), self.threads)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryMatcher {
    /// An empty index whose searches run on a pool of threads.
    ///
    /// # Panics
    /// Never: a worker without state cannot fail to start.
    pub fn new(config: PoolConfig) -> Self {
        let (threads, deadline) = (config.threads.max(1), config.deadline);
        let pool = match Pool::start(config, |_| Ok::<_, std::convert::Infallible>(Scratch::default())) {
            Ok(pool) => pool,
            Err(never) => match never {},
        };
        Self {
            galleries: ArcSwap::default(),
            changing: Mutex::default(),
            threads,
            deadline,
            pool,
            work: Arc::default(),
        }
    }

    /// Searches waiting now.
    pub fn waiting(&self) -> usize {
        self.pool.waiting()
    }

    /// What the searches so far have touched.
    pub fn work(&self) -> Work {
        *lock(&self.work)
    }

    /// Waits until a gallery has all the codes that make its searches fast.
    pub fn settle(&self, app: &AppId) {
        if let Some(gallery) = self.gallery(app) {
            let mut busy = lock(&gallery.busy);
            while *busy {
                busy = gallery.idle.wait(busy).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Finishes the searches that are queued and ends the threads.
    pub fn stop(&self) {
        self.pool.stop();
        for gallery in self.galleries.load().values() {
            gallery.retired.store(true, Ordering::Release);
        }
    }

    /// Puts a gallery in force.
    fn put(&self, app: &AppId, index: Index) {
        let gallery = Arc::new(Gallery {
            index: RwLock::new(index),
            queue: Mutex::default(),
            busy: Mutex::default(),
            idle: Condvar::new(),
            retired: AtomicBool::new(false),
        });
        self.change_set(|galleries| galleries.insert(app.clone(), Arc::clone(&gallery)));
        gallery.look_after();
    }

    fn gallery(&self, app: &AppId) -> Option<Arc<Gallery>> {
        self.galleries.load().get(app).cloned()
    }

    fn change_set(&self, change: impl FnOnce(&mut HashMap<AppId, Arc<Gallery>>) -> Option<Arc<Gallery>>) {
        let _changing = lock(&self.changing);
        let mut galleries = HashMap::clone(&self.galleries.load());
        if let Some(old) = change(&mut galleries) {
            old.retired.store(true, Ordering::Release);
        }
        self.galleries.store(Arc::new(galleries));
    }
}

impl Gallery {
    /// Queues a search and returns its ticket.
    fn push(&self, probe: &Embedding, limit: usize, reply: oneshot::Sender<Result<Ranked, MatchError>>) -> u64 {
        let mut queue = lock(&self.queue);
        queue.ticket += 1;
        let ticket = queue.ticket;
        queue.searches.push_back(Waiting { ticket, probe: probe.clone(), limit, since: Instant::now(), reply });
        ticket
    }

    /// Takes this thread's share of the searches that wait; nothing once the one with this ticket
    /// has been taken.
    fn share(&self, ticket: u64, threads: usize) -> Vec<Waiting> {
        let queue = &mut lock(&self.queue).searches;
        queue.retain(|search| !search.reply.is_closed()); // nobody waits for it any more
        if queue.front().is_none_or(|first| first.ticket > ticket) {
            return Vec::new();
        }
        let share = queue.len().div_ceil(threads).min(BATCH);
        queue.drain(..share).collect()
    }

    /// Answers searches until the one with this ticket, and all before it, are taken.
    fn answer(&self, ticket: u64, threads: usize, deadline: Duration, scratch: &mut Scratch) {
        loop {
            let batch = self.share(ticket, threads);
            if batch.is_empty() {
                return;
            }
            self.answer_batch(batch, deadline, scratch);
        }
    }

    /// One pass for several searches.
    fn answer_batch(&self, batch: Vec<Waiting>, deadline: Duration, scratch: &mut Scratch) {
        let (batch, late): (Vec<_>, Vec<_>) = batch.into_iter().partition(|search| search.since.elapsed() <= deadline);
        for search in late {
            let _ = search.reply.send(Err(MatchError::Busy));
        }
        // A panic while writing could leave a gallery half changed; it is not searched then.
        let snapshot = self.index.read().map_err(|_| MatchError::Failed).map(|index| index.snapshot());
        match snapshot {
            Ok(snapshot) => answer_all(batch, scratch, &|asks, scratch| snapshot.best(asks, scratch)),
            Err(error) => batch.into_iter().for_each(|search| {
                let _ = search.reply.send(Err(error.clone()));
            }),
        }
    }

    /// Does the chores, on a thread that lives as long as there are any.
    fn look_after(self: &Arc<Self>) {
        if !self.index.read().is_ok_and(|index| index.has_chores()) {
            return;
        }
        let mut busy = lock(&self.busy);
        if *busy {
            return;
        }
        let gallery = Arc::clone(self);
        let spawned = std::thread::Builder::new().name("gallery-chores".into()).spawn(move || {
            // However it ends, the next write may start another one.
            struct Finally<'a>(&'a Gallery);
            impl Drop for Finally<'_> {
                fn drop(&mut self) {
                    *lock(&self.0.busy) = false;
                    self.0.idle.notify_all();
                }
            }
            let _finally = Finally(&gallery);
            while !gallery.retired.load(Ordering::Acquire) {
                let Some(chore) = gallery.index.write().ok().and_then(|mut index| index.chore()) else { return };
                let done = chore.run();
                let Ok(mut index) = gallery.index.write() else { return };
                index.finish(done);
            }
        });
        match spawned {
            Ok(_) => *busy = true,
            Err(error) => tracing::warn!(%error, "a thread could not be started; searches stay slower"),
        }
    }
}

/// Answers searches together; when that panics, one by one, so that it costs only the one that is at fault.
fn answer_all(batch: Vec<Waiting>, scratch: &mut Scratch, best: &dyn Fn(&[Ask<'_>], &mut Scratch) -> Vec<Ranked>) {
    let asks: Vec<Ask<'_>> = batch.iter().map(|w| Ask { probe: w.probe.values(), limit: w.limit }).collect();
    match catch_unwind(AssertUnwindSafe(|| best(&asks, scratch))) {
        Ok(answers) => batch.into_iter().zip(answers).for_each(|(search, answer)| {
            let _ = search.reply.send(Ok(answer));
        }),
        Err(_) => {
            *scratch = Scratch::default();
            let alone = batch.len() == 1;
            tracing::error!(searches = batch.len(), "a search panicked");
            for search in batch {
                if alone {
                    let _ = search.reply.send(Err(MatchError::Failed));
                } else {
                    answer_all(vec![search], scratch, best);
                }
            }
        }
    }
}

#[async_trait]
impl Matcher for MemoryMatcher {
    async fn best(&self, app: &AppId, probe: &Embedding, limit: usize) -> Result<Ranked, MatchError> {
        let gallery = self.gallery(app).ok_or(MatchError::NotLoaded)?;
        let (reply, mut answer) = oneshot::channel();
        let ticket = gallery.push(probe, limit, reply);
        // Every search brings a job, so that no search is left behind; most are answered by an
        // earlier one's pass and do not wait for their own.
        let (threads, deadline, work) = (self.threads, self.deadline, Arc::clone(&self.work));
        let job = self.pool.submit(move |scratch: &mut Scratch, _| {
            gallery.answer(ticket, threads, deadline, scratch);
            lock(&work).add(std::mem::take(&mut scratch.work));
        });
        let answer = tokio::select! {
            biased;
            answer = &mut answer => answer,
            outcome = job.result() => match outcome {
                Ok(()) => answer.await,
                Err(WorkError::Busy | WorkError::Expired) => return Err(MatchError::Busy),
                Err(WorkError::Panicked | WorkError::Stopped) => return Err(MatchError::Failed),
            },
        };
        // Without an answer, the pass that should have brought it has panicked.
        answer.map_err(|_| MatchError::Failed)?
    }
}

impl MatcherFeed for MemoryMatcher {
    fn revision(&self, app: &AppId) -> Option<Revision> {
        // A poisoned gallery counts as not loaded, so that it is loaded anew.
        self.gallery(app)?.index.read().ok().map(|index| index.revision())
    }

    fn replace(&self, app: &AppId, revision: Revision, templates: Vec<IndexedTemplate>) {
        self.put(app, Index::new(revision, templates));
    }

    fn export(&self, app: &AppId) -> Option<Export> {
        self.gallery(app)?.index.read().ok().map(|index| Export::new(index.snapshot()))
    }

    fn import(&self, app: &AppId, revision: Revision, frames: &mut Frames<'_>) -> Result<(), NotAGallery> {
        self.put(app, Index::from_frames(revision, frames)?);
        Ok(())
    }

    fn apply(&self, app: &AppId, change: Change) -> Applied {
        let Some(gallery) = self.gallery(app) else { return Applied::Gap };
        let Ok(mut index) = gallery.index.write() else { return Applied::Gap };
        let applied = index.apply(change);
        drop(index);
        gallery.look_after();
        applied
    }

    fn forget(&self, app: &AppId) {
        self.change_set(|galleries| galleries.remove(app));
    }

    fn loaded(&self) -> Vec<AppId> {
        self.galleries.load().keys().cloned().collect()
    }

    fn size(&self, app: &AppId) -> GallerySize {
        self.gallery(app).and_then(|g| g.index.read().ok().map(|index| index.size())).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ModelTag;

    #[test]
    fn a_search_that_panics_fails_alone() {
        let limits = [1, 2, 13, 4];
        let (batch, mut answers): (Vec<_>, Vec<_>) = (1..)
            .zip(limits)
            .map(|(ticket, limit)| {
                let (reply, answer) = oneshot::channel();
                let probe = Embedding::new(&[1.0, 0.0], ModelTag::new("test")).unwrap();
                (Waiting { ticket, probe, limit, since: Instant::now(), reply }, answer)
            })
            .unzip();
        answer_all(batch, &mut Scratch::default(), &|asks, _| {
            assert!(asks.iter().all(|ask| ask.limit != 13), "not this one");
            asks.iter().map(|_| Ranked { hits: Vec::new(), revision: Revision(0), gallery_size: 0 }).collect()
        });
        let answers: Vec<_> = answers.iter_mut().map(|answer| answer.try_recv().unwrap().is_ok()).collect();
        assert_eq!(answers, [true, true, false, true]);
    }
}
