//! Reads the journal from its beginning, and verifies the chain.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::chain::{self, Link, ORIGIN};
use super::receipt::{check_receipt, has_receipt};
use super::{Entry, JournalKey, start};
use crate::domain::JournalPosition;

/// The result of a successful verification.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// The number of lines.
    pub lines: u64,
    /// The number of the first line; more than 1 when older files were removed.
    pub first: u64,
    /// The number of the last line.
    pub last: u64,
    /// The number of receipts.
    pub receipts: u64,
}

/// Why the verification of a journal fails.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line does not follow the one before it.
    #[error("{path}, line {line}: it was changed or inserted, or a line before it was changed or removed")]
    Chain {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
    },
    /// Lines are missing at the beginning, and the journal did not remove them itself.
    #[error("the lines before number {first} were removed; the first line must be number {start}")]
    Beginning {
        /// The number of the first line that exists.
        first: u64,
        /// The number of the first line that must exist.
        start: u64,
    },
    /// The line that the database knows is missing, or differs.
    #[error("line number {known} is missing, or differs from what the database knows; the last line is number {last}")]
    End {
        /// The number of the line that the database knows.
        known: u64,
        /// The number of the last line; 0 when there is no line.
        last: u64,
    },
}

/// The files of a journal and their days, oldest first.
pub(super) fn files(dir: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let day = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| stem.len() == 10).map(str::to_owned);
        if let Some(day) = day.filter(|_| path.extension().is_some_and(|extension| extension == "ndjson")) {
            found.push((day, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The first line of the oldest file that has one.
pub(super) fn first_line(files: &[(String, PathBuf)]) -> std::io::Result<Option<String>> {
    for (_, path) in files {
        let mut line = Vec::new();
        BufReader::new(File::open(path)?).take(1 << 20).read_until(b'\n', &mut line)?;
        if let Some(line) = line.strip_suffix(b"\n") {
            return Ok(Some(String::from_utf8_lossy(line).into_owned()));
        }
    }
    Ok(None)
}

/// The last complete line of a file, and the length of all its complete lines in bytes. What follows the last newline
/// is not a line: a crash cut it off, or a power failure left zeros.
pub(super) fn last_line(path: &Path) -> std::io::Result<(Option<String>, u64)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let Some(end) = newline_before(&mut file, length)? else { return Ok((None, 0)) };
    let start = newline_before(&mut file, end)?.map_or(0, |newline| newline + 1);
    file.seek(SeekFrom::Start(start))?;
    let mut line = Vec::new();
    file.take(end - start).read_to_end(&mut line)?;
    Ok((Some(String::from_utf8_lossy(&line).into_owned()), end + 1))
}

/// The position of the last newline before a position.
fn newline_before(file: &mut File, mut end: u64) -> std::io::Result<Option<u64>> {
    let mut block = [0; 16 * 1024];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let piece = usize::try_from(end - start).unwrap_or(0);
        let Some(piece) = block.get_mut(..piece) else { break };
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(piece)?;
        if let Some(at) = piece.iter().rposition(|byte| *byte == b'\n') {
            return Ok(Some(start + at as u64));
        }
        end = start;
    }
    Ok(None)
}

/// Calls `each` with every complete line: its file, its number in the file, its text.
pub(super) fn each_line(
    dir: &Path,
    mut each: impl FnMut(&Path, u64, &str) -> Result<(), VerifyError>,
) -> Result<(), VerifyError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| VerifyError::File { path, source }
    };
    for (_, path) in files(dir).map_err(failed(dir))? {
        let mut reader = BufReader::new(File::open(&path).map_err(failed(&path))?);
        let mut number = 0;
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).map_err(failed(&path))? == 0 {
                break;
            }
            number += 1;
            // An incomplete last line was cut off by a crash.
            if let Some(line) = line.strip_suffix(b"\n") {
                let line = std::str::from_utf8(line);
                let line = line.map_err(|_| VerifyError::Chain { path: path.clone(), line: number })?;
                each(&path, number, line)?;
            }
        }
    }
    Ok(())
}

/// Checks every line of a journal, that no line is missing at its beginning, and that it has the line that the database
/// knows. Read that line first: the journal may grow meanwhile.
///
/// # Errors
/// [`VerifyError`] at the first line that was changed.
pub fn verify(dir: &Path, key: &JournalKey, known: Option<&JournalPosition>) -> Result<VerifyReport, VerifyError> {
    verify_counting(dir, key, known, &AtomicU64::new(0))
}

/// As [`verify`]; `lines` has the number of lines that are checked so far.
pub(super) fn verify_counting(
    dir: &Path,
    key: &JournalKey,
    known: Option<&JournalPosition>,
    lines: &AtomicU64,
) -> Result<VerifyReport, VerifyError> {
    let mut found = VerifyReport::default();
    let mut last: Option<Link> = None;
    let start = start::read(dir, key).map_err(|source| VerifyError::File { path: dir.to_owned(), source })?;
    let known = known.filter(|known| known.line > 0);
    let mut differs = false;
    let receipts = key.receipt_key();
    each_line(dir, |path, number, line| {
        let broken = || VerifyError::Chain { path: path.to_owned(), line: number };
        let entry: Entry = serde_json::from_str(line).map_err(|_| broken())?;
        let link = match (last, chain::split(line).ok_or_else(broken)?) {
            // A first line of the first version, after older files were removed: the line after it proves it.
            (None, parts) if entry.n > 1 && parts.prev.is_none() => parts.mac,
            (None, _) if entry.n > 1 => chain::follows(key, None, line).ok_or_else(broken)?,
            (before, _) => chain::follows(key, Some(&before.unwrap_or(ORIGIN)), line).ok_or_else(broken)?,
        };
        if found.lines > 0 && found.last.checked_add(1) != Some(entry.n) {
            return Err(broken());
        }
        if found.lines == 0 {
            if entry.n > start {
                return Err(VerifyError::Beginning { first: entry.n, start });
            }
            found.first = entry.n;
        }
        differs |= known.is_some_and(|known| known.line == entry.n && known.mac != link);
        if has_receipt(line) {
            receipts.as_ref().is_some_and(|key| check_receipt(key, line).is_ok()).then_some(()).ok_or_else(broken)?;
            found.receipts += 1;
        }
        last = Some(link);
        found.last = entry.n;
        found.lines += 1;
        lines.store(found.lines, Ordering::Relaxed);
        Ok(())
    })?;
    match known {
        Some(known) if differs || known.line > found.last => {
            Err(VerifyError::End { known: known.line, last: found.last })
        }
        _ => Ok(found),
    }
}
