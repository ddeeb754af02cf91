//! The store over SQL, and what its writes share.

use std::sync::{Arc, OnceLock};

use uuid::Uuid;

use super::executor::{Db, Executor, Tx, values};
use super::opener::Opener;
use crate::domain::{Clock, Revision};
use crate::store::error::StoreError;
use crate::store::keyring::{Keyring, SEAL_CHECK};
use crate::store::outbox::{LEASE, OutboxEvent};
use crate::store::seal::Sealer;
use crate::store::traits::{PoolGauge, PoolUsage};

/// The traits of the store for one database.
#[derive(Debug)]
pub(in crate::store) struct SqlStore {
    pub(in crate::store) db: Db,
    pub(in crate::store) keys: Arc<Keyring>,
    pub(in crate::store) opener: Opener,
    pub(in crate::store) samples_per_template: u64,
    pub(in crate::store) clock: Clock,
    /// The node whose journal gets the events of this process, if it has a journal.
    pub(in crate::store) node: OnceLock<Uuid>,
}

impl PoolGauge for SqlStore {
    fn pool_usage(&self) -> PoolUsage {
        self.db.usage()
    }
}

impl SqlStore {
    /// The sealer of the active key. The transaction has begun with a write of a gallery's row, so no other key is
    /// activated until it ends.
    pub(super) async fn sealer(&self, tx: &mut Tx) -> Result<Arc<Sealer>, StoreError> {
        let check = tx.fetch_one("SELECT value FROM meta WHERE name = $1", values![SEAL_CHECK]).await?;
        Ok(self.keys.active_sealer(check.get("value")?)?)
    }

    /// Adds an event to the outbox. Where this process has a journal, its node has claimed the event.
    pub(super) async fn insert_event(&self, db: &mut impl Executor, event: &OutboxEvent) -> Result<(), StoreError> {
        let node = self.node.get();
        let actor = event.actor.as_ref().map(ToString::to_string);
        let changed = (!event.changed.is_empty()).then(|| event.changed.join(","));
        db.execute(
            "INSERT INTO outbox
                 (notice_id, happened_at, operation, transaction_id, app_id, template_id, revision, detail, actor,
                  sample_id, key_id, changed, node, claimed_until)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
            values![
                &event.id,
                event.at,
                event.operation.as_str(),
                event.transaction.as_ref(),
                event.app.as_deref(),
                event.template.as_deref(),
                event.revision.map(Revision),
                event.detail.as_str(),
                actor.as_deref(),
                event.sample.as_ref().map(|sample| &sample.0),
                event.key.as_deref(),
                changed.as_deref(),
                node,
                node.map(|_| event.at + LEASE),
            ],
        )
        .await?;
        Ok(())
    }
}
