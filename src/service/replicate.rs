//! Keeps the galleries in memory equal to the store.
//!
//! There is one way for a write to become visible, whoever made it: the changes after the
//! gallery's revision are read from the store and applied in order. A local write takes it at once
//! ([`Replicator::show`]), other nodes' writes within one poll ([`Replicator::poll`]). Revisions
//! have no gaps, so nothing can be missed; a change carries the template's whole state, so
//! applying one twice does no harm.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex as AsyncMutex;

use super::Applications;
use super::snapshots::Snapshots;
use crate::domain::{AppId, ModelTag, Revision};
use crate::gallery::{Applied, IndexedTemplate, MatcherFeed};
use crate::store::{Changes, StoreError, TemplateStore};

/// How often a load that takes its time says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// Templates read from the store at a time while a gallery is loaded.
const LOAD_PAGE: usize = 32_768;

/// Changes read from the store at a time while a gallery catches up.
const CHANGES_PAGE: usize = 1024;

/// How far the loading of galleries is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loading {
    /// Templates loaded.
    pub loaded: usize,
    /// Templates there are.
    pub templates: usize,
}

/// Follows the store's revisions.
pub struct Replicator {
    store: Arc<dyn TemplateStore>,
    feed: Arc<dyn MatcherFeed>,
    applications: Arc<Applications>,
    model: ModelTag,
    snapshots: Option<Snapshots>,
    /// Templates loaded so far, and how many there are, of each gallery that is being read.
    loading: Mutex<HashMap<AppId, Loading>>,
    /// One gallery is loaded or caught up by one task at a time.
    turns: Mutex<HashMap<AppId, Arc<AsyncMutex<()>>>>,
    loaded: AtomicBool,
    reachable: AtomicBool,
}

impl Replicator {
    /// A replicator of the samples of one model.
    pub(super) fn new(
        store: Arc<dyn TemplateStore>,
        feed: Arc<dyn MatcherFeed>,
        applications: Arc<Applications>,
        model: ModelTag,
        snapshots: Option<Snapshots>,
    ) -> Self {
        Self {
            store,
            feed,
            applications,
            model,
            snapshots,
            loading: Mutex::default(),
            turns: Mutex::default(),
            loaded: AtomicBool::new(false),
            reachable: AtomicBool::new(false),
        }
    }

    /// Whether every gallery that existed at start is loaded.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// How far the galleries that are being read are, all together.
    pub fn loading(&self) -> Loading {
        let all = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().fold(Loading::default(), |sum, one| Loading {
            loaded: sum.loaded + one.loaded,
            templates: sum.templates + one.templates,
        })
    }

    /// Writes the snapshots that are due.
    ///
    /// # Errors
    /// When the store cannot be reached. What cannot be written is only said.
    pub async fn save_snapshots(&self) -> Result<(), StoreError> {
        let Some(snapshots) = &self.snapshots else { return Ok(()) };
        let loaded = self.feed.loaded();
        snapshots.tidy(&loaded.iter().collect()).await;
        for app in &loaded {
            if !snapshots.is_due(app).await? {
                continue;
            }
            let (id, key, least) = match snapshots.register(app).await {
                Err(StoreError::NoSuchApp) => continue,
                registered => registered?,
            };
            // Whatever was removed before the key was made is gone from what is written.
            self.advance(app, least).await?;
            if let Some(export) = self.feed.export(app).filter(|export| export.revision() >= least) {
                snapshots.write(app, (id, key), export).await?;
            }
        }
        Ok(())
    }

    /// Whether the store could be read at the last poll.
    pub fn is_store_reachable(&self) -> bool {
        self.reachable.load(Ordering::Acquire)
    }

    /// One round: reads the applications and the revisions, loads what is new, catches up what is
    /// behind, forgets what is gone.
    ///
    /// # Errors
    /// When the store cannot be read. Galleries stay as they are, and the next round goes on.
    pub async fn poll(&self) -> Result<(), StoreError> {
        let outcome = self.round().await;
        self.reachable.store(outcome.is_ok(), Ordering::Release);
        outcome
    }

