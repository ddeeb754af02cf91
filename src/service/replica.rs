//! One gallery in memory, kept equal to the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinHandle;

use super::loader::{Loader, Loading, MissingKey, StoredGallery, Unreadable};
use super::people::PeopleIndexes;
use super::snapshots::Snapshots;
use crate::compute::{Pool, PoolConfig};
use crate::domain::{AppId, Clock, ModelTag, Revision, TemplateId, TenantKey, stopwatch};
use crate::gallery::{Applied, MatcherFeed};
use crate::store::{Changes, GalleryPosition, Store, StoreError};

/// Revisions, and samples of them, that are read from the store at a time while a gallery catches up.
const CHANGES_PAGE: usize = 4096;

/// Threads that change indexes.
const INDEX_THREADS: usize = 2;

/// The longest wait for one of them.
const INDEX_MAX_WAIT: Duration = Duration::from_secs(3600);

/// The threads that change indexes, so that a large gallery does not hold up the async runtime. Each gallery has one
/// job at a time, so the queue is as long as there are galleries.
pub(super) fn index_pool() -> Pool<()> {
    let config = PoolConfig { name: "index", threads: INDEX_THREADS, queue: usize::MAX, deadline: INDEX_MAX_WAIT };
    match Pool::start(config, |_| Ok::<_, std::convert::Infallible>(())) {
        Ok(pool) => pool,
        Err(never) => match never {},
    }
}

/// What all replicas share.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) feed: Arc<dyn MatcherFeed>,
    pub(super) model: ModelTag,
    pub(super) clock: Clock,
    pub(super) loader: Loader,
    pub(super) snapshots: Option<Snapshots>,
    /// The details of people in memory.
    pub(super) people: PeopleIndexes,
    pub(super) pool: Pool<()>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.pool.stop();
    }
}

impl Shared {
    /// Changes the index of an application on a thread of its own. The change happens even if the caller has gone.
    pub(super) async fn change_index<T: Send + 'static>(
        &self,
        app: &AppId,
        change: impl FnOnce(&dyn MatcherFeed, &AppId) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let feed = Arc::clone(&self.feed);
        let gallery = app.clone();
        let job = self.pool.submit_for(TenantKey::new(app).number(), move |(), _| change(&*feed, &gallery));
        job.result().await.map_err(|error| StoreError::Failed(Box::new(error)))
    }

    fn is_retry_due(&self, key: MissingKey) -> bool {
        key.is_retry_due(&*self.store.keys, &self.clock)
    }
}

/// One gallery that follows the store.
pub(super) struct Replica {
    app: AppId,
    shared: Arc<Shared>,
    /// Held while the gallery is loaded or catches up: one task does so at a time.
    updating: AsyncMutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The progress of the load that is running.
    loading: Option<Loading>,
    unreadable: Unreadable,
    /// The position of the last change that was applied.
    position: Option<GalleryPosition>,
    /// What a running task advances the gallery to.
    target: Option<Target>,
    /// The gallery shows at least what the store had at this moment; `None` before the first poll.
    fresh_at: Option<Instant>,
    /// Why the gallery is not followed.
    fault: Option<Fault>,
}

/// A position of the store.
#[derive(Clone, Copy, PartialEq)]
struct Target {
    position: GalleryPosition,
    /// The store had it after this moment.
    read_at: Instant,
}

/// Why a gallery is not followed although the store answers.
struct Fault {
    message: String,
    missing_key: Option<MissingKey>,
}

/// Clears the progress when the load ends, also when its future is dropped.
struct LoadGuard<'a>(&'a Mutex<State>);

impl Drop for LoadGuard<'_> {
    fn drop(&mut self) {
        self.0.lock().loading = None;
    }
}

/// Clears the target when the task that follows it panics: otherwise no later poll would start another one.
struct TargetGuard<'a>(&'a Mutex<State>);

impl Drop for TargetGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().target = None;
        }
    }
}

