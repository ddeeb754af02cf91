//! Keeps the galleries in memory equal to the store.
//!
//! There is one way for a write to become visible, whoever made it: the changes after the
//! gallery's revision are read from the store and applied in order. A local write takes it at once
//! ([`Replicator::publish`]), other nodes' writes within one poll ([`Replicator::poll`]). Revisions
//! have no gaps, so nothing can be missed; a change carries the template's whole state, so
//! applying one twice does no harm.
//!
//! Each gallery is followed by a task of its own: one that is large, or that cannot be read, keeps no
//! other from being followed.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::task::JoinHandle;

use super::Applications;
use super::load::{Loading, MissingKey, Unreadable};
use super::snapshots::Snapshots;
use crate::domain::{AppId, ModelTag, Revision};
use crate::gallery::{Applied, MatcherFeed};
use crate::store::{Changes, GalleryPosition, Store, StoreError};

/// Changes read from the store at a time while a gallery catches up.
const CHANGES_PAGE: usize = 1024;

/// Calls of the store at once to load galleries; others have the rest of the connections.
const LOADS_AT_ONCE: usize = 4;

/// Follows the store's revisions.
pub struct Replicator {
    pub(super) store: Store,
    pub(super) feed: Arc<dyn MatcherFeed>,
    applications: Arc<Applications>,
    pub(super) model: ModelTag,
    pub(super) snapshots: Option<Snapshots>,
    /// Templates loaded so far, and how many there are, of each gallery that is being read.
    pub(super) loading: Mutex<HashMap<AppId, Loading>>,
    /// What of each gallery is stored but cannot be read.
    pub(super) unreadable: Mutex<HashMap<AppId, Unreadable>>,
    pub(super) loads: Semaphore,
    /// One gallery is loaded or caught up by one task at a time.
    turns: Mutex<HashMap<AppId, Arc<AsyncMutex<()>>>>,
    /// Where galleries were when that was last read with them.
    heads: Mutex<HashMap<AppId, GalleryPosition>>,
    /// The galleries that a task is bringing to what the store shows.
    targets: Mutex<HashMap<AppId, GalleryPosition>>,
    /// Why galleries are not followed, of those that are not.
    faults: Mutex<HashMap<AppId, Fault>>,
    loaded: AtomicBool,
    reachable: AtomicBool,
}

/// Why a gallery is not followed although the store answers.
#[derive(Debug)]
struct Fault {
    said: String,
    key: Option<MissingKey>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Replicator {
    /// A replicator of the samples of one model.
    pub(super) fn new(
        store: Store,
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
            unreadable: Mutex::default(),
            loads: Semaphore::new(LOADS_AT_ONCE),
            turns: Mutex::default(),
            heads: Mutex::default(),
            targets: Mutex::default(),
            faults: Mutex::default(),
            loaded: AtomicBool::new(false),
            reachable: AtomicBool::new(false),
        }
    }

    /// Whether every gallery that existed at start is loaded, but for those that cannot be: they do not keep the
    /// others from being served.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Whether a gallery cannot be loaded or followed for want of a sealing key.
    pub fn lacks_key(&self) -> bool {
        lock(&self.faults).values().any(|fault| fault.key.is_some())
            || lock(&self.unreadable).values().any(|unreadable| unreadable.key().is_some())
    }

