//! What a connection may cost: how many there are, and how long one may hold its place.

use std::future::{Ready, ready};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tower::Service;

use crate::api;
use crate::compute::{Admission, RateLimiter, Ticket};
use crate::settings::Server;

/// Longest time that a connection is read on after its last response, where the peer is still sending. Closed with
/// unread bytes in it, a connection is reset, and the reset overtakes the response.
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);

/// Lets connections in, of which each peer has no more than a share; one too many is closed at once, for a descriptor
/// that waits costs as much as one that is served.
#[derive(Debug, Clone)]
pub(super) struct ConnectionLimiter {
    /// A ticket for each connection.
    tickets: Admission,
    /// How often it is said that there is none left.
    said: Arc<Option<RateLimiter<()>>>,
    /// Longest time without a byte taken by a peer that was written to.
    write_timeout: Duration,
    /// Longest time without a request. A peer that answers every sign of life (HTTP/2) still asks for nothing.
    idle_timeout: Duration,
}

impl<S> Accept<TcpStream, S> for ConnectionLimiter {
    type Stream = Connection;
    type Service = Counted<S>;
    type Future = Ready<io::Result<(Connection, Counted<S>)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(self.admit(stream).map(|connection| {
            let requests = Arc::clone(&connection.requests);
            (connection, Counted { service, requests })
        }))
    }
}

impl ConnectionLimiter {
    /// A limiter for so many connections.
    pub(super) fn new(connections: usize, server: &Server) -> Self {
        Self {
            tickets: Admission::new(connections, server.peer_share),
            said: Arc::new(RateLimiter::new(1.0 / 60.0, 1)),
            write_timeout: Duration::from_secs(server.write_timeout_s),
            idle_timeout: Duration::from_secs(server.idle_timeout_s),
        }
    }

    fn admit(&self, stream: TcpStream) -> io::Result<Connection> {
        let peer = network(stream.peer_addr()?.ip());
        let ticket = self.tickets.try_take(&peer, 1).map_err(|refused| {
            if self.said.as_ref().as_ref().is_some_and(|said| said.pass(&(), std::time::Instant::now()).is_ok()) {
                tracing::warn!(peer, ?refused, "connections are refused: see server.connections and server.peer_share");
            }
            io::Error::other("no room for another connection")
        })?;
        Ok(Connection {
            stream,
            requests: Arc::new(Requests::new()),
            write_timeout: self.write_timeout,
            stalled: None,
            idle_timeout: self.idle_timeout,
            idle: Box::pin(sleep(self.idle_timeout)),
            closing: Closing::NotYet,
            _ticket: ticket,
        })
    }
}

/// Who counts as one peer: an address, or the network that a host with IPv6 has to itself.
fn network(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("{:x}::/64", u128::from(ip) >> 64),
    }
}

/// The requests of a connection.
#[derive(Debug)]
struct Requests(Mutex<RequestState>);

#[derive(Debug)]
struct RequestState {
    under_way: usize,
    /// When the last one ended.
    ended: Instant,
    /// A response announced that the connection ends with it; the peer may still be sending the request.
    last_was_sent: bool,
}

impl Requests {
    fn new() -> Self {
        Self(Mutex::new(RequestState { under_way: 0, ended: Instant::now(), last_was_sent: false }))
    }

    fn lock(&self) -> MutexGuard<'_, RequestState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When there has been none for so long; `None`: there has been none.
    fn idle_at(&self, limit: Duration) -> Option<Instant> {
        let state = self.lock();
        let from = if state.under_way > 0 { Instant::now() } else { state.ended };
        Some(from + limit).filter(|at| *at > Instant::now())
    }
}

/// A request that is under way until this is dropped.
struct UnderWay(Arc<Requests>);

impl UnderWay {
    fn start(requests: &Arc<Requests>) -> Self {
        requests.lock().under_way += 1;
        Self(Arc::clone(requests))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.under_way = state.under_way.saturating_sub(1);
        state.ended = Instant::now();
    }
}

/// What answers the requests of one connection, and counts them.
#[derive(Debug, Clone)]
pub(super) struct Counted<S> {
    service: S,
    requests: Arc<Requests>,
}

impl<S, Request> Service<Request> for Counted<S>
where
    S: Service<Request, Response = api::Response>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (under_way, answer) = (UnderWay::start(&self.requests), self.service.call(request));
        Box::pin(async move {
            let answer = answer.await?;
            if api::ends_connection(&answer) {
                under_way.0.lock().last_was_sent = true;
            }
            Ok(answer)
        })
    }
}

/// A connection that is not held open for a peer that asks for nothing, or does not take what it asked for.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    requests: Arc<Requests>,
    write_timeout: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    idle_timeout: Duration,
    idle: Pin<Box<Sleep>>,
    closing: Closing,
    _ticket: Ticket,
}

/// How far a connection is on its way to be closed.
#[derive(Debug)]
enum Closing {
    NotYet,
    /// Nothing more is written. What the peer still sends is read and discarded, until it closes its side, too, or
    /// this runs out.
    Lingering(Pin<Box<Sleep>>),
}

impl Connection {
    /// Gives up a write that has waited too long.
    fn patiently<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.idle.as_mut().poll(cx).is_ready() {
            match this.requests.idle_at(this.idle_timeout) {
                Some(later) => this.idle.as_mut().reset(later),
                None => return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer asks for nothing"))),
            }
        }
        Pin::new(&mut this.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.patiently(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, pieces);
        this.patiently(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.closing, Closing::NotYet) {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.requests.lock().last_was_sent {
                return Poll::Ready(Ok(()));
            }
            this.closing = Closing::Lingering(Box::pin(sleep(LINGER_TIMEOUT)));
        }
        let Closing::Lingering(end) = &mut this.closing else { return Poll::Ready(Ok(())) };
        let mut discarded = [0; 16 * 1024];
        while end.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut discarded);
            let read = ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_peer() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("::ffff:10.0.0.7"), of("10.0.0.7"));
        assert_ne!(of("10.0.0.8"), of("10.0.0.7"));
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:3::1"), of("2001:db8:1:2::1"));
    }
}
