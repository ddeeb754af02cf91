//! How often somebody may ask.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest interval, some 30 years: never, and yet a time that can be reckoned with.
const AGES: Duration = Duration::from_secs(1_000_000_000);

/// A rate limit for each of many: the generic cell rate algorithm (ITU-T I.371), which is a token
/// bucket that remembers one moment.
#[derive(Debug)]
pub struct RateLimiter<K> {
    /// Between two requests of the allowed rate.
    interval: Duration,
    /// How far ahead of that rate one may be.
    ahead: Duration,
    /// When the next request of each would be due at the allowed rate.
    due: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash + Clone> RateLimiter<K> {
    /// A limit of so many requests a second, of which up to `burst` (at least one) may come at once.
    /// `None` when the rate is not a positive number.
    pub fn new(per_second: f64, burst: u32) -> Option<Self> {
        if !(per_second > 0.0) {
            return None;
        }
        let interval = Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(AGES).min(AGES);
        let ahead = interval.saturating_mul(burst.max(1) - 1);
        Some(Self { interval, ahead, due: Mutex::default() })
    }

    /// Lets a request at `now` pass and counts it.
    ///
    /// # Errors
    /// How long to wait before it would pass. What does not pass is not counted.
    pub fn pass(&self, who: &K, now: Instant) -> Result<(), Duration> {
        let mut all = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let due = all.get(who).copied().unwrap_or(now).max(now);
        let early = due.duration_since(now).saturating_sub(self.ahead);
        if !early.is_zero() {
            return Err(early);
        }
        match all.get_mut(who) {
            Some(entry) => *entry = due + self.interval,
            None => {
                all.insert(who.clone(), due + self.interval);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let limiter = RateLimiter::new(10.0, 3).unwrap();
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        for _ in 0..3 {
            assert_eq!(limiter.pass(&"a", at(0)), Ok(()));
        }
        assert_eq!(limiter.pass(&"a", at(0)), Err(Duration::from_millis(100)));
        assert_eq!(limiter.pass(&"a", at(60)), Err(Duration::from_millis(40)), "a refusal costs nothing");
        assert_eq!(limiter.pass(&"b", at(60)), Ok(()), "each has a rate of its own");
        assert_eq!(limiter.pass(&"a", at(100)), Ok(()));
        assert!(limiter.pass(&"a", at(100)).is_err());
        // Rested long enough, a whole burst is there again, and no more than that.
        let passed = (0..9).filter(|_| limiter.pass(&"a", at(60_000)).is_ok()).count();
        assert_eq!(passed, 3);
    }

    #[test]
    fn over_time_the_rate_holds() {
        let limiter = RateLimiter::new(50.0, 5).unwrap();
        let start = Instant::now();
        let passed = (0..10_000).filter(|ms| limiter.pass(&(), start + Duration::from_millis(*ms)).is_ok()).count();
        assert!((500..=505).contains(&passed), "{passed}");
    }

    #[test]
    fn hardly_any_rate_is_a_limit() {
        for rate in [1e-9, 1e-20, f64::MIN_POSITIVE] {
            let (limiter, now) = (RateLimiter::new(rate, 2).unwrap(), Instant::now());
            assert!((0..2).all(|_| limiter.pass(&(), now).is_ok()));
            assert!(limiter.pass(&(), now + Duration::from_secs(86_400)).is_err(), "{rate}");
        }
        assert!(RateLimiter::new(1e-20, u32::MAX).unwrap().pass(&(), Instant::now()).is_ok());
    }

    #[test]
    fn no_rate_is_no_limit() {
        for rate in [0.0, -1.0, f64::NAN] {
            assert!(RateLimiter::<u8>::new(rate, 1).is_none());
        }
    }
}
