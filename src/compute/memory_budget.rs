//! A limit on bytes in memory.

use super::holders::{Amounts, Holders, Refusal, Ticket, leaves_room};

/// A bounded number of bytes, of which a part is always left for further holders.
///
/// A holder may have so many bytes that they are at most the share `share` of its own and the free bytes together: one
/// alone that share of all; two, at a share of 0.8, four ninths each, and one ninth stays free. A holder may always have
/// one reservation while bytes are free.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    capacity: usize,
    share: f64,
    held: Holders,
}

/// Reserved bytes. Dropping it frees them.
#[derive(Debug)]
pub struct Reservation {
    budget: MemoryBudget,
    ticket: Ticket,
    share: f64,
}

impl MemoryBudget {
    /// A budget of `capacity` bytes; `share` is from 0 to 1.
    pub fn new(capacity: usize, share: f64) -> Self {
        Self { capacity, share, held: Holders::default() }
    }

    /// Reserves bytes. Never waits.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn reserve(&self, holder: &str, bytes: usize) -> Result<Reservation, Refusal> {
        self.reserve_within(holder, bytes, None)
    }

    /// As [`MemoryBudget::reserve`], for a holder that may have a share of its own.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn reserve_within(&self, holder: &str, bytes: usize, share: Option<f64>) -> Result<Reservation, Refusal> {
        let share = share.unwrap_or(self.share);
        let ticket = self.held.take(holder, bytes, |held| self.allowed(held, holder, 0, bytes, share))?;
        Ok(Reservation { budget: self.clone(), ticket, share })
    }

    /// Bytes in use.
    pub fn in_use(&self) -> usize {
        self.held.read(Amounts::total)
    }

    /// All bytes, in use or free.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// `own` of the holder's bytes are those of the reservation that grows.
    fn allowed(&self, held: &Amounts, holder: &str, own: usize, more: usize, share: f64) -> Result<(), Refusal> {
        let Some(free) = self.capacity.checked_sub(held.total()).and_then(|free| free.checked_sub(more)) else {
            return Err(Refusal::Full);
        };
        let of_holder = held.of(holder);
        if of_holder == own || leaves_room(share, of_holder + more, free) { Ok(()) } else { Err(Refusal::ShareUsed) }
    }
}

impl Reservation {
    /// Reserves more, so that there are at least so many bytes.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Refusal> {
        let own = self.ticket.amount();
        let more = bytes.saturating_sub(own);
        if more == 0 {
            return Ok(());
        }
        let holder = self.ticket.holder().to_owned();
        self.ticket.add(more, |held| self.budget.allowed(held, &holder, own, more, self.share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many reservations of `bytes` as a holder gets.
    fn reserve_all(budget: &MemoryBudget, holder: &str, bytes: usize) -> Vec<Reservation> {
        std::iter::from_fn(|| budget.reserve(holder, bytes).ok()).collect()
    }

    #[test]
    fn some_bytes_are_left_for_further_holders() {
        let budget = MemoryBudget::new(900, 0.8);
        let mut alone = reserve_all(&budget, "a", 10);
        assert_eq!(alone.len(), 72, "0.8 of all");
        assert_eq!(budget.reserve("a", 10).unwrap_err(), Refusal::ShareUsed);
        let mut held = Vec::new();
        for holder in ["b", "c"] {
            held.extend(reserve_all(&budget, holder, 10));
        }
        assert!(budget.reserve("d", 10).is_ok());
        // The first one's bytes become free: two holders converge to four ninths each.
        held.clear();
        alone.truncate(40);
        let other = reserve_all(&budget, "b", 10);
        assert_eq!((other.len(), budget.in_use()), (40, 800));
        assert_eq!(budget.reserve("c", 101).unwrap_err(), Refusal::Full);
    }

    #[test]
    fn one_reservation_grows_while_bytes_are_free() {
        let budget = MemoryBudget::new(100, 0.5);
        let mut only = budget.reserve("a", 90).unwrap();
        only.grow_to(100).unwrap();
        only.grow_to(20).unwrap();
        assert_eq!(only.grow_to(101).unwrap_err(), Refusal::Full);
        assert_eq!(budget.reserve("b", 1).unwrap_err(), Refusal::Full);
        drop(only);
        let _first = budget.reserve("a", 20).unwrap();
        let mut second = budget.reserve("a", 20).unwrap();
        assert_eq!(second.grow_to(31).unwrap_err(), Refusal::ShareUsed);
        second.grow_to(30).unwrap();
        assert_eq!(budget.in_use(), 50);
    }
}
