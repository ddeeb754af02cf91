//! The addresses that the server answers on.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;

use super::StartError;
use crate::api::{self, ApiState, Routes};
use crate::settings::Settings;

/// Longest wait for the head of a request, so that an idle peer cannot hold a connection open by
/// sending a byte now and then.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);

/// An address that is bound, and what is answered there.
pub(super) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    routes: Routes,
}

impl Listener {
    /// The one of the API, then the one of the operators if there is to be one.
    pub(super) fn all(settings: &Settings) -> Result<Vec<Self>, StartError> {
        match settings.admin.listen {
            None => Ok(vec![Self::bind(settings.listen, Routes::All)?]),
            Some(admin) => {
                Ok(vec![Self::bind(settings.listen, Routes::Public)?, Self::bind(admin, Routes::Operators)?])
            }
        }
    }

    fn bind(address: SocketAddr, routes: Routes) -> Result<Self, StartError> {
        let unusable = |source| StartError::Listen { address, source };
        let socket = TcpListener::bind(address).map_err(unusable)?;
        socket.set_nonblocking(true).map_err(unusable)?;
        let address = socket.local_addr().map_err(unusable)?;
        Ok(Self { socket, address, routes })
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
            None => {
                let mut server = axum_server::from_tcp(self.socket)?.handle(handle);
                server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
                server.serve(router).await
            }
            Some(tls) => {
                let mut server = axum_server::from_tcp_rustls(self.socket, tls)?.handle(handle);
                server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
                server.serve(router).await
            }
        }
    }
}
