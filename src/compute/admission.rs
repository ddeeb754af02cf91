//! Tickets: how much work may be inside the server at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Hands out a bounded number of tickets.
#[derive(Debug, Clone)]
pub struct Admission {
    tickets: Arc<Semaphore>,
    capacity: usize,
}

/// The right to have one request's work inside the server. Given back when dropped.
#[derive(Debug)]
pub struct Ticket {
    _permit: OwnedSemaphorePermit,
}

impl Admission {
    /// An admission desk with so many tickets (at least one).
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { tickets: Arc::new(Semaphore::new(capacity)), capacity }
    }

    /// Takes a ticket, or says at once that there is none. Never waits.
    pub fn try_take(&self) -> Option<Ticket> {
        self.try_take_many(1)
    }

    /// Takes the room of several photos at once: all or nothing.
    pub fn try_take_many(&self, photos: u32) -> Option<Ticket> {
        // A request may never need more than there is, or it could never be served.
        let photos = photos.min(u32::try_from(self.capacity).unwrap_or(u32::MAX));
        let permit = Arc::clone(&self.tickets).try_acquire_many_owned(photos).ok()?;
        Some(Ticket { _permit: permit })
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
        let desk = Admission::new(2);
        let first = desk.try_take().unwrap();
        let _second = desk.try_take().unwrap();
        assert!(desk.try_take().is_none());
        drop(first);
        assert!(desk.try_take().is_some());
    }

    #[test]
    fn a_closed_desk_admits_nobody() {
        let desk = Admission::new(2);
        desk.close();
        assert!(desk.is_closed());
        assert!(desk.try_take().is_none());
    }

    #[test]
    fn a_request_of_two_photos_fits_a_desk_of_one() {
        let desk = Admission::new(1);
        let ticket = desk.try_take_many(2).unwrap();
        assert_eq!(desk.in_use(), 1);
        drop(ticket);
        assert_eq!(desk.in_use(), 0);
    }
}
