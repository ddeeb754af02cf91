//! Changes of single samples, and of whose they are.

use async_trait::async_trait;

use super::executor::{DbRow, Executor, Limit, values};
use super::gallery_write::GalleryWrite;
use super::row::{self, corrupt};
use super::sample_row::{SELECT_ROWS, SampleRow};
use super::sql_store::SqlStore;
use crate::domain::{AppId, FaceCrop, ModelTag, Revision, SampleId, TemplateId};
use crate::store::error::{LimitReached, StoreError};
use crate::store::outbox::{ErasureReason, OutboxEvent};
use crate::store::samples::{ChangeError, ChangeRefusal, ChangedBy, Merge, Merged, SampleMove, SampleStore};
use crate::store::seal::{SampleRef, Sealed, reply_key_aad};

#[async_trait]
impl SampleStore for SqlStore {
    async fn remove_sample(
        &self,
        app: &AppId,
        template: &TemplateId,
        sample: SampleId,
        reason: ErasureReason,
    ) -> Result<Revision, ChangeError> {
        let reason = &reason;
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                let removed = write.remove_sample(template, sample, reason).await;
                write.end_change(removed).await
            })
            .await
    }

    async fn move_sample(&self, app: &AppId, change: SampleMove<'_>, by: &ChangedBy) -> Result<Revision, ChangeError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                let moved = write.move_sample(change, by).await;
                write.end_change(moved).await
            })
            .await
    }

    async fn merge(&self, app: &AppId, merge: Merge<'_>, by: &ChangedBy) -> Result<Merged, ChangeError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                let merged = write.merge(merge, by).await;
                write.end_change(merged).await
            })
            .await
    }

    async fn rename(
        &self,
        app: &AppId,
        from: &TemplateId,
        to: &TemplateId,
        by: &ChangedBy,
    ) -> Result<Revision, ChangeError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                let renamed = write.rename(from, to, by).await;
                write.end_change(renamed).await
            })
            .await
    }

    fn admit(&self, samples: u64) -> Result<(), LimitReached> {
        let max = self.samples_per_template;
        if samples > max { Err(LimitReached::SamplesPerTemplate(max)) } else { Ok(()) }
    }

    async fn crop(&self, app: &AppId, template: &TemplateId, sample: SampleId) -> Result<Option<FaceCrop>, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let sql = "SELECT s.model, s.data_key, c.sealed FROM crops c
                   JOIN samples s ON s.app_id = c.app_id AND s.template_id = c.template_id
                       AND s.created_at = c.created_at AND s.sample_id = c.sample_id
                   WHERE c.app_id = $1 AND c.template_id = $2 AND c.sample_id = $3";
        let row = db.fetch_optional(sql, values![app, template, &sample.0]).await?;
        drop(db);
        let Some(row) = row else { return Ok(None) };
        let model = ModelTag::new(row.get("model")?);
        let data_key: &[u8] = row.get::<Option<&[u8]>>("data_key")?.ok_or_else(|| corrupt("data_key"))?;
        let of = SampleRef { app, template, sample, model: &model };
        let jpeg = self.keys.open_crop(&of.data_key_aad(), row.get("sealed")?, data_key)?;
        Ok(Some(FaceCrop::new(jpeg.as_slice())))
    }

    async fn crop_bytes(&self, app: &AppId) -> Result<u64, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let sql = "SELECT CAST(coalesce(sum(bytes), 0) AS BIGINT) AS bytes FROM crops WHERE app_id = $1";
        Ok(row::number(db.fetch_one(sql, values![app]).await?.get("bytes")?))
    }

    async fn erase_unkept_crops(&self, limit: usize) -> Result<u64, StoreError> {
        // Usually there are none, and this read blocks no writer.
        let mut db = self.db.reader(Limit::Bulk).await?;
        let sql = "SELECT a.app_id FROM applications a WHERE NOT a.keep_crops
                   AND EXISTS (SELECT 1 FROM crops c WHERE c.app_id = a.app_id) LIMIT 1";
        let is_none = db.fetch_optional(sql, &[]).await?.is_none();
        drop(db);
        if is_none {
            return Ok(0);
        }
        self.db
            .transact(Limit::Bulk, |deadline| async move {
                let mut tx = self.db.begin(deadline).await?;
                tx.set_erasing();
                let sql = "DELETE FROM crops WHERE (app_id, template_id, created_at, sample_id) IN (
                               SELECT c.app_id, c.template_id, c.created_at, c.sample_id FROM crops c
                               JOIN applications a ON a.app_id = c.app_id WHERE NOT a.keep_crops LIMIT $1)";
                let erased = tx.execute(sql, values![limit]).await?;
                tx.commit().await?;
                Ok(erased)
            })
            .await
    }
}

