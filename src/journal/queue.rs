//! The queue before the writer, bounded in lines and bytes. Entries that do not fit are counted and reported as missing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::{Entry, JournalBacklog};
use crate::domain::{Clock, rfc3339};

/// Lines that may wait for the disk.
const MAX_LINES: usize = 65_536;
/// Bytes in memory of these lines, about.
const MAX_BYTES: usize = 32 << 20;

/// Lines that are written in one batch.
const BATCH_LINES: usize = 1024;

/// Unauthenticated requests in one [`UNAUTHENTICATED_WINDOW`] that have lines of their own. One line counts the others.
const UNAUTHENTICATED_LINES: u64 = 20;
const UNAUTHENTICATED_WINDOW: Duration = Duration::from_secs(10);

/// A queued entry.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) entry: Entry,
    /// Notified when this entry, and all before it, are on disk.
    pub(super) written: Option<oneshot::Sender<()>>,
}

impl From<Entry> for Item {
    fn from(entry: Entry) -> Self {
        Self { entry, written: None }
    }
}

/// Requests without valid credentials. Anyone can send any number of them, so their lines are bounded.
#[derive(Debug, Default)]
struct UnauthenticatedWindow {
    since: Option<Instant>,
    seen: u64,
}

impl UnauthenticatedWindow {
    /// Counts a request. Returns whether it has a line of its own.
    fn admits(&mut self, now: Instant) -> bool {
        self.since.get_or_insert(now);
        self.seen += 1;
        self.seen <= UNAUTHENTICATED_LINES
    }

    /// Closes the window if its time is over, or `at_once`. Returns the line that counts the others.
    fn close(&mut self, now: Instant, at_once: bool) -> Option<String> {
        let since = self.since?;
        if !at_once && now.saturating_duration_since(since) < UNAUTHENTICATED_WINDOW {
            return None;
        }
        let Self { seen, .. } = std::mem::take(self);
        let more = seen.checked_sub(UNAUTHENTICATED_LINES).filter(|more| *more > 0)?;
        let seconds = UNAUTHENTICATED_WINDOW.as_secs();
        Some(format!("{more} more requests without good credentials, within {seconds} s"))
    }
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Item>,
    bytes: usize,
    missed: u64,
    /// All entries since the start that did not fit.
    lost_since_start: u64,
    /// Entries that the writer has taken and that are not on disk yet.
    being_written: usize,
    unauthenticated: UnauthenticatedWindow,
    closed: bool,
}

