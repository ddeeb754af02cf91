//! A new APP-KEY, kept in a private file until it is printed: a key that no one has seen must not be the only valid one.

use std::path::{Path, PathBuf};

use super::output::{flush, outln};
use super::{CliError, errln};
use crate::app::{make_private_dir, write_private};
use crate::domain::random_uuid;
use crate::service::Credentials;

/// The file that keeps new credentials. It stays until [`KeptKey::print`] or [`KeptKey::discard`].
#[derive(Debug)]
pub(super) struct KeptKey<'a> {
    credentials: &'a Credentials,
    path: PathBuf,
}

impl<'a> KeptKey<'a> {
    /// Writes the file, before the key is valid.
    ///
    /// # Errors
    /// When the data folder cannot be written. Nothing has changed then.
    pub(super) fn write(data: &Path, credentials: &'a Credentials) -> Result<Self, CliError> {
        // A name of its own: the file of an earlier command may hold the key that is valid now.
        let path = data.join(format!("new-key-{}-{}.json", credentials.app_id, random_uuid().simple()));
        let content = format!("{}\n", json(credentials));
        make_private_dir(data)
            .and_then(|()| write_private(&path, content.as_bytes()))
            .map_err(CliError::file(&path))?;
        Ok(Self { credentials, path })
    }

    /// Prints the credentials and removes the file.
    ///
    /// # Errors
    /// When standard output cannot be written. The error names the file, which stays.
    pub(super) fn print(self, as_json: bool) -> Result<(), CliError> {
        let Credentials { app_id, app_key, .. } = self.credentials;
        let printed = if as_json {
            outln!("{}", json(self.credentials))
        } else {
            outln!("APP-ID:  {app_id}\nAPP-KEY: {app_key}")
        };
        match printed.and_then(|()| flush()) {
            Ok(()) => {
                self.discard();
                Ok(())
            }
            Err(error) => Err(CliError::Exit {
                code: 1,
                message: format!(
                    "{error}; the new key of {app_id} is valid and kept in {}; delete that file when you have the key",
                    self.path.display()
                ),
            }),
        }
    }

    /// Removes the file: its key is printed, or was not put in force.
    pub(super) fn discard(self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            errln!("semblance: {} has the key, too, and cannot be deleted: {error}", self.path.display());
        }
    }

    /// The error of a change that may have been made nevertheless, with the file that has the key then.
    pub(super) fn uncertain(self, error: impl std::fmt::Display) -> CliError {
        CliError::message(format!("{error}; if the change was made, the new key is in {}", self.path.display()))
    }
}

fn json(credentials: &Credentials) -> serde_json::Value {
    serde_json::json!({
        "app_id": credentials.app_id.as_str(),
        "app_key": credentials.app_key,
        "key_id": credentials.key_id.to_string(),
    })
}
