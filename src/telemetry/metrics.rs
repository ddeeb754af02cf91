//! Every metric: name, unit, buckets, help, in one place.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::figures::{
    FigureColumns, FigureError, FigureQuery, Figures, RequestRecord, SECONDS, Span, TodayCounts, Totals,
};
use super::gauges::Gauges;
use super::logging::dropped_log_lines;
use super::problems::{Facts, Problem, ProblemLog};
use super::process;
use crate::domain::{AppId, Clock, Timings};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: String,
    status: u16,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct App {
    app: String,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Default)]
struct GaugeFamilies {
    ready: Gauge,
    store_reachable: Gauge,
    tickets_in_use: Gauge,
    tickets_capacity: Gauge,
    store_requests: Gauge,
    store_requests_capacity: Gauge,
    upload_memory: Gauge,
    upload_memory_capacity: Gauge,
    templates: Family<App, Gauge>,
    samples: Family<App, Gauge>,
    bytes: Family<App, Gauge>,
    unreadable: Family<App, Gauge>,
    log_lines_dropped: Counter,
    journal_waiting: Gauge,
    journal_lost: Counter,
    held: Family<App, Gauge>,
    expiry_paused: Gauge,
    clock_offset: Gauge<f64, AtomicU64>,
    staleness: Gauge<f64, AtomicU64>,
    stale_galleries: Gauge,
    writable: Gauge,
    pool_in_use: Gauge,
    pool_capacity: Gauge,
    pool_waiting: Gauge,
}

