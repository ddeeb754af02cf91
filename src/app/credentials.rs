//! The files with credentials in the data folder, readable by its owner only.
//!
//! The first run writes `credentials.json`; where a file of that name exists, which is of another application, it writes
//! `credentials-APPID.json`. A rotation of an application's key rewrites the file that holds the key.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::StartError;
use crate::service::{Credentials, hash_key};
use crate::settings::Settings;
use crate::store::KeyHash;

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    app_id: String,
    app_key: String,
}

/// The file for the credentials of a new application. It is not the file of another one.
pub(super) fn path_for(data: &Path, credentials: &Credentials) -> PathBuf {
    let usual = data.join("credentials.json");
    if usual.is_file() { data.join(format!("credentials-{}.json", credentials.app_id)) } else { usual }
}

/// Writes credentials. The file is on disk when this returns.
pub(super) fn write(path: &Path, credentials: &Credentials) -> std::io::Result<()> {
    let content = Content { app_id: credentials.app_id.to_string(), app_key: credentials.app_key.clone() };
    let mut text = serde_json::to_vec(&content)?;
    text.push(b'\n');
    write_private(path, &text)
}

/// Rewrites the file that holds the key that was replaced, if one does, and returns it.
///
/// # Errors
/// When the data folder cannot be read, or the file cannot be written.
pub fn update_credentials(
    settings: &Settings,
    credentials: &Credentials,
    replaced: &KeyHash,
) -> Result<Option<PathBuf>, StartError> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| StartError::Data { path, source }
    };
    let files = match std::fs::read_dir(&settings.data) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        files => files.map_err(unusable(&settings.data))?,
    };
    for file in files {
        let file = file.map_err(unusable(&settings.data))?;
        let name = file.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("credentials") || !name.ends_with(".json") {
            continue;
        }
        let path = file.path();
        let content = std::fs::read(&path).unwrap_or_default();
        let holds_it = serde_json::from_slice::<Content>(&content).is_ok_and(|content| {
            content.app_id == credentials.app_id.as_str() && hash_key(&content.app_key) == *replaced
        });
        if holds_it {
            write(&path, credentials).map_err(unusable(&path))?;
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Writes a file that only its owner can read, and replaces an older one. It is on disk when this returns.
///
/// # Errors
/// When it cannot be written. An older file of that name is unchanged then.
pub fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let partial = path.with_extension("part");
    let _ = std::fs::remove_file(&partial);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&partial).and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))?;
    std::fs::rename(&partial, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}