    /// Writes the snapshots that are due. What cannot be written is only said.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn save_snapshots(&self) -> Result<(), StoreError> {
        let Some(snapshots) = &self.snapshots else { return Ok(()) };
        let loaded = self.feed.loaded();
        snapshots.tidy(&loaded.iter().collect()).await;
        for app in &loaded {
            match self.save_snapshot(snapshots, app).await {
                Ok(()) | Err(StoreError::NoSuchApp) => {}
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                Err(error) => tracing::warn!(%app, %error, "the gallery's snapshot is not written"),
            }
        }
        Ok(())
    }

    async fn save_snapshot(&self, snapshots: &Snapshots, app: &AppId) -> Result<(), StoreError> {
        // One that lacks what could not be read must not outlive the reason.
        if self.has_unreadable(app) || !snapshots.is_due(app).await? {
            return Ok(());
        }
        let (id, key, least) = snapshots.register(app).await?;
        // Whatever was removed before the key was made is gone from what is written.
        self.advance(app, least).await?;
        match self.feed.export(app).filter(|export| export.revision() >= least && !self.has_unreadable(app)) {
            Some(export) => snapshots.write(app, (id, key), export).await,
            None => snapshots.discard(app, id).await,
        }
    }

    /// Whether the store could be read at the last poll.
    pub fn is_store_reachable(&self) -> bool {
        self.reachable.load(Ordering::Acquire)
    }

    /// One round: reads the applications and the revisions, loads what is new, catches up what is
    /// behind, loads anew what the store no longer has as it was, forgets what is gone.
    ///
    /// # Errors
    /// When the store cannot be reached. Galleries stay as they are, and the next round goes on. That one gallery
    /// cannot be read is only said.
    pub async fn poll(self: &Arc<Self>) -> Result<(), StoreError> {
        self.poll_within(Duration::MAX).await
    }

    /// As [`Replicator::poll`], but waits only so long for the galleries: what takes longer goes on beside the next
    /// rounds.
    ///
    /// # Errors
    /// As [`Replicator::poll`].
    pub async fn poll_within(self: &Arc<Self>, patience: Duration) -> Result<(), StoreError> {
        let outcome = self.round(patience).await;
        self.reachable.store(outcome.is_ok(), Ordering::Release);
        outcome
    }

    async fn round(self: &Arc<Self>, patience: Duration) -> Result<(), StoreError> {
        self.applications.refresh().await?;
        let heads = self.store.templates.revisions().await?;
        self.forget_others(&heads.iter().map(|(app, _)| app).collect());
        let under_way: Vec<_> = heads.iter().filter_map(|(app, head)| self.follow(app, *head)).collect();
        let ended = tokio::time::timeout(patience, join_all(under_way)).await.unwrap_or_default();
        if heads.iter().all(|(app, _)| self.is_settled(app)) {
            self.loaded.store(true, Ordering::Release);
        }
        let failed = ended.into_iter().find_map(|ended| match ended {
            Ok(outcome) => outcome.err(),
            Err(broken) => Some(StoreError::Failed(Box::new(broken))),
        });
        failed.map_or(Ok(()), Err)
    }

    fn forget_others(&self, alive: &HashSet<&AppId>) {
        let gone: Vec<AppId> = self.feed.loaded().into_iter().filter(|app| !alive.contains(app)).collect();
        if gone.is_empty() {
            return;
        }
        self.store.scrubber.mark_pending();
        for app in &gone {
            self.feed.unload(app);
        }
        lock(&self.heads).retain(|app, _| alive.contains(app));
        lock(&self.turns).retain(|app, _| alive.contains(app));
        lock(&self.unreadable).retain(|app, _| alive.contains(app));
        lock(&self.faults).retain(|app, _| alive.contains(app));
    }

    /// Whether a gallery is loaded, or waiting for it is in vain. One for which a key is missing is waited for.
    fn is_settled(&self, app: &AppId) -> bool {
        self.feed.revision(app).is_some() || lock(&self.faults).get(app).is_some_and(|fault| fault.key.is_none())
    }

    /// What a gallery shows.
    fn position(&self, app: &AppId) -> Option<GalleryPosition> {
        let revision = self.feed.revision(app)?;
        let head = lock(&self.heads).get(app).copied().filter(|head| head.revision == revision);
        Some(head.unwrap_or(revision.into()))
    }

    pub(super) fn note_head(&self, app: &AppId, head: GalleryPosition) {
        lock(&self.heads).insert(app.clone(), head);
    }

    /// Starts a task that brings a gallery to what the store shows, unless it is there, or one that is under way can be
    /// told.
    fn follow(self: &Arc<Self>, app: &AppId, stored: GalleryPosition) -> Option<JoinHandle<Result<(), StoreError>>> {
        let shown = self.position(app);
        let is_there = shown.is_some_and(|shown| shown.revision == stored.revision && !shown.has_diverged(stored));
        let for_a_key = lock(&self.faults).get(app).and_then(|fault| fault.key);
        let in_vain = shown.is_none() && for_a_key.is_some_and(|key| !key.is_worth_a_try(&*self.store.keys));
        if in_vain || (is_there && !self.wants_its_key(app)) {
            return None;
        }
        if lock(&self.targets).insert(app.clone(), stored).is_some() {
            return None;
        }
        let (replicator, app) = (Arc::clone(self), app.clone());
        Some(tokio::spawn(async move { replicator.keep_up(&app).await }))
    }

    async fn keep_up(&self, app: &AppId) -> Result<(), StoreError> {
        loop {
            let Some(target) = lock(&self.targets).get(app).copied() else { return Ok(()) };
            let outcome = self.advance_to(app, target).await;
            let mut targets = lock(&self.targets);
            if outcome.is_err() || targets.get(app) == Some(&target) {
                targets.remove(app);
                drop(targets);
                return self.record_outcome(app, outcome);
            }
        }
    }

    /// Passes on that the store is away; anything else is a matter of this gallery, and is said once.
    fn record_outcome(&self, app: &AppId, outcome: Result<(), StoreError>) -> Result<(), StoreError> {
        match outcome {
            Ok(()) => {
                if lock(&self.faults).remove(app).is_some() {
                    tracing::info!(%app, "the gallery is followed again");
                }
                Ok(())
            }
            // Deleted between two reads; the next round forgets it.
            Err(StoreError::NoSuchApp) => Ok(()),
            Err(error @ StoreError::Unavailable(_)) => Err(error),
            Err(error) => {
                let key = if let StoreError::KeyMissing(id) = error { Some(MissingKey::new(id)) } else { None };
                let fault = Fault { said: error.to_string(), key };
                let said = fault.said.clone();
                if lock(&self.faults).insert(app.clone(), fault).is_none_or(|before| before.said != said) {
                    tracing::error!(%app, %error, "the gallery cannot be followed; the others are");
                }
                Ok(())
            }
        }
    }

    /// Brings a gallery to what the store showed a moment ago, whether that is ahead of it or not.
    async fn advance_to(&self, app: &AppId, target: GalleryPosition) -> Result<(), StoreError> {
        let turn = self.turn(app);
        let _turn = turn.lock().await;
        match self.position(app) {
            None => self.load(app).await?,
            Some(_) if self.wants_its_key(app) => {
                tracing::info!(%app, "a sealing key was missing; the gallery is loaded anew");
                self.load_rows(app).await?;
            }
            Some(shown) if shown.has_diverged(target) => self.reload_after_rewind(app).await?,
            Some(_) => {}
        }
        if self.catch_up(app, target.revision).await? {
            self.store.scrubber.mark_pending();
        }
        Ok(())
    }

    /// Loads a gallery anew if it shows more than the store has, or has come to the same in another way: the database
    /// is then an older state of itself (a restored backup, a standby that was behind), and perhaps went on from there.
    async fn reload_after_rewind(&self, app: &AppId) -> Result<(), StoreError> {
        // Read again: a local write may have been shown since. None is while this gallery's turn is held.
        let stored = self.stored(app).await?;
        let Some(shown) = self.position(app).filter(|shown| shown.has_diverged(stored)) else { return Ok(()) };
        let (shown, stored) = (shown.revision, stored.revision);
        tracing::warn!(%app, %shown, %stored, "the database has gone back in time; the gallery is loaded anew");
        self.load_rows(app).await?;
        if let Some(snapshots) = &self.snapshots
            && let Err(error) = snapshots.invalidate(app).await
        {
            tracing::warn!(%app, %error, "the gallery's snapshot of before is not forgotten; the next one replaces it");
        }
        Ok(())
    }

    /// Makes a committed write visible to the next search. When the store cannot be read just
    /// then, the write is durable all the same and the next successful poll shows it.
    pub(super) async fn publish(&self, app: &AppId, revision: Revision) {
        if let Err(error) = self.advance(app, revision).await {
            tracing::warn!(%app, %revision, %error, "a committed change is not visible to searches yet");
        }
    }

    fn turn(&self, app: &AppId) -> Arc<AsyncMutex<()>> {
        Arc::clone(lock(&self.turns).entry(app.clone()).or_default())
    }

    /// Brings a gallery to at least a revision.
    async fn advance(&self, app: &AppId, target: Revision) -> Result<(), StoreError> {
        let turn = self.turn(app);
        let _turn = turn.lock().await;
        if self.feed.revision(app).is_none() {
            self.load(app).await?;
        }
        self.catch_up(app, target).await.map(drop)
    }

    /// Applies the changes up to a revision at least; whether there were any.
    async fn catch_up(&self, app: &AppId, target: Revision) -> Result<bool, StoreError> {
        let mut moved = false;
        while let Some(shown) = self.position(app).filter(|shown| shown.revision < target) {
            moved = true;
            match self.store.templates.changes(app, &self.model, shown, CHANGES_PAGE).await? {
                Changes::List { changes, unreadable, tag } => {
                    let shown = shown.revision;
                    let Some(last) = changes.last().map(|change| change.revision) else {
                        // The store says that there is nothing newer: the target was never committed.
                        return Err(StoreError::Corrupt(format!(
                            "gallery revision {target} was announced, but its changes end at {shown}"
                        )));
                    };
                    self.note_unreadable(app, changes.iter().map(|change| &change.template.id), unreadable);
                    if changes.into_iter().any(|change| self.feed.apply(app, change) == Applied::Gap) {
                        tracing::warn!(%app, %shown, %last, "a change is missing; the gallery is loaded anew");
                        self.load_rows(app).await?;
                    } else {
                        self.note_head(app, GalleryPosition { revision: last, tag });
                    }
                }
                // From the rows: a snapshot may be older than the log of changes reaches back, for ever.
                Changes::TooOld => {
                    let shown = shown.revision;
                    tracing::warn!(%app, %shown, "the log of changes does not lead here; the gallery is loaded anew");
                    self.load_rows(app).await?;
                }
            }
        }
        Ok(moved)
    }
}
