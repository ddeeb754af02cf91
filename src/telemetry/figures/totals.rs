//! What is counted for the figures: numbers since the start, which only grow.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

/// A response, as the metrics and the figures count it.
#[derive(Debug, Clone, Copy)]
pub struct RequestRecord<'a> {
    /// The route of the table, never the path.
    pub route: &'a str,
    /// The application, if the credentials were good.
    pub app: Option<&'a str>,
    /// The HTTP status.
    pub status: u16,
    /// The result code; 0 for a success.
    pub code: u16,
    /// The outcome of a success, as in the journal.
    pub outcome: Option<&'a str>,
    /// From the head of the request to its response.
    pub duration: Duration,
}

impl RequestRecord<'_> {
    fn is_api(&self) -> bool {
        self.route.starts_with("/api/") && !self.is_admin()
    }

    fn is_admin(&self) -> bool {
        self.route.starts_with("/api/admin/")
    }

    fn is_identify(&self) -> bool {
        self.route.ends_with("/identify")
    }

    fn is(&self, outcome: &str) -> bool {
        self.code == 0 && self.outcome == Some(outcome)
    }

    fn is_enrolled(&self) -> bool {
        self.code == 0 && self.outcome.is_some_and(|outcome| outcome.starts_with("enrolled"))
    }
}

/// The upper limits of the buckets of durations, in seconds; one more bucket has what is longer.
pub(in crate::telemetry) const SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// The number of buckets.
pub(super) const BUCKETS: usize = SECONDS.len() + 1;

/// The counts of the server, in the order of the arrays. The names are those of the series.
pub(super) const SERVER_COUNTS: [&str; 31] = [
    "requests",
    "succeeded",
    "refused",
    "failed",
    "abandoned",
    "adminRequests",
    "identifications",
    "verifications",
    "enrollments",
    "removals",
    "found",
    "nobody",
    "same",
    "different",
    "enrolled",
    "enrolledWithWarning",
    "removed",
    "code1",
    "code2",
    "code3",
    "code4",
    "code5",
    "code6",
    "code9",
    "code400",
    "code401",
    "code403",
    "code409",
    "code429",
    "code500",
    "code503",
];

/// The counts of one application.
pub(super) const APP_COUNTS: [&str; 10] = [
    "requests",
    "succeeded",
    "refused",
    "failed",
    "identifications",
    "found",
    "nobody",
    "enrolled",
    "photosRefused",
    "code429",
];

/// The durations of the server.
pub(super) const SERVER_DURATIONS: [&str; 4] = ["", "identify", "search", "queue"];

/// The place of the durations of all requests, of identify, of searches, and of the wait for a worker.
#[derive(Debug, Clone, Copy)]
pub(in crate::telemetry) enum Span {
    All = 0,
    Identify = 1,
    Search = 2,
    Queue = 3,
}

/// The numbers of one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Counted<const N: usize, const H: usize> {
    pub(super) counts: [u64; N],
    pub(super) buckets: [[u64; BUCKETS]; H],
}

impl<const N: usize, const H: usize> Default for Counted<N, H> {
    fn default() -> Self {
        Self { counts: [0; N], buckets: [[0; BUCKETS]; H] }
    }
}

impl<const N: usize, const H: usize> Counted<N, H> {
    /// What came since an earlier moment.
    pub(super) fn since(&self, before: &Self) -> Self {
        let mut difference = *self;
        for (now, before) in difference.counts.iter_mut().zip(&before.counts) {
            *now = now.saturating_sub(*before);
        }
        for (now, before) in difference.buckets.as_flattened_mut().iter_mut().zip(before.buckets.as_flattened()) {
            *now = now.saturating_sub(*before);
        }
        difference
    }

    /// Adds other numbers.
    pub(super) fn add(&mut self, other: &Self) {
        for (sum, more) in self.counts.iter_mut().zip(&other.counts) {
            *sum += more;
        }
        for (sum, more) in self.buckets.as_flattened_mut().iter_mut().zip(other.buckets.as_flattened()) {
            *sum += more;
        }
    }
}

