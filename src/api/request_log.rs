//! One request in the log, the metrics and the journal.

use std::time::Instant;

use axum::extract::MatchedPath;
use axum::http::{Method, StatusCode};

use super::audit::{Audit, Lines};
use super::{ApiError, ApiState};
use crate::domain::{Clock, TransactionId, stopwatch};
use crate::journal::Entry;
use crate::service::Error;
use crate::telemetry::{RequestRecord, error_chain};

/// The journal's status of a request whose client went away before the response.
const STATUS_CLIENT_WENT_AWAY: u16 = 499;

/// One request, from its head to its response. Dropped before, it records that the client went away.
pub(super) struct RequestLog {
    api: ApiState,
    id: TransactionId,
    audit: Audit,
    method: &'static str,
    route: Option<MatchedPath>,
    started: Instant,
    finished: bool,
}

impl RequestLog {
    /// Starts the clock.
    pub(super) fn start(
        api: ApiState,
        id: TransactionId,
        audit: Audit,
        method: &Method,
        route: Option<MatchedPath>,
    ) -> Self {
        Self { api, id, audit, method: method_name(method), route, started: stopwatch(), finished: false }
    }

    /// Writes the line in the journal. Only requests to the API are operations.
    fn journal(&self, status: u16, failure: Option<&ApiError>) {
        if !self.route().starts_with("/api/") {
            return;
        }
        if status < 400 && self.audit.lines() == Lines::Never {
            return;
        }
        let code = failure.map_or(0, |error| error.body().code);
        let entry = self.audit.entry();
        self.api.journal(Entry {
            transaction_id: self.id.to_string(),
            operation: format!("{} {}", self.method, self.route()),
            status,
            code,
            outcome: entry.outcome.filter(|_| code == 0),
            reason: failure.and_then(ApiError::decode_fault).map(|fault| fault.to_string()).or(entry.reason),
            ms: Some(self.started.elapsed().as_secs_f64() * 1e3),
            ..entry
        });
    }

    /// The route of the table, never the path: a path has ids in it, and a client can invent any number of them.
    fn route(&self) -> &str {
        self.route.as_ref().map_or("none", MatchedPath::as_str)
    }

    /// The one line and the one count of this request.
    pub(super) fn finish(mut self, status: StatusCode, failure: Option<&ApiError>) {
        self.finished = true;
        let elapsed = self.started.elapsed();
        let code = failure.map_or(0, |error| error.body().code);
        let error = failure.map(|error| error_chain(error));
        let entry = self.audit.entry();
        self.api.metrics().request(&RequestRecord {
            route: self.route(),
            app: entry.app.as_deref(),
            status: status.as_u16(),
            code,
            outcome: entry.outcome.as_deref(),
            duration: elapsed,
        });
        self.journal(status.as_u16(), failure);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    http.method = %self.method,
                    http.route = self.route(),
                    http.status = status.as_u16(),
                    code,
                    error,
                    duration_ms = elapsed.as_secs_f64() * 1e3,
                    "request"
                )
            };
        }
        if let Some(ApiError::Service(Error::StoreUnavailable(_))) = failure {
            self.api.service().writability().suspect();
        }
        if !self.api.refusals().admits(status, Clock::system().instant()) {
            return;
        }
        match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::NOT_IMPLEMENTED => line!(warn),
            status if status.is_server_error() => line!(error),
            _ => line!(info),
        }
    }
}

/// A method as it is logged: a client can invent methods of any length.
fn method_name(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|known| method.as_str() == *known).unwrap_or("OTHER")
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        if !self.finished {
            self.api.metrics().abandoned(self.route());
            self.journal(STATUS_CLIENT_WENT_AWAY, None);
            tracing::info!(
                http.method = %self.method,
                http.route = self.route(),
                duration_ms = self.started.elapsed().as_secs_f64() * 1e3,
                "the client went away"
            );
        }
    }
}
