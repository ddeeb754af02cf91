//! The addresses that the server answers on.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;

use super::StartError;
use super::connection::ConnectionLimiter;
use crate::api::{self, ApiState, Routes};
use crate::settings::Settings;

/// Most bytes of a request's head, and of what HTTP/2 unpacks from one. The longest that a client of the API has a
/// reason to send, an id of 128 characters in a path and some headers, is far below. More is a 431, as are more than
/// 100 headers over HTTP/1, which is hyper's own limit: to name another costs it memory with every request.
const MOST_HEAD_BYTES: u32 = 32 * 1024;

/// Most requests at once on one connection of HTTP/2; further ones are refused until one has ended. A browser or a
/// proxy has use for some tens; how many are served at once, tickets say.
const MOST_STREAMS: u32 = 64;

/// Requests that a peer of HTTP/2 opened and took back before they were looked at, and those that it broke: more
/// than this and the connection is closed, as asking and taking back is cheap for the peer only (CVE-2023-44487).
const MOST_RESETS: usize = 20;

/// Connections at the address of the operators, where there is one: so that it answers when the API is crowded.
const MOST_OPERATORS: usize = 64;

/// An address that is bound, and what is answered there.
pub(super) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    routes: Routes,
    /// Longest wait for the head of a request, so that an idle peer cannot hold a connection open by sending a byte
    /// now and then.
    head_timeout: Duration,
    limiter: ConnectionLimiter,
}

impl Listener {
    /// The one of the API, then the one of the operators if there is to be one.
    pub(super) fn all(settings: &Settings) -> Result<Vec<Self>, StartError> {
        let server = &settings.server;
        let bind = |address, routes, connections| -> Result<Self, StartError> {
            let unusable = |source| StartError::Listen { address, source };
            let socket = TcpListener::bind(address).map_err(unusable)?;
            socket.set_nonblocking(true).map_err(unusable)?;
            let limiter = ConnectionLimiter::new(connections, server);
            let head_timeout = Duration::from_secs(server.head_timeout_s);
            Ok(Self { address: socket.local_addr().map_err(unusable)?, socket, routes, head_timeout, limiter })
        };
        match settings.admin.listen {
            None => Ok(vec![bind(settings.listen, Routes::All, server.connections)?]),
            Some(admin) => Ok(vec![
                bind(settings.listen, Routes::Public, server.connections)?,
                bind(admin, Routes::Operators, server.connections.min(MOST_OPERATORS))?,
            ]),
        }
    }

    /// The bound address, with the port that the system chose where none was named.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `handle` says stop, with TLS if there is a certificate.
    pub(super) async fn serve(
        self,
        state: ApiState,
        tls: Option<RustlsConfig>,
        handle: Handle<SocketAddr>,
    ) -> std::io::Result<()> {
        let router = api::router(state, self.routes).into_make_service();
        let server = patient(axum_server::from_tcp(self.socket)?, self.head_timeout).handle(handle);
        match tls {
            None => server.acceptor(self.limiter).serve(router).await,
            Some(tls) => {
                let acceptor = RustlsAcceptor::new(tls).handshake_timeout(self.head_timeout).acceptor(self.limiter);
                server.acceptor(acceptor).serve(router).await
            }
        }
    }
}

/// A server that waits no longer than this for the head of a request: of the first, from the moment of the
/// connection on; of the next ones; and, where requests share a connection (HTTP/2), for a sign of life. And one that
/// takes no more than so much of what is free for a peer to send.
fn patient<Acceptor>(server: Server<SocketAddr, Acceptor>, limit: Duration) -> Server<SocketAddr, Acceptor> {
    let mut server = server.first_request_timeout(limit);
    let http = server.http_builder();
    http.http1().timer(TokioTimer::new()).header_read_timeout(limit).max_buf_size(MOST_HEAD_BYTES as usize);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limit)
        .keep_alive_timeout(limit)
        .max_header_list_size(MOST_HEAD_BYTES)
        .max_concurrent_streams(MOST_STREAMS)
        .max_pending_accept_reset_streams(MOST_RESETS)
        .max_local_error_reset_streams(MOST_RESETS);
    server
}