/// Numbers that several threads count.
#[derive(Debug)]
pub(super) struct Counters<const N: usize, const H: usize> {
    counts: [AtomicU64; N],
    buckets: [[AtomicU64; BUCKETS]; H],
}

impl<const N: usize, const H: usize> Default for Counters<N, H> {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; N],
            buckets: [const { [const { AtomicU64::new(0) }; BUCKETS] }; H],
        }
    }
}

impl<const N: usize, const H: usize> Counters<N, H> {
    fn count(&self, names: &[&str; N], name: &str) {
        let counter = names.iter().position(|known| *known == name).and_then(|at| self.counts.get(at));
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn observe(&self, at: usize, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = SECONDS.partition_point(|limit| *limit < seconds);
        if let Some(counter) = self.buckets.get(at).and_then(|buckets| buckets.get(bucket)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self) -> Counted<N, H> {
        let mut counted = Counted::default();
        for (value, counter) in counted.counts.iter_mut().zip(&self.counts) {
            *value = counter.load(Ordering::Relaxed);
        }
        let counters = self.buckets.as_flattened().iter();
        for (value, counter) in counted.buckets.as_flattened_mut().iter_mut().zip(counters) {
            *value = counter.load(Ordering::Relaxed);
        }
        counted
    }
}

pub(super) type ServerCounted = Counted<{ SERVER_COUNTS.len() }, { SERVER_DURATIONS.len() }>;
pub(super) type AppCounted = Counted<{ APP_COUNTS.len() }, 1>;
type ServerCounters = Counters<{ SERVER_COUNTS.len() }, { SERVER_DURATIONS.len() }>;
type AppCounters = Counters<{ APP_COUNTS.len() }, 1>;

/// Everything since the start of the server.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct Totals {
    server: ServerCounters,
    /// Only applications with good credentials are here, so a client cannot make any number of them.
    apps: RwLock<HashMap<String, Arc<AppCounters>>>,
}

impl Totals {
    pub(in crate::telemetry) fn request(&self, record: &RequestRecord<'_>) {
        if record.is_admin() {
            self.server.count(&SERVER_COUNTS, "adminRequests");
        }
        // The console identifies through the administration API, for an application, too.
        if !(record.is_api() || record.is_admin() && record.app.is_some()) {
            return;
        }
        let count = |name: &str| self.server.count(&SERVER_COUNTS, name);
        count("requests");
        count(class(record.status));
        count(kind(record.route));
        for (is, name) in [
            (record.is("found"), "found"),
            (record.is("nobody"), "nobody"),
            (record.is("same"), "same"),
            (record.is("different"), "different"),
            (record.is_enrolled(), "enrolled"),
            (record.is("enrolled with a warning"), "enrolledWithWarning"),
            (record.is("removed"), "removed"),
        ] {
            if is {
                count(name);
            }
        }
        if record.code != 0 {
            count(&format!("code{}", record.code));
        }
        self.server.observe(Span::All as usize, record.duration);
        if record.is_identify() && record.code == 0 {
            self.server.observe(Span::Identify as usize, record.duration);
        }
        if let Some(app) = record.app {
            self.of_app(app).request(record);
        }
    }

    pub(in crate::telemetry) fn abandoned(&self, route: &str) {
        if route.starts_with("/api/") {
            self.server.count(&SERVER_COUNTS, "abandoned");
        }
    }

    pub(in crate::telemetry) fn observe(&self, span: Span, duration: Duration) {
        self.server.observe(span as usize, duration);
    }

    fn of_app(&self, app: &str) -> Arc<AppCounters> {
        if let Some(known) = self.apps.read().get(app) {
            return Arc::clone(known);
        }
        Arc::clone(self.apps.write().entry(app.to_owned()).or_default())
    }

    pub(super) fn server(&self) -> ServerCounted {
        self.server.read()
    }

