//! What every handler can use.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Bytes;

use super::admission::{Admission, Limiters};
use super::peer::{Client, ClientLimits};
use super::refusal_log::RefusalLog;
use super::sign_in_limits::SignInLimits;
use super::{ApiConfig, ApiError, Drain, System};
use crate::compute::{Rate, RateLimiter, Ticket};
use crate::domain::{AppId, Clock, RequestLimits};
use crate::journal::{Entry, Journal, JournalBacklog};
use crate::service::{Caller, Error, Service};
use crate::telemetry::{Facts, Gauges, Metrics};

struct Inner {
    service: Service,
    admission: Arc<Admission>,
    clients: ClientLimits,
    metrics: Arc<Metrics>,
    config: ApiConfig,
    rate_limiter: RateLimiter<AppId>,
    journal: Option<Arc<Journal>>,
    licences: Bytes,
    draining: AtomicBool,
    refusals: RefusalLog,
    sign_ins: SignInLimits,
    system: OnceLock<System>,
}

/// The state of the HTTP side. Cheap to clone.
#[derive(Clone)]
pub struct ApiState(Arc<Inner>);

impl ApiState {
    /// Puts HTTP in front of the use cases.
    ///
    /// Requests are admitted within `limiters`. `licences` is the response of
    /// `/licences`: the installed models and their licences. Every operation is written to `journal`.
    pub fn new(
        service: Service,
        limiters: Limiters,
        metrics: Arc<Metrics>,
        config: ApiConfig,
        licences: &serde_json::Value,
        journal: Option<Arc<Journal>>,
    ) -> Self {
        let licences = Bytes::from(licences.to_string());
        let rate_limiter = RateLimiter::by_key(Rate::new(config.requests_per_second, config.burst));
        let admission = Arc::new(Admission::new(limiters, Duration::from_secs(config.retry_after_s)));
        let clients = ClientLimits::new(&config);
        Self(Arc::new(Inner {
            service,
            admission,
            clients,
            metrics,
            config,
            rate_limiter,
            journal,
            licences,
            draining: AtomicBool::new(false),
            refusals: RefusalLog::default(),
            sign_ins: SignInLimits::default(),
            system: OnceLock::new(),
        }))
    }

