//! The lock of a data folder: one server uses it at a time.
//!
//! The file `DATA/node` holds the id of the node whose journal is in the folder. A running server locks the file;
//! commands on the same folder do not.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::Path;

use uuid::Uuid;

use super::credentials::write_private;
use super::{StartError, make_private_dir};
use crate::domain::random_uuid;

const FILE_NAME: &str = "node";

/// The right to serve from a data folder. The system releases it when the process ends, also after a crash.
pub(super) struct DataLock {
    pub(super) node_id: Uuid,
    _file: File,
}

impl DataLock {
    /// Locks a folder, which is created if it does not exist.
    ///
    /// # Errors
    /// [`StartError::Taken`], or when the folder cannot be used.
    pub(super) fn acquire(data: &Path) -> Result<Self, StartError> {
        let path = data.join(FILE_NAME);
        let unusable = |source| StartError::Data { path: path.clone(), source };
        make_private_dir(data).map_err(unusable)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StartError::Taken(data.to_owned())),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(unusable)?;
        let node_id = match text.trim() {
            "" => {
                let id = random_uuid();
                file.write_all(format!("{id}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(unusable)?;
                id
            }
            text => Uuid::parse_str(text).map_err(|error| unusable(std::io::Error::other(error)))?,
        };
        Ok(Self { node_id, _file: file })
    }
}

/// The database that a journal is of, as the file `database` in the folder of the journal names it. `None`: no such file.
pub(super) struct JournalOwner(Option<Uuid>);

impl JournalOwner {
    const FILE_NAME: &str = "database";

    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(journal: &Path) -> Result<Self, StartError> {
        let path = journal.join(Self::FILE_NAME);
        let unusable = |source| StartError::Data { path: path.clone(), source };
        match std::fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => Ok(Self(None)), // cut off by a crash
            Ok(text) => match Uuid::parse_str(text.trim()) {
                Ok(id) => Ok(Self(Some(id))),
                Err(error) => Err(unusable(std::io::Error::other(error))),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self(None)),
            Err(error) => Err(unusable(error)),
        }
    }

    /// Refuses to continue the journal of another database.
    ///
    /// # Errors
    /// [`StartError::OtherDatabase`].
    pub(super) fn check(&self, journal: &Path, database: Option<Uuid>) -> Result<(), StartError> {
        match (self.0, database) {
            (Some(known), Some(database)) if known != database => {
                Err(StartError::OtherDatabase { journal: journal.to_owned(), known, database })
            }
            _ => Ok(()),
        }
    }

    /// Writes the file, where it does not exist.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn record(&self, journal: &Path, database: Option<Uuid>) -> Result<(), StartError> {
        let (None, Some(database)) = (self.0, database) else { return Ok(()) };
        let path = journal.join(Self::FILE_NAME);
        let written = write_private(&path, format!("{database}\n").as_bytes());
        written.map_err(|source| StartError::Data { path, source })
    }
}

/// The id of the node that a data folder belongs to; `None` before its first start.
pub(super) fn node_id(data: &Path) -> Result<Option<Uuid>, StartError> {
    let path = data.join(FILE_NAME);
    let unusable = |source| StartError::Data { path: path.clone(), source };
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Uuid::parse_str(text.trim()).map(Some).map_err(|error| unusable(std::io::Error::other(error))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(error)),
    }
}

/// Whether a running server has locked a data folder.
pub(super) fn is_locked(data: &Path) -> Result<bool, StartError> {
    let path = data.join(FILE_NAME);
    let unusable = |source| StartError::Data { path: path.clone(), source };
    let file = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        file => file.map_err(unusable)?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}
