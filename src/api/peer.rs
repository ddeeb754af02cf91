//! Who sends a request: the peer of its connection, or the client that a trusted proxy reports.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::HeaderMap;

use super::ApiConfig;
use crate::compute::{Admission, RateLimiter, Refusal, Ticket};
use crate::domain::{Clock, client_key};

/// The peer of a connection, which the listener adds to each request: the client, a proxy, or the client that a proxy
/// reported by the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// The client of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    /// Its address.
    pub(super) address: IpAddr,
    /// Whether a proxy reported the address in a header. Then the limits on connections do not bound the client.
    pub(super) is_forwarded: bool,
}

impl Client {
    /// The client of a request with these headers.
    pub(super) fn new(peer: Peer, headers: &HeaderMap, config: &ApiConfig) -> Self {
        let peer = peer.0.to_canonical();
        let reported = config.forwarded_header.map(|header| header.client(headers, peer, &config.trusted_proxies));
        let address = match reported {
            Some(Ok(address)) => address,
            Some(Err(error)) => {
                tracing::debug!(%peer, %error, "the proxy counts as the client");
                peer
            }
            None => peer,
        };
        Self { address, is_forwarded: address != peer }
    }
}

/// One in so many connections may be drained for a client without good credentials.
const DRAINED_PART: usize = 8;

/// The share of these for one client.
const DRAINED_SHARE: f64 = 0.5;

/// The seconds of its rate that a client without good credentials may use at once.
const UNAUTHENTICATED_BURST_S: f64 = 5.0;

/// What one client may take of the server, whichever application it calls for.
#[derive(Debug)]
pub(super) struct ClientLimits {
    /// For requests of clients that a header names.
    requests: Admission,
    /// For clients without good credentials that are still sending after their response.
    drained: Admission,
    /// For requests without good credentials.
    unauthenticated: Option<RateLimiter<String>>,
}

impl ClientLimits {
    pub(super) fn new(config: &ApiConfig) -> Self {
        Self {
            requests: Admission::new(config.connections, config.peer_share),
            drained: Admission::new(config.connections / DRAINED_PART, DRAINED_SHARE),
            unauthenticated: RateLimiter::new(
                config.unauthenticated_per_second,
                (config.unauthenticated_per_second * UNAUTHENTICATED_BURST_S) as u32,
            ),
        }
    }

    /// A place for a request of a client that a proxy names in a header. The connections are the proxy's, so requests are
    /// what its clients share. Clients of their own connections need none.
    pub(super) fn admit(&self, client: Option<Client>) -> Result<Option<Ticket>, Refusal> {
        let Some(client) = client.filter(|client| client.is_forwarded) else { return Ok(None) };
        self.requests.try_take(&client_key(client.address)).map(Some)
    }

    /// Counts a request without good credentials.
    ///
    /// # Errors
    /// How long to wait when the client has sent too many.
    pub(super) fn check_unauthenticated(&self, client: Client) -> Result<(), Duration> {
        let Some(limiter) = &self.unauthenticated else { return Ok(()) };
        limiter.check(&client_key(client.address), Clock::system().instant())
    }

    /// A place for a client without good credentials that is drained; `None` when they are taken.
    pub(super) fn drained(&self, client: Option<IpAddr>) -> Option<Ticket> {
        self.drained.try_take(&client.map(client_key).unwrap_or_default()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str, is_forwarded: bool) -> Option<Client> {
        Some(Client { address: address.parse().unwrap(), is_forwarded })
    }

    #[test]
    fn a_client_behind_a_proxy_gets_a_share_of_the_requests() {
        let limits = ClientLimits::new(&ApiConfig { connections: 8, peer_share: 0.25, ..ApiConfig::default() });
        let held = [(); 2].map(|()| limits.admit(client("192.0.2.1", true)).unwrap().unwrap());
        assert_eq!(limits.admit(client("192.0.2.1", true)).unwrap_err(), Refusal::ShareUsed);
        assert!(limits.admit(client("192.0.2.2", true)).unwrap().is_some(), "another client");
        assert!(limits.admit(client("192.0.2.1", false)).unwrap().is_none(), "the limits on connections bound it");
        assert!(limits.admit(None).unwrap().is_none());
        drop(held);
        assert!(limits.admit(client("192.0.2.1", true)).is_ok());
    }

    #[test]
    fn places_to_be_drained_are_shared() {
        let limits = ClientLimits::new(&ApiConfig { connections: 32, ..ApiConfig::default() });
        let address = |text: &str| Some(text.parse().unwrap());
        let _held = [(); 2].map(|()| limits.drained(address("192.0.2.1")).unwrap());
        assert!(limits.drained(address("192.0.2.1")).is_none(), "half of four");
        let _others = ["192.0.2.2", "192.0.2.3"].map(|other| limits.drained(address(other)).unwrap());
        assert!(limits.drained(address("192.0.2.4")).is_none(), "all four are taken");
    }

    #[test]
    fn a_header_makes_the_client_only_behind_a_trusted_proxy() {
        let trusted_proxies = ["10.0.0.1".parse().unwrap()].into_iter().collect();
        let forwarded_header = Some(crate::api::ForwardedHeader::XForwardedFor);
        let config = ApiConfig { trusted_proxies, forwarded_header, ..ApiConfig::default() };
        let of = |peer: &str, text: &'static str| {
            let headers = HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), text.parse().unwrap())]);
            let client = Client::new(Peer(peer.parse().unwrap()), &headers, &config);
            (client.address.to_string(), client.is_forwarded)
        };
        assert_eq!(of("10.0.0.1", "192.0.2.1"), ("192.0.2.1".to_owned(), true));
        assert_eq!(of("10.0.0.2", "192.0.2.1"), ("10.0.0.2".to_owned(), false));
        assert_eq!(of("10.0.0.1", "unknown"), ("10.0.0.1".to_owned(), false));
    }
}
