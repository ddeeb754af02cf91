//! Limits on connections: how many are open, and how long an idle or stalled one stays open.

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
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tower::{Service, ServiceExt as _};

use super::proxy_protocol::read_header;
use crate::api::{Answers, Drain, Peer, Request, Response, Version, end_connection, is_health_check, no_place};
use crate::compute::{Admission, RateLimiter, Refusal, Ticket};
use crate::domain::{Clock, Networks, client_key};
use crate::settings::{ClientFrom, Server};
use crate::telemetry::Metrics;

/// Seconds between two log lines about refused connections.
const REFUSAL_LOG_INTERVAL_S: f64 = 60.0;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Places for health checks of this machine when no other place is free: a server that is busy is not restarted.
const RESERVED_CONNECTIONS: usize = 8;

/// The longest time without a request, and the longest wait for a reader, on a reserved place.
const RESERVED_TIMEOUT: Duration = Duration::from_secs(3);

/// Admits a bounded number of connections, and a share of it for each client. Further ones are closed at once: a waiting
/// connection costs as much as one that is served.
///
/// A trusted proxy has no share of its own: by the PROXY protocol each of its connections counts for its client; otherwise
/// the requests do (`api`).
#[derive(Debug, Clone)]
pub(super) struct ConnectionLimiter {
    /// A ticket for each connection.
    tickets: Admission,
    /// A ticket for each connection whose client is known.
    shares: Admission,
    /// [`RESERVED_CONNECTIONS`].
    reserved: Admission,
    /// Counts the refused connections.
    metrics: Arc<Metrics>,
    trusted_proxies: Networks,
    /// Connections of trusted proxies begin with a header of the PROXY protocol, and the others are refused.
    proxy_protocol: bool,
    /// Limits the log lines about refused connections.
    refusal_log: Arc<Option<RateLimiter<()>>>,
    /// The longest wait for a header of the PROXY protocol.
    head_timeout: Duration,
    /// The longest time that a write waits for the peer.
    write_timeout: Duration,
    /// The longest time without a request. Answers to keep-alive pings (HTTP/2) do not count.
    idle_timeout: Duration,
}

impl<S: Send + 'static> Accept<TcpStream, S> for ConnectionLimiter {
    type Stream = Connection;
    type Service = Counted<S>;
    type Future = BoxFuture<io::Result<(Connection, Counted<S>)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let limiter = self.clone();
        Box::pin(async move {
            let peer = stream.peer_addr()?.ip().to_canonical();
            let (connection, peer) =
                limiter.admit(stream, peer).await.map_err(|refused| limiter.record_refusal(peer, refused))?;
            let requests = Arc::clone(&connection.requests);
            let is_reserved = connection.is_reserved;
            Ok((connection, Counted { service, requests, peer, is_reserved }))
        })
    }
}

impl ConnectionLimiter {
    /// A limiter for this number of connections. `proxy_protocol`: whether the listener expects it where the settings
    /// name it.
    pub(super) fn new(connections: usize, proxy_protocol: bool, server: &Server, metrics: Arc<Metrics>) -> Self {
        Self {
            tickets: Admission::new(connections, 1.0),
            shares: Admission::new(connections, server.peer_share),
            reserved: Admission::new(RESERVED_CONNECTIONS, 1.0),
            metrics,
            trusted_proxies: server.trusted_proxies.clone(),
            proxy_protocol: proxy_protocol && server.client_from == ClientFrom::ProxyProtocol,
            refusal_log: Arc::new(RateLimiter::new(1.0 / REFUSAL_LOG_INTERVAL_S, 1)),
            head_timeout: Duration::from_secs(server.head_timeout_s),
            write_timeout: Duration::from_secs(server.write_timeout_s),
            idle_timeout: Duration::from_secs(server.idle_timeout_s),
        }
    }

