//! The settings of the HTTP side.

use std::net::IpAddr;
use std::time::Duration;

use super::ForwardedHeader;
use crate::domain::{Networks, PhotoFormats};

/// Which of the two documented layouts a reply has.
///
/// The vendor changed the shape of its replies in place, and both official clients are still in
/// use, each reading its own. Nothing in a request distinguishes them, so both layouts are sent
/// unless the settings name one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// Only the older layout: everything inside `result.face`, snake case.
    Seed,
    /// Only the newer layout: everything directly under `result`, camel case.
    Modern,
    /// Both, each in its own place.
    #[default]
    Both,
}

impl Shape {
    /// Whether replies have the older layout.
    pub fn has_seed(self) -> bool {
        matches!(self, Self::Seed | Self::Both)
    }

    /// Whether replies have the newer layout.
    pub fn has_modern(self) -> bool {
        matches!(self, Self::Modern | Self::Both)
    }
}

/// How a listener serves `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsOn {
    /// Not at all.
    Absent,
    /// With the sums of all applications: everyone who can reach the API can read them.
    Totals,
    /// With the ids of applications.
    ByApplication,
}

/// The settings of the administration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdminConfig {
    /// Whether the listeners speak TLS.
    pub is_tls: bool,
    /// Whether it may be used over plain HTTP from other machines.
    pub plain_http: bool,
    /// The names in `Host` that are allowed, beside those of this machine and the address that it listens on.
    pub hosts: Vec<String>,
    /// The address that it listens on.
    pub listen: Option<IpAddr>,
}

/// The HTTP side's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiConfig {
    /// The administration.
    pub admin: AdminConfig,
    /// The layout of replies.
    pub shape: Shape,
    /// Maximum bytes of a request body with one photo, form included; a request with two photos may have twice that.
    pub max_body_bytes: usize,
    /// Maximum parts of a multipart form.
    pub max_parts: usize,
    /// A body that is not complete after this long is refused.
    pub body_timeout: Duration,
    /// A body without a new byte for this long is refused.
    pub body_idle_timeout: Duration,
    /// A body that arrives slower than this on average, in bytes per second, is refused after `body_rate_grace`.
    pub min_body_rate: u32,
    /// How long a body may arrive at any rate.
    pub body_rate_grace: Duration,
    /// Maximum bytes of a refused body that are read and discarded, so that the client receives the
    /// response. Less is discarded without good credentials, see [`Drain`](super::Drain).
    pub drain_bytes: usize,
    /// Longest time to read and discard a refused body.
    pub drain_timeout: Duration,
    /// Proxies that report the address of their client.
    pub trusted_proxies: Networks,
    /// The header in which they report it; `None`: they use the PROXY protocol.
    pub forwarded_header: Option<ForwardedHeader>,
    /// Maximum connections of the API's listener; at least 1.
    pub connections: usize,
    /// The share of them for one client, 0 to 1. Requests of a client that a header names count like connections.
    pub peer_share: f64,
    /// Requests without good credentials per second of each client; 0: no limit.
    pub unauthenticated_per_second: f64,
    /// Formats of photos that are accepted.
    pub formats: PhotoFormats,
    /// Origins whose pages may call; `*` is any. Empty: no CORS header is sent.
    pub cors_origins: Vec<String>,
    /// `max-age` of `Strict-Transport-Security` in seconds; `None`: the header is not sent.
    pub hsts_s: Option<u64>,
    /// `Retry-After` of a 503 in seconds; at least 1 is sent.
    pub retry_after_s: u64,
    /// Requests per second of each application; 0: no limit.
    pub requests_per_second: f64,
    /// Requests of one application that may arrive at once.
    pub burst: u32,
    /// The share of memory for bodies and of database connections of one application, 0 to 1.
    pub app_share: f64,
    /// Templates on a page without `limit`.
    pub page_default: usize,
    /// Maximum templates on a page.
    pub page_max: usize,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            admin: AdminConfig::default(),
            shape: Shape::Both,
            max_body_bytes: 20 * 1024 * 1024,
            max_parts: 64,
            body_timeout: Duration::from_secs(60),
            body_idle_timeout: Duration::from_secs(20),
            // GPRS carries about four times as much; a photo of 60 KiB just arrives within the minute.
            min_body_rate: 1024,
            body_rate_grace: Duration::from_secs(10),
            drain_bytes: 64 * 1024 * 1024,
            drain_timeout: Duration::from_secs(30),
            trusted_proxies: Networks::default(),
            forwarded_header: None,
            connections: 768,
            peer_share: 0.5,
            unauthenticated_per_second: 0.0,
            formats: PhotoFormats::CONTRACT,
            cors_origins: Vec::new(),
            hsts_s: None,
            retry_after_s: 1,
            requests_per_second: 0.0,
            burst: 1,
            app_share: 0.8,
            page_default: 100,
            page_max: 1000,
        }
    }
}
