//! How far the files of a journal reach.

use std::path::{Path, PathBuf};

use super::Entry;
use super::reader::{files, first_line, last_line};

/// A line at an end of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndLine {
    /// Its number.
    pub number: u64,
    /// Its time (RFC 3339, UTC).
    pub time: String,
}

/// How far the files of a journal reach. Lines that wait for the disk are not counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extent {
    /// The first line; `None` without lines.
    pub first: Option<EndLine>,
    /// The last line.
    pub last: Option<EndLine>,
    /// The number of files, one a day.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Reads the ends of the journal of a folder. A folder that does not exist has no lines.
///
/// # Errors
/// When a file cannot be read.
pub fn extent(dir: &Path) -> std::io::Result<Extent> {
    let all = match files(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Extent::default()),
        all => all?,
    };
    let mut last = None;
    for (_, path) in all.iter().rev() {
        last = last_line(path)?.0.as_deref().and_then(end_line);
        if last.is_some() {
            break;
        }
    }
    let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |file| file.len());
    Ok(Extent {
        first: first_line(&all)?.as_deref().and_then(end_line),
        last,
        files: all.len(),
        bytes: all.iter().map(|(_, path)| size(path)).sum(),
    })
}

fn end_line(line: &str) -> Option<EndLine> {
    let Entry { n: number, time, .. } = serde_json::from_str(line).ok()?;
    Some(EndLine { number, time })
}
