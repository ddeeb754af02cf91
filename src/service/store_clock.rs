//! The time by which templates and keys expire: that of the database, watched so that a wrong clock erases nothing.
//!
//! The time of Postgres is the same for all nodes; SQLite has only the clock of this process. Either may be wrong. A time
//! is trusted when the monotonic clock has witnessed it, or when it is close to the last time that a server recorded in
//! the database. Otherwise expiry waits until an operator confirms the clock, or until the clock is right again.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::domain::{Clock, ClockTrust};
use crate::store::{ClockReading, RetentionStore, StoreError};

/// How much a clock may differ from another one, or from its own course within `ANCHOR_AGE`.
pub const MAX_OFFSET: Duration = Duration::from_secs(60);

/// How long the database may have been without a server before its clock has to be confirmed.
const MAX_GAP: Duration = Duration::from_secs(86_400);

/// How long a trusted time is the reference of later ones. Small steps add up within it.
const ANCHOR_AGE: Duration = Duration::from_secs(3600);

/// Shortest time between two records of the time that was seen.
const RECORD_INTERVAL: Duration = Duration::from_secs(60);

/// A reading that took longer says too little about the difference of two clocks.
const MAX_READ_TIME: Duration = Duration::from_secs(10);

/// Why a clock is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockDoubt {
    /// It is this far ahead of the last time that a server saw.
    Ahead(Duration),
    /// It differs by so many milliseconds from what the monotonic clock witnessed.
    Jumped(i64),
    /// The clock of this node differs by so many milliseconds from that of the database.
    Differs(i64),
}

impl fmt::Display for ClockDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ahead(gap) => {
                write!(f, "the clock is {} ahead of the last time that a server saw", whole_seconds(*gap))
            }
            Self::Jumped(ms) => write!(f, "the clock was set {}", direction(*ms, "forward", "back")),
            Self::Differs(ms) => {
                write!(f, "the clock of this node is {} the database's", direction(*ms, "ahead of", "behind"))
            }
        }
    }
}

fn direction(ms: i64, ahead: &str, behind: &str) -> String {
    let distance = whole_seconds(Duration::from_millis(ms.unsigned_abs()));
    format!("{distance} {}", if ms < 0 { behind } else { ahead })
}

fn whole_seconds(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(duration.as_secs()))
}

/// A time, and the monotonic time at which it was read.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    time: SystemTime,
    instant: Instant,
}

impl Anchor {
    /// What the time has to be now.
    fn expected(self, instant: Instant) -> SystemTime {
        self.time + instant.saturating_duration_since(self.instant)
    }
}

#[derive(Debug, Default)]
struct State {
    /// The reference of the last hour at most.
    anchor: Option<Anchor>,
    /// The last time that was accepted.
    latest: Option<Anchor>,
    confirmed: Option<Option<SystemTime>>,
    observed_at: Option<Instant>,
    offset_ms: i64,
    doubt: Option<ClockDoubt>,
}

/// The clock of the database, as this process has watched it.
#[derive(Debug)]
pub struct StoreClock {
    clock: Clock,
    trust: ClockTrust,
    state: Mutex<State>,
}

impl StoreClock {
    /// A clock that was not read yet.
    pub fn new(clock: Clock) -> Self {
        Self { clock, trust: ClockTrust::default(), state: Mutex::default() }
    }

    /// The time of the database: as it was read last, continued by the monotonic clock. Before the first reading that of
    /// this process.
    pub fn now(&self) -> SystemTime {
        let latest = self.state.lock().latest;
        latest.map_or_else(|| self.clock.now(), |latest| latest.expected(self.clock.instant()))
    }

    /// Whether the clock may decide what is erased.
    pub fn trust(&self) -> &ClockTrust {
        &self.trust
    }

    /// Why it may not.
    pub fn doubt(&self) -> Option<ClockDoubt> {
        self.state.lock().doubt
    }

    /// How far the clock of this node is ahead of the database's, in milliseconds; with SQLite, how far it is ahead of
    /// what the monotonic clock witnessed.
    pub fn offset_ms(&self) -> i64 {
        self.state.lock().offset_ms
    }

