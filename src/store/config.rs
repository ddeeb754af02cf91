//! How a database is opened.

use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use super::error::OpenError;
use super::key::{Key, KeyError, KeyFile};
use crate::domain::Clock;

/// Which database.
#[derive(Clone)]
pub enum DatabaseConfig {
    /// The embedded one, in a file.
    Sqlite(PathBuf),
    /// A server.
    Postgres {
        /// `postgres://USER@HOST/NAME`, or with several hosts: `postgres://USER@HOST1:PORT,HOST2:PORT/NAME`.
        url: Zeroizing<String>,
        /// A file with the password, when it is not in the URL. It is read for every new connection.
        password_file: Option<PathBuf>,
    },
}

/// Where the sealing keys come from. The oldest is first; the database says which one is active.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// The keys themselves.
    Given(Vec<Key>),
    /// A file. It is read again when a key is active that it did not contain.
    File {
        /// The file.
        file: KeyFile,
        /// Whether to create it with a random key when it does not exist and nothing is sealed yet.
        create: bool,
    },
}

impl KeySource {
    /// The keys that exist, oldest first; no file is created.
    ///
    /// # Errors
    /// When the file is missing or cannot be read.
    pub fn existing(&self) -> Result<Vec<Key>, KeyError> {
        match self {
            Self::Given(keys) => Ok(keys.clone()),
            Self::File { file, .. } => file.load(),
        }
    }

    /// The keys, oldest first. There is at least one.
    pub(super) fn keys(&self, is_sealed: bool) -> Result<Vec<Key>, OpenError> {
        Ok(match self {
            Self::Given(keys) => keys.clone(),
            Self::File { file, create: true } if !file.path().exists() && is_sealed => {
                return Err(OpenError::KeyMissing(file.path().to_owned()));
            }
            Self::File { file, create: true } if !file.path().exists() => vec![file.create()?],
            Self::File { file, .. } => file.load()?,
        })
    }
}

/// What opening a database may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Create the database and the sealing key where they do not exist, and bring the schema up to date.
    Create,
    /// Write to an existing database whose schema is up to date.
    Write,
    /// Read an existing database whose schema is up to date. No file and no row is created or changed.
    Read,
}

/// How a database is opened.
#[derive(Clone)]
pub struct OpenOptions {
    /// What opening may do.
    pub mode: OpenMode,
    /// Which one.
    pub database: DatabaseConfig,
    /// The sealing keys.
    pub key: KeySource,
    /// The most connections at once.
    pub connections: u32,
    /// The longest wait for a connection or a statement.
    pub timeout: Duration,
    /// The most samples of one template, at least 1. Templates that have more keep them.
    pub samples_per_template: u64,
    /// The time of what is written.
    pub clock: Clock,
}
