//! The addresses that the server answers on.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;

use super::StartError;
use crate::api::{self, ApiState, Routes};
use crate::settings::Settings;

/// An address that is bound, and what is answered there.
pub(super) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    routes: Routes,
    /// Longest wait for the head of a request, so that an idle peer cannot hold a connection open by sending a byte
    /// now and then.
    head_timeout: Duration,
}

impl Listener {
    /// The one of the API, then the one of the operators if there is to be one.
    pub(super) fn all(settings: &Settings) -> Result<Vec<Self>, StartError> {
        let head_timeout = Duration::from_secs(settings.server.head_timeout_s);
        let bind = |address, routes| Self::bind(address, routes, head_timeout);
        match settings.admin.listen {
            None => Ok(vec![bind(settings.listen, Routes::All)?]),
            Some(admin) => Ok(vec![bind(settings.listen, Routes::Public)?, bind(admin, Routes::Operators)?]),
        }
    }

    fn bind(address: SocketAddr, routes: Routes, head_timeout: Duration) -> Result<Self, StartError> {
        let unusable = |source| StartError::Listen { address, source };
        let socket = TcpListener::bind(address).map_err(unusable)?;
        socket.set_nonblocking(true).map_err(unusable)?;
        let address = socket.local_addr().map_err(unusable)?;
        Ok(Self { socket, address, routes, head_timeout })
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
        match tls {
            None => patient(axum_server::from_tcp(self.socket)?, self.head_timeout).handle(handle).serve(router).await,
            Some(tls) => {
                let mut server = axum_server::from_tcp_rustls(self.socket, tls)?;
                *server.get_mut() = server.get_ref().clone().handshake_timeout(self.head_timeout);
                patient(server, self.head_timeout).handle(handle).serve(router).await
            }
        }
    }
}

/// A server that waits no longer than this for the head of a request: of the first, from the moment of the
/// connection on; of the next ones; and, where requests share a connection (HTTP/2), for a sign of life.
fn patient<Acceptor>(server: Server<SocketAddr, Acceptor>, limit: Duration) -> Server<SocketAddr, Acceptor> {
    let mut server = server.first_request_timeout(limit);
    let http = server.http_builder();
    http.http1().timer(TokioTimer::new()).header_read_timeout(limit);
    http.http2().timer(TokioTimer::new()).keep_alive_interval(limit).keep_alive_timeout(limit);
    server
}