impl Replica {
    pub(super) fn new(app: AppId, shared: Arc<Shared>) -> Self {
        Self { app, shared, updating: AsyncMutex::default(), state: Mutex::default() }
    }

    /// The progress of a load, while one runs.
    pub(super) fn loading(&self) -> Loading {
        self.state.lock().loading.unwrap_or_default()
    }

    /// The number of templates with a stored sample that cannot be read.
    pub(super) fn unreadable(&self) -> usize {
        self.state.lock().unreadable.len()
    }

    /// Whether the gallery lacks changes that the store may have had before a moment.
    pub(super) fn is_behind(&self, moment: Instant) -> bool {
        self.state.lock().fresh_at.is_some_and(|fresh_at| fresh_at < moment)
    }

    /// Whether the gallery, or a sample of it, cannot be read because a sealing key is missing.
    pub(super) fn lacks_key(&self) -> bool {
        let state = self.state.lock();
        let fault_key = state.fault.as_ref().and_then(|fault| fault.missing_key);
        fault_key.or(state.unreadable.missing_key()).is_some()
    }

    /// Whether the gallery is loaded, or cannot be. One whose key is missing may still be loaded.
    pub(super) fn is_settled(&self) -> bool {
        self.shared.feed.revision(&self.app).is_some()
            || self.state.lock().fault.as_ref().is_some_and(|fault| fault.missing_key.is_none())
    }

    /// The position of the gallery that searches see; `None` while it is not loaded.
    fn position(&self) -> Option<GalleryPosition> {
        let revision = self.shared.feed.revision(&self.app)?;
        let position = self.state.lock().position.filter(|position| position.revision == revision);
        Some(position.unwrap_or(revision.into()))
    }

    /// Whether the gallery lacks samples whose sealing key may have arrived.
    fn is_key_retry_due(&self) -> bool {
        let missing = self.state.lock().unreadable.missing_key();
        missing.is_some_and(|key| self.shared.is_retry_due(key))
    }

    /// Starts a task that advances the gallery to the position that the store had after `read_at`. `None` when the gallery is there already, cannot
    /// be loaded yet, or a running task takes the new target over.
    pub(super) fn follow(
        self: Arc<Self>,
        stored: GalleryPosition,
        read_at: Instant,
    ) -> Option<JoinHandle<Result<(), StoreError>>> {
        let position = self.position();
        let is_current =
            position.is_some_and(|position| position.revision == stored.revision && !position.has_diverged(stored));
        if is_current && !self.is_key_retry_due() {
            self.state.lock().fresh_at = Some(read_at);
            return None;
        }
        {
            let mut state = self.state.lock();
            let missing_key = state.fault.as_ref().and_then(|fault| fault.missing_key);
            if position.is_none() && missing_key.is_some_and(|key| !self.shared.is_retry_due(key)) {
                return None;
            }
            if state.target.replace(Target { position: stored, read_at }).is_some() {
                return None;
            }
        }
        Some(tokio::spawn(async move { self.advance_to_target().await }))
    }

    /// Advances the gallery until it is at the latest target.
    async fn advance_to_target(&self) -> Result<(), StoreError> {
        let _guard = TargetGuard(&self.state);
        loop {
            let Some(target) = self.state.lock().target else { return Ok(()) };
            let outcome = self.advance_to(target.position).await;
            let mut state = self.state.lock();
            if outcome.is_ok() {
                state.fresh_at = Some(target.read_at);
            }
            if outcome.is_err() || state.target == Some(target) {
                state.target = None;
                return self.record_outcome(&mut state, outcome);
            }
        }
    }

