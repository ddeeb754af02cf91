//! What every handler can use.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;

use super::{ApiConfig, ApiError};
use crate::compute::{Admission, NoTicket, RateLimiter, Ticket};
use crate::domain::{AppId, Clock};
use crate::journal::{Entry, Journal};
use crate::service::{Caller, Error, Service};
use crate::telemetry::{Gauges, Metrics};

struct Inner {
    service: Service,
    admission: Admission,
    /// For requests without photos.
    store_admission: Admission,
    metrics: Arc<Metrics>,
    config: ApiConfig,
    rate_limiter: Option<RateLimiter<AppId>>,
    journal: Option<Arc<Journal>>,
    licences: Bytes,
}

/// The state of the HTTP side. Cheap to clone.
#[derive(Clone)]
pub struct ApiState(Arc<Inner>);

impl ApiState {
    /// Puts HTTP in front of the use cases.
    ///
    /// Each photo of a request takes one ticket of `admission`. `licences` is the response of
    /// `/licences`: the installed models and their licences. Every operation is written to `journal`.
    pub fn new(
        service: Service,
        admission: Admission,
        metrics: Arc<Metrics>,
        config: ApiConfig,
        licences: &serde_json::Value,
        journal: Option<Arc<Journal>>,
    ) -> Self {
        let licences = Bytes::from(licences.to_string());
        let rate_limiter = RateLimiter::new(config.requests_per_second, config.burst);
        let store_admission = Admission::new(config.max_store_requests, config.store_share);
        Self(Arc::new(Inner { service, admission, store_admission, metrics, config, rate_limiter, journal, licences }))
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

    /// Counts a request of an application, or refuses it over the rate limit.
    pub(super) fn check_rate(&self, app: &AppId) -> Result<(), ApiError> {
        let passed =
            self.0.rate_limiter.as_ref().map_or(Ok(()), |limiter| limiter.check(app, Clock::system().instant()));
        passed.map_err(ApiError::TooMany)
    }

    /// A ticket for this many photos of a caller, or a refusal before a byte of them is read.
    pub(super) fn admit(&self, caller: &Caller, photos: u32) -> Result<Ticket, ApiError> {
        self.0.admission.try_take(caller.app.as_str(), photos).map_err(|refused| self.refusal(refused))
    }

    /// A ticket for a request that needs only the store. The store is slow compared with everything else here: one
    /// caller that fills its queue would block all others.
    pub(super) fn admit_to_store(&self, caller: &Caller) -> Result<Ticket, ApiError> {
        self.0.store_admission.try_take(caller.app.as_str(), 1).map_err(|refused| self.refusal(refused))
    }

    fn refusal(&self, refused: NoTicket) -> ApiError {
        match refused {
            NoTicket::Full if self.is_stopping() => ApiError::Stopping,
            NoTicket::Full => Error::Busy.into(),
            NoTicket::ShareUsed => ApiError::TooMany(Duration::from_secs(self.config().retry_after_s)),
        }
    }

    /// Whether the server is stopping and admits no more photos.
    pub(super) fn is_stopping(&self) -> bool {
        self.0.admission.is_closed()
    }

    /// The figures that are read at a scrape instead of counted.
    pub(super) fn gauges(&self) -> Gauges {
        let feed = self.service().feed();
        let journal = self.0.journal.as_ref().map(|journal| journal.backlog()).unwrap_or_default();
        Gauges {
            ready: self.service().is_ready() && !self.is_stopping(),
            store_reachable: self.service().replicator().is_store_reachable(),
            tickets_in_use: self.0.admission.in_use(),
            tickets_capacity: self.0.admission.capacity(),
            by_app: self.config().metrics_by_app,
            galleries: feed.loaded().into_iter().map(|app| (app.clone(), feed.size(&app))).collect(),
            unreadable: self.service().replicator().unreadable(),
            journal_waiting: journal.waiting,
            journal_lost: journal.lost,
            staleness: self.service().replicator().staleness(),
            stale_galleries: self.service().replicator().stale_galleries(),
        }
    }
}
