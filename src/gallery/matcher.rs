//! All galleries in memory, searched on threads of their own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use arc_swap::ArcSwap;
use async_trait::async_trait;

use super::index::Index;
use super::{Applied, Change, GallerySize, IndexedTemplate, MatchError, Matcher, MatcherFeed, Ranked};
use crate::compute::{Pool, PoolConfig, WorkError};
use crate::domain::{AppId, Embedding, Revision};

type Gallery = Arc<RwLock<Index>>;

/// The exact index: one gallery per application.
///
/// Searches of a gallery run side by side; a write waits for the searches that run and is seen by
/// all that come after it. Galleries do not wait for each other.
#[derive(Debug)]
pub struct MemoryMatcher {
    galleries: ArcSwap<HashMap<AppId, Gallery>>,
    /// Held while the set of galleries changes.
    changing: Mutex<()>,
    pool: Pool<()>,
}

impl MemoryMatcher {
    /// An empty index whose searches run on a pool of threads.
    ///
    /// # Panics
    /// Never: a worker without state cannot fail to start.
    pub fn new(config: PoolConfig) -> Self {
        let pool = match Pool::start(config, |_| Ok::<_, std::convert::Infallible>(())) {
            Ok(pool) => pool,
            Err(never) => match never {},
        };
        Self { galleries: ArcSwap::default(), changing: Mutex::default(), pool }
    }

    /// Searches waiting now.
    pub fn waiting(&self) -> usize {
        self.pool.waiting()
    }

    /// Finishes the searches that are queued and ends the threads.
    pub fn stop(&self) {
        self.pool.stop();
    }

    fn gallery(&self, app: &AppId) -> Option<Gallery> {
        self.galleries.load().get(app).cloned()
    }

    fn change_set(&self, change: impl FnOnce(&mut HashMap<AppId, Gallery>)) {
        let _changing: MutexGuard<'_, ()> = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut galleries = HashMap::clone(&self.galleries.load());
        change(&mut galleries);
        self.galleries.store(Arc::new(galleries));
    }
}

#[async_trait]
impl Matcher for MemoryMatcher {
    async fn best(&self, app: &AppId, probe: &Embedding, limit: usize) -> Result<Ranked, MatchError> {
        let gallery = self.gallery(app).ok_or(MatchError::NotLoaded)?;
        let probe = probe.clone();
        let search = move |(): &mut (), _| {
            // A panic while writing could leave a gallery half changed; it is not searched then.
            gallery.read().map(|index| index.best(&probe, limit)).map_err(|_| MatchError::Failed)
        };
        match self.pool.submit(search).result().await {
            Ok(outcome) => outcome,
            Err(WorkError::Busy | WorkError::Expired) => Err(MatchError::Busy),
            Err(WorkError::Panicked | WorkError::Stopped) => Err(MatchError::Failed),
        }
    }
}

impl MatcherFeed for MemoryMatcher {
    fn revision(&self, app: &AppId) -> Option<Revision> {
        // A poisoned gallery counts as not loaded, so that it is loaded anew.
        self.gallery(app)?.read().ok().map(|index| index.revision())
    }

    fn replace(&self, app: &AppId, revision: Revision, templates: Vec<IndexedTemplate>) {
        let gallery = Arc::new(RwLock::new(Index::new(revision, templates)));
        self.change_set(|galleries| {
            galleries.insert(app.clone(), gallery);
        });
    }

    fn apply(&self, app: &AppId, change: Change) -> Applied {
        match self.gallery(app).as_deref().map(RwLock::write) {
            Some(Ok(mut index)) => index.apply(change),
            Some(Err(_)) | None => Applied::Gap,
        }
    }

    fn forget(&self, app: &AppId) {
        self.change_set(|galleries| {
            galleries.remove(app);
        });
    }

    fn loaded(&self) -> Vec<AppId> {
        self.galleries.load().keys().cloned().collect()
    }

    fn size(&self, app: &AppId) -> GallerySize {
        self.gallery(app).and_then(|g| g.read().ok().map(|index| index.size())).unwrap_or_default()
    }
}