    /// The time since the last reading; `None` before the first.
    pub(super) fn observation_age(&self) -> Option<Duration> {
        let observed_at = self.state.lock().observed_at?;
        Some(self.clock.instant().saturating_duration_since(observed_at))
    }

    /// Reads the clock and returns why it is not trusted. A change is logged.
    ///
    /// # Errors
    /// When the store cannot be read. The last outcome stays.
    pub async fn observe(&self, store: &dyn RetentionStore) -> Result<Option<ClockDoubt>, StoreError> {
        let before = self.clock.instant();
        let reading = store.read_clock().await?;
        let instant = self.clock.instant();
        let read_time = instant.saturating_duration_since(before);
        if reading.is_servers && read_time > MAX_READ_TIME {
            return Ok(self.doubt());
        }
        let (doubt, is_seen) = self.judge(&reading, instant, read_time);
        if is_seen && let Err(error) = store.record_clock(reading.now).await {
            tracing::debug!(%error, "the time is not recorded in the database; it is tried again");
        }
        Ok(doubt)
    }

    /// Judges a reading that was made just now: why the clock is not trusted. Nothing is recorded.
    pub fn observe_reading(&self, reading: &ClockReading) -> Option<ClockDoubt> {
        self.judge(reading, self.clock.instant(), Duration::ZERO).0
    }

    fn judge(&self, reading: &ClockReading, instant: Instant, read_time: Duration) -> (Option<ClockDoubt>, bool) {
        let node = self.clock.now();
        let node_ahead_ms = signed_ms(node.checked_sub(read_time / 2).unwrap_or(node), reading.now);
        let outcome = self.state.lock().judge(reading, instant, node_ahead_ms);
        self.trust.set(outcome.0.is_none());
        outcome
    }
}

impl State {
    /// Judges a reading: why the clock is not trusted, and whether the time is to be recorded as seen.
    fn judge(&mut self, reading: &ClockReading, instant: Instant, node_ahead_ms: i64) -> (Option<ClockDoubt>, bool) {
        let read = Anchor { time: reading.now, instant };
        let is_confirmed = self.confirmed.replace(reading.confirmed).is_some_and(|known| known != reading.confirmed);
        if is_confirmed {
            self.anchor = None;
        }
        let jump_ms = self.anchor.map(|anchor| signed_ms(reading.now, anchor.expected(instant)));
        let gap = reading.seen.and_then(|seen| reading.now.duration_since(seen).ok()).filter(|gap| *gap > MAX_GAP);
        let doubt = match jump_ms {
            _ if is_confirmed => None,
            Some(jump) if is_small(jump) => None,
            Some(jump) if !reading.is_servers => Some(ClockDoubt::Jumped(jump)),
            Some(_) | None => gap.map(ClockDoubt::Ahead),
        };
        self.offset_ms = if reading.is_servers { node_ahead_ms } else { jump_ms.unwrap_or(0) };
        self.observed_at = Some(instant);
        if doubt.is_none() {
            let is_reference = self.anchor.is_some_and(|anchor| {
                instant.saturating_duration_since(anchor.instant) < ANCHOR_AGE && jump_ms.is_some_and(is_small)
            });
            if !is_reference {
                self.anchor = Some(read);
            }
            self.latest = Some(read);
        }
        let is_recorded = reading.seen.is_some_and(|seen| {
            reading.now.duration_since(seen).is_ok_and(|since_recorded| since_recorded < RECORD_INTERVAL)
        });
        let is_seen = doubt.is_none() && !is_recorded;
        let differs = reading.is_servers && !is_small(node_ahead_ms);
        let doubt = doubt.or_else(|| differs.then_some(ClockDoubt::Differs(node_ahead_ms)));
        let is_same_kind = match (self.doubt, doubt) {
            (Some(before), Some(now)) => std::mem::discriminant(&before) == std::mem::discriminant(&now),
            (before, now) => before.is_none() && now.is_none(),
        };
        self.doubt = doubt;
        if !is_same_kind {
            log(doubt);
        }
        (doubt, is_seen)
    }
}