    async fn admit(&self, mut stream: TcpStream, peer: IpAddr) -> Result<(Connection, Peer), Refused> {
        let is_proxy = self.trusted_proxies.contains(peer);
        let is_local = is_local(peer, &stream);
        let ticket = match take_ticket(&self.tickets, "") {
            Err(error) if is_proxy || !is_local => return Err(error),
            ticket => ticket,
        };
        let mut client = Some(peer).filter(|_| !is_proxy);
        let mut received = Vec::new();
        if self.proxy_protocol {
            if is_proxy {
                let header = read_header(&mut stream, self.head_timeout).await;
                (client, received) = header.map_err(|error| Refused { reason: "proxy_header", error })?;
            } else if !is_local {
                let reason = "it is not in server.trusted_proxies, and only proxies may connect";
                return Err(Refused { reason: "not_a_proxy", error: io::Error::other(reason) });
            }
        }
        let tickets = ticket.and_then(|ticket| {
            let share = client.map(|client| take_ticket(&self.shares, &client_key(client))).transpose()?;
            Ok((ticket, share))
        });
        let (tickets, is_reserved) = match tickets {
            Ok(tickets) => (tickets, false),
            Err(error) if is_proxy || !is_local => return Err(error),
            Err(error) => ((self.reserved.try_take("").map_err(|_| error)?, None), true),
        };
        let (write_timeout, idle_timeout) = if is_reserved {
            (self.write_timeout.min(RESERVED_TIMEOUT), self.idle_timeout.min(RESERVED_TIMEOUT))
        } else {
            (self.write_timeout, self.idle_timeout)
        };
        let connection = Connection {
            stream,
            received,
            requests: Arc::new(Requests::new()),
            write_timeout,
            write_timer: None,
            idle_timeout,
            idle_timer: Box::pin(sleep(idle_timeout.min(write_timeout))),
            shutdown: Shutdown::Open,
            is_reserved,
            _tickets: tickets,
        };
        Ok((connection, Peer(client.unwrap_or(peer))))
    }

    /// Counts a refusal, and logs one now and then.
    fn record_refusal(&self, peer: IpAddr, Refused { reason, error }: Refused) -> io::Error {
        self.metrics.connection_refused(reason);
        let limiter = self.refusal_log.as_ref().as_ref();
        if limiter.is_some_and(|limiter| limiter.check(&(), Clock::system().instant()).is_ok()) {
            tracing::warn!(%peer, %error, "connections are refused");
        }
        error
    }
}

/// A connection that is closed at once.
struct Refused {
    /// As the metric names it.
    reason: &'static str,
    error: io::Error,
}

fn take_ticket(tickets: &Admission, holder: &str) -> Result<Ticket, Refused> {
    tickets.try_take(holder).map_err(|refusal| match refusal {
        Refusal::Full => Refused { reason: "full", error: io::Error::other("server.connections are open") },
        Refusal::ShareUsed => {
            Refused { reason: "share_used", error: io::Error::other("the peer has its share: server.peer_share") }
        }
    })
}

/// Whether the peer is on this machine.
fn is_local(peer: IpAddr, stream: &TcpStream) -> bool {
    peer.is_loopback() || stream.local_addr().is_ok_and(|own| own.ip().to_canonical() == peer)
}

/// The requests of a connection.
#[derive(Debug)]
struct Requests {
    state: Mutex<RequestState>,
    /// Over HTTP/2.
    answers: Answers,
}

#[derive(Debug)]
struct RequestState {
    in_flight: usize,
    /// When the last request ended.
    last_ended: Instant,
    /// A response announced the end of the connection; the peer may still be sending its request.
    end: Option<Drain>,
}

impl Requests {
    fn new() -> Self {
        let state = RequestState { in_flight: 0, last_ended: Instant::now(), end: None };
        Self { state: Mutex::new(state), answers: Answers::default() }
    }

    /// When the connection has been idle for `idle`, or the peer has read nothing for `unread`, at the earliest; an error
    /// when it has been already.
    fn deadline(&self, idle: Duration, unread: Duration) -> io::Result<Instant> {
        let state = self.state.lock();
        let now = Instant::now();
        let idle_since = if state.in_flight > 0 { now } else { state.last_ended };
        let unread_since = self.answers.unread_since().unwrap_or(now);
        let late = |reason| Err(io::Error::new(io::ErrorKind::TimedOut, reason));
        if idle_since + idle <= now {
            late("the peer sends no request")
        } else if unread_since + unread <= now {
            late("the peer does not read")
        } else {
            Ok((idle_since + idle).min(unread_since + unread))
        }
    }
}

