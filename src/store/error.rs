//! Why the store fails.

use std::path::PathBuf;

use super::key::{KeyError, KeyId};
use crate::domain::DetailError;

/// Why a call of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The application does not exist, or was deleted.
    #[error("the application does not exist")]
    NoSuchApp,
    /// The database cannot be reached, is read-only, full, locked or too slow. A retry may succeed.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Stored data cannot be read: it is damaged, or of a newer version.
    #[error("stored data cannot be read: {0}")]
    Corrupt(String),
    /// Something is, or has to be, sealed with a key that this process does not have. A retry may succeed: the key file
    /// is read again.
    #[error("the sealing key {0} is not among those given")]
    KeyMissing(KeyId),
    /// Any other error.
    #[error("the database failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// Classifies an error of SQLx. `is_unavailable` is what the database's own error code means.
    pub(super) fn from_sqlx(error: sqlx::Error, is_unavailable: bool) -> Self {
        let is_unavailable = is_unavailable
            || matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    // The peer is not a database, or closes the connection during the handshake.
                    | sqlx::Error::Protocol(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
                    // A connection that was left in the middle of a transaction; it is closed.
                    | sqlx::Error::BeginFailed
                    | sqlx::Error::InvalidSavePointStatement
            );
        if is_unavailable { Self::Unavailable(Box::new(error)) } else { Self::Failed(Box::new(error)) }
    }
}

/// Why a write fails.
impl StoreError {
    /// A sentence for everyone: it reveals nothing of the database.
    pub fn write_fault(&self) -> &'static str {
        /// Primary codes of SQLite, and SQLSTATEs of Postgres.
        const FAULTS: [(&[&str], &str); 4] = [
            (&["8", "25006"], "the database is read-only"),
            (&["13", "53100"], "the disk of the database is full"),
            (&["10", "58030"], "the disk of the database fails"),
            (&["42501"], "the role of the server may not write to the database"),
        ];
        match self {
            Self::KeyMissing(_) => "a sealing key is missing",
            Self::Unavailable(cause) | Self::Failed(cause) => {
                let error = cause.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
                let code = error.and_then(|error| error.code()).unwrap_or_default();
                // SQLite adds details in the higher bits.
                let primary = code.parse::<u32>().ok().filter(|_| code.len() < 5).map(|code| (code & 0xff).to_string());
                let code = primary.as_deref().unwrap_or(&code);
                let fault = FAULTS.iter().find(|(codes, _)| codes.contains(&code));
                fault.map_or("the database is not available", |(_, fault)| fault)
            }
            Self::NoSuchApp | Self::Corrupt(_) => "the database cannot be written",
        }
    }
}

/// Errors of transactions.
pub(super) trait TransactionError {
    /// Whether the database rolled the transaction back because of a concurrent one: a serialization failure or a
    /// deadlock. Nothing was written, so the whole transaction can be repeated.
    fn is_conflict(&self) -> bool;
}

impl TransactionError for StoreError {
    fn is_conflict(&self) -> bool {
        let Self::Unavailable(cause) = self else { return false };
        let error = cause.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
        error.and_then(|error| error.code()).is_some_and(|code| ["40001", "40P01"].contains(&code.as_ref()))
    }
}

impl TransactionError for UpdateError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_conflict())
    }
}

impl TransactionError for EraseError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_conflict())
    }
}

impl TransactionError for InsertError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_conflict())
    }
}

/// Why a template or a sample is refused. Nothing of it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A template with that id exists.
    #[error("a template of that id exists")]
    Exists,
    /// Another template of the application has the external id.
    #[error("another template has the external id")]
    ExternalIdTaken,
    /// A limit is reached.
    #[error(transparent)]
    Limit(#[from] LimitReached),
}

/// The limit that a write would exceed. The text is for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitReached {
    /// Samples of one template.
    #[error(
        "a template may have {0} samples at most (limits.samples_per_template): replace or delete the template, or ask \
         the operator to raise the limit"
    )]
    SamplesPerTemplate(u64),
    /// Templates of the application.
    #[error(
        "the application's quota of {0} templates is reached: delete templates, or ask the operator to raise the quota"
    )]
    Templates(u64),
    /// Samples of the application.
    #[error(
        "the application's quota of {0} samples is reached: delete templates, or ask the operator to raise the quota"
    )]
    Samples(u64),
}