    async fn round(&self) -> Result<(), StoreError> {
        self.applications.refresh().await?;
        let revisions = self.store.revisions().await?;
        for (app, revision) in &revisions {
            if self.feed.revision(app).is_none_or(|shown| shown < *revision) {
                match self.advance(app, *revision).await {
                    // Deleted between the two reads; the next round forgets it.
                    Ok(()) | Err(StoreError::NoSuchApp) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let alive: HashSet<&AppId> = revisions.iter().map(|(app, _)| app).collect();
        for app in self.feed.loaded() {
            if !alive.contains(&app) {
                self.feed.forget(&app);
                self.turns().remove(&app);
            }
        }
        self.loaded.store(true, Ordering::Release);
        Ok(())
    }

    /// Makes a committed write visible to the next search. When the store cannot be read just
    /// then, the write is durable all the same and the next successful poll shows it.
    pub(super) async fn show(&self, app: &AppId, revision: Revision) {
        if let Err(error) = self.advance(app, revision).await {
            tracing::warn!(%app, %revision, %error, "a committed change is not visible to searches yet");
        }
    }

    fn turns(&self) -> std::sync::MutexGuard<'_, HashMap<AppId, Arc<AsyncMutex<()>>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings a gallery to at least a revision.
    async fn advance(&self, app: &AppId, target: Revision) -> Result<(), StoreError> {
        let turn = Arc::clone(self.turns().entry(app.clone()).or_default());
        let _turn = turn.lock().await;
        if self.feed.revision(app).is_none() {
            self.load(app).await?;
        }
        while let Some(shown) = self.feed.revision(app).filter(|shown| *shown < target) {
            match self.store.changes(app, &self.model, shown, CHANGES_PAGE).await? {
                Changes::List(changes) => {
                    let Some(last) = changes.last().map(|change| change.revision) else {
                        // The store says that there is nothing newer: the target was never committed.
                        return Err(StoreError::Corrupt(format!(
                            "gallery revision {target} was announced, but its changes end at {shown}"
                        )));
                    };
                    if changes.into_iter().any(|change| self.feed.apply(app, change) == Applied::Gap) {
                        tracing::warn!(%app, %shown, %last, "a change is missing; the gallery is loaded anew");
                        self.load(app).await?;
                    }
                }
                Changes::TooOld => self.load(app).await?,
            }
        }
        Ok(())
    }

    /// Loads a whole gallery. Rows written while the pages are read may be among them already;
    /// the changes that are applied afterwards repeat them without harm.
    async fn load(&self, app: &AppId) -> Result<(), StoreError> {
        let revisions = self.store.revisions().await?;
        let Some((_, revision)) = revisions.into_iter().find(|(id, _)| id == app) else {
            return Err(StoreError::NoSuchApp);
        };
        let start = Instant::now();
        if let Some(snapshots) = &self.snapshots
            && snapshots.restore(app, revision).await?
        {
            let (templates, seconds) = (self.feed.size(app).templates, start.elapsed().as_secs_f64());
            tracing::info!(%app, templates, seconds, "gallery loaded from its snapshot");
            return Ok(());
        }
        let templates = self.read(app).await;
        self.say(app, None);
        let templates = templates?;
        let count = templates.len();
        self.feed.replace(app, revision, templates);
        tracing::info!(%app, %revision, templates = count, seconds = start.elapsed().as_secs_f64(), "gallery loaded");
        Ok(())
    }

    /// Reads all templates of a gallery from the store.
    async fn read(&self, app: &AppId) -> Result<Vec<IndexedTemplate>, StoreError> {
        let total = self.store.count(app).await?;
        let mut templates: Vec<IndexedTemplate> = Vec::with_capacity(total);
        let (mut said, mut after) = (Instant::now(), None);
        loop {
            let page = self.store.load(app, &self.model, after.as_ref(), LOAD_PAGE).await?;
            templates.extend(page.templates);
            after = page.next;
            if after.is_none() {
                return Ok(templates);
            }
            self.say(app, Some(Loading { loaded: templates.len(), templates: total.max(templates.len()) }));
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                tracing::info!(%app, "loading the gallery: {} of {total} templates", templates.len());
            }
        }
    }

    fn say(&self, app: &AppId, progress: Option<Loading>) {
        let mut all = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Some(progress) => all.insert(app.clone(), progress),
            None => all.remove(app),
        };
    }
}
