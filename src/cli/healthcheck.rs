//! `semblance healthcheck`: whether the server on this machine responds, for containers without curl.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::CliError;
use crate::settings::{ClientFrom, Settings};

const TIMEOUT: Duration = Duration::from_secs(3);

/// Requests `/healthz`. With TLS on, an accepted connection is enough.
pub(super) fn run(settings: &Settings) -> Result<(), CliError> {
    let address = reachable(settings.listen);
    let no_answer = |error: std::io::Error| CliError::message(format!("no answer from {address}: {error}"));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).map_err(no_answer)?;
    if settings.tls_files().is_some() {
        return Ok(());
    }
    stream.set_read_timeout(Some(TIMEOUT)).map_err(no_answer)?;
    if settings.server.client_from == ClientFrom::ProxyProtocol
        && stream.local_addr().is_ok_and(|own| settings.server.trusted_proxies.contains(own.ip()))
    {
        stream.write_all(b"PROXY UNKNOWN\r\n").map_err(no_answer)?;
    }
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(no_answer)?;
    let mut response = Vec::new();
    stream.take(4096).read_to_end(&mut response).map_err(no_answer)?;
    if response.starts_with(b"HTTP/1.1 200") {
        Ok(())
    } else {
        let line = String::from_utf8_lossy(&response).lines().next().unwrap_or_default().to_owned();
        Err(CliError::message(format!("{address} responds {line:?}")))
    }
}

/// The address to connect to: the loopback one if the server listens on all.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
