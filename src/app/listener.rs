//! The addresses that the server answers on.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;

use super::StartError;
use super::connection::ConnectionLimiter;
use crate::api::{self, ApiState, MetricsOn, Routes};
use crate::settings::{AdminListen, Settings};
use crate::telemetry::Metrics;

/// The most bytes of a request's head, after HTTP/2 header decompression. The longest head that a client of the API
/// needs, an id of 128 characters in the path and some headers, is far shorter. A longer head is answered with 431, as
/// are more than 100 headers over HTTP/1: that is hyper's own limit, and another one costs memory with every request.
const MAX_HEAD_BYTES: u32 = 32 * 1024;

/// The most concurrent requests on one HTTP/2 connection; further ones are refused until one has ended. A browser or a
/// proxy uses some tens. Tickets limit how many are served at once.
const MAX_STREAMS: u32 = 64;

/// The most requests that an HTTP/2 peer may open and reset before they are read, or break. Then the connection is
/// closed: opening and resetting is cheap for the peer only (CVE-2023-44487).
const MAX_RESETS: usize = 20;

/// The most bytes of one response that wait for a peer which opens a window over HTTP/2 but does not read.
const MAX_UNSENT_BYTES: usize = 64 * 1024;

/// The most connections at the address of the administration, if it is separate, so that it answers while the API is overloaded.
const MAX_OPERATOR_CONNECTIONS: usize = 64;

/// A bound address and the routes that it serves.
pub(super) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    routes: Routes,
    /// The longest wait for the whole head of a request: a peer cannot hold a connection open by sending a byte now and
    /// then.
    head_timeout: Duration,
    limiter: ConnectionLimiter,
}

impl Listener {
    /// The listener of the API, and that of the administration if it is separate. Where nothing is set for the latter and
    /// its usual port is taken, the server runs without it: an upgrade or a second server on a machine must not fail.
    pub(super) fn all(settings: &Settings, metrics: &Arc<Metrics>) -> Result<Vec<Self>, StartError> {
        let server = &settings.server;
        let bind = |address, routes: Routes, connections| -> Result<Self, StartError> {
            let unusable = |source| StartError::Listen { address, source };
            let socket = TcpListener::bind(address).map_err(unusable)?;
            socket.set_nonblocking(true).map_err(unusable)?;
            let limiter = ConnectionLimiter::new(connections, routes.api, server, Arc::clone(metrics));
            let head_timeout = Duration::from_secs(server.head_timeout_s);
            Ok(Self { address: socket.local_addr().map_err(unusable)?, socket, routes, head_timeout, limiter })
        };
        let api = |administration, metrics| {
            bind(settings.listen, Routes { api: true, administration, metrics }, server.connections)
        };
        let own = |address| {
            let routes = Routes { api: false, administration: true, metrics: MetricsOn::ByApplication };
            bind(address, routes, server.connections.min(MAX_OPERATOR_CONNECTIONS))
        };
        match settings.admin.listen {
            AdminListen::Off => Ok(vec![api(false, MetricsOn::Totals)?]),
            AdminListen::Api => Ok(vec![api(true, MetricsOn::Totals)?]),
            AdminListen::At(address) => Ok(vec![api(false, MetricsOn::Absent)?, own(address)?]),
            AdminListen::Default => {
                let mut all = vec![api(false, MetricsOn::Totals)?];
                match own(AdminListen::DEFAULT) {
                    Ok(administration) => all.push(administration),
                    Err(error) => tracing::warn!(
                        %error,
                        "the administration is not served; set admin.listen to a free address, or to \"off\""
                    ),
                }
                Ok(all)
            }
        }
    }

    /// Whether it serves the administration.
    pub(super) fn has_administration(&self) -> bool {
        self.routes.administration
    }

    /// The bound address, with the port that the system chose if the setting is port 0.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `handle` stops it, with TLS if there is a certificate.
    pub(super) async fn serve(
        self,
        state: ApiState,
        tls: Option<RustlsConfig>,
        handle: Handle<SocketAddr>,
    ) -> std::io::Result<()> {
        let router = api::router(state, self.routes).into_make_service();
        let server = with_limits(axum_server::from_tcp(self.socket)?, self.head_timeout).handle(handle);
        match tls {
            None => server.acceptor(self.limiter).serve(router).await,
            Some(tls) => {
                let acceptor = RustlsAcceptor::new(tls).handshake_timeout(self.head_timeout).acceptor(self.limiter);
                server.acceptor(acceptor).serve(router).await
            }
        }
    }
}

/// Limits the wait for the head of a request: of the first, counted from the start of the connection; of the next ones;
/// and, over HTTP/2, for the answer to a keep-alive ping. Also limits the sizes that a peer chooses.
fn with_limits<Acceptor>(server: Server<SocketAddr, Acceptor>, head_timeout: Duration) -> Server<SocketAddr, Acceptor> {
    let mut server = server.first_request_timeout(head_timeout);
    let http = server.http_builder();
    http.http1().timer(TokioTimer::new()).header_read_timeout(head_timeout).max_buf_size(MAX_HEAD_BYTES as usize);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(head_timeout)
        .keep_alive_timeout(head_timeout)
        .max_header_list_size(MAX_HEAD_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .max_send_buf_size(MAX_UNSENT_BYTES);
    server
}
