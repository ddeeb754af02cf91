//! The guard around every request body.
//!
//! Two things go wrong when a server merely stops reading a body. A client that sends slowly holds
//! its place for as long as it likes; so the guard ends a body that does not arrive in time. And a
//! client that is refused early (401, 413, 503) is still sending: a connection that is closed with
//! unread bytes in it is reset, and the reset overtakes the answer, so that the client sees a
//! broken connection instead of the reason. So a guarded body that is dropped unread goes on being
//! read, and thrown away, in the background, within bounds, while the answer is already on its way.
//!
//! A client that waits for `100 Continue` has sent nothing; it must not be told to go on, so its
//! untouched body is dropped as it is.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::http::{HeaderMap, header};
use futures_util::{Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::ApiConfig;

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

/// How long to wait for a body, and how much of it to throw away.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    total: Duration,
    idle: Duration,
    drain_bytes: usize,
    drain_time: Duration,
}

struct Clock {
    total: Pin<Box<Sleep>>,
    idle: Pin<Box<Sleep>>,
}

struct Guarded {
    /// Taken once there is nothing more to read, or no more patience.
    body: Option<BodyDataStream>,
    /// Runs from the first attempt to read.
    clock: Option<Clock>,
    bounds: Bounds,
    awaits_continue: bool,
}

/// Puts the guard around a body.
pub(super) fn guard(body: Body, headers: &HeaderMap, config: &ApiConfig) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let expected = headers.get(header::EXPECT).map(|value| value.as_bytes());
    Body::from_stream(Guarded {
        body: Some(body.into_data_stream()),
        clock: None,
        bounds: Bounds {
            total: config.body_timeout,
            idle: config.body_idle_timeout,
            drain_bytes: config.drain_bytes,
            drain_time: config.drain_timeout,
        },
        awaits_continue: expected.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue")),
    })
}

impl Stream for Guarded {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(body) = this.body.as_mut() else {
            return Poll::Ready(None);
        };
        let bounds = this.bounds;
        let clock = this
            .clock
            .get_or_insert_with(|| Clock { total: Box::pin(sleep(bounds.total)), idle: Box::pin(sleep(bounds.idle)) });
        match body.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(bytes))) => {
                clock.idle.as_mut().reset(Instant::now() + bounds.idle);
                Poll::Ready(Some(Ok(bytes)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.body = None;
                Poll::Ready(Some(Err(BodyError::Broken(error))))
            }
            Poll::Ready(None) => {
                this.body = None;
                Poll::Ready(None)
            }
            Poll::Pending => {
                if clock.idle.as_mut().poll(cx).is_ready() || clock.total.as_mut().poll(cx).is_ready() {
                    this.body = None;
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
        let untouched = self.clock.is_none();
        if body.is_end_stream() || (self.awaits_continue && untouched) {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(drain(body, self.bounds));
        }
    }
}

/// Reads and throws away what a refused client is still sending.
async fn drain(mut body: BodyDataStream, bounds: Bounds) {
    let mut left = bounds.drain_bytes;
    let all = async {
        while let Some(Ok(bytes)) = body.next().await {
            match left.checked_sub(bytes.len()) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    // Out of time or out of bounds, the connection is closed with what is left in it.
    let _ = timeout(bounds.drain_time, all).await;
}
