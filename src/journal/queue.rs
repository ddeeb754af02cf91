//! The queue before the writer, bounded in lines and bytes. Entries that do not fit are counted and reported as missing.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::{Entry, EntryActor, JournalBacklog};
use crate::domain::{Clock, LineWindow, rfc3339};

/// Lines that may wait for the disk.
const MAX_LINES: usize = 65_536;
/// Bytes in memory of these lines, about.
const MAX_BYTES: usize = 32 << 20;

/// Lines that are written in one batch.
const BATCH_LINES: usize = 1024;

/// Requests without good credentials, and listings of one application, that have lines of their own in one [`WINDOW`]. One
/// line counts the others: anyone can send any number of the former, and a client that polls sends the latter for ever.
const BOUNDED_LINES: u64 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// The status of a request whose credentials are refused.
const UNAUTHORIZED: u16 = 401;

/// The operation of a listing.
const LISTING: &str = "GET /api/v1.0/templates";

/// Lists and searches of one kind by one administrator that have a line of their own in one [`ADMIN_WINDOW`]; one line
/// counts the others. A console searches with every letter that is typed.
const ADMIN_LISTINGS: u64 = 1;
const ADMIN_WINDOW: Duration = Duration::from_secs(60);

const fn window() -> LineWindow {
    LineWindow::new(BOUNDED_LINES, WINDOW)
}

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

#[derive(Debug)]
struct State {
    waiting: VecDeque<Item>,
    bytes: usize,
    missed: u64,
    /// All entries since the start that did not fit.
    lost_since_start: u64,
    /// Entries that the writer has taken and that are not on disk yet.
    being_written: usize,
    unauthenticated: LineWindow,
    /// The listings of each caller that has sent any in its window.
    listings: HashMap<Listing, LineWindow>,
    closed: bool,
}

/// Listings that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Listing {
    /// The administrator; `None`: the application itself.
    administrator: Option<String>,
    app: Option<String>,
    operation: String,
}

impl Listing {
    /// The entry that counts them.
    fn count(&self, more: u64, within: Duration) -> Entry {
        let seconds = within.as_secs();
        let text = match self.administrator {
            Some(_) => format!("{more} more of {}, within {seconds} s", self.operation),
            None => format!("{more} more listings, within {seconds} s"),
        };
        let actor = |id: &String| EntryActor { kind: "admin".to_owned(), id: Some(id.clone()) };
        let actor = self.administrator.as_ref().map(actor);
        Entry { app: self.app.clone(), actor, outcome: Some(text), ..Entry::default() }
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
            missed: 0,
            lost_since_start: 0,
            being_written: 0,
            unauthenticated: window(),
            listings: HashMap::new(),
            closed: false,
        }
    }
}

impl State {
    fn push(&mut self, item: Item) {
        self.bytes += bytes(&item.entry);
        self.waiting.push_back(item);
    }

    /// Whether the entry of a request has a line of its own.
    fn admits(&mut self, entry: &Entry, now: Instant) -> bool {
        let administrator =
            entry.actor.as_ref().filter(|actor| actor.kind == "admin").and_then(|actor| actor.id.clone());
        // A key that is not in force any more is known, but no more than that.
        let is_refused = entry.actor.is_none() && entry.status == UNAUTHORIZED;
        if administrator.is_none() && (entry.app.is_none() || is_refused) {
            return self.unauthenticated.admits(now);
        }
        if entry.code != 0 || !(entry.is_listing || entry.operation == LISTING) {
            return true;
        }
        let new = || match administrator {
            Some(_) => LineWindow::new(ADMIN_LISTINGS, ADMIN_WINDOW),
            None => window(),
        };
        let operation = entry.operation.clone();
        let listing = Listing { administrator: administrator.clone(), app: entry.app.clone(), operation };
        self.listings.entry(listing).or_insert_with(new).admits(now)
    }

    /// The entries that count what had no line in the windows that are over, or in all.
    fn close_windows(&mut self, now: Instant, at_once: bool) -> Vec<Entry> {
        let seconds = WINDOW.as_secs();
        let more = self.unauthenticated.close(now, at_once);
        let text = |more| format!("{more} more requests without good credentials, within {seconds} s");
        let mut closed: Vec<_> =
            more.map(|more| Entry { outcome: Some(text(more)), ..Entry::default() }).into_iter().collect();
        self.listings.retain(|listing, listings| {
            if let Some(more) = listings.close(now, at_once) {
                closed.push(listing.count(more, listings.length()));
            }
            listings.is_open()
        });
        closed
    }

