//! The traits of the store. Each method is one transaction, durable when it returns.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::administrators::AdminStore;
use super::application::{AppChange, AppKeyStore, AppRecord, AppRefusal};
use super::backup::BackupStore;
use super::cursor_key::CursorKey;
use super::error::{InsertError, Refusal, StoreError};
use super::idempotency::IdempotencyStore;
use super::key::{Key, KeyId};
use super::outbox::{ErasureReason, OutboxEvent, OutboxStore};
use super::people::PeopleStore;
use super::record::{
    Changes, DatedTemplate, EnrolledSample, GalleryPosition, KeyStatus, OnConflict, Resealed, SampleCursor, SnapshotId,
    TemplateList, TemplatePage, TemplateRecord,
};
use super::retention::RetentionStore;
use super::review::ReviewStore;
use super::samples::SampleStore;
use crate::domain::{AppId, Guard, ModelTag, Revision, TemplateId};
use crate::gallery::{IndexedTemplate, Sample};

/// Applications. Methods that return `false` have found no application with the id.
#[async_trait]
pub trait AppStore: Send + Sync {
    /// Creates an application with its keys, and adds the event to the outbox in the same transaction; `false` when the id
    /// is taken.
    async fn create_recorded(&self, app: &AppRecord, event: Option<&OutboxEvent>) -> Result<bool, StoreError>;

    /// As [`AppStore::create_recorded`], without an event.
    async fn create(&self, app: &AppRecord) -> Result<bool, StoreError> {
        self.create_recorded(app, None).await
    }

    /// Creates an application if none exists yet, and returns whether it did. Of several concurrent calls one
    /// succeeds.
    async fn create_first(&self, app: &AppRecord) -> Result<bool, StoreError>;

    /// All applications, oldest first.
    async fn list(&self) -> Result<Vec<AppRecord>, StoreError>;

    /// Changes an application, and adds the event to the outbox in the same transaction. Returns its new
    /// `settings_revision`.
    async fn change(
        &self,
        id: &AppId,
        change: &AppChange,
        event: Option<&OutboxEvent>,
    ) -> Result<Result<u64, AppRefusal>, StoreError>;

    /// Sets how long templates are kept (whole seconds).
    async fn set_retention(&self, id: &AppId, retention: Option<Duration>) -> Result<bool, StoreError> {
        self.set(id, AppChange { retention: Some(retention), ..AppChange::default() }).await
    }

    /// Sets whether age, gender and race are reported.
    async fn set_attributes(&self, id: &AppId, reported: bool) -> Result<bool, StoreError> {
        self.set(id, AppChange { attributes: Some(reported), ..AppChange::default() }).await
    }

    /// Sets what happens when an enrollment looks like a mix-up.
    async fn set_guard(&self, id: &AppId, guard: Guard) -> Result<bool, StoreError> {
        self.set(id, AppChange { guard: Some(guard), ..AppChange::default() }).await
    }

    /// Sets whether names are searched.
    async fn set_name_search(&self, id: &AppId, searched: bool) -> Result<bool, StoreError> {
        self.set(id, AppChange { name_search: Some(searched), ..AppChange::default() }).await
    }

    /// Sets whether an enrollment needs a reference to a consent.
    async fn set_require_consent(&self, id: &AppId, required: bool) -> Result<bool, StoreError> {
        self.set(id, AppChange { require_consent: Some(required), ..AppChange::default() }).await
    }

    /// Sets the lowest quality of a photo that is enrolled.
    async fn set_min_quality(&self, id: &AppId, min_quality: Option<f64>) -> Result<bool, StoreError> {
        self.set(id, AppChange { min_quality: Some(min_quality), ..AppChange::default() }).await
    }

    /// Sets the most templates of the application; `None`: no limit. An application that has more keeps them.
    async fn set_max_templates(&self, id: &AppId, max: Option<u64>) -> Result<bool, StoreError> {
        self.set(id, AppChange { max_templates: Some(max), ..AppChange::default() }).await
    }

    /// Sets the most samples of the application; `None`: no limit. An application that has more keeps them.
    async fn set_max_samples(&self, id: &AppId, max: Option<u64>) -> Result<bool, StoreError> {
        self.set(id, AppChange { max_samples: Some(max), ..AppChange::default() }).await
    }

    /// Makes a change that is never refused; `false` when the application does not exist.
    async fn set(&self, id: &AppId, change: AppChange) -> Result<bool, StoreError> {
        Ok(self.change(id, &change, None).await?.is_ok())
    }

    /// Sets whether crops of the faces that are enrolled from now on are kept. Those that were kept before are erased
    /// when it is switched off, by [`SampleStore::erase_unkept_crops`].
    async fn set_keep_crops(&self, id: &AppId, keep: bool) -> Result<bool, StoreError> {
        self.set(id, AppChange { keep_crops: Some(keep), ..AppChange::default() }).await
    }