    /// Returns the error when the store is away; any other error concerns this gallery only, and is logged once.
    fn record_outcome(&self, state: &mut State, outcome: Result<(), StoreError>) -> Result<(), StoreError> {
        let app = &self.app;
        match outcome {
            Ok(()) => {
                if state.fault.take().is_some() {
                    tracing::info!(%app, "the gallery is followed again");
                }
                Ok(())
            }
            // Deleted between two reads; the next poll unloads it.
            Err(StoreError::NoSuchApp) => Ok(()),
            Err(error @ StoreError::Unavailable(_)) => Err(error),
            Err(error) => {
                let missing_key = if let StoreError::KeyMissing(id) = error {
                    Some(MissingKey::new(id, &self.shared.clock))
                } else {
                    None
                };
                let fault = Fault { message: error.to_string(), missing_key };
                if state.fault.as_ref().is_none_or(|before| before.message != fault.message) {
                    tracing::error!(%app, %error, "the gallery cannot be followed; the others are");
                }
                state.fault = Some(fault);
                Ok(())
            }
        }
    }

    /// Brings the gallery to a position that the store had a moment ago, ahead of the gallery or not.
    async fn advance_to(&self, target: GalleryPosition) -> Result<(), StoreError> {
        let _updating = self.updating.lock().await;
        match self.position() {
            None => self.load().await?,
            Some(_) if self.is_key_retry_due() => {
                tracing::info!(app = %self.app, "a sealing key was missing; the gallery is reloaded");
                self.load_rows().await?;
            }
            Some(position) if position.has_diverged(target) => self.reload_after_rewind().await?,
            Some(_) => {}
        }
        if self.catch_up(target.revision).await? {
            self.shared.store.scrubber.mark_pending();
        }
        Ok(())
    }

    /// Brings the gallery to at least a revision. It goes on when the caller stops to wait: a page of changes is applied
    /// as a whole before the next one is read.
    pub(super) async fn advance(self: &Arc<Self>, target: Revision) -> Result<(), StoreError> {
        let replica = Arc::clone(self);
        let advanced = tokio::spawn(async move {
            let _updating = replica.updating.lock().await;
            if replica.position().is_none() {
                replica.load().await?;
            }
            replica.catch_up(target).await.map(drop)
        });
        advanced.await.unwrap_or_else(|broken| Err(StoreError::Failed(Box::new(broken))))
    }

    /// Reloads a gallery that is ahead of the store, or reached the same revision by other changes: the database is an
    /// older state of itself then (a restored backup, a standby that was behind), perhaps with newer changes.
    async fn reload_after_rewind(&self) -> Result<(), StoreError> {
        let app = &self.app;
        // Read again: a local write may have been published since. It cannot now, while `updating` is held.
        let stored = self.shared.loader.position(app).await?;
        let Some(position) = self.position().filter(|position| position.has_diverged(stored)) else { return Ok(()) };
        tracing::warn!(
            %app, memory = %position.revision, database = %stored.revision,
            "the database has gone back in time; the gallery is reloaded"
        );
        self.load_rows().await?;
        if let Some(snapshots) = &self.shared.snapshots
            && let Err(error) = snapshots.invalidate(app).await
        {
            tracing::warn!(%app, %error, "the outdated snapshot is not invalidated; the next one replaces it");
        }
        Ok(())
    }

    /// Loads the whole gallery, from its snapshot where it has a current one.
    async fn load(&self) -> Result<(), StoreError> {
        let app = &self.app;
        let start = stopwatch();
        if let Some(snapshots) = &self.shared.snapshots
            && self.shared.loader.restore(app, snapshots).await?
        {
            self.state.lock().unreadable = Unreadable::default();
            let templates = self.shared.feed.size(app).templates;
            let seconds = start.elapsed().as_secs_f64();
            tracing::info!(%app, templates, seconds, "gallery loaded from its snapshot");
            return Ok(());
        }
        self.load_rows().await
    }