    fn has_open_windows(&self) -> bool {
        self.unauthenticated.is_open() || !self.listings.is_empty()
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
    fn meta_entry(&self, entry: Entry) -> Entry {
        Entry { time: rfc3339(self.clock.now()), operation: super::JOURNAL.to_owned(), ..entry }
    }

    /// Queues the entry of a request.
    pub(super) fn record(&self, entry: Entry) {
        let mut state = self.state.lock();
        let full = state.waiting.len() >= MAX_LINES || state.bytes >= MAX_BYTES;
        let now = self.clock.instant();
        // The line of a window comes before the next window.
        for count in state.close_windows(now, false) {
            state.push(self.meta_entry(count).into());
        }
        if !state.admits(&entry, now) {
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
            for count in state.close_windows(self.clock.instant(), closed) {
                state.push(self.meta_entry(count).into());
            }
            let missed = std::mem::take(&mut state.missed);
            if missed > 0 {
                let text = format!("{missed} lines are missing: they came faster than they could be written");
                state.waiting.push_front(self.meta_entry(Entry { outcome: Some(text), ..Entry::default() }).into());
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
            if state.has_open_windows() {
                self.more.wait_for(&mut state, WINDOW);
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
        for _ in 0..BOUNDED_LINES + 7 {
            queue.record(of(None, ""));
            queue.record(of(Some("a"), ""));
        }
        let lines = all(&queue);
        let own = usize::try_from(BOUNDED_LINES).unwrap();
        assert_eq!(lines.iter().filter(|line| line.app.is_some()).count(), own + 7, "callers lose nothing");
        assert_eq!(lines.len(), 2 * own + 7 + 1);
        assert!(lines.last().unwrap().outcome.as_ref().unwrap().starts_with("7 more requests"), "{lines:?}");
    }

    #[test]
    fn listings_of_an_application_have_a_bounded_number_of_lines() {
        let queue = Queue::default();
        let listing = |app: &str, code| Entry { operation: LISTING.to_owned(), code, ..of(Some(app), "") };
        for _ in 0..BOUNDED_LINES + 7 {
            queue.record(listing("a", 0));
            queue.record(Entry { operation: "POST /api/v1.0/identify".to_owned(), ..of(Some("a"), "") });
        }
        queue.record(listing("b", 0));
        queue.record(listing("a", 429));
        let lines = all(&queue);
        let own = usize::try_from(BOUNDED_LINES).unwrap();
        let count = |operation: &str| lines.iter().filter(|line| line.operation == operation).count();
        assert_eq!((count(LISTING), count("POST /api/v1.0/identify")), (own + 2, own + 7), "{lines:?}");
        let last = lines.last().unwrap();
        assert_eq!(last.app.as_deref(), Some("a"));
        assert_eq!(last.outcome.as_deref(), Some("7 more listings, within 10 s"));
    }

    #[test]
    fn searches_of_an_administrator_have_one_line_a_minute() {
        let queue = Queue::default();
        let actor = |id: &str| Some(EntryActor { kind: "admin".to_owned(), id: Some(id.to_owned()) });
        let entry = |id: &str, operation: &str, is_listing| Entry {
            actor: actor(id),
            operation: operation.to_owned(),
            is_listing,
            ..of(Some("a"), "")
        };
        for _ in 0..8 {
            queue.record(entry("ada", "search", true));
            queue.record(entry("ada", "change", false));
        }
        queue.record(entry("bo", "search", true));
        queue.record(Entry { app: None, ..entry("bo", "search", true) });
        let lines = all(&queue);
        let count = |operation: &str| lines.iter().filter(|line| line.operation == operation).count();
        assert_eq!((count("search"), count("change")), (3, 8), "{lines:?}");
        let last = lines.last().unwrap();
        assert_eq!((last.actor.clone(), last.app.as_deref()), (actor("ada"), Some("a")));
        assert_eq!(last.outcome.as_deref(), Some("7 more of search, within 60 s"));
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
