//! Keeps the journal and the database in step: what the database has to tell becomes lines of the journal, and the
//! database learns how far the journal reaches.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::domain::rfc3339;
use crate::journal::{Entry, Journal, Mark};
use crate::store::outbox::LEASE;
use crate::store::{Anchor, Notice, OutboxStore, StoreError};

/// Notices that become lines together.
const TOGETHER: usize = 500;

/// From one anchor of a journal that goes on to the next.
const ANCHOR_EVERY: Duration = Duration::from_secs(2);

/// Where no node has a journal, what nobody told of for so long is forgotten: 7 days.
const UNTOLD: Duration = Duration::from_secs(7 * 86_400);

/// How often that is looked for.
const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// Longest wait of a server that stops for its last lines, and for the database to learn of them.
const LAST: Duration = Duration::from_secs(10);

/// The journal of a node, if it has one, and what is in the database of all.
pub(super) struct Ledger {
    journal: Option<Arc<Journal>>,
    outbox: Arc<dyn OutboxStore>,
    node: Uuid,
}

impl Ledger {
    pub(super) fn new(journal: Option<Arc<Journal>>, outbox: Arc<dyn OutboxStore>, node: Uuid) -> Self {
        if journal.is_some() {
            outbox.serves(node);
        }
        Self { journal, outbox, node }
    }

    /// Has the journal tell of something, soon.
    pub(super) async fn put(&self, notice: &Notice) -> Result<(), StoreError> {
        self.outbox.put(notice).await
    }

    /// Does its work for as long as the server runs. That the database is away is said by who follows it.
    pub(super) async fn keep(self: Arc<Self>, every: Duration) {
        let Some(journal) = &self.journal else { return self.forget().await };
        let mut known = Mark { line: 0, mac: [0; 32] };
        let mut anchored: Option<tokio::time::Instant> = None;
        loop {
            if let Err(error) = self.drain(journal).await {
                tracing::debug!(%error, "what the journal is to tell is not read now");
            }
            let mark = journal.mark();
            if mark != known && anchored.is_none_or(|at| at.elapsed() >= ANCHOR_EVERY) {
                match self.anchor(mark).await {
                    Ok(()) => (known, anchored) = (mark, Some(tokio::time::Instant::now())),
                    Err(error) => {
                        tracing::debug!(%error, "the database does not learn now how far the journal reaches")
                    }
                }
            }
            tokio::time::sleep(every).await;
        }
    }

    /// Writes the lines of what is to be told, and takes it away when they are on disk.
    async fn drain(&self, journal: &Journal) -> Result<(), StoreError> {
        loop {
            let claim = self.outbox.claim(self.node, LEASE, TOGETHER).await?;
            let count = claim.notices.len();
            if count == 0 || journal.tell(claim.notices.into_iter().map(line).collect()).await.is_err() {
                return Ok(());
            }
            self.outbox.told(claim.id).await?;
            if count < TOGETHER {
                return Ok(());
            }
        }
    }

    async fn anchor(&self, mark: Mark) -> Result<(), StoreError> {
        let Mark { line, mac } = mark;
        if line == 0 {
            return Ok(());
        }
        self.outbox.set_anchor(&Anchor { node: self.node, line, mac, at: SystemTime::now() }).await
    }

    /// A node without a journal leaves others time to tell of what happens, and ends it when none does.
    async fn forget(&self) {
        loop {
            let before = SystemTime::now().checked_sub(UNTOLD).unwrap_or(SystemTime::UNIX_EPOCH);
            match self.outbox.forget(before).await {
                Ok(0) => {}
                Ok(notices) => tracing::warn!(notices, "no node has a journal: what was to be told is forgotten"),
                Err(error) => tracing::debug!(%error, "the database is away"),
            }
            tokio::time::sleep(FORGET_EVERY).await;
        }
    }

    /// Writes the last lines. What cannot be written now is said by the next server.
    pub(super) async fn stop(&self) {
        let Some(journal) = &self.journal else { return };
        if !matches!(tokio::time::timeout(LAST, self.drain(journal)).await, Ok(Ok(()))) {
            tracing::warn!("the journal does not tell of everything yet; the next start does it");
        }
        let lost = tokio::task::block_in_place(|| journal.stop());
        let last = async {
            self.anchor(journal.mark()).await?;
            if lost > 0 {
                let text = format!("{lost} lines are missing: they could not be written when the server stopped");
                self.outbox.put(&Notice::of("journal", None, &text)).await?;
            }
            Ok::<_, StoreError>(())
        };
        if !matches!(tokio::time::timeout(LAST, last).await, Ok(Ok(()))) {
            tracing::warn!(lost, "the database does not know how the journal ends");
        }
    }
}

/// The line of a notice.
fn line(notice: Notice) -> Entry {
    Entry {
        id: Some(notice.id.to_string()),
        time: rfc3339(notice.at),
        transaction_id: notice.transaction.map(|id| id.to_string()).unwrap_or_default(),
        app: notice.app,
        operation: notice.operation,
        outcome: Some(notice.detail),
        template_id: notice.template,
        revision: notice.revision,
        ..Entry::default()
    }
}