impl State {
    fn push(&mut self, item: Item) {
        self.bytes += bytes(&item.entry);
        self.waiting.push_back(item);
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    more: Condvar,
    clock: Clock,
}

impl Queue {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, ..Self::default() }
    }

    /// An entry about the journal itself.
    fn meta_entry(&self, text: String) -> Entry {
        let time = rfc3339(self.clock.now());
        Entry { time, operation: super::JOURNAL.to_owned(), outcome: Some(text), ..Entry::default() }
    }

    /// Queues the entry of a request.
    pub(super) fn record(&self, entry: Entry) {
        let mut state = self.state.lock();
        let full = state.waiting.len() >= MAX_LINES || state.bytes >= MAX_BYTES;
        let now = self.clock.instant();
        // The line of a window comes before the next window.
        if let Some(line) = state.unauthenticated.close(now, false) {
            state.push(self.meta_entry(line).into());
        }
        if entry.app.is_none() && !state.unauthenticated.admits(now) {
            drop(state);
            self.more.notify_one();
        } else if full || state.closed {
            state.missed += 1;
            state.lost_since_start += 1;
        } else {
            state.push(entry.into());
            drop(state);
            self.more.notify_one();
        }
    }

    /// Queues entries whose sender waits for them, so they need no bound here; `false` when the queue is closed.
    pub(super) fn push_durable(&self, items: impl IntoIterator<Item = Item>) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        items.into_iter().for_each(|item| state.push(item));
        drop(state);
        self.more.notify_one();
        true
    }

    /// Waits for entries and takes them in order. `None` when the queue is closed and empty.
    pub(super) fn next(&self) -> Option<Vec<Item>> {
        let mut state = self.state.lock();
        state.being_written = 0;
        loop {
            let closed = state.closed;
            if let Some(line) = state.unauthenticated.close(self.clock.instant(), closed) {
                state.push(self.meta_entry(line).into());
            }
            let missed = std::mem::take(&mut state.missed);
            if missed > 0 {
                let text = format!("{missed} lines are missing: they came faster than they could be written");
                state.waiting.push_front(self.meta_entry(text).into());
            }
            if !state.waiting.is_empty() {
                let count = state.waiting.len().min(BATCH_LINES);
                let items: Vec<Item> = state.waiting.drain(..count).collect();
                let taken = items.iter().map(|item| bytes(&item.entry)).sum();
                state.bytes = state.bytes.saturating_sub(taken);
                state.being_written = count;
                return Some(items);
            }
            if closed {
                return None;
            }
            if state.unauthenticated.since.is_some() {
                self.more.wait_for(&mut state, UNAUTHENTICATED_WINDOW);
            } else {
                self.more.wait(&mut state);
            }
        }
    }

    /// Accepts no more entries.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.more.notify_all();
    }

    /// What waits for the disk, and what was lost.
    pub(super) fn backlog(&self) -> JournalBacklog {
        let state = self.state.lock();
        JournalBacklog { waiting: state.waiting.len() + state.being_written, lost: state.lost_since_start }
    }

    /// Lines that will not be written any more.
    pub(super) fn lost(&self) -> u64 {
        let state = self.state.lock();
        state.missed.saturating_add(u64::try_from(state.waiting.len()).unwrap_or(u64::MAX))
    }
}

/// The bytes of an entry in memory, about.
fn bytes(entry: &Entry) -> usize {
    let texts = [&entry.client, &entry.app, &entry.outcome, &entry.reason, &entry.template_id, &entry.id];
    let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
    size_of::<Item>() + entry.transaction_id.len() + entry.operation.len() + entry.time.len() + texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(app: Option<&str>, text: &str) -> Entry {
        Entry { app: app.map(str::to_owned), outcome: Some(text.to_owned()), ..Entry::default() }
    }

    fn all(queue: &Queue) -> Vec<Entry> {
        queue.close();
        std::iter::from_fn(|| queue.next()).flatten().map(|item| item.entry).collect()
    }

    #[test]
    fn unauthenticated_requests_have_a_bounded_number_of_lines() {
        let queue = Queue::default();
        for _ in 0..UNAUTHENTICATED_LINES + 7 {
            queue.record(of(None, ""));
            queue.record(of(Some("a"), ""));
        }
        let lines = all(&queue);
        let own = usize::try_from(UNAUTHENTICATED_LINES).unwrap();
        assert_eq!(lines.iter().filter(|line| line.app.is_some()).count(), own + 7, "callers lose nothing");
        assert_eq!(lines.len(), 2 * own + 7 + 1);
        assert!(lines.last().unwrap().outcome.as_ref().unwrap().starts_with("7 more requests"), "{lines:?}");
    }

    #[test]
    fn entries_that_do_not_fit_are_counted() {
        let queue = Queue::default();
        let long = "x".repeat(1 << 20);
        for _ in 0..40 {
            queue.record(of(Some("a"), &long));
        }
        let JournalBacklog { waiting, lost } = queue.backlog();
        assert_eq!(waiting + usize::try_from(lost).unwrap(), 40);
        let lines = all(&queue);
        assert!((31..=33).contains(&lines.len()), "{}", lines.len());
        let missed = 40 - (lines.len() - 1);
        assert!(lines[0].outcome.as_ref().unwrap().starts_with(&format!("{missed} lines are missing")), "{lines:?}");
        assert_eq!(queue.backlog(), JournalBacklog { waiting: 0, lost }, "written lines do not wait");
        queue.record(of(Some("a"), "late"));
        assert_eq!((queue.lost(), queue.push_durable([of(None, "").into()])), (1, false));
    }
}
