//! The durable truth: applications, templates, samples, changes.
//!
//! Narrow traits, each method one transaction, durable when it returns. SQLite and Postgres implement them with the
//! same SQL; one conformance suite (`tests/it/store.rs`) defines what the traits mean.
//!
//! Every write of a gallery begins by raising that gallery's revision under a row lock, so revisions have no gaps and
//! commit in order, and a replica that follows them misses nothing.

mod administrators;
pub mod application;
pub mod backup;
mod config;
mod continuity;
mod cursor_key;
mod error;
mod idempotency;
mod key;
mod keyring;
mod migrate;
mod open;
pub mod outbox;
mod people;
mod postgres;
mod record;
pub mod retention;
mod review;
mod samples;
mod scrub;
mod seal;
pub mod snapshot_file;
mod sql;
mod sqlite;
mod traits;

pub use administrators::{
    AdminChange, AdminCodeRecord, AdminSessionRecord, AdminState, AdminStore, AdminTokenRecord, AdministratorRecord,
    LastUse, SessionsOver, TokenChange,
};
pub use application::{
    AppChange, AppKeyChange, AppKeyRecord, AppKeyRefusal, AppKeyStore, AppRecord, AppRefusal, KeyFault, KeyUse,
    Replaced, Replacement, Rotated,
};
pub use backup::{BackupError, BackupFile, BackupStore, BackupWriter};
pub use config::{DatabaseConfig, KeySource, OpenMode, OpenOptions};
pub use cursor_key::{CursorError, CursorKey};
pub use error::{EraseError, InsertError, LimitReached, OpenError, Refusal, StoreError, UpdateError};
pub use idempotency::{EnrollmentReply, Executed, Fingerprint, IdempotencyStore, KeptReply, REPLY_MAX_AGE};
pub use key::{Key, KeyError, KeyFile, KeyId, LockedKeyFile};
pub use open::{accept, migrate, open};
pub use outbox::{Claim, ErasureReason, NodePosition, OutboxBacklog, OutboxEvent, OutboxStore};
pub use people::{
    ErasedPerson, ListEntry, ListFilter, ListOrder, ListQuery, NewTemplate, NotedPage, NotedPerson, PeopleStore,
    PersonRecord,
};
pub use record::{
    Changes, DatedTemplate, EnrolledSample, GalleryPosition, KeyHash, KeyStatus, OnConflict, Resealed, SampleCursor,
    SampleFault, SampleRecord, SnapshotId, TemplateList, TemplatePage, TemplateRecord, UnreadableSample,
};
pub use retention::{ClockReading, Expired, Hold, RetentionRecord, RetentionStore};
pub use review::{Held, HeldFilter, HeldProbe, HeldQuery, MAX_HELD, NewProbe, ProbeContent, ReviewStore};
pub use samples::{ChangeError, ChangeRefusal, ChangedBy, Merge, Merged, SampleMove, SampleStore};
pub use seal::SealedRow;
pub use traits::{
    AppStore, HintStore, KeyStore, PoolGauge, PoolUsage, Scrubber, SnapshotStore, Store, TemplateStore, WriteProbe,
};
