//! The durable truth: applications, templates, samples, changes.
//!
//! Narrow traits, each method one transaction, durable when it returns. Postgres and SQLite stand
//! behind them; one conformance suite (`tests/it/store.rs`) gives the traits their meaning.
//!
//! Every write of a gallery begins by raising that gallery's revision under a row lock, so
//! revisions have no gaps and commit in order, and a replica that follows them misses nothing.

mod key;
mod keyring;
mod limited;
mod open;
pub mod outbox;
mod postgres;
mod row;
mod scrub;
mod seal;
mod sealed_row;
pub mod snapshot_file;
mod sql;
mod sqlite;

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
pub use key::{Key, KeyError, KeyFile, KeyId, LockedKeyFile};
pub use open::{DatabaseConfig, KeySource, OpenError, OpenOptions, open};
pub use outbox::{Claim, ErasureReason, NodePosition, OutboxEvent, OutboxStore};
pub use sealed_row::SealedRow;

use crate::domain::{AppId, EnrollRules, Guard, ModelTag, Revision, SampleId, TemplateId};
use crate::gallery::{Change, IndexedTemplate, Sample};

/// SHA-256 of an APP-KEY. The key itself is never stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(pub [u8; 32]);

impl std::fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

/// An application as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct AppRecord {
    /// Its id: the `APP-ID` header.
    pub id: AppId,
    /// A name for people.
    pub name: String,
    /// Hash of its key.
    pub key_hash: KeyHash,
    /// When it was created (whole milliseconds).
    pub created_at: SystemTime,
    /// The key before, while it is in force beside the present one.
    pub previous_key: Option<PreviousKey>,
    /// Whether age, gender and race are reported to it.
    pub attributes: bool,
    /// How long after its enrolment a template is kept (whole seconds); `None`: for ever.
    pub retention: Option<Duration>,
    /// What is enrolled, and what is refused.
    pub rules: EnrollRules,
}

/// A key that was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviousKey {
    /// Its hash.
    pub hash: KeyHash,
    /// When it ends (whole milliseconds).
    pub until: SystemTime,
}

/// A template as listed: no embeddings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateRecord {
    /// Its id.
    pub id: TemplateId,
    /// When it was enrolled (whole milliseconds).
    pub created_at: SystemTime,
    /// Its samples, oldest first.
    pub samples: Vec<SampleRecord>,
}

/// A sample as listed: no embedding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleRecord {
    /// Its id.
    pub id: SampleId,
    /// The model that made its embedding.
    pub model: ModelTag,
    /// When it was added (whole milliseconds).
    pub created_at: SystemTime,
}

/// What to do when a template of the same id exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// Refuse: a biometric is never overwritten silently.
    Refuse,
    /// Replace it, with all its samples; what is erased says why.
    Replace(ErasureReason),
    /// Add the samples to those that it has.
    Extend,
}

/// A part of a gallery.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplatePage {
    /// In byte order of their ids.
    pub templates: Vec<IndexedTemplate>,
    /// After which id the next page begins; `None` when this is the last.
    pub next: Option<TemplateId>,
    /// Samples that are left out because they cannot be opened.
    pub unreadable: Vec<UnreadableSample>,
}

/// A sample that is stored but cannot be opened. What surrounds it is read all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableSample {
    /// The template that it is of.
    pub template: TemplateId,
    /// Why.
    pub fault: SampleFault,
}

/// Why a sample cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SampleFault {
    /// It is sealed with a key that this process does not have (yet).
    #[error("the sealing key {0} is not among those given")]
    KeyMissing(KeyId),
    /// It is damaged, was moved, or is of a newer version.
    #[error("{0}")]
    Damaged(String),
}

