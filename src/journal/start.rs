//! Where a chain begins whose older files were removed: a file `start`, proved by the journal's key.
//!
//! It is written before the first file is removed, so lines that are missing at the beginning of a journal were
//! either removed by its own writer or taken away.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use super::chain::{self, JournalKey, Link};

/// No line of the chain follows on this.
const BEFORE: Link = *b"semblance journal, where it star";

const NAME: &str = "start";

/// The number of the first line that may not be missing; 1 where nothing was removed.
pub(super) fn read(dir: &Path, key: &JournalKey) -> std::io::Result<u64> {
    let text = match std::fs::read_to_string(dir.join(NAME)) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(1),
        Err(error) => return Err(error),
    };
    let line = text.trim_end();
    let sound = chain::follows(key, Some(&BEFORE), line).is_some();
    let said = serde_json::from_str::<serde_json::Value>(line).ok().filter(|_| sound);
    // One that is not ours allows nothing.
    Ok(said.and_then(|said| said["start"].as_u64()).unwrap_or(1))
}

/// Says that lines before `first` may be missing from now on.
pub(super) fn write(dir: &Path, key: &JournalKey, first: u64) -> std::io::Result<()> {
    let (line, _) = chain::seal(key, &BEFORE, &format!("{{\"start\":{first}}}"))
        .ok_or_else(|| std::io::Error::other("the start cannot be sealed"))?;
    let partial = dir.join("start.part");
    let mut file = File::create(&partial)?;
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all())?;
    std::fs::rename(&partial, dir.join(NAME))?;
    sync(dir)
}

/// Puts on disk which files a folder has.
pub(super) fn sync(dir: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}
