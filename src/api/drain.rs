//! How the rest of a refused body is read and discarded, so that a client that is still sending receives the response.
//!
//! There are two policies. A caller with good credentials gets the full bounds. All others get short ones: they must send
//! fast, and only a bounded number of them is drained at a time, with a share for each client address; without a place
//! the connection is closed at once. Otherwise requests that cost their senders nothing would hold every connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::BodyDataStream;
use futures_util::StreamExt;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::ApiConfig;
use crate::compute::Ticket;

/// The longest time that a connection is read after its last response while the peer is still sending. A connection that
/// is closed with unread bytes is reset, and the peer may see the reset before the response.
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client without good credentials may take before its rate counts.
const SHORT_GRACE: Duration = Duration::from_secs(1);

/// The rate in bytes per second at which a client without good credentials must send: 2 Mbit/s.
const SHORT_RATE: usize = 256 * 1024;

/// The longest time to drain a client without good credentials, at any rate.
const SHORT_TIME: Duration = Duration::from_secs(10);

/// The end of a connection whose request was not read to its end: its policy, and what was discarded so far. The body and
/// the connection share it.
#[derive(Debug, Clone)]
pub struct Drain(Arc<State>);

#[derive(Debug)]
struct State {
    policy: Policy,
    started: Instant,
    discarded: AtomicUsize,
}

#[derive(Debug)]
enum Policy {
    Full {
        bytes: usize,
        time: Duration,
        idle: Duration,
    },
    Short {
        bytes: usize,
        time: Duration,
        /// The place among those that are drained.
        _place: Ticket,
    },
    /// Nothing is read.
    Closed,
}

impl Drain {
    fn new(policy: Policy) -> Self {
        Self(Arc::new(State { policy, started: Instant::now(), discarded: AtomicUsize::new(0) }))
    }

    /// For a caller with good credentials.
    pub(super) fn full(config: &ApiConfig) -> Self {
        let (bytes, time, idle) = (config.drain_bytes, config.drain_timeout, config.body_idle_timeout);
        Self::new(Policy::Full { bytes, time, idle })
    }

    /// For anyone else, with a place; without one, the connection is closed at once.
    pub(super) fn short(config: &ApiConfig, place: Option<Ticket>) -> Self {
        Self::new(place.map_or(Policy::Closed, |place| Policy::Short {
            // A request may have two photos.
            bytes: config.drain_bytes.min(config.max_body_bytes.saturating_mul(2)),
            time: config.drain_timeout.min(SHORT_TIME),
            _place: place,
        }))
    }

    /// Counts bytes that were read and discarded. Returns until when to wait for more; `None` when no more are read.
    fn discard(&self, bytes: usize, full: impl FnOnce(Duration, Duration) -> Instant) -> Option<Instant> {
        let State { policy, started, discarded } = &*self.0;
        let total = discarded.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        match policy {
            Policy::Full { bytes, time, idle } => (total <= *bytes).then(|| full(*time, *idle)),
            Policy::Short { bytes, time, .. } => {
                let earned = Duration::from_secs_f64(total as f64 / SHORT_RATE as f64);
                (total <= *bytes).then(|| *started + (SHORT_GRACE + earned).min(*time))
            }
            Policy::Closed => None,
        }
    }

    /// The same for the connection itself, which was closed for writing at `closed`.
    pub fn discard_after_close(&self, bytes: usize, closed: Instant) -> Option<Instant> {
        self.discard(bytes, |_, _| closed + LINGER_TIMEOUT)
    }

    /// Reads and discards a body in the background.
    pub(super) fn spawn(self, mut body: BodyDataStream) {
        // Beyond the bounds, the connection is closed with the rest unread.
        let discard = async move {
            let mut bytes = 0;
            loop {
                let bound = |time, idle| (self.0.started + time).min(Instant::now() + idle);
                let Some(deadline) = self.discard(bytes, bound) else { return };
                match timeout_at(deadline, body.next()).await {
                    Ok(Some(Ok(piece))) => bytes = piece.len(),
                    Ok(Some(Err(_)) | None) | Err(_) => return,
                }
            }
        };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(discard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::Admission;

    const MIB: usize = 1 << 20;

    #[tokio::test]
    async fn a_sender_without_credentials_earns_its_time() {
        let places = Admission::new(1, 1.0);
        let config = ApiConfig::default();
        let short = || Drain::short(&config, places.try_take("a").ok());
        let drain = short();
        let start = drain.0.started;
        let seconds = |deadline: Option<Instant>| deadline.map(|deadline| (deadline - start).as_secs_f64());
        assert_eq!(seconds(drain.discard_after_close(0, start)), Some(1.0));
        assert_eq!(seconds(drain.discard_after_close(1, start)).map(f64::round), Some(1.0), "a byte earns nothing");
        assert_eq!(seconds(drain.discard_after_close(MIB - 1, start)), Some(5.0));
        assert_eq!(seconds(drain.discard_after_close(19 * MIB, start)), Some(10.0), "the longest time");
        assert_eq!(seconds(drain.discard_after_close(20 * MIB, start)), Some(10.0), "two photos");
        assert_eq!(drain.discard_after_close(1, start), None, "more than any request");
        assert_eq!(short().discard_after_close(0, start), None, "without a place nothing is read");
        drop(drain);
        assert!(short().discard_after_close(0, start).is_some(), "the place is returned");
    }

    #[tokio::test]
    async fn a_caller_gets_the_full_bounds() {
        let config = ApiConfig::default();
        let drain = Drain::full(&config);
        let closed = Instant::now();
        assert_eq!(drain.discard_after_close(0, closed), Some(closed + LINGER_TIMEOUT));
        assert!(drain.discard_after_close(config.drain_bytes, closed).is_some());
        assert_eq!(drain.discard_after_close(1, closed), None);
    }
}
