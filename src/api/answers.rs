//! The answers of an HTTP/2 connection that its peer has not read yet.
//!
//! Over HTTP/1 a peer that does not read stops its own next request. Over HTTP/2 it can send one request after the other
//! and open no window for the answers, which then stay in memory. So a request waits while too much of its connection is
//! unread, and the listener closes a connection on which nothing is read for too long.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Bytes of answers that may be unread before the next request of the connection waits.
const MAX_UNREAD_BYTES: usize = 64 * 1024;

/// What a request in progress and the head of its answer count as. 64 of them, as many as a connection may have at once,
/// do not wait for each other.
const HEAD_BYTES: usize = MAX_UNREAD_BYTES / 64;

/// Bytes that are handed on at once. A piece stays in the sender's buffer until the peer has opened a window for it.
const PIECE_BYTES: usize = 16 * 1024;

/// The unread answers of one connection.
#[derive(Debug, Clone)]
pub struct Answers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    read: Notify,
}

#[derive(Debug)]
struct State {
    /// Of all places.
    bytes: usize,
    /// The number of answers that are ready and not sent.
    unread: usize,
    /// When the peer last read something, or when the first answer that it has not read began.
    progressed: Instant,
}

impl Default for Answers {
    fn default() -> Self {
        let state = Mutex::new(State { bytes: 0, unread: 0, progressed: Instant::now() });
        Self(Arc::new(Shared { state, read: Notify::new() }))
    }
}

impl Answers {
    /// Waits until the peer has read enough for another answer.
    pub async fn place(&self) -> AnswerPlace {
        loop {
            let read = self.0.read.notified();
            {
                let mut state = self.0.state.lock();
                if state.bytes < MAX_UNREAD_BYTES {
                    state.bytes += HEAD_BYTES;
                    return AnswerPlace { answers: Arc::clone(&self.0), bytes: HEAD_BYTES, unread: false };
                }
            }
            read.await;
        }
    }

    /// Since when the peer has read nothing of what is ready for it; `None` when it has read all.
    pub fn unread_since(&self) -> Option<Instant> {
        let state = self.0.state.lock();
        (state.unread > 0).then_some(state.progressed)
    }
}

/// The place of one answer, until the answer is sent.
#[derive(Debug)]
pub struct AnswerPlace {
    answers: Arc<Shared>,
    bytes: usize,
    /// Whether the answer is ready.
    unread: bool,
}

impl AnswerPlace {
    /// Counts an answer as unread until its last byte is sent.
    pub fn hold(mut self, response: Response) -> Response {
        let (head, body) = response.into_parts();
        let bytes = usize::try_from(HttpBody::size_hint(&body).lower()).unwrap_or(usize::MAX);
        {
            let mut state = self.answers.state.lock();
            state.bytes = state.bytes.saturating_add(bytes);
            self.bytes = self.bytes.saturating_add(bytes);
            if state.unread == 0 {
                state.progressed = Instant::now();
            }
            state.unread += 1;
            self.unread = true;
        }
        let answers = Arc::clone(&self.answers);
        let body = Unread { body, place: Some(self), rest: Bytes::new(), answers, pieces: 0 };
        Response::from_parts(head, Body::new(body))
    }
}

impl Drop for AnswerPlace {
    fn drop(&mut self) {
        {
            let mut state = self.answers.state.lock();
            state.bytes = state.bytes.saturating_sub(self.bytes);
            if self.unread {
                state.unread = state.unread.saturating_sub(1);
                state.progressed = Instant::now();
            }
        }
        self.answers.read.notify_waiters();
    }
}

/// The memory of an answer. The sender holds pieces of it until they are sent.
struct Held {
    bytes: Bytes,
    _place: AnswerPlace,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The body of an answer, in pieces.
struct Unread {
    body: Body,
    /// Until the bytes are there, which hold it from then on.
    place: Option<AnswerPlace>,
    rest: Bytes,
    answers: Arc<Shared>,
    pieces: usize,
}

impl HttpBody for Unread {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)) else { return Poll::Ready(None) };
            match frame.map(Frame::into_data) {
                Ok(Ok(bytes)) => {
                    this.rest = match this.place.take() {
                        Some(place) => Bytes::from_owner(Held { bytes, _place: place }),
                        None => bytes,
                    }
                }
                Ok(Err(other)) => return Poll::Ready(Some(Ok(other))),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        // The first piece is taken before the peer reads, a further one when the peer has read.
        if this.pieces > 0 {
            this.answers.state.lock().progressed = Instant::now();
        }
        this.pieces += 1;
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let body = HttpBody::size_hint(&self.body);
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;

    fn answer(bytes: usize) -> Response {
        Response::new(Body::from(vec![7; bytes]))
    }

    #[tokio::test]
    async fn a_connection_waits_while_its_answers_are_unread() {
        let answers = Answers::default();
        let mut places = Vec::new();
        for _ in 0..64 {
            places.push(answers.place().now_or_never().expect("64 requests do not wait for each other"));
        }
        assert!(answers.place().now_or_never().is_none() && answers.unread_since().is_none());
        drop(places);
        let large = answers.place().await.hold(answer(100_000));
        assert!(answers.place().now_or_never().is_none(), "a large answer is unread");
        let waiting = tokio::spawn({
            let answers = answers.clone();
            async move { drop(answers.place().await) }
        });
        let since = answers.unread_since().unwrap();
        let body = large.into_body();
        assert_eq!(HttpBody::size_hint(&body).exact(), Some(100_000));
        let mut pieces = body.into_data_stream();
        let first = pieces.next().await.unwrap().unwrap();
        assert_eq!((first.len(), answers.unread_since()), (PIECE_BYTES, Some(since)), "the first piece proves nothing");
        tokio::time::sleep(Duration::from_millis(5)).await;
        let mut sent = vec![first];
        while let Some(piece) = pieces.next().await {
            sent.push(piece.unwrap());
        }
        assert!(answers.unread_since().unwrap() > since, "the peer reads");
        drop(pieces);
        assert!(answers.place().now_or_never().is_none(), "the sender still holds the bytes");
        assert_eq!(sent.concat(), vec![7; 100_000]);
        drop(sent);
        waiting.await.unwrap();
        assert_eq!(answers.unread_since(), None);
        assert_eq!(answers.0.state.lock().bytes, 0);
    }

    #[tokio::test]
    async fn an_answer_without_a_body_is_not_unread() {
        let answers = Answers::default();
        let empty = answers.place().await.hold(answer(0));
        assert!(empty.body().is_end_stream());
        drop(empty);
        assert_eq!((answers.unread_since(), answers.0.state.lock().bytes), (None, 0));
    }
}
