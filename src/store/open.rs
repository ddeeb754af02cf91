//! Opening a database: connect, migrate, and see that the sealing key fits.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use zeroize::Zeroizing;

use super::limited::limited;
use super::{Key, KeyError, KeyFile, KeyId, Store, StoreError, postgres, sqlite};

/// Which database.
#[derive(Clone)]
pub enum DatabaseConfig {
    /// The embedded one, in a file.
    Sqlite(PathBuf),
    /// A server.
    Postgres {
        /// `postgres://USER@HOST/NAME`.
        url: Zeroizing<String>,
        /// The password, when it is not in the URL.
        password: Option<Zeroizing<String>>,
    },
}

/// Where the sealing keys come from. Of several, the oldest is first; the database says which is in force.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// Given.
    Given(Vec<Key>),
    /// A file, which is read again when another key is in force than was in it.
    File {
        /// The file.
        file: KeyFile,
        /// Whether it is made with a random key when there is none and nothing is sealed yet.
        make: bool,
    },
}

/// How a database is opened.
#[derive(Clone)]
pub struct OpenOptions {
    /// Which one.
    pub database: DatabaseConfig,
    /// The sealing key.
    pub key: KeySource,
    /// Most connections at once.
    pub connections: u32,
    /// Longest wait for a connection or a statement.
    pub timeout: Duration,
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is not one. It is not repeated: it may hold a password.
    #[error("database.url is not of the form postgres://USER@HOST/NAME")]
    Url,
    /// The database file cannot be made.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No connection.
    #[error("no connection: {0}")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The schema is newer than this program.
    #[error("its schema was made by a newer version of Semblance (migration {0}); this version must not touch it")]
    Newer(i64),
    /// The schema cannot be brought up to date.
    #[error("its schema cannot be brought up to date: {0}")]
    Migrate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The key does not open what is stored.
    #[error(
        "it is sealed with the key {in_force}, and that is not among those given ({given}); give the key that it is \
         sealed with (SEMBLANCE_KEY or SEMBLANCE_KEY_FILE)"
    )]
    WrongKey {
        /// The key that is in force.
        in_force: KeyId,
        /// Those that were given.
        given: String,
    },
    /// Something is sealed under keys that were not given: the renewal of a key was broken off.
    #[error(
        "a renewal of the sealing key was not brought to its end, and templates are sealed under {0} still; give that \
         key, too, and run `semblance key rotate` once more"
    )]
    KeysMissing(String),
    /// The row that tells a wrong key cannot be opened though the key is the one that it names.
    #[error("its sealing check is damaged")]
    DamagedCheck,
    /// What is stored was sealed, and the key file is not there.
    #[error("it is sealed with another key than would be made now: {0} is missing; put the key file back")]
    KeyMissing(PathBuf),
    /// The key cannot be read or made.
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

/// Migrations as (version, name, SQL).
pub(super) fn migrations(list: &[(i64, &'static str, &'static str)]) -> Migrator {
    Migrator::with_migrations(
        list.iter()
            .map(|(version, name, sql)| {
                Migration::new(
                    *version,
                    Cow::Borrowed(*name),
                    MigrationType::Simple,
                    sqlx::SqlStr::from_static(sql),
                    false,
                )
            })
            .collect(),
    )
}

/// Sorts an error of SQLx: `away` says that the database's own code means "not now".
pub(super) fn classify(error: sqlx::Error, away: bool) -> StoreError {
    let away = away
        || matches!(
            error,
            sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                // Whoever answers is no database, or hangs up in the middle of a greeting.
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                // A connection that was left in the middle of a transaction; it is closed.
                | sqlx::Error::BeginFailed
                | sqlx::Error::InvalidSavePointStatement
        );
    if away { StoreError::Unavailable(Box::new(error)) } else { StoreError::Failed(Box::new(error)) }
}

/// Opens a database.
///
/// # Errors
/// See [`OpenError`].
pub async fn open(options: &OpenOptions) -> Result<Store, OpenError> {
    let store = match &options.database {
        DatabaseConfig::Sqlite(path) => sqlite::open(path, options).await?,
        DatabaseConfig::Postgres { url, password } => {
            postgres::open(url, password.as_ref().map(|p| p.as_str()), options).await?
        }
    };
    Ok(limited(store, options.timeout))
}

impl KeySource {
    /// The keys, oldest first; there is at least one.
    pub(super) fn keys(&self, is_sealed: bool) -> Result<Vec<Key>, OpenError> {
        Ok(match self {
            Self::Given(keys) => keys.clone(),
            Self::File { file, make: true } if !file.path().exists() && is_sealed => {
                return Err(OpenError::KeyMissing(file.path().to_owned()));
            }
            Self::File { file, make: true } if !file.path().exists() => vec![file.create()?],
            Self::File { file, .. } => file.load()?,
        })
    }
}
