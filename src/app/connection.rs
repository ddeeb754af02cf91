//! Limits on connections: how many are open, and how long an idle or stalled one stays open.

use std::future::{Ready, ready};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tower::Service;

use crate::api;
use crate::compute::{Admission, RateLimiter, Ticket};
use crate::domain::Clock;
use crate::settings::Server;

/// The longest time that a connection is read after its last response while the peer is still sending. A connection that
/// is closed with unread bytes is reset, and the peer may see the reset before the response.
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);

/// Seconds between two log lines about refused connections.
const REFUSAL_LOG_INTERVAL_S: f64 = 60.0;

/// Admits a bounded number of connections, and a share of it for each peer. Further ones are closed at once: a waiting
/// connection costs as much as one that is served.
#[derive(Debug, Clone)]
pub(super) struct ConnectionLimiter {
    /// A ticket for each connection.
    tickets: Admission,
    /// Limits the log lines about refused connections.
    refusal_log: Arc<Option<RateLimiter<()>>>,
    /// The longest time that a write waits for the peer.
    write_timeout: Duration,
    /// The longest time without a request. Answers to keep-alive pings (HTTP/2) do not count.
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
    /// A limiter for this number of connections.
    pub(super) fn new(connections: usize, server: &Server) -> Self {
        Self {
            tickets: Admission::new(connections, server.peer_share),
            refusal_log: Arc::new(RateLimiter::new(1.0 / REFUSAL_LOG_INTERVAL_S, 1)),
            write_timeout: Duration::from_secs(server.write_timeout_s),
            idle_timeout: Duration::from_secs(server.idle_timeout_s),
        }
    }

    fn admit(&self, stream: TcpStream) -> io::Result<Connection> {
        let peer = network(stream.peer_addr()?.ip());
        let ticket = self.tickets.try_take(&peer).map_err(|refused| {
            let limiter = self.refusal_log.as_ref().as_ref();
            if limiter.is_some_and(|limiter| limiter.check(&(), Clock::system().instant()).is_ok()) {
                tracing::warn!(peer, ?refused, "connections are refused: see server.connections and server.peer_share");
            }
            io::Error::other("too many connections")
        })?;
        Ok(Connection {
            stream,
            requests: Arc::new(Requests::new()),
            write_timeout: self.write_timeout,
            write_timer: None,
            idle_timeout: self.idle_timeout,
            idle_timer: Box::pin(sleep(self.idle_timeout)),
            shutdown: Shutdown::Open,
            _ticket: ticket,
        })
    }
}

/// What counts as one peer: an IPv4 address, or the /64 network of an IPv6 address.
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
    in_flight: usize,
    /// When the last request ended.
    last_ended: Instant,
    /// A response announced the end of the connection; the peer may still be sending its request.
    last_response_sent: bool,
}

impl Requests {
    fn new() -> Self {
        Self(Mutex::new(RequestState { in_flight: 0, last_ended: Instant::now(), last_response_sent: false }))
    }

    /// When the connection has been idle for `limit` at the earliest; `None` when it has been already.
    fn idle_deadline(&self, limit: Duration) -> Option<Instant> {
        let state = self.0.lock();
        let now = Instant::now();
        let idle_since = if state.in_flight > 0 { now } else { state.last_ended };
        Some(idle_since + limit).filter(|deadline| *deadline > now)
    }
}

/// A request in flight; dropping it ends the request.
struct InFlight(Arc<Requests>);

impl InFlight {
    fn start(requests: &Arc<Requests>) -> Self {
        requests.0.lock().in_flight += 1;
        Self(Arc::clone(requests))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.last_ended = Instant::now();
    }
}

/// The service of one connection, which counts its requests.
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
        let in_flight = InFlight::start(&self.requests);
        let response = self.service.call(request);
        Box::pin(async move {
            let response = response.await?;
            if api::ends_connection(&response) {
                in_flight.0.0.lock().last_response_sent = true;
            }
            Ok(response)
        })
    }
}

/// A connection that ends when its peer sends no request, or does not read the response.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    requests: Arc<Requests>,
    write_timeout: Duration,
    /// Runs while a write waits.
    write_timer: Option<Pin<Box<Sleep>>>,
    idle_timeout: Duration,
    idle_timer: Pin<Box<Sleep>>,
    shutdown: Shutdown,
    _ticket: Ticket,
}

/// The progress of closing a connection.
#[derive(Debug)]
enum Shutdown {
    Open,
    /// Our side is closed. What the peer still sends is read and discarded until it closes its side or the timer ends.
    Lingering(Pin<Box<Sleep>>),
}

impl Connection {
    /// Fails a write that has waited too long.
    fn limit_write<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timer = None;
            return written;
        }
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.idle_timer.as_mut().poll(cx).is_ready() {
            match this.requests.idle_deadline(this.idle_timeout) {
                Some(deadline) => this.idle_timer.as_mut().reset(deadline),
                None => return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer sends no request"))),
            }
        }
        Pin::new(&mut this.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.limit_write(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, pieces);
        this.limit_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.shutdown, Shutdown::Open) {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.requests.0.lock().last_response_sent {
                return Poll::Ready(Ok(()));
            }
            this.shutdown = Shutdown::Lingering(Box::pin(sleep(LINGER_TIMEOUT)));
        }
        let Shutdown::Lingering(timer) = &mut this.shutdown else { return Poll::Ready(Ok(())) };
        let mut discarded = [0; 16 * 1024];
        while timer.as_mut().poll(cx).is_pending() {
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
    fn the_addresses_of_a_host_are_one_peer() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("::ffff:10.0.0.7"), of("10.0.0.7"));
        assert_ne!(of("10.0.0.8"), of("10.0.0.7"));
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:3::1"), of("2001:db8:1:2::1"));
    }
}
