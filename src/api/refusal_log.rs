//! Log lines of refused requests: anyone can cause any number of them, so they are bounded.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use parking_lot::Mutex;

use crate::domain::LineWindow;

/// Refused requests of one status in one [`WINDOW`] that have lines of their own. One line counts the others.
const OWN_LINES: u64 = 10;

/// The length of a window.
pub const WINDOW: Duration = Duration::from_secs(10);

/// The lines of refused requests, by status.
#[derive(Debug, Default)]
pub(super) struct RefusalLog(Mutex<BTreeMap<u16, LineWindow>>);

impl RefusalLog {
    /// Whether a request has a log line. One that was served always has.
    pub(super) fn admits(&self, status: StatusCode, now: Instant) -> bool {
        self.report(now, false);
        if !is_refusal(status) {
            return true;
        }
        let new = || LineWindow::new(OWN_LINES, WINDOW);
        self.0.lock().entry(status.as_u16()).or_insert_with(new).admits(now)
    }

    /// Logs how many lines were left out in the windows that are over, or in all windows.
    pub(super) fn report(&self, now: Instant, at_once: bool) {
        for (status, window) in self.0.lock().iter_mut() {
            if let Some(requests) = window.close(now, at_once) {
                let window_s = window.length().as_secs();
                tracing::warn!(http.status = status, requests, window_s, "more requests were refused");
            }
        }
    }
}

/// Whether a request was refused instead of served. A photo without a face was served.
fn is_refusal(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::NOT_IMPLEMENTED
            | StatusCode::SERVICE_UNAVAILABLE
    )
}
