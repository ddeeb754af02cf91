//! How often each client may send a request.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The longest interval between two requests, some 30 years: longer ones would overflow sums.
const MAX_INTERVAL: Duration = Duration::from_secs(1_000_000_000);

/// A rate: so many requests a second, of which some may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The time between two requests at the allowed rate.
    interval: Duration,
    /// How far ahead of that rate a key may be.
    tolerance: Duration,
}

impl Rate {
    /// `per_second` requests a second, of which up to `burst` (at least one) may come at once. `None`, no limit, when the
    /// rate is not a positive number.
    pub fn new(per_second: f64, burst: u32) -> Option<Self> {
        if !(per_second > 0.0) {
            return None;
        }
        let interval = Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(MAX_INTERVAL).min(MAX_INTERVAL);
        Some(Self { interval, tolerance: interval.saturating_mul(burst.max(1) - 1) })
    }
}

/// A rate limit for each key: the generic cell rate algorithm (ITU-T I.371), a token bucket whose state is one instant.
/// The rate of a key can be another one with each request.
#[derive(Debug)]
pub struct RateLimiter<K> {
    /// The rate of keys without one of their own.
    rate: Option<Rate>,
    due: Mutex<Due<K>>,
}

/// When the next request of each key is due at the allowed rate.
#[derive(Debug)]
struct Due<K> {
    by_key: HashMap<K, Instant>,
    /// At this number of keys, those that are due already are removed: they are like new ones.
    prune_at: usize,
}

/// The least number of keys at which some are removed.
const MIN_PRUNE_AT: usize = 1024;

impl<K: Eq + Hash + Clone> RateLimiter<K> {
    /// A limit of `per_second` requests a second, of which up to `burst` (at least one) may come at once. `None`, no
    /// limit, when the rate is not a positive number.
    pub fn new(per_second: f64, burst: u32) -> Option<Self> {
        Rate::new(per_second, burst).map(|rate| Self::by_key(Some(rate)))
    }

    /// A limit for keys that may have a rate of their own; `rate` is that of the others, `None`: no limit.
    pub fn by_key(rate: Option<Rate>) -> Self {
        Self { rate, due: Mutex::new(Due { by_key: HashMap::new(), prune_at: MIN_PRUNE_AT }) }
    }

    /// Admits a request at `now` and counts it.
    ///
    /// # Errors
    /// How long to wait until it is admitted. A refused request is not counted.
    pub fn check(&self, key: &K, now: Instant) -> Result<(), Duration> {
        self.check_at(key, self.rate, now)
    }

    /// As [`RateLimiter::check`], at a rate of the key's own; `None`: no limit.
    ///
    /// # Errors
    /// As [`RateLimiter::check`].
    pub fn check_at(&self, key: &K, rate: Option<Rate>, now: Instant) -> Result<(), Duration> {
        let Some(Rate { interval, tolerance }) = rate else { return Ok(()) };
        let mut all = self.due.lock();
        let mut due = all.by_key.get(key).copied().unwrap_or(now).max(now);
        // What was due at a slower rate than this one does not count longer than a burst of this one.
        if let Some(latest) = now.checked_add(tolerance.saturating_add(interval)).filter(|latest| due > *latest) {
            due = latest;
            all.by_key.insert(key.clone(), due);
        }
        let early = due.duration_since(now).saturating_sub(tolerance);
        if !early.is_zero() {
            return Err(early);
        }
        match all.by_key.get_mut(key) {
            Some(entry) => *entry = due + interval,
            None => {
                if all.by_key.len() >= all.prune_at {
                    all.by_key.retain(|_, due| *due > now);
                    all.prune_at = (2 * all.by_key.len()).max(MIN_PRUNE_AT);
                }
                all.by_key.insert(key.clone(), due + interval);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::stopwatch;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let limiter = RateLimiter::new(10.0, 3).unwrap();
        let start = stopwatch();
        let at = |ms: u64| start + Duration::from_millis(ms);
        for _ in 0..3 {
            assert_eq!(limiter.check(&"a", at(0)), Ok(()));
        }
        assert_eq!(limiter.check(&"a", at(0)), Err(Duration::from_millis(100)));
        assert_eq!(limiter.check(&"a", at(60)), Err(Duration::from_millis(40)), "a refusal costs nothing");
        assert_eq!(limiter.check(&"b", at(60)), Ok(()), "each has a rate of its own");
        assert_eq!(limiter.check(&"a", at(100)), Ok(()));
        assert!(limiter.check(&"a", at(100)).is_err());
        // After a long pause a whole burst is admitted again, and no more.
        let passed = (0..9).filter(|_| limiter.check(&"a", at(60_000)).is_ok()).count();
        assert_eq!(passed, 3);
    }

    #[test]
    fn keys_that_are_due_are_forgotten() {
        let limiter = RateLimiter::new(1.0, 1).unwrap();
        let start = stopwatch();
        for key in 0..100_000_u64 {
            assert!(limiter.check(&key, start + Duration::from_millis(key)).is_ok());
        }
        // A thousand keys a second, each due after a second.
        assert!(limiter.due.lock().by_key.len() <= 2 * MIN_PRUNE_AT);
        assert!(limiter.check(&99_999, start + Duration::from_millis(100_000)).is_err());
    }

    #[test]
    fn over_time_the_rate_holds() {
        let limiter = RateLimiter::new(50.0, 5).unwrap();
        let start = stopwatch();
        let passed = (0..10_000).filter(|ms| limiter.check(&(), start + Duration::from_millis(*ms)).is_ok()).count();
        assert!((500..=505).contains(&passed), "{passed}");
    }

    #[test]
    fn a_key_may_have_a_rate_of_its_own() {
        let limiter = RateLimiter::by_key(Rate::new(1.0, 1));
        let now = stopwatch();
        assert!(limiter.check(&"a", now).is_ok() && limiter.check(&"a", now).is_err());
        let passed = (0..9).filter(|_| limiter.check_at(&"b", Rate::new(1.0, 5), now).is_ok()).count();
        assert_eq!(passed, 5);
        assert!((0..9).all(|_| limiter.check_at(&"c", None, now).is_ok()), "no limit");
        // A limit that is raised is in force at once, also for a key that has used its old one for a long time.
        let slow = Rate::new(1e-6, 1);
        assert!(limiter.check_at(&"d", slow, now).is_ok() && limiter.check_at(&"d", slow, now).is_err());
        assert_eq!(limiter.check_at(&"d", Rate::new(10.0, 1), now), Err(Duration::from_millis(100)));
        assert!(limiter.check_at(&"d", Rate::new(10.0, 1), now + Duration::from_millis(100)).is_ok());
    }

    #[test]
    fn a_very_low_rate_is_a_limit() {
        for rate in [1e-9, 1e-20, f64::MIN_POSITIVE] {
            let limiter = RateLimiter::new(rate, 2).unwrap();
            let now = stopwatch();
            assert!((0..2).all(|_| limiter.check(&(), now).is_ok()));
            assert!(limiter.check(&(), now + Duration::from_secs(86_400)).is_err(), "{rate}");
        }
        assert!(RateLimiter::new(1e-20, u32::MAX).unwrap().check(&(), stopwatch()).is_ok());
    }

    #[test]
    fn no_rate_is_no_limit() {
        for rate in [0.0, -1.0, f64::NAN] {
            assert!(RateLimiter::<u8>::new(rate, 1).is_none());
        }
    }
}
