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

use tokio::sync::Mutex as AsyncMutex;

use super::Applications;
use crate::domain::{AppId, ModelTag, Revision};
use crate::gallery::{Applied, MatcherFeed};
use crate::store::{Changes, StoreError, TemplateStore};

/// Templates read from the store at a time while a gallery is loaded.
const LOAD_PAGE: usize = 4096;

/// Changes read from the store at a time while a gallery catches up.
const CHANGES_PAGE: usize = 1024;

/// Follows the store's revisions.
pub struct Replicator {
    store: Arc<dyn TemplateStore>,
    feed: Arc<dyn MatcherFeed>,
    applications: Arc<Applications>,
    model: ModelTag,
    /// One gallery is loaded or caught up by one task at a time.
    turns: Mutex<HashMap<AppId, Arc<AsyncMutex<()>>>>,
    loaded: AtomicBool,
    reachable: AtomicBool,
}

impl Replicator {
    /// A replicator of the samples of one model.
    pub fn new(
        store: Arc<dyn TemplateStore>,
        feed: Arc<dyn MatcherFeed>,
        applications: Arc<Applications>,
        model: ModelTag,
    ) -> Self {
        Self {
            store,
            feed,
            applications,
            model,
            turns: Mutex::default(),
            loaded: AtomicBool::new(false),
            reachable: AtomicBool::new(false),
        }
    }

    /// Whether every gallery that existed at start is loaded.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
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
        let mut templates = Vec::new();
        loop {
            let after = templates.last().map(|t: &crate::gallery::IndexedTemplate| t.id.clone());
            let page = self.store.load(app, &self.model, after.as_ref(), LOAD_PAGE).await?;
            let full = page.len() >= LOAD_PAGE;
            templates.extend(page);
            if !full {
                break;
            }
        }
        tracing::info!(%app, %revision, templates = templates.len(), "gallery loaded");
        self.feed.replace(app, revision, templates);
        Ok(())
    }
}
