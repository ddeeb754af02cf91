//! The reading side: checking the chain, and taking out a period.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::chain::{self, Link, ORIGIN};
use super::receipt::{check_receipt, has_receipt};
use super::{Entry, JournalKey};

/// What a check found in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Lines.
    pub lines: u64,
    /// Number of the first line; more than 1 when older files were removed.
    pub first: u64,
    /// Number of the last line.
    pub last: u64,
    /// Receipts of erasures.
    pub receipts: u64,
}

/// Which lines are wanted: all that fit every condition.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selection<'a> {
    /// From this time on: RFC 3339 or its beginning (`2026-11`); empty: from the first.
    pub from: &'a str,
    /// Up to and including this time, likewise; empty: to the last.
    pub to: &'a str,
    /// Of this application.
    pub app: Option<&'a str>,
    /// About this template.
    pub template: Option<&'a str>,
    /// Only those with a receipt of an erasure.
    pub receipts: bool,
}

impl Selection<'_> {
    fn takes(&self, entry: &Entry, line: &str) -> bool {
        let until = entry.time.get(..self.to.len().min(entry.time.len())).unwrap_or_default();
        entry.time.as_str() >= self.from
            && (self.to.is_empty() || until <= self.to)
            && self.app.is_none_or(|app| entry.app.as_deref() == Some(app))
            && self.template.is_none_or(|template| entry.template_id.as_deref() == Some(template))
            && (!self.receipts || has_receipt(line))
    }
}

/// Why a journal is not to be believed.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line does not follow the one before it.
    #[error("{path}, line {line}: it was changed, put in, or one before it was changed or taken away")]
    Chain {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
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

/// The last whole line of a file, and how many bytes its whole lines are.
pub(super) fn last_line(path: &Path) -> std::io::Result<(Option<String>, u64)> {
    const BACK: u64 = 64 * 1024; // no line is nearly as long
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(BACK);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else { return Ok((None, 0)) };
    let line = tail[..end].rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok((Some(String::from_utf8_lossy(line).into_owned()), start + end as u64 + 1))
}

fn each_line(dir: &Path, mut each: impl FnMut(&Path, u64, &str) -> Result<(), Broken>) -> Result<(), Broken> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Broken::File { path, source }
    };
    for (_, path) in files(dir).map_err(failed(dir))? {
        let mut reader = BufReader::new(File::open(&path).map_err(failed(&path))?);
        let (mut number, mut line) = (0, String::new());
        loop {
            line.clear();
            if reader.read_line(&mut line).map_err(failed(&path))? == 0 {
                break;
            }
            number += 1;
            // What a crash cut off in the middle of the last line was never a line.
            if let Some(line) = line.strip_suffix('\n') {
                each(&path, number, line)?;
            }
        }
    }
    Ok(())
}

/// Checks every line of a journal.
///
/// # Errors
/// [`Broken`] at the first line that is not what was written there.
pub fn verify(dir: &Path, key: &JournalKey) -> Result<Verified, Broken> {
    let mut found = Verified::default();
    let mut last: Option<Link> = None;
    let receipts = key.receipt_key();
    each_line(dir, |path, number, line| {
        let broken = || Broken::Chain { path: path.to_owned(), line: number };
        let entry: Entry = serde_json::from_str(line).map_err(|_| broken())?;
        let link = match last {
            Some(before) => chain::follows(key, &before, line).ok_or_else(broken)?,
            None if entry.n == 1 => chain::follows(key, &ORIGIN, line).ok_or_else(broken)?,
            // Older files were removed: this line is taken as the start, the next one proves it.
            None => chain::split(line).map(|(_, link)| link).ok_or_else(broken)?,
        };
        if found.lines > 0 && found.last.checked_add(1) != Some(entry.n) {
            return Err(broken());
        }
        if found.lines == 0 {
            found.first = entry.n;
        }
        if entry.is_erasure() && has_receipt(line) {
            receipts.as_ref().is_some_and(|key| check_receipt(key, line).is_ok()).then_some(()).ok_or_else(broken)?;
            found.receipts += 1;
        }
        (last, found.last, found.lines) = (Some(link), entry.n, found.lines + 1);
        Ok(())
    })?;
    Ok(found)
}

/// Writes the lines that are wanted as they are. How many there were.
///
/// # Errors
/// When a file cannot be read, or `out` not written.
pub fn export(dir: &Path, wanted: &Selection<'_>, out: &mut impl Write) -> Result<u64, Broken> {
    let mut count = 0;
    each_line(dir, |path, number, line| {
        let entry: Entry =
            serde_json::from_str(line).map_err(|_| Broken::Chain { path: path.to_owned(), line: number })?;
        if !wanted.takes(&entry, line) {
            return Ok(());
        }
        count += 1;
        writeln!(out, "{line}").map_err(|source| Broken::File { path: PathBuf::from("output"), source })
    })?;
    Ok(count)
}