impl From<UnreadableSample> for StoreError {
    fn from(unread: UnreadableSample) -> Self {
        match unread.fault {
            SampleFault::KeyMissing(key) => Self::KeyMissing(key),
            SampleFault::Damaged(what) => Self::Corrupt(format!("template {}: {what}", unread.template)),
        }
    }
}

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The application does not exist (any more).
    #[error("the application does not exist")]
    NoSuchApp,
    /// The database cannot be reached, is read-only, full, locked or too slow. Worth a retry.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What the database holds cannot be read: damaged, sealed with another key, or of a newer version.
    #[error("stored data cannot be read: {0}")]
    Corrupt(String),
    /// What is stored, or is to be, is sealed with a key that this process does not have. It is worth a retry: the
    /// key file is read again.
    #[error("the sealing key {0} is not among those given")]
    KeyMissing(KeyId),
    /// Anything else.
    #[error("the database failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a template was not inserted.
#[derive(Debug, thiserror::Error)]
pub enum InsertError {
    /// A template of that id exists.
    #[error("a template of that id exists")]
    Exists,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where the history of a gallery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GalleryPosition {
    /// How many changes there were.
    pub revision: Revision,
    /// Drawn at random with the last of them; `None` where it is not known. Of one revision there are two only if the
    /// database went back in time and on from there.
    pub tag: Option<i64>,
}

impl GalleryPosition {
    /// Whether this is where another history is: it has not come so far, or it came here in another way.
    pub fn has_diverged(self, other: Self) -> bool {
        let other_way = self.tag.zip(other.tag).is_some_and(|(one, other)| one != other);
        self.revision > other.revision || (self.revision == other.revision && other_way)
    }
}

impl From<Revision> for GalleryPosition {
    fn from(revision: Revision) -> Self {
        Self { revision, tag: None }
    }
}

/// The changes of a gallery after a revision.
#[derive(Debug, Clone, PartialEq)]
pub enum Changes {
    /// The changes, in order and without gaps.
    List {
        /// Empty when the revision is the newest.
        changes: Vec<Change>,
        /// Samples that are left out because they cannot be opened.
        unreadable: Vec<UnreadableSample>,
        /// The tag of the last change.
        tag: Option<i64>,
    },
    /// The log does not reach back to the revision, has another history, or the application is deleted: load the whole
    /// gallery.
    TooOld,
}

impl Changes {
    /// The revision is the newest.
    pub fn none() -> Self {
        Self::List { changes: Vec::new(), unreadable: Vec::new(), tag: None }
    }
}

/// Applications.
#[async_trait]
pub trait AppStore: Send + Sync {
    /// Creates an application; `false` when the id is taken.
    async fn create(&self, app: &AppRecord) -> Result<bool, StoreError>;

    /// Creates an application if there is none at all, of however many that try at once one; whether it did.
    async fn create_first(&self, app: &AppRecord) -> Result<bool, StoreError>;

    /// All applications, oldest first.
    async fn list(&self) -> Result<Vec<AppRecord>, StoreError>;

    /// Puts a new key in force; the one before stays so until `former_until`, or ends at once. `false`
    /// when there is no such application.
    async fn set_key(&self, id: &AppId, key: KeyHash, former_until: Option<SystemTime>) -> Result<bool, StoreError>;

    /// Says how long templates are kept (whole seconds); `false` when there is no such application.
    async fn set_retention(&self, id: &AppId, retention: Option<Duration>) -> Result<bool, StoreError>;

    /// Says whether age, gender and race are reported to it; `false` when there is no such application.
    async fn set_attributes(&self, id: &AppId, reported: bool) -> Result<bool, StoreError>;

    /// Sets what happens to a likely mix-up; `false` when there is no such application.
    async fn set_guard(&self, id: &AppId, guard: Guard) -> Result<bool, StoreError>;

    /// Sets the least quality of a photo that is enrolled; `false` when there is no such application.
    async fn set_min_quality(&self, id: &AppId, least: Option<f64>) -> Result<bool, StoreError>;

