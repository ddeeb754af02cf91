//! Limits on work in progress: a fixed share for each holder, or a part that depends on how many there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::holders::{Amounts, Holders, Refusal, Ticket};

/// Hands out a bounded number of tickets; one holder gets at most a fixed share of them.
#[derive(Debug, Clone)]
pub struct Admission {
    capacity: usize,
    max_per_holder: usize,
    held: Holders,
}

impl Admission {
    /// A limiter with `capacity` tickets (at least one), of which each holder may have the share `share`, 0 to 1 (but
    /// at least one ticket).
    pub fn new(capacity: usize, share: f64) -> Self {
        let capacity = capacity.max(1);
        let max_per_holder = ((capacity as f64 * share).ceil() as usize).clamp(1, capacity);
        Self { capacity, max_per_holder, held: Holders::default() }
    }

    /// Takes a ticket. Never waits.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn try_take(&self, holder: &str) -> Result<Ticket, Refusal> {
        self.held.take(holder, 1, |held| {
            if held.total() >= self.capacity {
                Err(Refusal::Full)
            } else if held.of(holder) >= self.max_per_holder {
                Err(Refusal::ShareUsed)
            } else {
                Ok(())
            }
        })
    }
}

/// Limits the work in progress, fairly: one holder alone may have all of it; at the limit a holder is refused only if it
/// has its part already, which is the capacity divided by the number of holders.
///
/// So a holder without work in progress is always admitted, and the limit can be exceeded: by one part for each holder
/// that comes when others have taken everything.
#[derive(Debug, Clone)]
pub struct FairLimiter {
    capacity: usize,
    held: Holders,
    closed: Arc<AtomicBool>,
}

impl FairLimiter {
    /// A limiter of `capacity`, at least 1.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), held: Holders::default(), closed: Arc::default() }
    }

    /// Whether work of a holder may begin.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check(&self, holder: &str) -> Result<(), Refusal> {
        self.held.read(|held| self.allowed(held, holder))
    }

    /// Counts work as in progress, if it may begin.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn try_enter(&self, holder: &str) -> Result<Ticket, Refusal> {
        self.held.take(holder, 1, |held| self.allowed(held, holder))
    }

    /// Counts work as in progress that was checked before, at the limit or not.
    pub fn enter(&self, holder: &str) -> Ticket {
        self.held.enter(holder, 1)
    }

    fn allowed(&self, held: &Amounts, holder: &str) -> Result<(), Refusal> {
        if self.is_closed() {
            return Err(Refusal::Full);
        }
        let others = held.others(holder);
        let part = (self.capacity / (others + 1)).max(1);
        if held.total() < self.capacity || held.of(holder) < part {
            Ok(())
        } else if others == 0 {
            Err(Refusal::Full)
        } else {
            Err(Refusal::ShareUsed)
        }
    }

    /// Work in progress.
    pub fn in_use(&self) -> usize {
        self.held.read(Amounts::total)
    }

    /// The limit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether the limiter is closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Refuses all work from now on: the server is stopping. What was checked before may still enter.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_bounded_and_returned() {
        let limiter = Admission::new(2, 1.0);
        let first = limiter.try_take("a").unwrap();
        let _second = limiter.try_take("a").unwrap();
        assert_eq!(limiter.try_take("b").unwrap_err(), Refusal::Full);
        drop(first);
        assert!(limiter.try_take("b").is_ok());
    }

    #[test]
    fn a_holder_gets_at_most_its_share() {
        let limiter = Admission::new(4, 0.6);
        let mut held: Vec<_> = (0..3).map(|_| limiter.try_take("a").unwrap()).collect();
        assert_eq!(limiter.try_take("a").unwrap_err(), Refusal::ShareUsed);
        let _other = limiter.try_take("b").unwrap();
        held.pop();
        held.push(limiter.try_take("a").unwrap());
        assert_eq!(limiter.try_take("b").unwrap_err(), Refusal::Full);
        drop(held);
        assert_eq!(limiter.held.read(|held| (held.total(), held.of("a"), held.others("a"))), (1, 0, 1));
    }

    #[test]
    fn one_holder_alone_may_have_everything() {
        let limiter = FairLimiter::new(4);
        let held: Vec<_> = (0..4).map(|_| limiter.try_enter("a").unwrap()).collect();
        assert_eq!(limiter.check("a").unwrap_err(), Refusal::Full);
        assert_eq!(limiter.try_enter("a").unwrap_err(), Refusal::Full);
        assert_eq!((limiter.in_use(), limiter.capacity()), (4, 4));
        drop(held);
        assert_eq!(limiter.in_use(), 0);
    }

    #[test]
    fn a_holder_without_work_is_always_admitted() {
        let limiter = FairLimiter::new(4);
        let mut held: Vec<_> = (0..4).map(|_| limiter.try_enter("a").unwrap()).collect();
        held.extend((0..2).map(|_| limiter.try_enter("b").unwrap()));
        assert_eq!(limiter.check("b").unwrap_err(), Refusal::ShareUsed, "two of four");
        assert_eq!(limiter.check("a").unwrap_err(), Refusal::ShareUsed);
        held.extend(('c'..='z').map(|holder| limiter.try_enter(&holder.to_string()).unwrap()));
        assert_eq!(limiter.check("c").unwrap_err(), Refusal::ShareUsed);
        // What was checked before a limit was reached still enters.
        held.push(limiter.enter("c"));
        assert_eq!(limiter.in_use(), 4 + 2 + 24 + 1);
    }

    #[test]
    fn a_closed_limiter_refuses_all_but_what_was_checked() {
        let limiter = FairLimiter::new(2);
        limiter.close();
        assert!(limiter.is_closed());
        assert_eq!(limiter.check("a").unwrap_err(), Refusal::Full);
        assert_eq!(limiter.try_enter("a").unwrap_err(), Refusal::Full);
        let _checked = limiter.enter("a");
        assert_eq!(limiter.in_use(), 1);
    }
}