    /// Loads the whole gallery from the rows of the database.
    ///
    /// A sample that is damaged is left out. So is one whose sealing key is missing, where the gallery is searched
    /// already: a removed template must not be found because a key is missing. A gallery that is not loaded yet is not
    /// published incomplete.
    async fn load_rows(&self) -> Result<(), StoreError> {
        let app = &self.app;
        let start = stopwatch();
        let read = {
            let _guard = LoadGuard(&self.state);
            self.shared.loader.read(app, |progress| self.state.lock().loading = Some(progress)).await?
        };
        let StoredGallery { position, templates, unreadable } = read;
        if let (Some(key), None) = (unreadable.missing_key(), self.shared.feed.revision(app)) {
            return Err(StoreError::KeyMissing(key.id()));
        }
        let revision = position.revision;
        let count = templates.len();
        // Before the gallery is published: a snapshot of it must not be written as if it were complete.
        self.state.lock().unreadable = unreadable;
        self.shared.change_index(app, move |feed, app| feed.replace(app, revision, templates)).await?;
        self.state.lock().position = Some(position);
        // What changed meanwhile is not known one by one.
        self.shared.people.drop_index(app);
        tracing::info!(%app, %revision, templates = count, seconds = start.elapsed().as_secs_f64(), "gallery loaded");
        Ok(())
    }

    /// Applies the changes up to a revision at least; returns whether there were any.
    async fn catch_up(&self, target: Revision) -> Result<bool, StoreError> {
        let app = &self.app;
        let mut moved = false;
        while let Some(position) = self.position().filter(|position| position.revision < target) {
            moved = true;
            let revision = position.revision;
            match self.shared.store.templates.changes(app, &self.shared.model, position, CHANGES_PAGE).await? {
                Changes::List { changes, unreadable, tag } => {
                    let Some(last) = changes.last().map(|change| change.revision) else {
                        // The store has no newer change: the target was never committed.
                        return Err(StoreError::Corrupt(format!(
                            "gallery revision {target} was announced, but its changes end at {revision}"
                        )));
                    };
                    let read = changes.iter().map(|change| &change.template.id);
                    let ids: Vec<TemplateId> = read.clone().cloned().collect();
                    self.state.lock().unreadable.update(app, read, unreadable, &self.shared.clock);
                    self.shared.people.update(app, &ids).await?;
                    let has_gap = self.shared.change_index(app, move |feed, app| {
                        changes.into_iter().any(|change| feed.apply(app, change) == Applied::Gap)
                    });
                    if has_gap.await? {
                        tracing::warn!(%app, %revision, %last, "a change is missing; the gallery is reloaded");
                        self.load_rows().await?;
                    } else {
                        self.state.lock().position = Some(GalleryPosition { revision: last, tag });
                    }
                }
                // From the rows: a snapshot may be older than the change log for ever.
                Changes::TooOld => {
                    tracing::warn!(%app, %revision, "the change log begins later; the gallery is reloaded");
                    self.load_rows().await?;
                }
            }
        }
        Ok(moved)
    }

    /// Begins to load the index of people, once the gallery is loaded: from then on its changes are known.
    pub(super) fn load_people(self: &Arc<Self>) {
        if self.position().is_none() {
            return;
        }
        let Some(generation) = self.shared.people.begin(&self.app) else { return };
        let replica = Arc::clone(self);
        tokio::spawn(async move {
            let (app, people) = (&replica.app, &replica.shared.people);
            let loaded = async {
                let index = people.read(app).await?;
                let _updating = replica.updating.lock().await;
                people.finish(app, generation, index).await
            };
            if let Err(error) = loaded.await {
                tracing::debug!(%app, %error, "the index of people is not loaded yet");
                people.fail(app, generation);
            }
        });
    }

    /// Writes a snapshot of the gallery if one is due.
    pub(super) async fn save_snapshot(self: &Arc<Self>, snapshots: &Snapshots) -> Result<(), StoreError> {
        let app = &self.app;
        // A snapshot that lacks unreadable samples must not outlive the reason.
        if self.unreadable() > 0 || !snapshots.is_due(app).await? {
            return Ok(());
        }
        let new = snapshots.register(app).await?;
        // Templates removed before the key was registered are absent from the snapshot.
        self.advance(new.min_revision).await?;
        let export = self.shared.feed.export(app);
        match export.filter(|export| export.revision() >= new.min_revision && self.unreadable() == 0) {
            Some(export) => snapshots.write(app, new, export).await,
            None => snapshots.discard(app, new.id).await,
        }
    }
}