    /// Deletes an application with its whole gallery in one transaction, of every template that is left with a
    /// event in the outbox; `false` when there is none.
    async fn delete(&self, id: &AppId) -> Result<bool, StoreError>;
}

/// Templates and their samples. Whatever erases a template puts a event of it into the outbox, in the same
/// transaction: see [`OutboxStore`].
#[async_trait]
pub trait TemplateStore: Send + Sync {
    /// Enrols a template with its first sample.
    async fn insert(
        &self,
        app: &AppId,
        template: &TemplateId,
        sample: &Sample,
        on_conflict: OnConflict,
    ) -> Result<Revision, InsertError>;

    /// Enrols several templates, each with its samples, in one transaction: all of them are durable when
    /// it returns, or none. The revision of each; `None` for one whose id existed and was to be left alone.
    async fn insert_all(
        &self,
        app: &AppId,
        templates: &[IndexedTemplate],
        on_conflict: OnConflict,
    ) -> Result<Vec<Option<Revision>>, StoreError>;

    /// How many templates an application has.
    async fn count(&self, app: &AppId) -> Result<usize, StoreError>;

    /// Adds a sample to a template; `None` when there is no such template.
    async fn add_sample(
        &self,
        app: &AppId,
        template: &TemplateId,
        sample: &Sample,
    ) -> Result<Option<Revision>, StoreError>;

    /// Removes a template with all its samples; `None` when there is none.
    async fn remove(
        &self,
        app: &AppId,
        template: &TemplateId,
        reason: ErasureReason,
    ) -> Result<Option<Revision>, StoreError>;

    /// Removes up to `limit` templates that were enrolled before a moment, the oldest first, in one
    /// transaction; each with its revision.
    async fn remove_older(
        &self,
        app: &AppId,
        than: SystemTime,
        limit: usize,
        reason: ErasureReason,
    ) -> Result<Vec<(TemplateId, Revision)>, StoreError>;

    /// One template; `None` when there is none.
    async fn get(&self, app: &AppId, template: &TemplateId) -> Result<Option<TemplateRecord>, StoreError>;

    /// The samples of one model that a template has, oldest first, those left out that cannot be opened; empty when
    /// there is no such template.
    async fn samples(&self, app: &AppId, model: &ModelTag, template: &TemplateId) -> Result<Vec<Sample>, StoreError>;

    /// Up to `limit` templates whose id comes after `after`, in byte order of the ids.
    async fn page(
        &self,
        app: &AppId,
        after: Option<&TemplateId>,
        limit: usize,
    ) -> Result<Vec<TemplateRecord>, StoreError>;

    /// The next `limit` templates after `after` in byte order of the ids, with their samples of one
    /// model: how a gallery is loaded. Templates without a sample of that model that opens are left out, so a
    /// page may be short, or empty, though it has a next one.
    async fn load(
        &self,
        app: &AppId,
        model: &ModelTag,
        after: Option<&TemplateId>,
        limit: usize,
    ) -> Result<TemplatePage, StoreError>;

    /// Up to `limit` changes after a revision, each with the template's samples of one model as
    /// they are now.
    async fn changes(
        &self,
        app: &AppId,
        model: &ModelTag,
        after: GalleryPosition,
        limit: usize,
    ) -> Result<Changes, StoreError>;

    /// Where every application's gallery is.
    async fn revisions(&self) -> Result<Vec<(AppId, GalleryPosition)>, StoreError>;
}

/// Names a snapshot file of a gallery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotId(pub uuid::Uuid);

/// The keys of snapshot files. They are the tie between a file and the database: a file counts only
/// while its key is here, and a removal of a template takes its gallery's keys along, so that no
/// snapshot keeps what was deleted.
#[async_trait]
pub trait SnapshotStore: Send + Sync {
    /// Makes a key for a snapshot that is about to be made. The snapshot must show at least the
    /// revision that is returned.
    async fn register(&self, app: &AppId, id: SnapshotId) -> Result<(Key, Revision), StoreError>;