    /// Sets how long probes without a match are held for review (whole seconds); `None`: none is held.
    async fn set_keep_probes(&self, id: &AppId, keep: Option<Duration>) -> Result<bool, StoreError> {
        self.set(id, AppChange { keep_probes: Some(keep), ..AppChange::default() }).await
    }

    /// Deletes an application with its gallery, and adds an event to the outbox for every template.
    async fn delete(&self, id: &AppId) -> Result<bool, StoreError>;
}

/// Templates and their samples. Every method that erases a template adds an event to the outbox in the same
/// transaction: see [`OutboxStore`].
#[async_trait]
pub trait TemplateStore: Send + Sync {
    /// Enrolls a template with its first sample.
    async fn insert(
        &self,
        app: &AppId,
        template: &TemplateId,
        sample: &EnrolledSample,
        on_conflict: OnConflict,
    ) -> Result<Revision, InsertError>;

    /// Enrolls several templates with their samples in one transaction, for a command. Returns the revision of each, or why it is
    /// refused.
    async fn insert_all(
        &self,
        app: &AppId,
        templates: &[IndexedTemplate],
        on_conflict: OnConflict,
    ) -> Result<Vec<Result<Revision, Refusal>>, StoreError>;

    /// As [`TemplateStore::insert_all`], for templates that keep the times of their enrollment.
    async fn insert_dated(
        &self,
        app: &AppId,
        templates: &[DatedTemplate],
        on_conflict: OnConflict,
    ) -> Result<Vec<Result<Revision, Refusal>>, StoreError>;

    /// The number of templates of an application.
    async fn count(&self, app: &AppId) -> Result<usize, StoreError>;

    /// Adds a sample to a template; `None` when the template does not exist.
    async fn add_sample(
        &self,
        app: &AppId,
        template: &TemplateId,
        sample: &EnrolledSample,
    ) -> Result<Option<Revision>, InsertError>;

    /// Removes a template with its samples; `None` when it does not exist.
    async fn remove(
        &self,
        app: &AppId,
        template: &TemplateId,
        reason: ErasureReason,
    ) -> Result<Option<Revision>, StoreError>;

    /// Removes up to `limit` templates that were enrolled before `than`, oldest first, in one transaction. Returns each
    /// with its revision.
    async fn remove_older(
        &self,
        app: &AppId,
        than: SystemTime,
        limit: usize,
        reason: ErasureReason,
    ) -> Result<Vec<(TemplateId, Revision)>, StoreError>;

    /// One template; `None` when it does not exist.
    async fn get(&self, app: &AppId, template: &TemplateId) -> Result<Option<TemplateRecord>, StoreError>;

    /// The samples of a template that one model made and that can be opened, oldest first; at most as many as a template
    /// may have ([`OpenOptions::samples_per_template`](super::OpenOptions)). Empty when the template does not exist.
    async fn samples(&self, app: &AppId, model: &ModelTag, template: &TemplateId) -> Result<Vec<Sample>, StoreError>;

    /// Up to `limit` templates, at least one, after the id `after`, in byte order of their ids. Templates with many
    /// samples make a page shorter.
    async fn page(&self, app: &AppId, after: Option<&TemplateId>, limit: usize) -> Result<TemplateList, StoreError>;

    /// Loads a part of a gallery: the next templates after the id `after`, in byte order of their ids, with their samples
    /// of one model. A page has about `limit` samples of any model at most, and at least one template. Templates
    /// without a sample that can be opened are left out, so a page may be short, or empty, though it is not the last.
    async fn load(
        &self,
        app: &AppId,
        model: &ModelTag,
        after: Option<&TemplateId>,
        limit: usize,
    ) -> Result<TemplatePage, StoreError>;

    /// The changes after a position: up to `limit` revisions, with about `limit` samples at most, or one template. Each
    /// changed template is there once, with its current samples of one model.
    async fn changes(
        &self,
        app: &AppId,
        model: &ModelTag,
        after: GalleryPosition,
        limit: usize,
    ) -> Result<Changes, StoreError>;

    /// The newest position of every gallery.
    async fn revisions(&self) -> Result<Vec<(AppId, GalleryPosition)>, StoreError>;
}

/// The keys of snapshot files. A file is valid only while the database has its key. Removing a template deletes the
/// keys of its gallery, so no snapshot keeps what was deleted.
#[async_trait]
pub trait SnapshotStore: Send + Sync {
    /// Creates the key of a snapshot that is about to be written. The snapshot has to show at least the revision that
    /// is returned.
    async fn register(&self, app: &AppId, id: SnapshotId) -> Result<(Key, Revision), StoreError>;

