//! Relays the outbox: its events become lines of the journal, and the database learns how far the journal reaches.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::stopping::{JOURNAL_STEP_TIMEOUT, blocking_within};
use crate::domain::{Actor, Clock, JournalPosition, rfc3339};
use crate::journal::{Entry, EntryActor, Journal};
use crate::store::outbox::LEASE;
use crate::store::{NodePosition, OutboxEvent, OutboxStore, StoreError};
use crate::telemetry::Metrics;

/// Events that are written in one batch.
const BATCH_EVENTS: usize = 500;

/// Shortest time between two reports of the journal's position.
const REPORT_INTERVAL: Duration = Duration::from_secs(2);

/// Time between two measurements of the backlog.
const BACKLOG_INTERVAL: Duration = Duration::from_secs(5);

/// How long events wait for a node with a journal before a node without one deletes them.
const EVENT_MAX_AGE: Duration = Duration::from_secs(7 * 86_400);

/// How often a node without a journal looks for such events.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(3600);

/// Relays the outbox of the database to the journal of this node, if the node has one.
pub(super) struct OutboxRelay {
    journal: Option<Arc<Journal>>,
    outbox: Arc<dyn OutboxStore>,
    node: Uuid,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl OutboxRelay {
    pub(super) fn new(
        journal: Option<Arc<Journal>>,
        outbox: Arc<dyn OutboxStore>,
        node: Uuid,
        metrics: Arc<Metrics>,
    ) -> Self {
        if journal.is_some() {
            outbox.register_node(node);
        }
        Self { journal, outbox, node, metrics, clock: Clock::system() }
    }

    /// Adds an event to the outbox.
    pub(super) async fn enqueue(&self, event: &OutboxEvent) -> Result<(), StoreError> {
        self.outbox.enqueue(event).await
    }

    /// Relays for as long as the server runs. That the database is unavailable is logged by the replicator.
    pub(super) async fn run(self: Arc<Self>, poll_interval: Duration) {
        let Some(journal) = &self.journal else { return self.expire().await };
        let mut reported = JournalPosition::default();
        let mut reported_at: Option<tokio::time::Instant> = None;
        loop {
            if let Err(error) = self.drain(journal).await {
                tracing::debug!(%error, "the outbox cannot be read; it is tried again");
            }
            let position = journal.position();
            if position != reported && reported_at.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL) {
                match self.report(position).await {
                    Ok(()) => {
                        reported = position;
                        reported_at = Some(tokio::time::Instant::now());
                    }
                    Err(error) => {
                        tracing::debug!(%error, "the journal's position cannot be reported; it is tried again");
                    }
                }
            }
            tokio::time::sleep(poll_interval).await;
        }
    }

    /// Measures the backlog for as long as the server runs.
    pub(super) async fn measure_backlog(self: Arc<Self>) {
        loop {
            match self.outbox.backlog().await {
                Ok(backlog) => {
                    let now = self.clock.now();
                    let age = backlog.oldest.and_then(|oldest| now.duration_since(oldest).ok());
                    self.metrics.outbox(backlog.events, age.unwrap_or_default());
                }
                Err(error) => tracing::debug!(%error, "the outbox cannot be measured; it is tried again"),
            }
            tokio::time::sleep(BACKLOG_INTERVAL).await;
        }
    }

    /// Writes the lines of all events, and deletes the events when their lines are on disk.
    async fn drain(&self, journal: &Journal) -> Result<(), StoreError> {
        loop {
            let claim = self.outbox.claim(self.node, LEASE, BATCH_EVENTS).await?;
            let count = claim.events.len();
            let entries = claim.events.into_iter().map(Entry::from).collect();
            if count == 0 || journal.record_durably(entries).await.is_err() {
                return Ok(());
            }
            self.outbox.ack(claim.id).await?;
            if count < BATCH_EVENTS {
                return Ok(());
            }
        }
    }

    async fn report(&self, position: JournalPosition) -> Result<(), StoreError> {
        if position.line == 0 {
            return Ok(());
        }
        let position = NodePosition { node: self.node, position, reported_at: self.clock.now() };
        self.outbox.record_position(&position).await
    }

    /// Deletes old events from a node without a journal. Nodes with a journal have had time to write them.
    async fn expire(&self) {
        loop {
            match self.outbox.expire(EVENT_MAX_AGE).await {
                Ok(0) => {}
                Ok(events) => tracing::warn!(events, "outbox events expired: no node has a journal"),
                Err(error) => tracing::debug!(%error, "outbox events cannot be expired; it is tried again"),
            }
            tokio::time::sleep(EXPIRE_INTERVAL).await;
        }
    }

    /// Writes the last lines. Events that cannot be written now wait for the next start.
    pub(super) async fn stop(&self) {
        let Some(journal) = &self.journal else { return };
        if !matches!(tokio::time::timeout(JOURNAL_STEP_TIMEOUT, self.drain(journal)).await, Ok(Ok(()))) {
            tracing::warn!("the outbox is not empty; the next start writes its events to the journal");
        }
        let closing = Arc::clone(journal);
        let Some(lost) = blocking_within(JOURNAL_STEP_TIMEOUT, move || closing.stop()).await else {
            tracing::error!("the journal's disk does not answer; its last lines may be missing");
            return;
        };
        let report = async {
            self.report(journal.position()).await?;
            if lost > 0 {
                let text = format!("{lost} lines are missing: they could not be written when the server stopped");
                self.outbox
                    .enqueue(&OutboxEvent::new(self.clock.now(), "journal", None, &text).by(Actor::Server))
                    .await?;
            }
            Ok::<_, StoreError>(())
        };
        if !matches!(tokio::time::timeout(JOURNAL_STEP_TIMEOUT, report).await, Ok(Ok(()))) {
            tracing::warn!(lost, "the journal's last position could not be reported to the database");
        }
    }
}

impl From<OutboxEvent> for Entry {
    fn from(event: OutboxEvent) -> Self {
        Self {
            id: Some(event.id.to_string()),
            time: rfc3339(event.at),
            transaction_id: event.transaction.map(|id| id.to_string()).unwrap_or_default(),
            app: event.app,
            operation: event.operation,
            outcome: Some(event.detail),
            template_id: event.template,
            sample_id: event.sample.map(|sample| sample.to_string()),
            key_id: event.key.or_else(|| event.actor.as_ref()?.key().map(|key| key.to_string())),
            changed: event.changed,
            revision: event.revision,
            actor: event.actor.as_ref().map(EntryActor::from),
            ..Self::default()
        }
    }
}