    /// The key of a snapshot; `None` when it does not count (any more).
    async fn key(&self, app: &AppId, id: SnapshotId) -> Result<Option<Key>, StoreError>;

    /// Forgets a key.
    async fn discard(&self, app: &AppId, id: SnapshotId) -> Result<(), StoreError>;
}

/// What becomes of keys that were destroyed.
#[async_trait]
pub trait Scrubber: Send + Sync {
    /// Clears away what removals left behind outside of the tables, if there was one since the last
    /// time. SQLite: the log of writes is emptied into the database file, where what is removed is
    /// overwritten. Postgres: the rows are given to be overwritten (VACUUM). `false` when it has to be
    /// tried again soon.
    async fn scrub(&self) -> Result<bool, StoreError>;

    /// Another process may have removed something, and may not have cleared away after itself.
    fn mark_pending(&self);

    /// How often [`Scrubber::scrub`] is worth its price.
    fn interval(&self) -> Duration;
}

/// The sealing keys of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatus {
    /// The key that seals what is written.
    pub in_force: KeyId,
    /// The keys that this process was given, oldest first.
    pub given: Vec<KeyId>,
    /// How many data keys (and, of the version before data keys, samples) are sealed under which key.
    pub in_use: Vec<(KeyId, u64)>,
}

/// Up to which sample everything is sealed under the key in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleCursor {
    app: String,
    template: String,
    created_at: i64,
    sample: Vec<u8>,
}

impl SampleCursor {
    /// Before every sample.
    fn first() -> Self {
        Self { app: String::new(), template: String::new(), created_at: 0, sample: Vec::new() }
    }
}

/// A part of what [`KeyStore::reseal`] has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resealed {
    /// How many data keys were sealed anew.
    pub count: u64,
    /// Where to go on; `None` at the end.
    pub next: Option<SampleCursor>,
}

/// Puts another sealing key in force, while any number of nodes serve.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Whether this process has a key; the key file is read again if it was not there.
    fn has(&self, key: KeyId) -> bool;

    /// Which keys there are, and what is sealed under them. Reads every sample's row.
    async fn status(&self) -> Result<KeyStatus, StoreError>;

    /// Puts a key in force: whatever any node writes after this is sealed under it.
    async fn put_in_force(&self, key: KeyId) -> Result<(), StoreError>;

    /// Seals anew, under the key in force, the next data keys that are sealed under another: a bounded
    /// number, from a place on, `None` being the beginning. A repetition does no harm.
    async fn reseal(&self, after: Option<SampleCursor>) -> Result<Resealed, StoreError>;
}

/// Shortens the wait for what other nodes write. Only a hint: whoever follows the revisions misses nothing
/// without it.
#[async_trait]
pub trait HintStore: Send + Sync {
    /// Waits until something may have been written. Where nobody tells (SQLite), it waits for ever.
    async fn changed(&self) -> Result<(), StoreError>;
}

/// All stores of one database.
#[derive(Clone)]
pub struct Store {
    /// Applications.
    pub apps: std::sync::Arc<dyn AppStore>,
    /// Templates.
    pub templates: std::sync::Arc<dyn TemplateStore>,
    /// Keys of snapshots.
    pub snapshots: std::sync::Arc<dyn SnapshotStore>,
    /// What becomes of what was removed.
    pub scrubber: std::sync::Arc<dyn Scrubber>,
    /// Sealing keys.
    pub keys: std::sync::Arc<dyn KeyStore>,
    /// What other nodes write.
    pub hints: std::sync::Arc<dyn HintStore>,
    /// What the journal is to tell of.
    pub outbox: std::sync::Arc<dyn OutboxStore>,
    /// The key of the journal. It stays what it was when another sealing key is put in force.
    pub journal_key: zeroize::Zeroizing<[u8; 32]>,
}
