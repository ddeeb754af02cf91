//! Bounds lines of one kind in a log or a journal.

use std::time::{Duration, Instant};

/// The first lines of each window of time are written; the others are counted, and one line reports their number.
#[derive(Debug)]
pub struct LineWindow {
    own: u64,
    length: Duration,
    since: Option<Instant>,
    seen: u64,
}

impl LineWindow {
    /// Windows of this length, each with `own` lines.
    pub const fn new(own: u64, length: Duration) -> Self {
        Self { own, length, since: None, seen: 0 }
    }

    /// Counts a line. Returns whether it is written.
    pub fn admits(&mut self, now: Instant) -> bool {
        self.since.get_or_insert(now);
        self.seen += 1;
        self.seen <= self.own
    }

    /// Closes the window if its time is over, or `at_once`. Returns the number of lines that were not written, if any.
    pub fn close(&mut self, now: Instant, at_once: bool) -> Option<u64> {
        let since = self.since?;
        if !at_once && now.saturating_duration_since(since) < self.length {
            return None;
        }
        let seen = std::mem::take(&mut self.seen);
        self.since = None;
        seen.checked_sub(self.own).filter(|more| *more > 0)
    }

    /// Whether a window has begun.
    pub fn is_open(&self) -> bool {
        self.since.is_some()
    }

    /// The length of a window.
    pub fn length(&self) -> Duration {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::stopwatch;

    #[test]
    fn lines_beyond_the_first_are_counted_once() {
        let mut window = LineWindow::new(2, Duration::from_secs(10));
        let start = stopwatch();
        assert_eq!([0, 1, 2, 3].map(|_| window.admits(start)), [true, true, false, false]);
        assert_eq!(window.close(start + Duration::from_secs(9), false), None);
        assert!(window.is_open());
        assert_eq!(window.close(start + Duration::from_secs(10), false), Some(2));
        assert!(!window.is_open());
        assert!(window.admits(start + Duration::from_secs(11)), "the next window begins");
        assert_eq!(window.close(start + Duration::from_secs(11), true), None, "nothing was left out");
    }
}
