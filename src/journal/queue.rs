//! What waits for the writer: bounded by lines and by bytes; what does not fit is counted, and named as missing.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;

use super::Entry;
use crate::domain::rfc3339;

/// Lines that may wait for the disk, and their bytes in memory, about.
const LINES: usize = 65_536;
const BYTES: usize = 32 << 20;

/// Lines that are written together.
const TOGETHER: usize = 1024;

/// Requests of nobody that have a line of their own, in so much time; of the rest there is one line.
const STRANGERS: u64 = 20;
const TURN: Duration = Duration::from_secs(10);

/// An entry, and who waits for it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) entry: Entry,
    /// Told when this entry, and all before it, are on disk.
    pub(super) written: Option<oneshot::Sender<()>>,
}

impl From<Entry> for Item {
    fn from(entry: Entry) -> Self {
        Self { entry, written: None }
    }
}

/// Requests without credentials that were right. Anybody can send any number of them, so their lines are bounded.
#[derive(Debug, Default)]
struct UnauthenticatedWindow {
    since: Option<Instant>,
    seen: u64,
}

impl UnauthenticatedWindow {
    /// Whether this one has a line of its own.
    fn takes(&mut self, now: Instant) -> bool {
        self.since.get_or_insert(now);
        self.seen += 1;
        self.seen <= STRANGERS
    }

    /// At the end of a turn: the line for those that had none of their own.
    fn end(&mut self, now: Instant, at_once: bool) -> Option<Entry> {
        let since = self.since?;
        if !at_once && now.saturating_duration_since(since) < TURN {
            return None;
        }
        let Self { seen, .. } = std::mem::take(self);
        let more = seen.checked_sub(STRANGERS).filter(|more| *more > 0)?;
        Some(meta_entry(format!("{more} more requests without good credentials, within {} s", TURN.as_secs())))
    }
}

/// A line of the journal about itself.
pub(super) fn meta_entry(text: String) -> Entry {
    let time = rfc3339(SystemTime::now());
    Entry { time, operation: super::ITSELF.to_owned(), outcome: Some(text), ..Entry::default() }
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Item>,
    bytes: usize,
    missed: u64,
    strangers: UnauthenticatedWindow,
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
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the entry of a request.
    pub(super) fn record(&self, entry: Entry) {
        let mut state = self.state();
        let (full, now) = (state.waiting.len() >= LINES || state.bytes >= BYTES, Instant::now());
        // Another turn of strangers begins only when the line of the one before is in its place.
        if let Some(line) = state.strangers.end(now, false) {
            state.push(line.into());
        }
        if entry.app.is_none() && !state.strangers.takes(now) {
            drop(state);
            self.more.notify_one();
        } else if full || state.closed {
            state.missed += 1;
        } else {
            state.push(entry.into());
            drop(state);
            self.more.notify_one();
        }
    }

    /// Takes entries that somebody waits for, so they need no bound of ours; `false` at the end.
    pub(super) fn record_durably(&self, items: impl IntoIterator<Item = Item>) -> bool {
        let mut state = self.state();
        if state.closed {
            return false;
        }
        items.into_iter().for_each(|item| state.push(item));
        drop(state);
        self.more.notify_one();
        true
    }

    /// What waits, in its order; waits for it. `None` at the end.
    pub(super) fn next(&self) -> Option<Vec<Item>> {
        let mut state = self.state();
        loop {
            let closed = state.closed;
            if let Some(line) = state.strangers.end(Instant::now(), closed) {
                state.push(line.into());
            }
            let missed = std::mem::take(&mut state.missed);
            if missed > 0 {
                let text = format!("{missed} lines are missing: they came faster than they could be written");
                state.waiting.push_front(meta_entry(text).into());
            }
            if !state.waiting.is_empty() {
                let count = state.waiting.len().min(TOGETHER);
                let items: Vec<Item> = state.waiting.drain(..count).collect();
                let taken = items.iter().map(|item| bytes(&item.entry)).sum();
                state.bytes = state.bytes.saturating_sub(taken);
                return Some(items);
            }
            if closed {
                return None;
            }
            state = if state.strangers.since.is_some() {
                self.more.wait_timeout(state, TURN).unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.more.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Takes no more.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.more.notify_all();
    }

    /// Lines that nobody will write any more.
    pub(super) fn lost(&self) -> u64 {
        let state = self.state();
        state.missed.saturating_add(u64::try_from(state.waiting.len()).unwrap_or(u64::MAX))
    }
}

/// What an entry takes in memory, about.
fn bytes(entry: &Entry) -> usize {
    let texts = [&entry.app, &entry.outcome, &entry.reason, &entry.template_id, &entry.id];
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
    fn strangers_have_a_bounded_number_of_lines_and_are_counted() {
        let queue = Queue::default();
        for _ in 0..STRANGERS + 7 {
            queue.record(of(None, ""));
            queue.record(of(Some("a"), ""));
        }
        let lines = all(&queue);
        let own = usize::try_from(STRANGERS).unwrap();
        assert_eq!(lines.iter().filter(|line| line.app.is_some()).count(), own + 7, "callers lose nothing");
        assert_eq!(lines.len(), 2 * own + 7 + 1);
        assert!(lines.last().unwrap().outcome.as_ref().unwrap().starts_with("7 more requests"), "{lines:?}");
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let queue = Queue::default();
        let long = "x".repeat(1 << 20);
        for _ in 0..40 {
            queue.record(of(Some("a"), &long));
        }
        let lines = all(&queue);
        assert!((31..=33).contains(&lines.len()), "{}", lines.len());
        let missed = 40 - (lines.len() - 1);
        assert!(lines[0].outcome.as_ref().unwrap().starts_with(&format!("{missed} lines are missing")), "{lines:?}");
        queue.record(of(Some("a"), "late"));
        assert_eq!((queue.lost(), queue.record_durably([of(None, "").into()])), (1, false));
    }
}
