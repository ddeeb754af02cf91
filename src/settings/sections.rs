//! The settings as types, and the checks that cross keys.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::SettingEntry;
use super::SettingsError;
use super::address::{AdminListen, address, admin_listen};
use crate::domain::{Networks, PhotoFormats};

/// A text that never shows in logs or dumps.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text; `None` when it is empty.
    pub fn reveal(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|s| !s.is_empty())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(none)" } else { "(secret)" })
    }
}

/// The whole configuration. `default.toml` says what each setting means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml is the reference")]
pub struct Settings {
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    pub data: PathBuf,
    pub models: PathBuf,
    pub key: Secret,
    pub key_file: PathBuf,
    pub admin: Admin,
    pub database: Database,
    pub snapshots: Snapshots,
    pub journal: Journal,
    pub backup: Backup,
    pub tls: Tls,
    pub server: Server,
    pub limits: Limits,
    pub photo: PhotoSection,
    pub compute: Compute,
    pub matching: Matching,
    pub policy: PolicySection,
    /// What counts as a second face, by the name of the limit; an empty text leaves the pack's.
    pub faces: BTreeMap<String, String>,
    /// Limit by measure; an empty text leaves the pack's.
    pub quality: BTreeMap<String, String>,
    pub response: Response,
    pub log: Log,
    /// What is odd about the configuration, a sentence each: old names, variables that are not settings.
    #[serde(skip)]
    pub warnings: Vec<String>,
    /// Every setting with its value and where that comes from, in the order of `default.toml`.
    #[serde(skip)]
    pub entries: Vec<SettingEntry>,
}

/// `[admin]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Where the administration answers.
    #[serde(deserialize_with = "admin_listen")]
    pub listen: AdminListen,
    /// The host names under which it is reached.
    pub hosts: Vec<String>,
    /// Whether other machines may use it without TLS.
    pub plain_http: bool,
}

/// `[database]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml is the reference")]
pub struct Database {
    pub url: Secret,
    pub password_file: PathBuf,
    pub connections: u32,
    pub timeout_ms: u64,
    pub poll_ms: u64,
    pub max_stale_s: u64,
}

/// `[snapshots]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshots {
    pub every_s: u64,
    pub templates: usize,
}

/// `[journal]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    pub enabled: bool,
    pub keep_days: u64,
}

/// `[backup]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// Empty: the administration makes no backups.
    pub dir: PathBuf,
}

/// `[tls]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml is the reference")]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub reload_s: u64,
    pub hsts_s: u64,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml is the reference")]
pub struct Server {
    pub drain_s: u64,
    pub shutdown_s: u64,
    pub head_timeout_s: u64,
    pub body_timeout_s: u64,
    pub body_idle_s: u64,
    pub write_timeout_s: u64,
    pub idle_timeout_s: u64,
    pub connections: usize,
    pub peer_share: f64,
    pub trusted_proxies: Networks,
    pub client_from: ClientFrom,
    pub cors_origins: Vec<String>,
}

/// How a trusted proxy reports the address of its client. One way only: a proxy that sets one header may pass on another
/// one that the client made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientFrom {
    /// The header `X-Forwarded-For`.
    XForwardedFor,
    /// The header `Forwarded` of RFC 7239.
    Forwarded,
    /// The PROXY protocol, version 1 or 2, before TLS and HTTP.
    ProxyProtocol,
}

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml is the reference")]
pub struct Limits {
    pub body_bytes: usize,
    pub photo_pixels: u64,
    pub upload_bytes: usize,
    pub samples_per_template: u64,
    pub max_in_flight: usize,
    pub store: usize,
    pub queue_ms: u64,
    pub retry_after_s: u64,
    pub app_share: f64,
    pub app_per_s: f64,
    pub app_burst: u32,
    pub unauthenticated_per_s: f64,
}

/// `[photo]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml is the reference")]
pub struct PhotoSection {
    pub formats: PhotoFormats,
}

/// `[compute]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml is the reference")]
pub struct Compute {
    pub inference_threads: usize,
    pub search_threads: usize,
}

/// `[matching]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml is the reference")]
pub struct Matching {
    pub similarity: SimilarityKind,
    pub threshold: f64,
    pub max_candidates: usize,
}

/// What `similarity` on the wire is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SimilarityKind {
    /// 0.75 is the operating point.
    Calibrated,
    /// The raw cosine.
    Cosine,
}

/// `[policy]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml is the reference")]
pub struct PolicySection {
    pub refuse_failed_checks: bool,
    pub attributes: bool,
}

/// `[response]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml is the reference")]
pub struct Response {
    pub shape: ShapeKind,
}

/// Which of the contract's layouts a reply has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShapeKind {
    /// Everything under `result.face`.
    Seed,
    /// Everything flat under `result`.
    Modern,
    /// Both layouts in one reply.
    Both,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "default.toml is the reference")]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether a text can be a host name or an address in a `Host` header.
fn is_host_name(text: &str) -> bool {
    let is_address = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .is_some_and(|text| text.parse::<IpAddr>().is_ok());
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    is_address || is_name
}

