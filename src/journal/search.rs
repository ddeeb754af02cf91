//! Searches a journal from its end: newest lines first, within a budget of bytes and time.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::reader::{files, last_line};
use super::selection::{Matcher, Members, Selection};
use crate::domain::{parse_rfc3339, rfc3339, stopwatch};

/// The most that one search reads before it returns a place to continue at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchBudget {
    /// Bytes of the files.
    pub bytes: u64,
    /// Time.
    pub time: Duration,
}

impl Default for SearchBudget {
    fn default() -> Self {
        Self { bytes: 64 << 20, time: Duration::from_secs(2) }
    }
}

/// Where a search continues: before this byte of the file of this day. Files only grow, so it stays valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPlace {
    /// The day of the file, such as `2026-11-23`.
    pub day: String,
    /// An offset in bytes, at the beginning of a line.
    pub offset: u64,
}

/// A part of what a search finds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SearchPage {
    /// The selected lines, unchanged, newest first.
    pub lines: Vec<String>,
    /// Where to continue; `None` when the search is complete.
    pub next: Option<SearchPlace>,
    /// The time of the oldest line that was read; `None` when none was.
    pub scanned_to: Option<String>,
    /// Candidates that are not lines of a journal: `verify` names them.
    pub damaged: u64,
}

/// How long an event may wait in the outbox before its line is written, so that a search for a time looks into later
/// files, too.
const MAX_LINE_DELAY: Duration = Duration::from_secs(31 * 86_400);

/// How far the time of an event may be ahead of the clock of the node that writes its line.
const MAX_CLOCK_LEAD: Duration = Duration::from_secs(86_400);

/// The longest line. A longer one is damaged.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Bytes that are read at once.
const BLOCK_BYTES: u64 = 256 << 10;

/// Searches the files of a folder: up to `limit` lines, after `place` or from the end.
///
/// # Errors
/// When a file cannot be read. A file that is removed meanwhile is passed over.
pub fn search(
    dir: &Path,
    selection: &Selection,
    limit: usize,
    place: Option<&SearchPlace>,
    budget: SearchBudget,
) -> std::io::Result<SearchPage> {
    let mut search = Search {
        selection,
        limit: limit.max(1),
        left: budget.bytes,
        started: stopwatch(),
        time: budget.time,
        page: SearchPage::default(),
        has_advanced: false,
    };
    let first_day = moment(&selection.from).and_then(|from| from.checked_sub(MAX_CLOCK_LEAD)).map(day);
    let last_day = moment(&selection.to).map(|to| day(to + MAX_LINE_DELAY));
    for (day, path) in files(dir)?.into_iter().rev() {
        let end = match place {
            Some(place) if day > place.day => continue,
            Some(place) if day == place.day => Some(place.offset),
            _ => None,
        };
        if last_day.as_ref().is_some_and(|last| day > *last) {
            continue;
        }
        if first_day.as_ref().is_some_and(|first| day < *first) {
            break;
        }
        if search.is_exhausted() || search.page.lines.len() >= search.limit {
            let end = std::fs::metadata(&path).map_or(0, |file| file.len());
            search.page.next = Some(SearchPlace { day, offset: end });
            break;
        }
        let next = match search.file(&path, end) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            next => next?,
        };
        if let Some(offset) = next {
            search.page.next = Some(SearchPlace { day, offset });
            break;
        }
    }
    Ok(search.page)
}

/// A time that is written in full; `None` for the beginning of one, which skips no file.
fn moment(text: &str) -> Option<SystemTime> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    parse_rfc3339(&format!("{text}Z")).filter(|_| text.len() >= "0000-00-00T00:00:00".len())
}

fn day(time: SystemTime) -> String {
    rfc3339(time).chars().take(10).collect()
}

struct Search<'a> {
    selection: &'a Selection,
    limit: usize,
    left: u64,
    started: Instant,
    time: Duration,
    page: SearchPage,
    /// Whether a line was read: a search always advances.
    has_advanced: bool,
}

impl Search<'_> {
    fn is_exhausted(&self) -> bool {
        self.has_advanced && (self.left == 0 || self.started.elapsed() >= self.time)
    }

    /// Searches a file from `end`, or from its last complete line. Returns where it stopped; `None` at the beginning.
    fn file(&mut self, path: &Path, end: Option<u64>) -> std::io::Result<Option<u64>> {
        let whole = last_line(path)?.1;
        let mut end = end.unwrap_or(whole).min(whole);
        let mut file = File::open(path)?;
        let matcher = self.selection.matcher();
        // The beginning of the block that was read before: the end of a line that begins in this one.
        let mut carried: Vec<u8> = Vec::new();
        while end > 0 {
            if self.is_exhausted() {
                return Ok(Some(end + carried.len() as u64));
            }
            let start = end.saturating_sub(BLOCK_BYTES);
            let mut block = vec![0; usize::try_from(end - start).unwrap_or_default()];
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut block)?;
            self.left = self.left.saturating_sub(block.len() as u64);
            block.append(&mut carried);
            let begin = match memchr::memchr(b'\n', &block) {
                _ if start == 0 => 0,
                Some(at) => at + 1,
                None => block.len(),
            };
            let (head, mut lines) = block.split_at(begin);
            let mut oldest: &[u8] = &[];
            while !lines.is_empty() {
                let body = lines.strip_suffix(b"\n").unwrap_or(lines);
                let from = memchr::memrchr(b'\n', body).map_or(0, |at| at + 1);
                (lines, oldest) = body.split_at(from);
                self.line(oldest, &matcher);
                if self.page.lines.len() >= self.limit {
                    self.scanned_to(oldest);
                    let at = start + (begin + lines.len()) as u64;
                    return Ok((at > 0).then_some(at));
                }
            }
            self.scanned_to(oldest);
            // A line that is longer than any line of a journal is dropped; its beginning is counted as damaged.
            carried = if head.len() > MAX_LINE_BYTES { Vec::new() } else { head.to_vec() };
            self.has_advanced |= carried.len() < block.len();
            end = start;
        }
        Ok(None)
    }

    fn line(&mut self, line: &[u8], matcher: &Matcher<'_>) {
        if !matcher.may_match(line) {
            return;
        }
        let members = std::str::from_utf8(line).ok().and_then(|text| Some((text, serde_json::from_str(text).ok()?)));
        match members {
            Some((text, members)) if matcher.matches(&members, text) => self.page.lines.push(text.to_owned()),
            Some(_) => {}
            None => self.page.damaged += 1,
        }
    }

    fn scanned_to(&mut self, line: &[u8]) {
        if let Ok(members) = serde_json::from_slice::<Members<'_>>(line) {
            self.page.scanned_to = Some(members.time.into_owned());
        }
    }
}
