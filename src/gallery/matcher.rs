//! All galleries in memory, searched on threads of their own.

use std::collections::{HashMap, VecDeque};
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

/// Most searches that share one pass over memory.
const BATCH: usize = 16;

/// A search that waits for a thread.
#[derive(Debug)]
struct Waiting {
    probe: Embedding,
    limit: usize,
    since: Instant,
    reply: oneshot::Sender<Ranked>,
}

#[derive(Debug)]
struct Gallery {
    index: RwLock<Index>,
    waiting: Mutex<VecDeque<Waiting>>,
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
#[derive(Debug)]
pub struct MemoryMatcher {
    galleries: ArcSwap<HashMap<AppId, Arc<Gallery>>>,
    /// Held while the set of galleries changes.
    changing: Mutex<()>,
    threads: usize,
    deadline: Duration,
    pool: Pool<Scratch>,
    work: Arc<Mutex<Work>>,
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
            waiting: Mutex::default(),
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
    /// Answers a share of the searches that wait: this thread's part of them, in one pass.
    fn answer(&self, threads: usize, deadline: Duration, scratch: &mut Scratch) -> Result<(), MatchError> {
        let batch: Vec<Waiting> = {
            let mut waiting = lock(&self.waiting);
            let share = waiting.len().div_ceil(threads).min(BATCH);
            waiting.drain(..share).collect()
        };
        // Whoever gave up, or waited too long, is dropped here; the latter learns of it by that.
        let batch: Vec<Waiting> =
            batch.into_iter().filter(|w| !w.reply.is_closed() && w.since.elapsed() <= deadline).collect();
        if batch.is_empty() {
            return Ok(());
        }
        // A panic while writing could leave a gallery half changed; it is not searched then.
        let snapshot = self.index.read().map_err(|_| MatchError::Failed)?.snapshot();
        let asks: Vec<Ask<'_>> = batch.iter().map(|w| Ask { probe: w.probe.values(), limit: w.limit }).collect();
        let answers = snapshot.best(&asks, scratch);
        drop(snapshot);
        for (waiting, answer) in batch.into_iter().zip(answers) {
            let _ = waiting.reply.send(answer);
        }
        Ok(())
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

#[async_trait]
impl Matcher for MemoryMatcher {
    async fn best(&self, app: &AppId, probe: &Embedding, limit: usize) -> Result<Ranked, MatchError> {
        let gallery = self.gallery(app).ok_or(MatchError::NotLoaded)?;
        let (reply, answer) = oneshot::channel();
        lock(&gallery.waiting).push_back(Waiting { probe: probe.clone(), limit, since: Instant::now(), reply });
        // Every search brings a job, which answers what waits: this search, if no other job has.
        let (threads, deadline, work) = (self.threads, self.deadline, Arc::clone(&self.work));
        let job = self.pool.submit(move |scratch: &mut Scratch, _| {
            let outcome = gallery.answer(threads, deadline, scratch);
            lock(&work).add(std::mem::take(&mut scratch.work));
            outcome
        });
        match job.result().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error),
            Err(WorkError::Busy | WorkError::Expired) => return Err(MatchError::Busy),
            Err(WorkError::Panicked | WorkError::Stopped) => return Err(MatchError::Failed),
        }
        // Answered, or about to be by another job's pass.
        answer.await.map_err(|_| MatchError::Failed)
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
