//! Wall-clock time, monotonic time and randomness: the only file that reads them from the system.
//!
//! A [`Clock`] is passed to code whose tests move time; code that only measures how long something takes uses
//! [`stopwatch`].

#![expect(clippy::disallowed_methods, reason = "the lint sends all other code here")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use uuid::Uuid;

/// Reads the time. Clones share one source, so a test moves them all.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Offsets>>);

/// How far a test has moved its clock from the system's, in nanoseconds.
#[derive(Debug, Default)]
struct Offsets {
    wall: AtomicI64,
    monotonic: AtomicU64,
}

impl Clock {
    /// The system's clock.
    pub const fn system() -> Self {
        Self(None)
    }

    /// The wall-clock time.
    pub fn now(&self) -> SystemTime {
        self.shift(SystemTime::now())
    }

    /// A time that another clock shows, moved as far as a test has moved this one: so a test moves the clock of a
    /// database, too.
    pub fn shift(&self, time: SystemTime) -> SystemTime {
        let Some(offsets) = &self.0 else { return time };
        let moved = offsets.wall.load(Ordering::SeqCst);
        let distance = Duration::from_nanos(moved.unsigned_abs());
        if moved < 0 { time - distance } else { time + distance }
    }

    /// The monotonic time.
    pub fn instant(&self) -> Instant {
        let moved = self.0.as_ref().map_or(0, |offsets| offsets.monotonic.load(Ordering::SeqCst));
        Instant::now() + Duration::from_nanos(moved)
    }
}

/// Moves the time that its [`Clock`] shows. Between moves the time passes as usual.
#[derive(Debug, Clone, Default)]
pub struct TestClock(Arc<Offsets>);

impl TestClock {
    /// A clock that starts at the system's time.
    pub fn new() -> Self {
        Self::default()
    }

    /// The clock that this handle moves.
    pub fn clock(&self) -> Clock {
        Clock(Some(self.0.clone()))
    }

    /// Moves wall-clock and monotonic time forward.
    pub fn advance(&self, by: Duration) {
        self.0.wall.fetch_add(nanoseconds(by), Ordering::SeqCst);
        self.0.monotonic.fetch_add(nanoseconds(by).unsigned_abs(), Ordering::SeqCst);
    }

    /// Moves the wall-clock time forward. Monotonic time does not follow, as when the clock of a system is changed.
    pub fn set_ahead(&self, by: Duration) {
        self.0.wall.fetch_add(nanoseconds(by), Ordering::SeqCst);
    }

    /// Moves the wall-clock time back. Monotonic time does not go back, as on a real system.
    pub fn set_back(&self, by: Duration) {
        self.0.wall.fetch_sub(nanoseconds(by), Ordering::SeqCst);
    }
}

/// Whether the wall clock may decide that something is old enough to be erased. Clones share the answer. It is no until
/// a check of the clock has passed.
#[derive(Debug, Clone, Default)]
pub struct ClockTrust(Arc<AtomicBool>);

impl ClockTrust {
    /// An answer that later checks change.
    pub fn new(trusted: bool) -> Self {
        Self(Arc::new(AtomicBool::new(trusted)))
    }

    /// Sets the outcome of the last check.
    pub fn set(&self, trusted: bool) {
        self.0.store(trusted, Ordering::Release);
    }

    /// The outcome of the last check.
    pub fn is_trusted(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Starts a stopwatch, which `elapsed` reads.
pub fn stopwatch() -> Instant {
    Instant::now()
}

/// The operating system returned no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system returned no random bytes")]
pub struct RandomError;

/// Random bytes of the operating system, fit for keys.
///
/// # Errors
/// [`RandomError`] when the operating system returns none.
pub fn fill_random(bytes: &mut [u8]) -> Result<(), RandomError> {
    getrandom::fill(bytes).map_err(|_| RandomError)
}

/// A random UUID (version 4), for identifiers.
///
/// # Panics
/// When the operating system returns no random bytes. Linux and macOS always return them once they have started.
pub fn random_uuid() -> Uuid {
    Uuid::new_v4()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn the_system_clock_shows_the_time_of_the_system() {
        let before = (SystemTime::now(), Instant::now());
        let clock = Clock::system();
        assert!(clock.now() >= before.0 && clock.now() < before.0 + DAY);
        assert!(clock.instant() >= before.1 && clock.instant() < before.1 + DAY);
    }

    #[test]
    fn advance_moves_both_times_of_every_clone() {
        let time = TestClock::new();
        let (clock, wall, monotonic) = (time.clock().clone(), SystemTime::now(), Instant::now());
        time.clone().advance(DAY);
        assert!(clock.now() >= wall + DAY && clock.now() < wall + 2 * DAY);
        assert!(clock.instant() >= monotonic + DAY && clock.instant() < monotonic + 2 * DAY);
    }

    #[test]
    fn set_back_moves_the_wall_clock_only() {
        let time = TestClock::new();
        let (clock, wall, monotonic) = (time.clock(), SystemTime::now(), Instant::now());
        time.set_back(2 * DAY);
        assert!(clock.now() < wall - DAY);
        assert!(clock.instant() >= monotonic);
        time.advance(3 * DAY);
        assert!(clock.now() >= wall + DAY);
        assert!(clock.instant() >= monotonic + 3 * DAY);
    }

    #[test]
    fn random_bytes_and_uuids_differ() {
        let (mut one, mut other) = ([0; 32], [0; 32]);
        fill_random(&mut one).unwrap();
        fill_random(&mut other).unwrap();
        assert_ne!(one, other);
        assert_ne!(random_uuid(), random_uuid());
        assert_eq!(random_uuid().get_version_num(), 4);
    }
}