impl Settings {
    pub(super) fn validated(mut self) -> Result<Self, SettingsError> {
        // Without the value, which `Settings::load_from` adds.
        let wrong = |key: &str, message: &str| Err(SettingsError::value(key, None, message));
        if !(0.0..=1.0).contains(&self.matching.threshold) {
            return wrong("matching.threshold", "must be from 0 to 1");
        }
        if self.matching.max_candidates == 0 {
            return wrong("matching.max_candidates", "must be at least 1");
        }
        if self.limits.body_bytes < 1024 {
            return wrong("limits.body_bytes", "must be at least 1024 bytes");
        }
        // A request with two photos may have twice the bytes.
        if self.limits.upload_bytes != 0 && self.limits.upload_bytes / 2 < self.limits.body_bytes {
            return wrong("limits.upload_bytes", "must be at least twice limits.body_bytes");
        }
        if self.admin.hosts.iter().any(|host| !is_host_name(host)) {
            return wrong("admin.hosts", "must be host names without scheme, port and path, such as faces.example.org");
        }
        let timeouts = [
            ("server.head_timeout_s", self.server.head_timeout_s),
            ("server.body_timeout_s", self.server.body_timeout_s),
            ("server.body_idle_s", self.server.body_idle_s),
            ("server.write_timeout_s", self.server.write_timeout_s),
            ("server.idle_timeout_s", self.server.idle_timeout_s),
        ];
        if let Some((key, _)) = timeouts.into_iter().find(|(_, seconds)| *seconds == 0) {
            return wrong(key, "must be at least 1 second");
        }
        if self.server.connections == 0 {
            return wrong("server.connections", "must be at least 1");
        }
        if !(self.server.peer_share > 0.0 && self.server.peer_share <= 1.0) {
            return wrong("server.peer_share", "must be more than 0 and at most 1");
        }
        if self.server.client_from == ClientFrom::ProxyProtocol && self.server.trusted_proxies.is_empty() {
            return wrong(
                "server.trusted_proxies",
                "must list the proxies that use the PROXY protocol (server.client_from)",
            );
        }
        if self.limits.retry_after_s == 0 {
            return wrong("limits.retry_after_s", "must be at least 1 second");
        }
        if !(self.limits.app_share > 0.0 && self.limits.app_share <= 1.0) {
            return wrong("limits.app_share", "must be more than 0 and at most 1");
        }
        if !(self.limits.app_per_s >= 0.0 && self.limits.app_per_s.is_finite()) {
            return wrong("limits.app_per_s", "must be at least 0");
        }
        if self.limits.app_burst == 0 {
            return wrong("limits.app_burst", "must be at least 1");
        }
        if !(self.limits.unauthenticated_per_s >= 0.0 && self.limits.unauthenticated_per_s.is_finite()) {
            return wrong("limits.unauthenticated_per_s", "must be at least 0");
        }
        if self.limits.photo_pixels == 0 {
            return wrong("limits.photo_pixels", "must be at least 1 pixel");
        }
        if self.limits.samples_per_template == 0 {
            return wrong("limits.samples_per_template", "must be at least 1 sample");
        }
        if self.photo.formats.is_empty() {
            return wrong("photo.formats", "must name a format: jpeg, png, webp, bmp, tiff or gif");
        }
        let least_one = [
            ("database.connections", u64::from(self.database.connections)),
            ("database.timeout_ms", self.database.timeout_ms),
            ("database.poll_ms", self.database.poll_ms),
        ];
        if let Some((key, _)) = least_one.into_iter().find(|(_, value)| *value == 0) {
            return wrong(key, "must be at least 1");
        }
        let max_stale_ms = self.database.max_stale_s.saturating_mul(1000);
        if max_stale_ms > 0 && max_stale_ms <= self.database.poll_ms {
            return wrong("database.max_stale_s", "must be longer than database.poll_ms, or 0 for no limit");
        }
        match (self.tls.cert.as_os_str().is_empty(), self.tls.key.as_os_str().is_empty()) {
            (false, true) => return wrong("tls.key", "must name the file with the key of tls.cert"),
            (true, false) => return wrong("tls.cert", "must name the file with the certificate of tls.key"),
            _ => {}
        }
        if self.tls.reload_s == 0 {
            return wrong("tls.reload_s", "must be at least 1 second");
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for threads in [&mut self.compute.inference_threads, &mut self.compute.search_threads] {
            if *threads == 0 {
                *threads = cores;
            }
        }
        if self.limits.upload_bytes == 0 {
            self.limits.upload_bytes = self.limits.body_bytes.saturating_mul(16);
        }
        if self.limits.max_in_flight == 0 {
            self.limits.max_in_flight = 8 * self.compute.inference_threads;
        }
        if self.limits.store == 0 {
            self.limits.store = 8 * self.database.connections as usize;
        }
        Ok(self)
    }

    /// Takes photos of every format that can be decoded, for the operator's own files.
    pub fn accept_every_format(&mut self) {
        self.photo.formats = PhotoFormats::ALL;
    }

    /// Longest wait of a photo for a free worker.
    pub fn queue_deadline(&self) -> Duration {
        Duration::from_millis(self.limits.queue_ms)
    }

    /// Longest wait for a database connection or statement.
    pub fn database_timeout(&self) -> Duration {
        Duration::from_millis(self.database.timeout_ms)
    }

    /// Longest time without a successful poll of the database in which requests are served; `None`: no limit.
    pub fn max_stale(&self) -> Option<Duration> {
        (self.database.max_stale_s > 0).then(|| Duration::from_secs(self.database.max_stale_s))
    }

    /// The certificate and the key, when TLS is on.
    pub fn tls_files(&self) -> Option<(&PathBuf, &PathBuf)> {
        (!self.tls.cert.as_os_str().is_empty()).then_some((&self.tls.cert, &self.tls.key))
    }
}
