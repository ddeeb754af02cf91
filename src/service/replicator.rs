//! Keeps the galleries in memory equal to the store.
//!
//! A write becomes visible in one way, on every node: the changes after the gallery's revision are read
//! from the store and applied in order. A local write is published at once ([`Replicator::publish`]), writes of other
//! nodes within one poll ([`Replicator::poll`]). Revisions have no gaps, so no change can be missed; a change carries
//! the template's whole state, so applying one twice does no harm.
//!
//! Each gallery is a [`Replica`] with a task of its own: a large or unreadable gallery does not delay the others.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parking_lot::Mutex;

use super::loader::{Loader, Loading};
use super::people::PeopleIndexes;
use super::replica::{Replica, Shared, index_pool};
use super::snapshots::Snapshots;
use super::{Administrators, Applications};
use crate::domain::{AppId, Clock, ModelTag, Revision};
use crate::gallery::MatcherFeed;
use crate::store::{Store, StoreError};

/// Who may call, as read with every poll.
pub(super) struct Callers {
    pub(super) applications: Arc<Applications>,
    pub(super) administrators: Arc<Administrators>,
}

/// Follows the store's revisions.
pub struct Replicator {
    shared: Arc<Shared>,
    callers: Callers,
    replicas: Mutex<HashMap<AppId, Arc<Replica>>>,
    loaded: AtomicBool,
    reachable: AtomicBool,
    /// When the last poll that read keys and revisions began.
    polled_at: Mutex<Instant>,
    max_stale: Option<Duration>,
}

impl Replicator {
    /// A replicator of the samples of one model. What was read longer ago than `max_stale` is not used.
    pub(super) fn new(
        store: Store,
        feed: Arc<dyn MatcherFeed>,
        callers: Callers,
        model: ModelTag,
        clock: Clock,
        snapshots: Option<Snapshots>,
        max_stale: Option<Duration>,
    ) -> Self {
        let polled_at = Mutex::new(clock.instant());
        let people = PeopleIndexes::new(Arc::clone(&store.people));
        let loader = Loader::new(store.templates.clone(), model.clone(), clock.clone());
        Self {
            shared: Arc::new(Shared { store, feed, model, clock, loader, snapshots, people, pool: index_pool() }),
            callers,
            replicas: Mutex::default(),
            loaded: AtomicBool::new(false),
            reachable: AtomicBool::new(false),
            polled_at,
            max_stale,
        }
    }

    /// Whether every gallery that existed at start is loaded. Galleries that cannot be loaded do not count: the others
    /// are served.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Whether the store could be read at the last poll.
    pub fn is_store_reachable(&self) -> bool {
        self.reachable.load(Ordering::Acquire)
    }

    /// The time since keys and revisions were last read from the store, or since the start of the server.
    pub fn staleness(&self) -> Duration {
        self.shared.clock.instant().saturating_duration_since(*self.polled_at.lock())
    }

    /// Whether keys and revisions were read longer ago than the operator allows: a key that was revoked meanwhile would
    /// still be accepted.
    pub fn is_stale(&self) -> bool {
        self.max_stale.is_some_and(|max| self.staleness() > max)
    }

    /// Whether a gallery has not followed the store for longer than the operator allows: a person who was removed
    /// meanwhile would still be found.
    pub(super) fn is_gallery_stale(&self, app: &AppId) -> bool {
        self.stale_since().is_some_and(|since| self.replicas.lock().get(app).is_some_and(|one| one.is_behind(since)))
    }

    /// The number of such galleries.
    pub fn stale_galleries(&self) -> usize {
        let Some(since) = self.stale_since() else { return 0 };
        self.replicas.lock().values().filter(|replica| replica.is_behind(since)).count()
    }

    /// What was last read before this moment is too old.
    fn stale_since(&self) -> Option<Instant> {
        self.max_stale.and_then(|max| self.shared.clock.instant().checked_sub(max))
    }

    /// Whether a gallery cannot be loaded or followed because a sealing key is missing.
    pub fn lacks_key(&self) -> bool {
        self.replicas.lock().values().any(|replica| replica.lacks_key())
    }

    /// The progress of all loads together.
    pub fn loading(&self) -> Loading {
        let replicas = self.replicas.lock();
        replicas.values().map(|replica| replica.loading()).fold(Loading::default(), |sum, one| Loading {
            loaded: sum.loaded + one.loaded,
            templates: sum.templates + one.templates,
        })
    }

