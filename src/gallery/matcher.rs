//! All galleries in memory, and the threads that search them.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::index::Index;
use super::search::{Query, Scratch, SearchStats};
use super::{
    Applied, Change, Export, Frames, GallerySize, IndexedTemplate, MatchError, Matcher, MatcherFeed, NotAGallery,
    Ranked,
};
use crate::compute::{Pool, PoolConfig, WorkError};
use crate::domain::{AppId, Embedding, Revision, TenantKey, stopwatch};

/// The most searches that share one pass over memory: a multiple of what a kernel processes at once.
const MAX_SHARED_SEARCHES: usize = 15;

/// A search that waits for a thread.
#[derive(Debug)]
struct QueuedSearch {
    /// Its position in the order of arrival.
    ticket: u64,
    probe: Embedding,
    limit: usize,
    since: Instant,
    reply: oneshot::Sender<Result<Ranked, MatchError>>,
}

/// Searches in the order of arrival.
#[derive(Debug, Default)]
struct SearchQueue {
    searches: VecDeque<QueuedSearch>,
    /// The ticket of the last search.
    ticket: u64,
}

#[derive(Debug)]
struct Gallery {
    /// Poisoned when a write panics: the index may be inconsistent then and is not searched.
    index: RwLock<Index>,
    queue: Mutex<SearchQueue>,
    /// Whether a thread runs this gallery's maintenance.
    in_maintenance: Mutex<bool>,
    maintained: Condvar,
    /// Set once the gallery is replaced or dropped.
    retired: AtomicBool,
}

/// The exact index: one gallery per application.
///
/// Searches that wait for the same gallery share passes over it; a single search does not wait for others. A search
/// reads the gallery as it was when the search began and holds no lock, so searches and writes do not wait for each
/// other. A write is visible to all searches that begin after it.
pub struct MemoryMatcher {
    galleries: ArcSwap<HashMap<AppId, Arc<Gallery>>>,
    /// Held while the set of galleries changes.
    changing: Mutex<()>,
    threads: usize,
    deadline: Duration,
    pool: Pool<Scratch>,
    stats: Arc<Mutex<SearchStats>>,
}

impl fmt::Debug for MemoryMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryMatcher({} galleries, {} threads, ..)", self.galleries.load().len(), self.threads)
    }
}

impl MemoryMatcher {
    /// An empty set of galleries whose searches run on a pool of threads.
    ///
    /// # Panics
    /// Never: a worker without state cannot fail to start.
    pub fn new(config: PoolConfig) -> Self {
        let threads = config.threads.max(1);
        let deadline = config.deadline;
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
            stats: Arc::default(),
        }
    }

    /// The number of searches that wait now.
    pub fn waiting(&self) -> usize {
        self.pool.waiting()
    }

    /// How much all searches so far have read.
    pub fn stats(&self) -> SearchStats {
        *self.stats.lock()
    }

    /// Waits until a gallery's maintenance is done, so that its searches are as fast as they get.
    pub fn wait_for_maintenance(&self, app: &AppId) {
        if let Some(gallery) = self.gallery(app) {
            let mut running = gallery.in_maintenance.lock();
            while *running {
                gallery.maintained.wait(&mut running);
            }
        }
    }

    /// Finishes queued searches and ends the threads.
    pub fn stop(&self) {
        self.pool.stop();
        for gallery in self.galleries.load().values() {
            gallery.retired.store(true, Ordering::Release);
        }
    }

    /// Publishes a gallery.
    fn publish(&self, app: &AppId, index: Index) {
        let gallery = Arc::new(Gallery {
            index: RwLock::new(index),
            queue: Mutex::default(),
            in_maintenance: Mutex::default(),
            maintained: Condvar::new(),
            retired: AtomicBool::new(false),
        });
        self.change_set(|galleries| galleries.insert(app.clone(), Arc::clone(&gallery)));
        gallery.run_maintenance();
    }

    fn gallery(&self, app: &AppId) -> Option<Arc<Gallery>> {
        self.galleries.load().get(app).cloned()
    }

    fn change_set(&self, change: impl FnOnce(&mut HashMap<AppId, Arc<Gallery>>) -> Option<Arc<Gallery>>) {
        let _changing = self.changing.lock();
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
        let mut queue = self.queue.lock();
        queue.ticket += 1;
        let ticket = queue.ticket;
        queue.searches.push_back(QueuedSearch { ticket, probe: probe.clone(), limit, since: stopwatch(), reply });
        ticket
    }

    /// Takes this thread's share of the queued searches; nothing once the search with this ticket has been taken.
    fn take_share(&self, ticket: u64, threads: usize) -> Vec<QueuedSearch> {
        let queue = &mut self.queue.lock().searches;
        queue.retain(|search| !search.reply.is_closed()); // its caller has gone
        if queue.front().is_none_or(|first| first.ticket > ticket) {
            return Vec::new();
        }
        let share = queue.len().div_ceil(threads).min(MAX_SHARED_SEARCHES);
        queue.drain(..share).collect()
    }

    /// Answers searches until the one with this ticket, and all before it, have been taken.
    fn answer(&self, ticket: u64, threads: usize, deadline: Duration, scratch: &mut Scratch) {
        loop {
            let batch = self.take_share(ticket, threads);
            if batch.is_empty() {
                return;
            }
            self.answer_batch(batch, deadline, scratch);
        }
    }

    /// One pass for several searches.
    fn answer_batch(&self, batch: Vec<QueuedSearch>, deadline: Duration, scratch: &mut Scratch) {
        let (batch, late): (Vec<_>, Vec<_>) = batch.into_iter().partition(|search| search.since.elapsed() <= deadline);
        for search in late {
            let _ = search.reply.send(Err(MatchError::Busy));
        }
        let searcher = self.index.read().map_err(|_| MatchError::Failed).map(|index| index.searcher());
        match searcher {
            Ok(searcher) => answer_all(batch, scratch, &|queries, scratch| searcher.search(queries, scratch)),
            Err(error) => batch.into_iter().for_each(|search| {
                let _ = search.reply.send(Err(error.clone()));
            }),
        }
    }

    /// Runs maintenance tasks on a thread that ends when there are none.
    fn run_maintenance(self: &Arc<Self>) {
        if !self.index.read().is_ok_and(|index| index.needs_maintenance()) {
            return;
        }
        let mut running = self.in_maintenance.lock();
        if *running {
            return;
        }
        let gallery = Arc::clone(self);
        let spawned = std::thread::Builder::new().name("maintenance".into()).spawn(move || {
            // Also after a panic, so that the next write can start another thread.
            struct MaintenanceEnd<'a>(&'a Gallery);
            impl Drop for MaintenanceEnd<'_> {
                fn drop(&mut self) {
                    *self.0.in_maintenance.lock() = false;
                    self.0.maintained.notify_all();
                }
            }
            let _end = MaintenanceEnd(&gallery);
            while !gallery.retired.load(Ordering::Acquire) {
                let Some(task) = gallery.index.write().ok().and_then(|mut index| index.next_task()) else { return };
                let result = task.run();
                let Ok(mut index) = gallery.index.write() else { return };
                index.finish(result);
            }
        });
        match spawned {
            Ok(_) => *running = true,
            Err(error) => {
                tracing::warn!(%error, "cannot start the maintenance thread; searches stay slower until the next write")
            }
        }
    }
}