fn log(doubt: Option<ClockDoubt>) {
    match doubt {
        Some(doubt @ ClockDoubt::Differs(_)) => {
            tracing::error!("expiry is paused on this node: {doubt}; set the clock of the machine that is wrong");
        }
        Some(doubt) => tracing::error!(
            "expiry is paused: {doubt}; if the clock is right, run `semblance retention confirm-clock`, otherwise set it"
        ),
        None => tracing::info!("the clock is trusted again; expiry continues"),
    }
}

fn is_small(ms: i64) -> bool {
    u128::from(ms.unsigned_abs()) <= MAX_OFFSET.as_millis()
}

/// How far `one` is ahead of `other`, in milliseconds.
fn signed_ms(one: SystemTime, other: SystemTime) -> i64 {
    let ms = |distance: Duration| i64::try_from(distance.as_millis()).unwrap_or(i64::MAX);
    one.duration_since(other).map_or_else(|behind| -ms(behind.duration()), ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(86_400);

    fn moment() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_750_000_000)
    }

    fn reading(now: SystemTime, is_servers: bool, seen: Option<SystemTime>) -> ClockReading {
        ClockReading { now, is_servers, seen, confirmed: None }
    }

    #[test]
    fn small_steps_add_up() {
        let (mut state, start) = (State::default(), crate::domain::stopwatch());
        let mut seen = None;
        for minute in 0..60 {
            // Each minute the clock shows 50 s too much.
            let now = moment() + minute * (MINUTE + Duration::from_secs(50));
            let (doubt, record) = state.judge(&reading(now, false, seen), start + minute * MINUTE, 0);
            assert_eq!(doubt.is_none(), minute < 2, "{minute}: {doubt:?}");
            if record {
                seen = Some(now);
            }
        }
        let back = moment() + 60 * MINUTE;
        assert_eq!(state.judge(&reading(back, false, seen), start + 60 * MINUTE, 0).0, None, "it is right again");
    }

    #[test]
    fn a_gap_that_the_monotonic_clock_witnessed_is_no_jump() {
        for is_servers in [true, false] {
            let (mut state, start) = (State::default(), crate::domain::stopwatch());
            assert_eq!(state.judge(&reading(moment(), is_servers, None), start, 0), (None, true));
            // The database was away for three days.
            let later = reading(moment() + 3 * DAY, is_servers, Some(moment()));
            assert_eq!(state.judge(&later, start + 3 * DAY, 0), (None, true));
        }
    }

    #[test]
    fn a_gap_at_start_is_a_doubt_until_it_is_confirmed() {
        for is_servers in [true, false] {
            let (mut state, start) = (State::default(), crate::domain::stopwatch());
            let now = moment() + 3 * DAY;
            let first = state.judge(&reading(now, is_servers, Some(moment())), start, 0);
            assert_eq!(first, (Some(ClockDoubt::Ahead(3 * DAY)), false));
            let confirmed = ClockReading { confirmed: Some(now), ..reading(now, is_servers, Some(now)) };
            assert_eq!(state.judge(&confirmed, start, 0), (None, false));
        }
        let (mut state, start) = (State::default(), crate::domain::stopwatch());
        let day = reading(moment() + DAY, false, Some(moment()));
        assert_eq!(state.judge(&day, start, 0), (None, true), "a day is no doubt");
    }

    #[test]
    fn a_node_that_differs_from_its_database_is_a_doubt() {
        let (mut state, start) = (State::default(), crate::domain::stopwatch());
        let now = reading(moment(), true, Some(moment()));
        assert_eq!(state.judge(&now, start, 60_000).0, None);
        assert_eq!(state.judge(&now, start, -60_001).0, Some(ClockDoubt::Differs(-60_001)));
        assert_eq!(state.judge(&now, start, 8_640_000_000).0, Some(ClockDoubt::Differs(8_640_000_000)));
        assert_eq!(state.judge(&now, start, 0).0, None);
    }

    #[test]
    fn doubts_are_sentences() {
        for (doubt, text) in [
            (
                ClockDoubt::Ahead(100 * DAY),
                "the clock is 3months 8days 16h 19m 12s ahead of the last time that a server saw",
            ),
            (ClockDoubt::Jumped(-90_500), "the clock was set 1m 30s back"),
            (ClockDoubt::Differs(3_600_000), "the clock of this node is 1h ahead of the database's"),
        ] {
            assert_eq!(doubt.to_string(), text);
        }
    }
}