    /// The key of a snapshot; `None` when the snapshot is not valid.
    async fn key(&self, app: &AppId, id: SnapshotId) -> Result<Option<Key>, StoreError>;

    /// Deletes a key.
    async fn discard(&self, app: &AppId, id: SnapshotId) -> Result<(), StoreError>;
}

/// Clears away what erasures leave outside of the tables.
#[async_trait]
pub trait Scrubber: Send + Sync {
    /// Scrubs if something was erased since the last time. SQLite empties the write-ahead log into the database file,
    /// where erased rows are overwritten; Postgres runs VACUUM, so that erased rows can be overwritten. `false` when it
    /// has to be tried again soon.
    async fn scrub(&self) -> Result<bool, StoreError>;

    /// Ends the use of the database by a server. SQLite writes its log into the file and marks the file as complete.
    async fn close(&self) -> Result<(), StoreError>;

    /// Another process may have erased something without scrubbing.
    fn mark_pending(&self);

    /// How often [`Scrubber::scrub`] is worth its price.
    fn interval(&self) -> Duration;
}

/// Activates another sealing key while any number of nodes serve.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Whether this process has a key. The key file is read again if it does not.
    fn has(&self, key: KeyId) -> bool;

    /// Reads the key file again, if the keys are in one, and returns how many keys there are. Keys that are no longer in
    /// it are forgotten. An error changes nothing.
    fn reload(&self) -> Result<usize, StoreError>;

    /// Which keys there are, and how much is sealed under each. Reads the row of every sample.
    async fn status(&self) -> Result<KeyStatus, StoreError>;

    /// Activates a key: every node seals later writes under it.
    async fn activate(&self, key: KeyId) -> Result<(), StoreError>;

    /// Reseals a batch of data keys under the active key. `None` begins with the first. Repeating it is safe.
    async fn reseal(&self, after: Option<SampleCursor>) -> Result<Resealed, StoreError>;
}

/// Whether the database can be written.
#[async_trait]
pub trait WriteProbe: Send + Sync {
    /// Writes a row that has no other use, as durably as any other write, and checks that the active sealing key is there.
    async fn probe(&self) -> Result<(), StoreError>;
}

/// How busy the connections to the database are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolUsage {
    /// Connections in use.
    pub in_use: usize,
    /// Maximum connections.
    pub capacity: usize,
    /// Calls that wait for a connection.
    pub waiting: usize,
}

/// Reports how busy the connections to the database are.
pub trait PoolGauge: Send + Sync {
    /// The usage of this moment.
    fn pool_usage(&self) -> PoolUsage;
}

/// Shortens the wait for what other nodes write. It is only a hint: a replica that follows the revisions misses nothing
/// without it.
#[async_trait]
pub trait HintStore: Send + Sync {
    /// Waits until something may have changed. SQLite has no notifications: there it waits for ever.
    async fn changed(&self) -> Result<(), StoreError>;
}

/// All stores of one database.
#[derive(Clone)]
pub struct Store {
    /// Applications.
    pub apps: Arc<dyn AppStore>,
    /// Administrators, their tokens and sessions.
    pub administrators: Arc<dyn AdminStore>,
    /// The keys of applications.
    pub app_keys: Arc<dyn AppKeyStore>,
    /// Templates.
    pub templates: Arc<dyn TemplateStore>,
    /// Changes of single samples, and of whose they are.
    pub samples: Arc<dyn SampleStore>,
    /// Templates with their details.
    pub people: Arc<dyn PeopleStore>,
    /// Probes that are held for review.
    pub review: Arc<dyn ReviewStore>,
    /// Enrollments that are executed once, however often they are requested.
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// The keys of snapshots.
    pub snapshots: Arc<dyn SnapshotStore>,
    /// Clears away what erasures leave.
    pub scrubber: Arc<dyn Scrubber>,
    /// The sealing keys.
    pub keys: Arc<dyn KeyStore>,
    /// Whether the database can be written.
    pub probe: Arc<dyn WriteProbe>,
    /// How busy its connections are.
    pub pool: Arc<dyn PoolGauge>,
    /// Notifications of changes.
    pub hints: Arc<dyn HintStore>,
    /// Events for the journal.
    pub outbox: Arc<dyn OutboxStore>,
    /// Reads and fills whole databases.
    pub backup: Arc<dyn BackupStore>,
    /// The id of the database, which a restored or copied one shares. `None`: no server of this version has opened it.
    pub database_id: Option<Uuid>,
    /// Retention, and the clock that it goes by.
    pub retention: Arc<dyn RetentionStore>,
    /// The key of the journal. It does not change when another sealing key is activated.
    pub journal_key: Zeroizing<[u8; 32]>,
    /// Seals the cursors of pages. All nodes have the same.
    pub cursor_key: Arc<CursorKey>,
}
