//! Whose a data folder is: one server's, for as long as it runs.
//!
//! The file `DATA/node` has the id of the node whose journal lies here, and is locked by the server that runs. Commands
//! on the same folder take no lock of it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::Path;

use uuid::Uuid;

use super::{StartError, make_private_dir};

const NAME: &str = "node";

/// The right to serve from a data folder. Ends with the process, however that ends.
pub(super) struct Node {
    pub(super) id: Uuid,
    _locked: File,
}

impl Node {
    /// Takes a folder, which is made if need be.
    ///
    /// # Errors
    /// [`StartError::Taken`], or when the folder cannot be used.
    pub(super) fn take(data: &Path) -> Result<Self, StartError> {
        let path = data.join(NAME);
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
        let id = match text.trim() {
            "" => {
                let id = Uuid::new_v4();
                file.write_all(format!("{id}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(unusable)?;
                id
            }
            text => Uuid::parse_str(text).map_err(|error| unusable(std::io::Error::other(error)))?,
        };
        Ok(Self { id, _locked: file })
    }
}

/// The id of the node whose folder it is; `None` when no server ran on it yet.
pub(super) fn read(data: &Path) -> Result<Option<Uuid>, StartError> {
    let path = data.join(NAME);
    let unusable = |source| StartError::Data { path: path.clone(), source };
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Uuid::parse_str(text.trim()).map(Some).map_err(|error| unusable(std::io::Error::other(error))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(error)),
    }
}