impl GalleryWrite<'_> {
    /// Ends a change with its outcome: commits what was written, and rolls back what was refused.
    async fn end_change<T>(self, outcome: Result<T, ChangeError>) -> Result<T, ChangeError> {
        match &outcome {
            Ok(_) => self.commit().await?,
            Err(ChangeError::Refused(_)) => self.rollback().await?,
            Err(ChangeError::Store(_)) => {} // dropped, which rolls back
        }
        outcome
    }

    async fn remove_sample(
        &mut self,
        template: &TemplateId,
        sample: SampleId,
        reason: &ErasureReason,
    ) -> Result<Revision, ChangeError> {
        let stored = self.stored_samples(template).await?.ok_or(ChangeRefusal::NoTemplate)?;
        if !self.has_sample(template, sample).await? {
            return Err(ChangeRefusal::NoSample.into());
        }
        if stored == 1 {
            return Err(ChangeRefusal::LastSample.into());
        }
        self.delete_sample(template, sample).await?;
        let sql = "DELETE FROM idempotency WHERE app_id = $1 AND template_id = $2 AND sample_id = $3";
        self.tx.execute(sql, values![self.app, template, &sample.0]).await?;
        if let Some(counted) = &mut self.counted {
            counted.samples = counted.samples.saturating_sub(1);
        }
        self.discard_snapshots().await?;
        let revision = self.append_update(template).await?;
        let event = OutboxEvent::erasure(self.now, self.app, template, revision, reason);
        self.store.insert_event(&mut self.tx, &OutboxEvent { sample: Some(sample), ..event }).await?;
        Ok(revision)
    }

    async fn move_sample(&mut self, change: SampleMove<'_>, by: &ChangedBy) -> Result<Revision, ChangeError> {
        let SampleMove { from, sample, to, remove_empty } = change;
        let (stored, target) = self.both(from, to).await?;
        if !self.has_sample(from, sample).await? {
            return Err(ChangeRefusal::NoSample.into());
        }
        let is_last = stored == 1;
        if is_last && !remove_empty {
            return Err(ChangeRefusal::LastSample.into());
        }
        self.store.admit(target + 1).map_err(ChangeRefusal::from)?;
        let rows = self.rows(from).await?;
        let id = |row: &DbRow| row.sample_id("sample_id").ok() == Some(sample);
        let row = rows.iter().find(|row| id(row)).ok_or(ChangeRefusal::NoSample)?;
        let row = SampleRow::open(&self.store.keys, self.app, from, row)?;
        let sealer = self.sealer().await?;
        self.delete_sample(from, sample).await?;
        self.insert_row(&sealer, to, &row).await?;
        self.move_replies(from, to, Some(sample).filter(|_| !is_last)).await?;
        if is_last {
            self.delete_template(from).await?;
        }
        self.record_change(OutboxEvent::MOVE, from, to, Some(sample), by).await
    }

    async fn merge(&mut self, merge: Merge<'_>, by: &ChangedBy) -> Result<Merged, ChangeError> {
        let Merge { from, into } = merge;
        let (moving, target) = self.both(from, into).await?;
        self.store.admit(target.saturating_add(moving)).map_err(ChangeRefusal::from)?;
        self.move_rows(from, into).await?;
        // Details of the template that remains win.
        if !self.has_details(into).await? {
            self.move_details(from, into).await?;
        }
        let sql = "UPDATE templates SET created_at = (SELECT min(t.created_at) FROM templates t
                       WHERE t.app_id = $1 AND t.template_id IN ($2, $3))
                   WHERE app_id = $1 AND template_id = $3";
        self.tx.execute(sql, values![self.app, from, into]).await?;
        self.delete_template(from).await?;
        let revision = self.record_change(OutboxEvent::MERGE, from, into, None, by).await?;
        Ok(Merged { revision, samples: moving })
    }

    async fn rename(&mut self, from: &TemplateId, to: &TemplateId, by: &ChangedBy) -> Result<Revision, ChangeError> {
        if from == to {
            return Err(ChangeRefusal::SameTemplate.into());
        }
        self.stored_samples(from).await?.ok_or(ChangeRefusal::NoTemplate)?;
        if self.stored_samples(to).await?.is_some() {
            return Err(ChangeRefusal::TargetExists.into());
        }
        let sql = "INSERT INTO templates (app_id, template_id, created_at)
                   SELECT app_id, $3, created_at FROM templates WHERE app_id = $1 AND template_id = $2";
        self.tx.execute(sql, values![self.app, from, to]).await?;
        self.move_rows(from, to).await?;
        self.move_details(from, to).await?;
        let sql = "DELETE FROM templates WHERE app_id = $1 AND template_id = $2";
        self.tx.execute(sql, values![self.app, from]).await?;
        self.record_change(OutboxEvent::RENAME, from, to, None, by).await
    }

    /// The numbers of samples of two templates.
    async fn both(&mut self, from: &TemplateId, to: &TemplateId) -> Result<(u64, u64), ChangeError> {
        if from == to {
            return Err(ChangeRefusal::SameTemplate.into());
        }
        let stored = self.stored_samples(from).await?.ok_or(ChangeRefusal::NoTemplate)?;
        let target = self.stored_samples(to).await?.ok_or(ChangeRefusal::NoTarget)?;
        Ok((stored, target))
    }

    async fn has_sample(&mut self, template: &TemplateId, sample: SampleId) -> Result<bool, StoreError> {
        let sql = "SELECT created_at FROM samples WHERE app_id = $1 AND template_id = $2 AND sample_id = $3";
        Ok(self.tx.fetch_optional(sql, values![self.app, template, &sample.0]).await?.is_some())
    }

    async fn rows(&mut self, template: &TemplateId) -> Result<Vec<DbRow>, StoreError> {
        self.tx.fetch_all(SELECT_ROWS, values![self.app, template]).await
    }

    /// Deletes a sample with its crop.
    async fn delete_sample(&mut self, template: &TemplateId, sample: SampleId) -> Result<(), StoreError> {
        let sql = "DELETE FROM samples WHERE app_id = $1 AND template_id = $2 AND sample_id = $3";
        self.tx.execute(sql, values![self.app, template, &sample.0]).await?;
        Ok(())
    }

    /// Deletes a template whose samples have moved.
    async fn delete_template(&mut self, template: &TemplateId) -> Result<(), StoreError> {
        let sql = "DELETE FROM templates WHERE app_id = $1 AND template_id = $2";
        self.tx.execute(sql, values![self.app, template]).await?;
        if let Some(counted) = &mut self.counted {
            counted.templates = counted.templates.saturating_sub(1);
        }
        Ok(())
    }

    /// Seals all samples and kept replies of a template for another one. Held probes that came near it come near the other.
    async fn move_rows(&mut self, from: &TemplateId, to: &TemplateId) -> Result<(), StoreError> {
        let sealer = self.sealer().await?;
        for row in self.rows(from).await? {
            let row = SampleRow::open(&self.store.keys, self.app, from, &row)?;
            self.delete_sample(from, row.sample.id).await?;
            self.insert_row(&sealer, to, &row).await?;
        }
        let sql = "UPDATE probes SET template_id = $3 WHERE app_id = $1 AND template_id = $2";
        self.tx.execute(sql, values![self.app, from, to]).await?;
        self.move_replies(from, to, None).await
    }

    /// Seals the kept replies of a template for another one: those of one sample, or all.
    async fn move_replies(
        &mut self,
        from: &TemplateId,
        to: &TemplateId,
        sample: Option<SampleId>,
    ) -> Result<(), StoreError> {
        let sql = "SELECT key_hash, sample_id, sealed, data_key FROM idempotency
                   WHERE app_id = $1 AND template_id = $2 ORDER BY key_hash";
        let sealer = self.sealer().await?;
        for row in self.tx.fetch_all(sql, values![self.app, from]).await? {
            if sample.is_some() && row.optional_uuid("sample_id")?.map(SampleId) != sample {
                continue;
            }
            let key: &[u8] = row.get("key_hash")?;
            let key: &[u8; 32] = key.try_into().map_err(|_| corrupt("key_hash"))?;
            let before = reply_key_aad(self.app, from, key);
            let reply = self.store.keys.open_text(&before, row.get("sealed")?, row.get("data_key")?)?;
            let Sealed { text, data_key } = sealer.seal_text(&reply_key_aad(self.app, to, key), &reply)?;
            let sql = "UPDATE idempotency SET template_id = $3, sealed = $4, data_key = $5
                       WHERE app_id = $1 AND key_hash = $2";
            self.tx.execute(sql, values![self.app, key, to, &text, &data_key]).await?;
        }
        Ok(())
    }

    /// Appends the changes of both templates, and an outbox event that names both.
    async fn record_change(
        &mut self,
        operation: &'static str,
        from: &TemplateId,
        to: &TemplateId,
        sample: Option<SampleId>,
        by: &ChangedBy,
    ) -> Result<Revision, ChangeError> {
        self.discard_snapshots().await?;
        self.append_update(from).await?;
        let revision = self.append_update(to).await?;
        let event = OutboxEvent {
            transaction: by.transaction.map(|transaction| transaction.0),
            actor: Some(by.actor.clone()),
            template: Some(to.as_str().to_owned()),
            sample,
            revision: Some(revision.0),
            ..OutboxEvent::new(self.now, operation, Some(self.app), &format!("from {from}"))
        };
        self.store.insert_event(&mut self.tx, &event).await?;
        Ok(revision)
    }
}