    pub(super) fn service(&self) -> &Service {
        &self.0.service
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(super) fn config(&self) -> &ApiConfig {
        &self.0.config
    }

    pub(super) fn licences(&self) -> Bytes {
        self.0.licences.clone()
    }

    /// Writes an operation to the journal.
    pub(super) fn journal(&self, entry: Entry) {
        if let Some(journal) = &self.0.journal {
            journal.record(entry);
        }
    }

    /// Counts a request of an application, or refuses it over its rate limit, or that of the settings.
    pub(super) fn check_rate(&self, caller: &Caller) -> Result<(), ApiError> {
        let RequestLimits { per_second, burst, .. } = caller.limits;
        let burst = burst.unwrap_or(self.0.config.burst);
        let rate = Rate::new(per_second.unwrap_or(self.0.config.requests_per_second), burst);
        let passed = self.0.rate_limiter.check_at(&caller.app, rate, Clock::system().instant());
        passed.map_err(ApiError::TooMany)
    }

    /// Admits requests within the limits.
    pub(super) fn admission(&self) -> &Arc<Admission> {
        &self.0.admission
    }

    /// A place for a request of a client that a proxy names in a header.
    pub(super) fn admit_client(&self, client: Option<Client>) -> Result<Option<Ticket>, ApiError> {
        let refused = |_| ApiError::TooMany(Duration::from_secs(self.config().retry_after_s));
        self.0.clients.admit(client).map_err(refused)
    }

    /// Counts a request whose credentials were not good, or refuses it over the rate of its client.
    pub(super) fn check_unauthenticated(&self, client: Client) -> Result<(), ApiError> {
        self.0.clients.check_unauthenticated(client).map_err(ApiError::TooMany)
    }

    /// The rates of sign-ins and of administrators.
    pub(super) fn sign_ins(&self) -> &SignInLimits {
        &self.0.sign_ins
    }

    /// How the rest of a body is drained after its response.
    pub(super) fn drain(&self, is_authenticated: bool, client: Option<IpAddr>) -> Drain {
        if is_authenticated {
            return Drain::full(self.config());
        }
        Drain::short(self.config(), self.0.clients.drained(client))
    }

    /// Bounds the log lines of refused requests.
    pub(super) fn refusals(&self) -> &RefusalLog {
        &self.0.refusals
    }

    /// Logs how many lines of refused requests were left out: those of the windows that are over, or of all windows.
    pub fn report_refusals(&self, at_once: bool) {
        self.0.refusals.report(Clock::system().instant(), at_once);
    }

    /// Gives the administration what only the assembly of the server knows. Called once, before the server serves; until
    /// then the resources about the server itself answer that it is starting.
    pub fn attach(&self, system: System) {
        let _ = self.0.system.set(system);
    }

    /// The server as its administrators see it.
    pub(super) fn system(&self) -> Result<&System, ApiError> {
        self.0.system.get().ok_or_else(|| Error::Loading.into())
    }

    /// Takes a sample of the figures, and dates the problems that are new.
    pub fn sample_figures(&self) {
        let gauges = self.gauges(true);
        let now = Clock::system().now();
        self.metrics().sample(&gauges, now);
        self.metrics().problems(&gauges, &self.facts(), now);
    }

    /// Whether this node writes a journal.
    pub(super) fn has_journal(&self) -> bool {
        self.0.journal.is_some()
    }

    /// How far the disk of the journal is behind.
    pub(super) fn journal_backlog(&self) -> JournalBacklog {
        self.0.journal.as_ref().map(|journal| journal.backlog()).unwrap_or_default()
    }

    /// What problems are found from, beside the gauges.
    pub(super) fn facts(&self) -> Facts {
        let service = self.service();
        let replicator = service.replicator();
        let system = self.0.system.get();
        let verification = system.and_then(|system| system.archive.as_ref()?.verification());
        Facts {
            is_loaded: replicator.is_loaded(),
            lacks_key: replicator.lacks_key(),
            is_engine_ready: service.is_engine_ready(),
            is_stopping: self.is_stopping(),
            is_stale: replicator.is_stale(),
            write_fault: service.writability().fault(),
            clock_doubt: service.applications().store_clock().doubt().map(|doubt| doubt.to_string()),
            certificate_end: self.metrics().certificate_end(),
            outbox_age: self.metrics().outbox_age(),
            disk: system.and_then(|system| system.machine.disk()),
            journal_fault: verification.and_then(|last| last.outcome.err()),
        }
    }

    /// The server is about to stop: it is not ready from now on, and serves until its admission is closed.
    pub fn begin_drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Whether the server is stopping. It may still serve.
    pub(super) fn is_stopping(&self) -> bool {
        self.0.draining.load(Ordering::Acquire) || self.admission().is_stopping()
    }

    /// The figures that are read at a scrape instead of counted, with or without ids of applications.
    pub(super) fn gauges(&self, by_app: bool) -> Gauges {
        let feed = self.service().feed();
        let Limiters { photos, store, uploads, .. } = self.admission().limiters();
        let held = self.service().held();
        let store_clock = self.service().applications().store_clock();
        let pool = self.service().pool_usage();
        let journal = self.journal_backlog();
        Gauges {
            ready: self.service().is_ready() && !self.is_stopping(),
            store_reachable: self.service().replicator().is_store_reachable(),
            tickets_in_use: photos.in_use(),
            tickets_capacity: photos.capacity(),
            store_requests: store.in_use(),
            store_requests_capacity: store.capacity(),
            upload_bytes: uploads.in_use(),
            upload_bytes_capacity: uploads.capacity(),
            by_app,
            galleries: feed.loaded().into_iter().map(|app| (app.clone(), feed.size(&app))).collect(),
            unreadable: self.service().replicator().unreadable(),
            journal_waiting: journal.waiting,
            journal_lost: journal.lost,
            held: held.iter().filter_map(|record| Some((record.app.clone(), record.hold?.templates))).collect(),
            expiry_paused: store_clock.doubt().is_some(),
            clock_offset_ms: store_clock.offset_ms(),
            staleness: self.service().replicator().staleness(),
            stale_galleries: self.service().replicator().stale_galleries(),
            writable: self.service().writability().fault().is_none(),
            database_connections: pool.in_use,
            database_connections_capacity: pool.capacity,
            database_calls_waiting: pool.waiting,
        }
    }
}
