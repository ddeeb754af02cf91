//! Tickets: a bound on the work inside the server.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hands out a bounded number of tickets; one holder gets at most a share of them.
#[derive(Debug, Clone)]
pub struct Admission {
    tickets: Arc<Semaphore>,
    capacity: usize,
    max_per_holder: usize,
    held: Held,
}

/// Tickets in use, by holder. Holders without tickets have no entry.
type Held = Arc<Mutex<HashMap<String, usize>>>;

/// The right to have one request's work inside the server. Dropping it returns the ticket.
#[derive(Debug)]
pub struct Ticket {
    _permit: OwnedSemaphorePermit,
    _share: Share,
}

/// The tickets that one holder has in use.
#[derive(Debug)]
struct Share {
    held: Held,
    holder: String,
    tickets: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.held.lock();
        if let Some(count) = held.get_mut(&self.holder) {
            *count = count.saturating_sub(self.tickets);
            if *count == 0 {
                held.remove(&self.holder);
            }
        }
    }
}

/// Why a ticket is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTicket {
    /// All tickets are in use, or the limiter is closed.
    Full,
    /// The holder has its whole share in use.
    ShareUsed,
}

impl Admission {
    /// A limiter with `capacity` tickets (at least one), of which each holder may have the share `share`, 0 to 1 (but
    /// at least one ticket).
    pub fn new(capacity: usize, share: f64) -> Self {
        let capacity = capacity.max(1);
        let max_per_holder = ((capacity as f64 * share).ceil() as usize).clamp(1, capacity);
        Self { tickets: Arc::new(Semaphore::new(capacity)), capacity, max_per_holder, held: Held::default() }
    }

    /// Takes one ticket for each photo: all or nothing. Never waits.
    ///
    /// # Errors
    /// [`NoTicket`].
    pub fn try_take(&self, holder: &str, photos: u32) -> Result<Ticket, NoTicket> {
        // A request that needs more than the share of its holder could never be served.
        let photos = photos.min(u32::try_from(self.max_per_holder).unwrap_or(u32::MAX));
        let permit = Arc::clone(&self.tickets).try_acquire_many_owned(photos).map_err(|_| NoTicket::Full)?;
        let mut held = self.held.lock();
        if held.get(holder).copied().unwrap_or(0) + photos as usize > self.max_per_holder {
            return Err(NoTicket::ShareUsed);
        }
        *held.entry(holder.to_owned()).or_default() += photos as usize;
        let share = Share { held: Arc::clone(&self.held), holder: holder.to_owned(), tickets: photos as usize };
        Ok(Ticket { _permit: permit, _share: share })
    }

    /// Tickets in use.
    pub fn in_use(&self) -> usize {
        self.capacity.saturating_sub(self.tickets.available_permits())
    }

    /// The number of tickets, in use or not.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether the limiter is closed.
    pub fn is_closed(&self) -> bool {
        self.tickets.is_closed()
    }

    /// Refuses all tickets from now on: the server is stopping.
    pub fn close(&self) {
        self.tickets.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_bounded_and_returned() {
        let limiter = Admission::new(2, 1.0);
        let first = limiter.try_take("a", 1).unwrap();
        let _second = limiter.try_take("a", 1).unwrap();
        assert_eq!(limiter.try_take("b", 1).unwrap_err(), NoTicket::Full);
        drop(first);
        assert!(limiter.try_take("b", 1).is_ok());
    }

    #[test]
    fn a_holder_gets_at_most_its_share() {
        let limiter = Admission::new(4, 0.6);
        let first = limiter.try_take("a", 2).unwrap();
        let _second = limiter.try_take("a", 1).unwrap();
        assert_eq!(limiter.try_take("a", 1).unwrap_err(), NoTicket::ShareUsed);
        let _other = limiter.try_take("b", 1).unwrap();
        drop(first);
        let _again = limiter.try_take("a", 2).unwrap();
        assert_eq!(limiter.try_take("b", 1).unwrap_err(), NoTicket::Full);
        assert_eq!(limiter.held.lock().len(), 2);
    }

    #[test]
    fn a_closed_limiter_refuses_all() {
        let limiter = Admission::new(2, 1.0);
        limiter.close();
        assert!(limiter.is_closed());
        assert_eq!(limiter.try_take("a", 1).unwrap_err(), NoTicket::Full);
    }

    #[test]
    fn a_request_of_two_photos_fits_a_limiter_of_one() {
        let limiter = Admission::new(1, 0.1);
        let ticket = limiter.try_take("a", 2).unwrap();
        assert_eq!(limiter.in_use(), 1);
        drop(ticket);
        assert_eq!(limiter.in_use(), 0);
        assert!(limiter.held.lock().is_empty());
    }
}