/// Answers searches together. If that panics, answers them one by one, so that only the faulty one fails.
fn answer_all(
    batch: Vec<QueuedSearch>,
    scratch: &mut Scratch,
    search: &dyn Fn(&[Query<'_>], &mut Scratch) -> Vec<Ranked>,
) {
    let queries: Vec<Query<'_>> =
        batch.iter().map(|queued| Query { probe: queued.probe.values(), limit: queued.limit }).collect();
    match catch_unwind(AssertUnwindSafe(|| search(&queries, scratch))) {
        Ok(answers) => batch.into_iter().zip(answers).for_each(|(queued, answer)| {
            let _ = queued.reply.send(Ok(answer));
        }),
        Err(_) => {
            *scratch = Scratch::default();
            let alone = batch.len() == 1;
            tracing::error!(searches = batch.len(), "a search panicked");
            for queued in batch {
                if alone {
                    let _ = queued.reply.send(Err(MatchError::Failed));
                } else {
                    answer_all(vec![queued], scratch, search);
                }
            }
        }
    }
}

#[async_trait]
impl Matcher for MemoryMatcher {
    async fn top_k(&self, app: &AppId, probe: &Embedding, limit: usize) -> Result<Ranked, MatchError> {
        let gallery = self.gallery(app).ok_or(MatchError::NotLoaded)?;
        let (reply, mut answer) = oneshot::channel();
        let ticket = gallery.push(probe, limit, reply);
        // Every search submits a job, so that none is left behind; most are answered by the pass of an earlier job and
        // do not wait for their own.
        let threads = self.threads;
        let deadline = self.deadline;
        let stats = Arc::clone(&self.stats);
        let tenant = TenantKey::new(app).number();
        let job = self.pool.submit_for(tenant, move |scratch: &mut Scratch, _| {
            gallery.answer(ticket, threads, deadline, scratch);
            stats.lock().add(std::mem::take(&mut scratch.stats));
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
        // Without an answer, the pass that should have given it has panicked.
        answer.map_err(|_| MatchError::Failed)?
    }
}

impl MatcherFeed for MemoryMatcher {
    fn revision(&self, app: &AppId) -> Option<Revision> {
        // A poisoned gallery counts as not loaded, so that it is loaded again.
        self.gallery(app)?.index.read().ok().map(|index| index.revision())
    }

    fn replace(&self, app: &AppId, revision: Revision, templates: Vec<IndexedTemplate>) {
        self.publish(app, Index::new(revision, templates));
    }

    fn export(&self, app: &AppId) -> Option<Export> {
        self.gallery(app)?.index.read().ok().map(|index| index.export())
    }

    fn import(&self, app: &AppId, revision: Revision, frames: &mut Frames<'_>) -> Result<(), NotAGallery> {
        self.publish(app, Index::from_frames(revision, frames)?);
        Ok(())
    }

    fn apply(&self, app: &AppId, change: Change) -> Applied {
        let Some(gallery) = self.gallery(app) else { return Applied::Gap };
        let Ok(mut index) = gallery.index.write() else { return Applied::Gap };
        let applied = index.apply(change);
        drop(index);
        gallery.run_maintenance();
        applied
    }

    fn unload(&self, app: &AppId) {
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
                (QueuedSearch { ticket, probe, limit, since: stopwatch(), reply }, answer)
            })
            .unzip();
        answer_all(batch, &mut Scratch::default(), &|queries, _| {
            assert!(queries.iter().all(|query| query.limit != 13), "not this one");
            queries
                .iter()
                .map(|_| Ranked { hits: Vec::new(), revision: Revision(0), gallery_size: 0, samples: 0, vectors: 0 })
                .collect()
        });
        let answers: Vec<_> = answers.iter_mut().map(|answer| answer.try_recv().unwrap().is_ok()).collect();
        assert_eq!(answers, [true, true, false, true]);
    }
}
