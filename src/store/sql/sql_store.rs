//! The store over SQL, and what its writes share.

use std::sync::{Arc, OnceLock};

use uuid::Uuid;

use super::executor::{Db, Deadline, Executor, Tx, values};
use super::row;
use crate::domain::{AppId, Clock, Revision, TemplateId};
use crate::gallery::Sample;
use crate::store::error::StoreError;
use crate::store::keyring::{Keyring, SEAL_CHECK};
use crate::store::outbox::{ErasureReason, LEASE, OutboxEvent};
use crate::store::record::OnConflict;
use crate::store::seal::{SampleRef, Sealer};

/// How many changes of a gallery are kept at least, for replicas to follow. A replica that is further behind loads the
/// whole gallery.
const MIN_CHANGES_KEPT: i64 = 100_000;

/// How often older changes are deleted, in revisions.
const TRIM_INTERVAL: i64 = 1024;

/// The traits of the store for one database.
#[derive(Debug)]
pub(in crate::store) struct SqlStore {
    pub(in crate::store) db: Db,
    pub(in crate::store) keys: Keyring,
    pub(in crate::store) clock: Clock,
    /// The node whose journal gets the events of this process, if it has a journal.
    pub(in crate::store) node: OnceLock<Uuid>,
}

impl SqlStore {
    /// Begins a write of a gallery, in an attempt of [`Db::transact`].
    pub(super) async fn begin_write<'a>(
        &'a self,
        app: &'a AppId,
        deadline: Deadline,
    ) -> Result<GalleryWrite<'a>, StoreError> {
        let mut tx = self.db.begin(deadline).await?;
        let raised = tx
            .fetch_optional(
                "UPDATE applications SET revision = revision + 1 WHERE app_id = $1 RETURNING revision",
                values![app],
            )
            .await?
            .ok_or(StoreError::NoSuchApp)?
            .get("revision")?;
        Ok(GalleryWrite { store: self, app, tx, raised, next: raised })
    }

    /// The sealer of the active key. The transaction has begun with a write of a gallery's row, so no other key is
    /// activated until it ends.
    pub(super) async fn sealer(&self, tx: &mut Tx) -> Result<Arc<Sealer>, StoreError> {
        let check = tx.fetch_one("SELECT value FROM meta WHERE name = $1", values![SEAL_CHECK]).await?;
        Ok(self.keys.active_sealer(check.get("value")?)?)
    }

    /// Adds an event to the outbox. Where this process has a journal, its node has claimed the event.
    pub(super) async fn insert_event(&self, db: &mut impl Executor, event: &OutboxEvent) -> Result<(), StoreError> {
        let node = self.node.get();
        db.execute(
            "INSERT INTO outbox
                 (notice_id, happened_at, operation, transaction_id, app_id, template_id, revision, detail, node,
                  claimed_until)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            values![
                &event.id,
                event.at,
                event.operation.as_str(),
                event.transaction.as_ref(),
                event.app.as_deref(),
                event.template.as_deref(),
                event.revision.map(Revision),
                event.detail.as_str(),
                node,
                node.map(|_| event.at + LEASE),
            ],
        )
        .await?;
        Ok(())
    }
}

/// A write of one gallery. Its row is locked until the end, so revisions have no gaps and commit in order.
pub(super) struct GalleryWrite<'a> {
    store: &'a SqlStore,
    app: &'a AppId,
    pub(super) tx: Tx,
    /// The gallery's revision as this transaction has raised it: that of the first change.
    raised: i64,
    /// The revision of the next change.
    next: i64,
}

impl GalleryWrite<'_> {
    /// Appends a change to the log, and now and then deletes old ones.
    pub(super) async fn append_change(&mut self, template: &TemplateId) -> Result<Revision, StoreError> {
        let revision = self.next;
        self.tx
            .execute(
                "INSERT INTO changes (app_id, revision, template_id, tag) VALUES ($1, $2, $3, $4)",
                values![self.app, revision, template, row::random_tag()],
            )
            .await?;
        if revision % TRIM_INTERVAL == 0 {
            self.tx
                .execute(
                    "DELETE FROM changes WHERE app_id = $1 AND revision <= $2",
                    values![self.app, revision - MIN_CHANGES_KEPT],
                )
                .await?;
        }
        self.next += 1;
        Ok(row::revision(revision))
    }

    /// Skips a revision without a change: the gallery is deleted.
    pub(super) fn skip_change(&mut self) {
        self.next += 1;
    }

    /// Deletes a template and, with it, the keys of all snapshots that may hold it; an outbox event records it.
    /// `false` when the template does not exist.
    pub(super) async fn erase(&mut self, template: &TemplateId, reason: ErasureReason) -> Result<bool, StoreError> {
        let deleted = self
            .tx
            .execute("DELETE FROM templates WHERE app_id = $1 AND template_id = $2", values![self.app, template])
            .await?;
        if deleted == 0 {
            return Ok(false);
        }
        self.tx.set_erasing();
        self.tx.execute("DELETE FROM snapshots WHERE app_id = $1", values![self.app]).await?;
        let event = OutboxEvent::erasure(self.store.clock.now(), self.app, template, row::revision(self.next), reason);
        self.store.insert_event(&mut self.tx, &event).await?;
        Ok(true)
    }

    /// Inserts a template without samples; `false` when it exists.
    pub(super) async fn insert_template(
        &mut self,
        template: &TemplateId,
        on_conflict: OnConflict,
    ) -> Result<bool, StoreError> {
        if let OnConflict::Replace(reason) = on_conflict {
            self.erase(template, reason).await?;
        }
        let inserted = self
            .tx
            .execute(
                "INSERT INTO templates (app_id, template_id, created_at) VALUES ($1, $2, $3)
                 ON CONFLICT (app_id, template_id) DO NOTHING",
                values![self.app, template, self.store.clock.now()],
            )
            .await?;
        Ok(inserted == 1)
    }

    /// The sealer for the samples of this write.
    pub(super) async fn sealer(&mut self) -> Result<Arc<Sealer>, StoreError> {
        self.store.sealer(&mut self.tx).await
    }

    pub(super) async fn insert_sample(
        &mut self,
        sealer: &Sealer,
        template: &TemplateId,
        sample: &Sample,
    ) -> Result<(), StoreError> {
        let model = sample.embedding.model();
        let of = SampleRef { app: self.app, template, sample: sample.id, model };
        let sealed = sealer.seal(&of, &sample.embedding)?;
        self.tx
            .execute(
                "INSERT INTO samples (app_id, template_id, created_at, sample_id, model, sealed, data_key)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
                values![
                    self.app,
                    template,
                    self.store.clock.now(),
                    &sample.id.0,
                    model,
                    &sealed.embedding,
                    &sealed.data_key
                ],
            )
            .await?;
        Ok(())
    }

    /// Commits and notifies other nodes. Without a change it rolls back instead, which restores the revision.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        let last = self.next - 1;
        if last < self.raised {
            return self.tx.rollback().await;
        }
        if last > self.raised {
            let sql = "UPDATE applications SET revision = $2 WHERE app_id = $1";
            self.tx.execute(sql, values![self.app, last]).await?;
        }
        self.tx.commit_and_notify().await
    }

    /// Rolls back, which restores the revision.
    pub(super) async fn rollback(self) -> Result<(), StoreError> {
        self.tx.rollback().await
    }
}
