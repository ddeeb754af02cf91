//! Whether the database can be written, as `/readyz` reports it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::store::WriteProbe;

/// Between two probes while writes work. A write that fails causes one at once.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// Between two probes while writes fail.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Probes whether the database can be written.
pub struct Writability {
    probe: Arc<dyn WriteProbe>,
    fault: Mutex<Option<&'static str>>,
    suspected: Notify,
}

impl Writability {
    /// Writable until a probe fails.
    pub(super) fn new(probe: Arc<dyn WriteProbe>) -> Self {
        Self { probe, fault: Mutex::default(), suspected: Notify::new() }
    }

    /// Why the database cannot be written; `None` when it can.
    pub fn fault(&self) -> Option<&'static str> {
        *self.fault.lock()
    }

    /// A call of the database has failed: the next probe is due.
    pub fn suspect(&self) {
        self.suspected.notify_one();
    }

    /// Probes once. Logs a change.
    pub async fn check(&self) {
        let outcome = self.probe.probe().await;
        let fault = outcome.as_ref().err().map(|error| error.write_fault());
        let before = std::mem::replace(&mut *self.fault.lock(), fault);
        match (before, outcome) {
            (None, Err(error)) => {
                tracing::error!(%error, "the database cannot be written: writes are answered with 503")
            }
            (Some(_), Ok(())) => tracing::info!("the database can be written again"),
            _ => {}
        }
    }

    /// Probes for as long as the server runs.
    pub async fn watch(self: Arc<Self>) {
        loop {
            self.check().await;
            match self.fault() {
                // A failing call does not shorten this wait.
                Some(_) => tokio::time::sleep(RETRY_INTERVAL).await,
                None => {
                    let _ = tokio::time::timeout(PROBE_INTERVAL, self.suspected.notified()).await;
                }
            }
        }
    }
}