/// Why a template was not inserted.
#[derive(Debug, thiserror::Error)]
pub enum InsertError {
    /// It is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why details are not changed. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The template does not exist.
    #[error("the template does not exist")]
    NotFound,
    /// The template has another revision than the caller expects.
    #[error("the template was changed meanwhile")]
    Changed,
    /// Another template of the application has the external id.
    #[error("the external id is taken")]
    ExternalIdTaken,
    /// The details would be invalid.
    #[error(transparent)]
    Invalid(#[from] DetailError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a person is not erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// The template does not exist.
    #[error("the template does not exist")]
    NotFound,
    /// The template has another revision than the caller expects.
    #[error("the template was changed meanwhile")]
    Changed,
    /// The template has another number of samples than the caller confirms.
    #[error("the template has {0} samples")]
    CountDiffers(u64),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is malformed. It is not repeated: it may contain a password.
    #[error("database.url is not of the form postgres://USER@HOST/NAME")]
    Url,
    /// A parameter of the URL is wrong.
    #[error("database.url: {name}: {message}")]
    UrlParameter {
        /// The parameter.
        name: &'static str,
        /// What is possible.
        message: String,
    },
    /// A pooler gives several clients one session.
    #[error(
        "two connections share one session: a connection pooler is in transaction or statement mode; give each client a \
         session of its own (PgBouncer: pool_mode = session for this database), or connect to Postgres itself"
    )]
    SharedSessions,
    /// The database file cannot be created.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no connection.
    #[error("no connection: {0}")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no database file.
    #[error("{0} does not exist; the first start of the server creates it")]
    NoFile(PathBuf),
    /// There is no database file, and there was one.
    #[error(
        "{path} is missing or empty, and {state} shows that it was not; put it back with {path}-wal, or restore a backup. \
         `semblance database accept` begins with an empty database"
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// The file that shows it.
        state: PathBuf,
    },
    /// The database is an older state of itself.
    #[error(
        "{path} is an older state of the database than this folder had (mark {found} instead of {state}): it was replaced \
         by an older copy, or {path}-wal, which holds the newest writes, was removed. Nothing was changed. Put the newest \
         files back, or restore a backup; `semblance database accept` goes on without what is missing"
    )]
    OlderState {
        /// The file.
        path: PathBuf,
        /// Its mark.
        found: u32,
        /// The mark that it had.
        state: u32,
    },
    /// The file and its write-ahead log are of different moments.
    #[error(
        "{0} and {0}-wal do not belong together: one of them is an older copy. Nothing was changed. Put back both files of \
         one moment, or restore a backup"
    )]
    MixedState(PathBuf),
    /// The file was copied without its write-ahead log.
    #[error(
        "{0} was copied while it was in use, and without {0}-wal, which holds the newest writes. Nothing was changed. Use \
         `semblance backup`, or copy the data folder after a clean stop; `semblance database accept` goes on without what \
         is missing"
    )]
    NoLog(PathBuf),
    /// The database has no tables.
    #[error("it is empty; `semblance database migrate`, or the first start of the server, creates its tables")]
    Empty,
    /// The database has tables, and no server has used it.
    #[error("it has no sealing key yet; the first start of the server sets it")]
    Unused,
    /// The schema lacks migrations, which this command may not run.
    #[error(
        "its schema lacks {0} migrations; `semblance database migrate`, or the next start of the server, applies them"
    )]
    Outdated(usize),
    /// The schema lacks migrations, and the role may not run them.
    #[error(
        "its schema lacks {missing} migrations, and this role may not change the schema; run `semblance database \
         migrate` as the owner of the tables: {source}"
    )]
    MayNotMigrate {
        /// How many migrations are missing.
        missing: usize,
        /// What the database refused.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The schema is newer than this program.
    #[error("its schema was made by a newer version of Semblance (migration {0}); this version must not touch it")]
    Newer(i64),
    /// The schema cannot be migrated.
    #[error("its schema cannot be brought up to date: {0}")]
    Migrate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The active key was not given.
    #[error(
        "it is sealed with the key {active}, and that is not among those given ({given}); give the key that it is \
         sealed with (SEMBLANCE_KEY or SEMBLANCE_KEY_FILE)"
    )]
    WrongKey {
        /// The active key.
        active: KeyId,
        /// The keys that were given.
        given: String,
    },
    /// Something is sealed under keys that were not given: a rotation of the key was interrupted.
    #[error(
        "a rotation of the sealing key was interrupted, and templates are still sealed under {0}; give that key, too, \
         and run `semblance key rotate` again"
    )]
    KeysMissing(String),
    /// The row that shows which key is active does not open with that key.
    #[error("its sealing check is damaged")]
    DamagedCheck,
    /// Something is sealed, and the key file is missing.
    #[error("it is sealed with another key than would be made now: {0} is missing; put the key file back")]
    KeyMissing(PathBuf),
    /// The key cannot be read or created.
    #[error("sealing key: {0}")]
    Key(#[from] KeyError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    pub(super) fn connect(error: sqlx::Error) -> Self {
        Self::Connect(Box::new(error))
    }

    pub(super) fn migrate(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::VersionMissing(version) => Self::Newer(version),
            other => Self::Migrate(Box::new(other)),
        }
    }
}
