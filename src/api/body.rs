//! The guard around every request body.
//!
//! A server that merely stops reading a body has three problems. A slow client occupies memory and a connection: the
//! guard ends a body that pauses too long, moves too slowly or takes too long in all. A client that is refused early (401,
//! 413, 503) is still sending: a connection that is closed with unread bytes is reset, and the reset overtakes the
//! response, so the client sees a broken connection instead of the reason. So the guard continues to read, and discards,
//! the rest of a dropped body in the background, within the bounds of `drain`, while the response is sent. And a client
//! that keeps connections open would send its next request where the server still expects the rest of the body, or on a
//! connection that is about to be closed. So the guard reports whether the body was read to its end; if not, the envelope
//! adds `Connection: close` to a response over HTTP/1.
//!
//! A client that waits for `100 Continue` has sent nothing. Reading its body would request it, so an untouched body is
//! dropped without reading.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::http::{HeaderMap, Version, header};
use futures_util::{Stream, StreamExt};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::{ApiConfig, Drain};

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// It did not arrive in time.
    #[error("the body was not received in time")]
    TimedOut,
    /// The connection broke, or the framing of the body did.
    #[error("the body could not be read")]
    Broken(#[source] axum::Error),
}

/// A rest of a body up to this size is read before the response, so that the connection can be used again.
const SMALL_REST_BYTES: usize = 64 * 1024;

/// Longest wait for such a rest. It has usually arrived together with the head of the request.
const SMALL_REST_WAIT: Duration = Duration::from_millis(100);

/// How long to wait for a body.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    total: Duration,
    idle: Duration,
    /// Bytes per second on average, once `grace` has passed.
    min_rate: u32,
    grace: Duration,
}

/// The pace of a body that is read.
struct Pace {
    started: Instant,
    last_byte: Instant,
    received: u64,
    timer: Pin<Box<Sleep>>,
}

impl Pace {
    fn start() -> Self {
        let now = Instant::now();
        Self { started: now, last_byte: now, received: 0, timer: Box::pin(sleep(Duration::ZERO)) }
    }

    fn advance(&mut self, bytes: usize) {
        self.received += bytes as u64;
        self.last_byte = Instant::now();
    }

    /// When the body is too slow, unless more of it arrives before.
    fn deadline(&self, bounds: Bounds) -> Instant {
        let covered = Duration::from_secs(self.received) / bounds.min_rate.max(1);
        let too_slow = self.started + bounds.grace.max(covered.min(bounds.total));
        too_slow.min(self.started + bounds.total).min(self.last_byte + bounds.idle)
    }

    /// Ready when the body is too slow.
    fn poll_too_slow(&mut self, bounds: Bounds, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline(bounds);
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        self.timer.as_mut().poll(cx)
    }
}

/// What the guard reports to the envelope.
#[derive(Default)]
struct Progress {
    /// The body was read to its end.
    complete: bool,
    /// The body took too long. Its rest will not come soon either.
    timed_out: bool,
    /// The response is decided: `rest` is not taken any more, and a body that is dropped later is drained so.
    answered: Option<Drain>,
    /// The body, dropped before its end.
    rest: Option<BodyDataStream>,
}

type SharedProgress = Arc<Mutex<Progress>>;

struct Guarded {
    /// Taken once there is nothing more to read.
    body: Option<BodyDataStream>,
    /// Runs from the first attempt to read.
    pace: Option<Pace>,
    timed_out: bool,
    bounds: Bounds,
    awaits_continue: bool,
    progress: SharedProgress,
}

/// The envelope's end of a guarded body.
pub(super) struct Remainder {
    progress: SharedProgress,
}

/// Puts the guard around a body.
pub(super) fn guard(body: Body, headers: &HeaderMap, config: &ApiConfig) -> (Body, Remainder) {
    let bounds = Bounds {
        total: config.body_timeout,
        idle: config.body_idle_timeout,
        min_rate: config.min_body_rate,
        grace: config.body_rate_grace,
    };
    let complete = body.is_end_stream();
    let progress = Arc::new(Mutex::new(Progress { complete, ..Progress::default() }));
    let remainder = Remainder { progress: Arc::clone(&progress) };
    if complete {
        return (body, remainder);
    }
    let expected = headers.get(header::EXPECT).map(|value| value.as_bytes());
    let guarded = Guarded {
        body: Some(body.into_data_stream()),
        pace: None,
        timed_out: false,
        bounds,
        awaits_continue: expected.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue")),
        progress,
    };
    (Body::from_stream(guarded), remainder)
}

impl Remainder {
    /// Decides, before the response is sent, what becomes of the rest of the body. Returns `None` when the body was read
    /// to its end; otherwise how the rest is drained, and that the connection cannot serve another request over HTTP/1.
    pub(super) async fn settle(self, version: Version, drain: impl FnOnce() -> Drain) -> Option<Drain> {
        let (mut body, timed_out) = {
            let mut progress = self.progress.lock();
            match progress.rest.take() {
                None if progress.complete => return None,
                None => return Some(progress.answered.insert(drain()).clone()),
                Some(body) => (body, progress.timed_out),
            }
        };
        // Over HTTP/2 each request has a stream of its own: there is nothing to save.
        let is_small = HttpBody::size_hint(&body).lower() <= SMALL_REST_BYTES as u64;
        if version < Version::HTTP_2 && is_small && !timed_out {
            let rest = discard(&mut body, SMALL_REST_BYTES);
            match timeout(SMALL_REST_WAIT, rest).await {
                Ok(Discarded::ToTheEnd) => return None,
                Ok(Discarded::Broken) => return Some(drain()),
                Ok(Discarded::TooMuch) | Err(_) => {}
            }
        }
        let drain = drain();
        drain.clone().spawn(body);
        Some(drain)
    }
}

impl Stream for Guarded {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(body) = this.body.as_mut().filter(|_| !this.timed_out) else {
            return Poll::Ready(None);
        };
        let pace = this.pace.get_or_insert_with(Pace::start);
        match body.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(bytes))) => {
                pace.advance(bytes.len());
                Poll::Ready(Some(Ok(bytes)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.body = None;
                Poll::Ready(Some(Err(BodyError::Broken(error))))
            }
            Poll::Ready(None) => {
                this.body = None;
                this.progress.lock().complete = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                if pace.poll_too_slow(this.bounds, cx).is_ready() {
                    this.timed_out = true;
                    return Poll::Ready(Some(Err(BodyError::TimedOut)));
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        let untouched = self.pace.is_none();
        let mut progress = self.progress.lock();
        if body.is_end_stream() {
            progress.complete = true;
        } else if self.awaits_continue && untouched {
            // Dropped without reading.
        } else if let Some(drain) = progress.answered.take() {
            drain.spawn(body);
        } else {
            progress.timed_out = self.timed_out;
            progress.rest = Some(body);
        }
    }
}

/// How [`discard`] ended.
enum Discarded {
    ToTheEnd,
    TooMuch,
    Broken,
}

/// Reads and discards up to `limit` bytes.
async fn discard(body: &mut BodyDataStream, limit: usize) -> Discarded {
    let mut left = limit;
    loop {
        let piece = match body.next().await {
            Some(Ok(piece)) => piece,
            None => return Discarded::ToTheEnd,
            Some(Err(_)) => return Discarded::Broken,
        };
        match left.checked_sub(piece.len()) {
            Some(rest) => left = rest,
            None => return Discarded::TooMuch,
        }
    }
}
