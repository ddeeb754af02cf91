//! The start of a chain whose older files were removed: a file `start`, authenticated with the journal key.
//!
//! The writer updates it before it removes a file. So if lines before that start are missing, the writer removed them;
//! any other missing lines were removed by someone else.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use super::chain::{self, JournalKey, Link};

/// The `mac` before the start. No line of the chain follows it.
const BEFORE_START: Link = *b"semblance journal, where it star";

const FILE_NAME: &str = "start";

/// The number of the first line that must exist; 1 when no file was removed.
pub(super) fn read(dir: &Path, key: &JournalKey) -> std::io::Result<u64> {
    let text = match std::fs::read_to_string(dir.join(FILE_NAME)) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(1),
        Err(error) => return Err(error),
    };
    let line = text.trim_end();
    let is_valid = chain::follows(key, Some(&BEFORE_START), line).is_some();
    let start = serde_json::from_str::<serde_json::Value>(line).ok().filter(|_| is_valid);
    // A file that is not authentic allows no missing lines.
    Ok(start.and_then(|start| start["start"].as_u64()).unwrap_or(1))
}

/// Allows lines before `first` to be missing from now on.
pub(super) fn write(dir: &Path, key: &JournalKey, first: u64) -> std::io::Result<()> {
    let (line, _) = chain::seal(key, &BEFORE_START, &format!("{{\"start\":{first}}}"))
        .ok_or_else(|| std::io::Error::other("the start cannot be sealed"))?;
    let partial = dir.join("start.part");
    let mut file = File::create(&partial)?;
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all())?;
    std::fs::rename(&partial, dir.join(FILE_NAME))?;
    sync(dir)
}

/// Puts the entries of a folder on disk.
pub(super) fn sync(dir: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}