    /// For each gallery that has any: the number of templates with a stored sample that cannot be read.
    pub fn unreadable(&self) -> Vec<(AppId, usize)> {
        let replicas = self.replicas.lock();
        let counts = replicas.iter().map(|(app, replica)| (app.clone(), replica.unreadable()));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    fn replica(&self, app: &AppId) -> Arc<Replica> {
        let mut replicas = self.replicas.lock();
        let new = || Arc::new(Replica::new(app.clone(), Arc::clone(&self.shared)));
        Arc::clone(replicas.entry(app.clone()).or_insert_with(new))
    }

    /// The indexes of people.
    pub(super) fn people(&self) -> &PeopleIndexes {
        &self.shared.people
    }

    /// Begins to load the index of people of an application, unless it is there.
    pub(super) fn load_people(&self, app: &AppId) {
        self.replica(app).load_people();
    }

    /// Bytes of memory of an application's index of people; zero where it has none.
    pub fn people_index_bytes(&self, app: &AppId) -> usize {
        self.shared.people.bytes(app)
    }

    /// Makes a committed write visible to the next search. When the store cannot be read at this moment, the write is
    /// durable all the same and the next successful poll publishes it.
    pub(super) async fn publish(&self, app: &AppId, revision: Revision) {
        if let Err(error) = self.replica(app).advance(revision).await {
            tracing::warn!(%app, %revision, %error, "a committed change is not visible to searches yet");
        }
    }

    /// One round: refreshes applications and administrators, reads the revisions, loads new galleries, advances those that are behind,
    /// reloads those that the store no longer has as they were, and unloads those of deleted applications.
    ///
    /// # Errors
    /// When the store cannot be reached. Galleries stay as they are, and the next round goes on. A gallery that cannot
    /// be read is logged only.
    pub async fn poll(&self) -> Result<(), StoreError> {
        self.poll_within(Duration::MAX).await
    }

    /// As [`Replicator::poll`], but waits at most `limit` for the galleries: longer updates go on during the next
    /// rounds.
    ///
    /// # Errors
    /// As [`Replicator::poll`].
    pub async fn poll_within(&self, limit: Duration) -> Result<(), StoreError> {
        let outcome = self.round(limit).await;
        self.reachable.store(outcome.is_ok(), Ordering::Release);
        outcome
    }

    async fn round(&self, limit: Duration) -> Result<(), StoreError> {
        let began = self.shared.clock.instant();
        self.callers.applications.refresh().await?;
        self.callers.administrators.refresh().await?;
        let positions = self.shared.store.templates.revisions().await?;
        *self.polled_at.lock() = began;
        self.unload_others(&positions.iter().map(|(app, _)| app).collect()).await?;
        let tasks: Vec<_> =
            positions.iter().filter_map(|(app, position)| self.replica(app).follow(*position, began)).collect();
        for (app, _) in &positions {
            if self.callers.applications.has_name_search(app) {
                self.load_people(app);
            } else {
                self.shared.people.drop_index(app);
            }
        }
        let ended = tokio::time::timeout(limit, join_all(tasks)).await.unwrap_or_default();
        if positions.iter().all(|(app, _)| self.replica(app).is_settled()) {
            self.loaded.store(true, Ordering::Release);
        }
        let failed = ended.into_iter().find_map(|ended| match ended {
            Ok(outcome) => outcome.err(),
            Err(broken) => Some(StoreError::Failed(Box::new(broken))),
        });
        failed.map_or(Ok(()), Err)
    }

    /// Unloads the galleries of deleted applications.
    async fn unload_others(&self, alive: &HashSet<&AppId>) -> Result<(), StoreError> {
        let gone: Vec<AppId> = self.shared.feed.loaded().into_iter().filter(|app| !alive.contains(app)).collect();
        if !gone.is_empty() {
            self.shared.store.scrubber.mark_pending();
        }
        for app in &gone {
            self.shared.change_index(app, |feed, app| feed.unload(app)).await?;
            self.shared.people.drop_index(app);
        }
        // A replica that a task still uses stays until the next round, so that no second one updates the same gallery.
        self.replicas.lock().retain(|app, replica| alive.contains(app) || Arc::strong_count(replica) > 1);
        Ok(())
    }

    /// Writes the snapshots that are due. A snapshot that cannot be written is logged only.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn save_snapshots(&self) -> Result<(), StoreError> {
        let Some(snapshots) = &self.shared.snapshots else { return Ok(()) };
        let loaded = self.shared.feed.loaded();
        snapshots.remove_others(&loaded.iter().collect()).await;
        for app in &loaded {
            match self.replica(app).save_snapshot(snapshots).await {
                Ok(()) | Err(StoreError::NoSuchApp) => {}
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                Err(error) => tracing::warn!(%app, %error, "the gallery's snapshot is not written"),
            }
        }
        Ok(())
    }
}