    pub(super) fn apps(&self) -> Vec<(String, AppCounted)> {
        self.apps.read().iter().map(|(app, counters)| (app.clone(), counters.read())).collect()
    }
}

impl AppCounters {
    fn request(&self, record: &RequestRecord<'_>) {
        let count = |name: &str| self.count(&APP_COUNTS, name);
        count("requests");
        count(class(record.status));
        for (is, name) in [
            (record.is_identify(), "identifications"),
            (record.is("found"), "found"),
            (record.is("nobody"), "nobody"),
            (record.is_enrolled(), "enrolled"),
            ((1..=9).contains(&record.code), "photosRefused"),
            (record.code == 429, "code429"),
        ] {
            if is {
                count(name);
            }
        }
        self.observe(0, record.duration);
    }
}

/// The class of a status, as a series.
fn class(status: u16) -> &'static str {
    match status {
        ..400 => "succeeded",
        400..500 => "refused",
        _ => "failed",
    }
}

/// The kind of a request, as a series; empty for the others.
fn kind(route: &str) -> &'static str {
    match route.rsplit('/').next() {
        Some("identify") => "identifications",
        Some("verify") => "verifications",
        Some("add" | "samples" | "people") => "enrollments",
        Some("delete") => "removals",
        _ => "",
    }
}

/// A quantile of durations in milliseconds, interpolated within its bucket; `None` without durations.
pub(super) fn quantile_ms(buckets: &[u64; BUCKETS], share: f64) -> Option<f64> {
    let all: u64 = buckets.iter().sum();
    if all == 0 {
        return None;
    }
    let rank = share * all as f64;
    let mut below = 0.0;
    let mut lower = 0.0;
    for (count, upper) in buckets.iter().zip(SECONDS) {
        let count = *count as f64;
        if below + count >= rank && count > 0.0 {
            return Some((lower + (upper - lower) * (rank - below) / count) * 1e3);
        }
        below += count;
        lower = upper;
    }
    Some(lower * 1e3) // longer than the last limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_in_its_bucket() {
        let counters = AppCounters::default();
        assert_eq!(quantile_ms(&counters.read().buckets[0], 0.5), None);
        for _ in 0..90 {
            counters.observe(0, Duration::from_millis(20));
        }
        for _ in 0..10 {
            counters.observe(0, Duration::from_millis(400));
        }
        let buckets = counters.read().buckets[0];
        let (p50, p95) = (quantile_ms(&buckets, 0.5).unwrap(), quantile_ms(&buckets, 0.95).unwrap());
        assert!((10.0..=25.0).contains(&p50) && (250.0..=500.0).contains(&p95), "{p50} {p95}");
        counters.observe(0, Duration::from_secs(100));
        assert_eq!(quantile_ms(&counters.read().buckets[0], 1.0), Some(60_000.0));
    }

    #[test]
    fn a_request_is_counted_once_in_each_of_its_series() {
        let totals = Totals::default();
        let found = RequestRecord {
            route: "/api/v1.0/identify",
            app: Some("a"),
            status: 200,
            code: 0,
            outcome: Some("found"),
            duration: Duration::from_millis(3),
        };
        totals.request(&found);
        totals.request(&RequestRecord { status: 400, code: 5, outcome: None, ..found });
        totals.request(&RequestRecord { route: "/healthz", app: None, outcome: None, ..found });
        totals.request(&RequestRecord { route: "/api/admin/v1/overview", app: None, outcome: None, ..found });
        totals.request(&RequestRecord { route: "/api/v1.0/identify", app: None, status: 401, code: 401, ..found });
        let server = totals.server();
        let of = |name: &str| server.counts[SERVER_COUNTS.iter().position(|known| *known == name).unwrap()];
        assert_eq!((of("requests"), of("succeeded"), of("refused"), of("identifications")), (3, 1, 2, 3));
        assert_eq!((of("found"), of("code5"), of("code401"), of("adminRequests")), (1, 1, 1, 1));
        assert_eq!(server.buckets.map(|buckets| buckets.iter().sum::<u64>()), [3, 1, 0, 0]);
        let [(app, counted)] = totals.apps().try_into().unwrap();
        assert_eq!((app.as_str(), counted.counts[0], counted.counts[8]), ("a", 2, 1));
    }
}