/// A request in flight; dropping it ends the request.
struct InFlight(Arc<Requests>);

impl InFlight {
    fn start(requests: &Arc<Requests>) -> Self {
        requests.state.lock().in_flight += 1;
        Self(Arc::clone(requests))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.last_ended = Instant::now();
    }
}

/// The service of one connection, which counts its requests.
#[derive(Debug, Clone)]
pub(super) struct Counted<S> {
    service: S,
    requests: Arc<Requests>,
    peer: Peer,
    /// Only health checks are served, one on each connection.
    is_reserved: bool,
}

impl<S, Body> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
    Body: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let in_flight = InFlight::start(&self.requests);
        let is_reserved = self.is_reserved;
        let service = self.service.clone();
        request.extensions_mut().insert(self.peer);
        Box::pin(async move {
            if is_reserved && !is_health_check(&request) {
                let mut response = no_place();
                end_connection(&mut response);
                return Ok(response);
            }
            let requests = &in_flight.0;
            let place = match request.version() {
                Version::HTTP_2 => Some(requests.answers.place().await),
                _ => None,
            };
            let mut response = service.oneshot(request).await?;
            if let Some(drain) = response.extensions_mut().remove::<Drain>() {
                requests.state.lock().end = Some(drain);
            }
            if is_reserved && place.is_none() {
                end_connection(&mut response);
            }
            Ok(match place {
                Some(place) => place.hold(response),
                None => response,
            })
        })
    }
}

/// A connection that ends when its peer sends no request, or does not read the response.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// What was received behind a header of the PROXY protocol.
    received: Vec<u8>,
    requests: Arc<Requests>,
    write_timeout: Duration,
    /// Runs while a write waits.
    write_timer: Option<Pin<Box<Sleep>>>,
    idle_timeout: Duration,
    idle_timer: Pin<Box<Sleep>>,
    shutdown: Shutdown,
    /// It has a place that is reserved for health checks.
    is_reserved: bool,
    _tickets: (Ticket, Option<Ticket>),
}

/// The progress of closing a connection.
#[derive(Debug)]
enum Shutdown {
    Open,
    /// Our side is closed. What the peer still sends is read and discarded until it closes its side, within bounds.
    Lingering(Linger),
}

/// A connection that is read after its last response.
#[derive(Debug)]
struct Linger {
    drain: Drain,
    closed: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Linger {
    /// `None` when nothing is read.
    fn start(drain: Drain) -> Option<Self> {
        let closed = Instant::now();
        let deadline = drain.discard_after_close(0, closed)?;
        Some(Self { drain, closed, timer: Box::pin(sleep_until(deadline)) })
    }

    /// Reads and discards until the peer closes its side, or until the bounds.
    fn poll(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) -> Poll<()> {
        let mut discarded = [0; 16 * 1024];
        while self.timer.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut discarded);
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            let Some(deadline) = self.drain.discard_after_close(buffer.filled().len(), self.closed) else { break };
            self.timer.as_mut().reset(deadline);
        }
        Poll::Ready(())
    }
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
            // An answer that becomes unread while the timer runs must be found in time, too.
            let deadline = this.requests.deadline(this.idle_timeout, this.write_timeout)?;
            this.idle_timer.as_mut().reset(deadline.min(Instant::now() + this.write_timeout));
        }
        if !this.received.is_empty() {
            let taken = this.received.len().min(buffer.remaining());
            buffer.put_slice(&this.received[..taken]);
            this.received.drain(..taken);
            return Poll::Ready(Ok(()));
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
            let end = this.requests.state.lock().end.take();
            let Some(linger) = end.and_then(Linger::start) else { return Poll::Ready(Ok(())) };
            this.shutdown = Shutdown::Lingering(linger);
        }
        let Shutdown::Lingering(linger) = &mut this.shutdown else { return Poll::Ready(Ok(())) };
        ready!(linger.poll(cx, &mut this.stream));
        Poll::Ready(Ok(()))
    }
}