/// Counts and durations since the server started.
pub struct Metrics {
    registry: Registry,
    /// What the operating system knows about this process, under the names that all exporters of Prometheus use.
    process: Registry,
    process_gauges: process::Gauges,
    outbox_events: Gauge,
    outbox_oldest: Gauge<f64, AtomicU64>,
    certificate_expiry: Gauge,
    connections_refused: Family<Reason, Counter>,
    requests: Family<Request, Counter>,
    abandoned: Family<Route, Counter>,
    request_duration: Histograms<Route>,
    stage_duration: Histograms<Stage>,
    search_duration: Histogram,
    /// Locked for the length of a scrape: the gauges of two scrapes must not mix.
    gauges: Mutex<GaugeFamilies>,
    /// Counted at the same places, for the figures.
    totals: Totals,
    figures: Figures,
    problems: ProblemLog,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

impl Metrics {
    /// The media type of [`Metrics::render`].
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// All metrics at zero.
    pub fn new() -> Self {
        let mut process = Registry::default();
        let metrics = Self {
            registry: Registry::with_prefix("semblance"),
            process_gauges: process::Gauges::registered(&mut process),
            process,
            outbox_events: Gauge::default(),
            outbox_oldest: Gauge::default(),
            certificate_expiry: Gauge::default(),
            connections_refused: Family::default(),
            requests: Family::default(),
            abandoned: Family::default(),
            request_duration: Family::new_with_constructor(seconds),
            stage_duration: Family::new_with_constructor(seconds),
            search_duration: seconds(),
            gauges: Mutex::default(),
            totals: Totals::default(),
            figures: Figures::new(Clock::system().now()),
            problems: ProblemLog::default(),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let gauges = self.gauges.get_mut();
        let r = &mut self.registry;
        r.register("build", "Version of the server", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        r.register("requests", "Responses, by route, HTTP status and result code (0: success)", self.requests.clone());
        r.register(
            "requests_abandoned",
            "Requests whose client closed the connection before the response",
            self.abandoned.clone(),
        );
        let help = "Duration of a request, from its head to its response";
        r.register_with_unit("request_duration", help, Unit::Seconds, self.request_duration.clone());
        let help = "Duration of one stage of the analysis of a photo";
        r.register_with_unit("stage_duration", help, Unit::Seconds, self.stage_duration.clone());
        let help = "Duration of a search of a gallery, including its wait";
        r.register_with_unit("search_duration", help, Unit::Seconds, self.search_duration.clone());
        r.register("ready", "1 if identify can be served, otherwise 0", gauges.ready.clone());
        r.register(
            "store_reachable",
            "1 if the database answered the last poll, otherwise 0",
            gauges.store_reachable.clone(),
        );
        r.register("tickets_in_use", "Photos that wait or are analyzed", gauges.tickets_in_use.clone());
        let help = "Photos in flight above which requests are refused";
        r.register("tickets_capacity", help, gauges.tickets_capacity.clone());
        r.register("store_requests", "Requests that wait for the database", gauges.store_requests.clone());
        let help = "Requests for the database above which further ones are refused";
        r.register("store_requests_capacity", help, gauges.store_requests_capacity.clone());
        r.register_with_unit("upload_memory", "Request bodies in memory", Unit::Bytes, gauges.upload_memory.clone());
        let help = "Maximum memory of request bodies";
        r.register_with_unit("upload_memory_capacity", help, Unit::Bytes, gauges.upload_memory_capacity.clone());
        r.register("gallery_templates", "Templates in memory, by application", gauges.templates.clone());
        r.register("gallery_samples", "Samples in memory, by application", gauges.samples.clone());
        let help = "Memory of a gallery, by application";
        r.register_with_unit("gallery_size", help, Unit::Bytes, gauges.bytes.clone());
        let help = "Templates with a stored sample that cannot be read, by application";
        r.register("gallery_unreadable_templates", help, gauges.unreadable.clone());
        let help = "Log lines that were dropped because standard error was not read fast enough";
        r.register("log_lines_dropped", help, gauges.log_lines_dropped.clone());
        let help = "Journal lines that are not on disk yet";
        r.register("journal_lines_waiting", help, gauges.journal_waiting.clone());
        let help = "Journal lines that were lost because the disk was too slow or could not be written";
        r.register("journal_lines_lost", help, gauges.journal_lost.clone());
        let help = "Events of the database, such as erasures, that no journal has recorded yet";
        r.register("outbox_events", help, self.outbox_events.clone());
        let help = "Age of the oldest such event; 0 without events";
        r.register_with_unit("outbox_oldest_age", help, Unit::Seconds, self.outbox_oldest.clone());
        let help = "Templates past their retention that are not erased until an operator confirms, by application";
        r.register("retention_held_templates", help, gauges.held.clone());
        let help = "1 if expiry is paused because the clock is not trusted, otherwise 0";
        r.register("expiry_paused", help, gauges.expiry_paused.clone());
        let help =
            "How far this node's clock is ahead of the database's (SQLite: of what the monotonic clock witnessed)";
        r.register_with_unit("clock_offset", help, Unit::Seconds, gauges.clock_offset.clone());
        let help = "When the TLS certificate in force expires, in seconds since 1970; 0 without TLS";
        r.register_with_unit("certificate_expiry_timestamp", help, Unit::Seconds, self.certificate_expiry.clone());
        r.register("connections_refused", "Connections that were refused, by reason", self.connections_refused.clone());
        let help = "Time since keys and revisions were last read from the database";
        r.register_with_unit("staleness", help, Unit::Seconds, gauges.staleness.clone());
        let help = "Galleries whose searches get 503 because they have not followed the database for too long";
        r.register("stale_galleries", help, gauges.stale_galleries.clone());
        let help = "1 if the last attempt to write to the database succeeded, otherwise 0";
        r.register("writable", help, gauges.writable.clone());
        r.register("database_connections", "Connections to the database in use", gauges.pool_in_use.clone());
        let help = "Maximum connections to the database";
        r.register("database_connections_capacity", help, gauges.pool_capacity.clone());
        let help = "Calls that wait for a connection to the database";
        r.register("database_calls_waiting", help, gauges.pool_waiting.clone());
        self
    }

    /// Counts a response.
    pub fn request(&self, record: &RequestRecord<'_>) {
        let RequestRecord { status, code, duration, .. } = *record;
        let route = record.route.to_owned();
        self.requests.get_or_create(&Request { route: route.clone(), status, code }).inc();
        self.request_duration.get_or_create(&Route { route }).observe(duration.as_secs_f64());
        self.totals.request(record);
    }

    /// Counts a request whose client went away.
    pub fn abandoned(&self, route: &str) {
        self.abandoned.get_or_create(&Route { route: route.to_owned() }).inc();
        self.totals.abandoned(route);
    }

    /// Takes a sample for the figures. It is due every [`SAMPLE_INTERVAL`](super::SAMPLE_INTERVAL).
    pub fn sample(&self, gauges: &Gauges, now: SystemTime) {
        self.figures.sample(&self.totals, gauges, process::resident_bytes(), now);
    }

    /// Figures over time.
    ///
    /// # Errors
    /// [`FigureError`].
    pub fn figures(&self, query: &FigureQuery<'_>) -> Result<FigureColumns, FigureError> {
        self.figures.read(query)
    }

    /// The counts since midnight (UTC) or the start of the server: of the server, or of these applications together.
    pub fn today(&self, apps: Option<&[&str]>) -> TodayCounts {
        self.figures.today(&self.totals, apps)
    }

    /// Records the stages of an analysis.
    pub fn analysis(&self, timings: &Timings) {
        let Timings { queue, decode, detect, embed, assess } = *timings;
        for (stage, duration) in
            [("queue", queue), ("decode", decode), ("detect", detect), ("embed", embed), ("assess", assess)]
        {
            self.stage_duration.get_or_create(&Stage { stage }).observe(duration.as_secs_f64());
        }
        self.totals.observe(Span::Queue, queue);
    }

    /// Records a search.
    pub fn search(&self, duration: Duration) {
        self.search_duration.observe(duration.as_secs_f64());
        self.totals.observe(Span::Search, duration);
    }

    /// Records the events of the outbox: their number, and the age of the oldest.
    pub fn outbox(&self, events: u64, oldest: Duration) {
        self.outbox_events.set(i64::try_from(events).unwrap_or(i64::MAX));
        self.outbox_oldest.set(oldest.as_secs_f64());
    }

    /// Records when the TLS certificate in force expires, in seconds since 1970.
    pub fn certificate_expiry(&self, seconds: u64) {
        self.certificate_expiry.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    /// When the TLS certificate in force expires; `None` without TLS.
    pub fn certificate_end(&self) -> Option<SystemTime> {
        let seconds = u64::try_from(self.certificate_expiry.get()).ok().filter(|seconds| *seconds > 0)?;
        Some(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// The age of the oldest event of the outbox, as it was measured last.
    pub fn outbox_age(&self) -> Duration {
        Duration::try_from_secs_f64(self.outbox_oldest.get()).unwrap_or_default()
    }

    /// What is wrong now, the worst first. A problem is dated from the first call that finds it.
    pub fn problems(&self, gauges: &Gauges, facts: &Facts, now: SystemTime) -> Vec<Problem> {
        self.problems.observe(gauges, facts, now)
    }

    /// The same from the gauges of some applications only. It dates nothing.
    pub fn known_problems(&self, gauges: &Gauges, facts: &Facts, now: SystemTime) -> Vec<Problem> {
        self.problems.describe(gauges, facts, now)
    }

    /// Counts a connection that was refused.
    pub fn connection_refused(&self, reason: &'static str) {
        self.connections_refused.get_or_create(&Reason { reason }).inc();
    }

    /// All metrics as text, with these gauges.
    ///
    /// # Errors
    /// When a label or a value cannot be written, which does not happen with these labels and values.
    pub fn render(&self, now: &Gauges) -> Result<String, fmt::Error> {
        let gauges = self.gauges.lock();
        gauges.set(now);
        let mut text = String::new();
        self.process_gauges.update();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &self.process)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

impl GaugeFamilies {
    fn set(&self, now: &Gauges) {
        self.ready.set(now.ready.into());
        self.store_reachable.set(now.store_reachable.into());
        self.tickets_in_use.set(whole(now.tickets_in_use));
        self.tickets_capacity.set(whole(now.tickets_capacity));
        self.store_requests.set(whole(now.store_requests));
        self.store_requests_capacity.set(whole(now.store_requests_capacity));
        self.upload_memory.set(whole(now.upload_bytes));
        self.upload_memory_capacity.set(whole(now.upload_bytes_capacity));
        set_counter(&self.log_lines_dropped, dropped_log_lines() as u64);
        self.journal_waiting.set(whole(now.journal_waiting));
        set_counter(&self.journal_lost, now.journal_lost);
        self.expiry_paused.set(now.expiry_paused.into());
        self.clock_offset.set(now.clock_offset_ms as f64 / 1000.0);
        self.staleness.set(now.staleness.as_secs_f64());
        self.stale_galleries.set(whole(now.stale_galleries));
        self.writable.set(now.writable.into());
        self.pool_in_use.set(whole(now.database_connections));
        self.pool_capacity.set(whole(now.database_connections_capacity));
        self.pool_waiting.set(whole(now.database_calls_waiting));
        // A removed gallery must not stay in the output.
        for family in [&self.templates, &self.samples, &self.bytes, &self.unreadable, &self.held] {
            family.clear();
        }
        let label = |app: &AppId| App { app: if now.by_app { app.as_str() } else { "all" }.to_owned() };
        for (app, size) in &now.galleries {
            let app = label(app);
            self.templates.get_or_create(&app).inc_by(whole(size.templates));
            self.samples.get_or_create(&app).inc_by(whole(size.samples));
            self.bytes.get_or_create(&app).inc_by(whole(size.bytes));
        }
        for (app, templates) in &now.held {
            self.held.get_or_create(&label(app)).inc_by(i64::try_from(*templates).unwrap_or(i64::MAX));
        }
        for (app, templates) in &now.unreadable {
            self.unreadable.get_or_create(&label(app)).inc_by(whole(*templates));
        }
    }
}

/// Sets a counter to a number that something else has counted.
fn set_counter(counter: &Counter, value: u64) {
    counter.inner().store(value, Ordering::Relaxed);
}

fn whole(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
