//! Tickets: how much work may be inside the server at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hands out a bounded number of tickets, of which no single holder gets more than a share.
#[derive(Debug, Clone)]
pub struct Admission {
    tickets: Arc<Semaphore>,
    capacity: usize,
    most_each: usize,
    held: Held,
}

/// Tickets in use, by holder. Nobody stands in it with none.
type Held = Arc<Mutex<HashMap<String, usize>>>;

fn lock(held: &Held) -> MutexGuard<'_, HashMap<String, usize>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to have one request's work inside the server. Given back when dropped.
#[derive(Debug)]
pub struct Ticket {
    _permit: OwnedSemaphorePermit,
    _part: Part,
}

/// A holder's part of what is in use.
#[derive(Debug)]
struct Part {
    held: Held,
    holder: String,
    tickets: usize,
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        if let Some(count) = held.get_mut(&self.holder) {
            *count = count.saturating_sub(self.tickets);
            if *count == 0 {
                held.remove(&self.holder);
            }
        }
    }
}

/// Why there is no ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTicket {
    /// All are in use, or the desk is closed.
    Full,
    /// This holder has its share.
    ShareUsed,
}

impl Admission {
    /// An admission desk with so many tickets (at least one), of which each holder may have this
    /// share, 0 to 1 (but always one).
    pub fn new(capacity: usize, share: f64) -> Self {
        let capacity = capacity.max(1);
        let most_each = ((capacity as f64 * share).ceil() as usize).clamp(1, capacity);
        Self { tickets: Arc::new(Semaphore::new(capacity)), capacity, most_each, held: Held::default() }
    }

    /// Takes the room of several photos at once: all or nothing. Never waits.
    ///
    /// # Errors
    /// [`NoTicket`].
    pub fn try_take(&self, holder: &str, photos: u32) -> Result<Ticket, NoTicket> {
        // A request may never need more than there is, or it could never be served.
        let photos = photos.min(u32::try_from(self.most_each).unwrap_or(u32::MAX));
        let permit = Arc::clone(&self.tickets).try_acquire_many_owned(photos).map_err(|_| NoTicket::Full)?;
        let mut held = lock(&self.held);
        if held.get(holder).copied().unwrap_or(0) + photos as usize > self.most_each {
            return Err(NoTicket::ShareUsed);
        }
        *held.entry(holder.to_owned()).or_default() += photos as usize;
        let part = Part { held: Arc::clone(&self.held), holder: holder.to_owned(), tickets: photos as usize };
        Ok(Ticket { _permit: permit, _part: part })
    }

    /// Tickets in use.
    pub fn in_use(&self) -> usize {
        self.capacity.saturating_sub(self.tickets.available_permits())
    }

    /// All tickets there are.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether the desk was closed.
    pub fn is_closed(&self) -> bool {
        self.tickets.is_closed()
    }

    /// No more tickets from now on: the server is stopping.
    pub fn close(&self) {
        self.tickets.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_bounded_and_come_back() {
        let desk = Admission::new(2, 1.0);
        let first = desk.try_take("a", 1).unwrap();
        let _second = desk.try_take("a", 1).unwrap();
        assert_eq!(desk.try_take("b", 1).unwrap_err(), NoTicket::Full);
        drop(first);
        assert!(desk.try_take("b", 1).is_ok());
    }

    #[test]
    fn nobody_has_more_than_a_share() {
        let desk = Admission::new(4, 0.6);
        let first = desk.try_take("a", 2).unwrap();
        let _second = desk.try_take("a", 1).unwrap();
        assert_eq!(desk.try_take("a", 1).unwrap_err(), NoTicket::ShareUsed);
        let _other = desk.try_take("b", 1).unwrap();
        drop(first);
        let _again = desk.try_take("a", 2).unwrap();
        assert_eq!(desk.try_take("b", 1).unwrap_err(), NoTicket::Full);
        assert_eq!(lock(&desk.held).len(), 2);
    }

    #[test]
    fn a_closed_desk_admits_nobody() {
        let desk = Admission::new(2, 1.0);
        desk.close();
        assert!(desk.is_closed());
        assert_eq!(desk.try_take("a", 1).unwrap_err(), NoTicket::Full);
    }

    #[test]
    fn a_request_of_two_photos_fits_a_desk_of_one() {
        let desk = Admission::new(1, 0.1);
        let ticket = desk.try_take("a", 2).unwrap();
        assert_eq!(desk.in_use(), 1);
        drop(ticket);
        assert_eq!(desk.in_use(), 0);
        assert!(lock(&desk.held).is_empty());
    }
}
