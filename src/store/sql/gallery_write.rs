//! A write of one gallery: what it changes, whether the limits allow it, and how it commits.

use std::sync::Arc;
use std::time::SystemTime;

use uuid::Uuid;

use super::executor::{Connection, Deadline, Executor, Pool, Tx, values};
use super::quota::{self, Counted};
use super::row;
use super::sample_row::SampleRow;
use super::sql_store::SqlStore;
use crate::domain::{AppId, Quota, Revision, TemplateId};
use crate::store::error::{InsertError, LimitReached, Refusal, StoreError};
use crate::store::outbox::{ErasureReason, OutboxEvent};
use crate::store::people::NewTemplate;
use crate::store::record::{DatedTemplate, EnrolledSample, OnConflict};
use crate::store::samples::SampleStore as _;
use crate::store::seal::{SampleRef, Sealer};
use crate::store::sqlite;

/// How many changes of a gallery are kept at least, for replicas to follow. A replica that is further behind loads the
/// whole gallery.
const MIN_CHANGES_KEPT: i64 = 100_000;

/// How often older changes are deleted, in revisions.
const TRIM_INTERVAL: i64 = 1024;

/// Locks the row of a gallery. Postgres returns its time with it: one round trip, after the lock was granted.
macro_rules! raise_revision {
    ($time:literal) => {
        concat!(
            "UPDATE applications SET revision = revision + 1 WHERE app_id = $1
             RETURNING revision, max_templates, max_samples, counted_revision, counted_templates, counted_samples",
            $time
        )
    };
}

impl SqlStore {
    /// Begins a write of a gallery, in an attempt of [`Db::transact`](super::executor::Db::transact).
    pub(super) async fn begin_write<'a>(
        &'a self,
        app: &'a AppId,
        deadline: Deadline,
    ) -> Result<GalleryWrite<'a>, StoreError> {
        let mut tx = self.db.begin(deadline).await?;
        let is_sqlite = matches!(tx.connection(), Connection::Sqlite(_));
        let sql = if is_sqlite {
            raise_revision!("")
        } else {
            raise_revision!(", CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT) AS now")
        };
        let row = tx.fetch_optional(sql, values![app]).await?.ok_or(StoreError::NoSuchApp)?;
        let now = if is_sqlite { self.clock.now() } else { self.clock.shift(row.time("now")?) };
        let raised = row.get("revision")?;
        let quota = Quota {
            templates: row.get::<Option<i64>>("max_templates")?.map(row::number),
            samples: row.get::<Option<i64>>("max_samples")?.map(row::number),
        };
        let counted = quota::stored_count(&row, raised - 1)?;
        Ok(GalleryWrite { store: self, app, tx, now, quota, counted, raised, next: raised })
    }
}

/// A write of one gallery. Its row is locked until the end, so revisions have no gaps and commit in order.
pub(super) struct GalleryWrite<'a> {
    pub(super) store: &'a SqlStore,
    pub(super) app: &'a AppId,
    pub(super) tx: Tx,
    /// The time of the database when the row was locked.
    pub(super) now: SystemTime,
    pub(super) quota: Quota,
    /// The size of the gallery as this transaction has changed it; `None` while it is not counted.
    pub(super) counted: Option<Counted>,
    /// The gallery's revision as this transaction has raised it: that of the first change.
    raised: i64,
    /// The revision of the next change.
    next: i64,
}

impl GalleryWrite<'_> {
    /// Appends a change to the log, and now and then deletes old ones. [`GalleryWrite::append_update`] is for a template
    /// that existed before and goes on to exist.
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

    /// Appends a change of a template that exists, and notes it with the template.
    pub(super) async fn append_update(&mut self, template: &TemplateId) -> Result<Revision, StoreError> {
        let sql = "UPDATE templates SET updated_at = $3, revision = $4 WHERE app_id = $1 AND template_id = $2";
        self.tx.execute(sql, values![self.app, template, self.now, self.next]).await?;
        self.append_change(template).await
    }

    /// Skips a revision without a change: the gallery is deleted.
    pub(super) fn skip_change(&mut self) {
        self.next += 1;
    }

    /// Deletes a template and, with it, the keys of all snapshots that may hold it; an outbox event records it.
    /// `false` when the template does not exist.
    pub(super) async fn erase(&mut self, template: &TemplateId, reason: &ErasureReason) -> Result<bool, StoreError> {
        let samples = if self.counted.is_some() { self.stored_samples(template).await? } else { None };
        Ok(self.erase_counted(template, samples, reason).await?.is_some())
    }

    /// The same for a template whose number of samples is known, if it matters. Returns the id of the event.
    pub(super) async fn erase_counted(
        &mut self,
        template: &TemplateId,
        samples: Option<u64>,
        reason: &ErasureReason,
    ) -> Result<Option<Uuid>, StoreError> {
        let deleted = self
            .tx
            .execute("DELETE FROM templates WHERE app_id = $1 AND template_id = $2", values![self.app, template])
            .await?;
        if deleted == 0 {
            return Ok(None);
        }
        if let Some((counted, samples)) = self.counted.as_mut().zip(samples) {
            counted.templates = counted.templates.saturating_sub(1);
            counted.samples = counted.samples.saturating_sub(samples);
        }
        self.discard_snapshots().await?;
        let event = OutboxEvent::erasure(self.now, self.app, template, row::revision(self.next), reason);
        self.store.insert_event(&mut self.tx, &event).await?;
        Ok(Some(event.id))
    }

    /// Deletes the keys of all snapshots of the gallery, and marks the transaction as one that erases something.
    pub(super) async fn discard_snapshots(&mut self) -> Result<(), StoreError> {
        self.tx.set_erasing();
        self.tx.execute("DELETE FROM snapshots WHERE app_id = $1", values![self.app]).await?;
        Ok(())
    }

    /// Inserts a template with its samples, as of now or of earlier times. One that is refused leaves nothing behind.
    pub(super) async fn insert(
        &mut self,
        sealer: &Sealer,
        new: &NewTemplate<'_>,
        dated: Option<&DatedTemplate>,
        on_conflict: &OnConflict,
    ) -> Result<Revision, InsertError> {
        let NewTemplate { id: template, samples, details } = *new;
        self.admit(template, samples.len(), on_conflict).await?;
        self.admit_details(sealer, template, details).await?;
        let created_at = dated.and_then(|dated| dated.created_at);
        let is_new = self.insert_template(template, created_at, on_conflict).await?;
        if !is_new && *on_conflict != OnConflict::Extend {
            return Err(Refusal::Exists.into());
        }
        if !details.is_empty() && (is_new || !self.has_details(template).await?) {
            self.put_details(sealer, template, details).await?;
        }
        for (at, sample) in samples.iter().enumerate() {
            let added_at = dated.and_then(|dated| dated.samples_at.get(at).copied().flatten());
            self.insert_sample(sealer, template, sample, added_at.or(created_at)).await?;
        }
        Ok(if is_new { self.append_change(template).await? } else { self.append_update(template).await? })
    }

    /// The time of a row: now, or earlier.
    fn time(&self, earlier: Option<SystemTime>) -> SystemTime {
        earlier.map_or(self.now, |earlier| earlier.min(self.now))
    }

    /// Adds a sample to a template; `None` when the template does not exist. One that is refused leaves nothing behind.
    pub(super) async fn extend(
        &mut self,
        template: &TemplateId,
        sample: &EnrolledSample,
    ) -> Result<Option<Revision>, InsertError> {
        if self.stored_samples(template).await?.is_none() {
            return Ok(None);
        }
        self.admit(template, 1, &OnConflict::Extend).await?;
        let sealer = self.sealer().await?;
        self.insert_sample(&sealer, template, sample, None).await?;
        Ok(Some(self.append_update(template).await?))
    }

    /// Inserts a template without samples; `false` when it exists.
    async fn insert_template(
        &mut self,
        template: &TemplateId,
        created_at: Option<SystemTime>,
        on_conflict: &OnConflict,
    ) -> Result<bool, StoreError> {
        if let OnConflict::Replace(reason) = on_conflict {
            self.erase(template, reason).await?;
        }
        let inserted = self
            .tx
            .execute(
                "INSERT INTO templates (app_id, template_id, created_at, updated_at, revision)
                 VALUES ($1, $2, $3, $3, $4) ON CONFLICT (app_id, template_id) DO NOTHING",
                values![self.app, template, self.time(created_at), self.next],
            )
            .await?;
        if let Some(counted) = &mut self.counted {
            counted.templates += inserted;
        }
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
        sample: &EnrolledSample,
        added_at: Option<SystemTime>,
    ) -> Result<(), StoreError> {
        let row = SampleRow::new(sample, self.time(added_at));
        self.insert_row(sealer, template, &row).await?;
        if let Some(counted) = &mut self.counted {
            counted.samples += 1;
        }
        Ok(())
    }

    /// Seals a sample and its crop for a template, and inserts them.
    pub(super) async fn insert_row(
        &mut self,
        sealer: &Sealer,
        template: &TemplateId,
        row: &SampleRow,
    ) -> Result<(), StoreError> {
        let SampleRow { sample, created_at, .. } = row;
        let model = sample.embedding.model();
        let of = SampleRef { app: self.app, template, sample: sample.id, model };
        let sealed =
            sealer.seal_face(&of.data_key_aad(), &sample.embedding, row.crop.as_ref().map(|crop| crop.as_slice()))?;
        self.tx
            .execute(
                "INSERT INTO samples (app_id, template_id, created_at, sample_id, model, sealed, data_key, enrolled_by,
                                      quality, quality_fine)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                values![
                    self.app,
                    template,
                    *created_at,
                    &sample.id.0,
                    model,
                    &sealed.embedding,
                    &sealed.data_key,
                    row.enrolled_by.as_deref(),
                    row.quality,
                    row.quality_fine,
                ],
            )
            .await?;
        if let Some(crop) = sealed.crop {
            self.tx
                .execute(
                    "INSERT INTO crops (app_id, template_id, created_at, sample_id, bytes, sealed)
                     VALUES ($1, $2, $3, $4, $5, $6)",
                    values![self.app, template, *created_at, &sample.id.0, crop.len(), &crop],
                )
                .await?;
        }
        Ok(())
    }

    /// Commits and notifies other nodes. Without a change it rolls back instead, which restores the revision.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        let last = self.next - 1;
        if last < self.raised {
            return self.tx.rollback().await;
        }
        if let Some(counted) = self.counted {
            self.store_count(last, counted).await?;
        } else if last > self.raised {
            let sql = "UPDATE applications SET revision = $2 WHERE app_id = $1";
            self.tx.execute(sql, values![self.app, last]).await?;
        }
        self.tx.commit_and_notify().await?;
        // A long log costs readers time. What cannot be written into the file now is tried again at the next commit.
        if let Pool::Sqlite(pool) = &self.store.db.write
            && sqlite::is_log_long(pool)
            && let Err(error) = sqlite::truncate_log(pool).await
        {
            tracing::debug!(%error, "the write-ahead log is not written into the database file yet");
        }
        Ok(())
    }

    /// Ends a write with its outcome: commits what was written, and rolls back what was refused.
    pub(super) async fn end<T>(self, outcome: Result<T, InsertError>, is_written: bool) -> Result<T, InsertError> {
        match &outcome {
            Ok(_) if is_written => self.commit().await?,
            Ok(_) | Err(InsertError::Refused(_)) => self.rollback().await?,
            Err(InsertError::Store(_)) => {} // dropped, which rolls back
        }
        outcome
    }

    /// Rolls back, which restores the revision.
    pub(super) async fn rollback(self) -> Result<(), StoreError> {
        self.tx.rollback().await
    }

    /// Checks whether `adds` samples of a template may be written, before anything of it is.
    pub(super) async fn admit(
        &mut self,
        template: &TemplateId,
        adds: usize,
        on_conflict: &OnConflict,
    ) -> Result<(), InsertError> {
        let adds = adds as u64;
        self.admit_to_template(adds)?;
        if *on_conflict != OnConflict::Extend && !self.quota.is_set() {
            return Ok(());
        }
        let stored = self.stored_samples(template).await?;
        let replaced = match on_conflict {
            OnConflict::Refuse if stored.is_some() => return Err(Refusal::Exists.into()),
            OnConflict::Extend => {
                self.admit_to_template(stored.unwrap_or(0).saturating_add(adds))?;
                0
            }
            OnConflict::Refuse | OnConflict::Replace(_) => stored.unwrap_or(0),
        };
        if !self.quota.is_set() {
            return Ok(());
        }
        let counted = self.count().await?;
        if let Some(max) = self.quota.templates
            && stored.is_none()
            && counted.templates >= max
        {
            return Err(Refusal::from(LimitReached::Templates(max)).into());
        }
        if let Some(max) = self.quota.samples
            && adds > replaced
            && counted.samples.saturating_add(adds - replaced) > max
        {
            return Err(Refusal::from(LimitReached::Samples(max)).into());
        }
        Ok(())
    }

    fn admit_to_template(&self, samples: u64) -> Result<(), Refusal> {
        Ok(self.store.admit(samples)?)
    }

    /// The number of samples of a template; `None` when it does not exist.
    pub(super) async fn stored_samples(&mut self, template: &TemplateId) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT (SELECT count(*) FROM samples s
                           WHERE s.app_id = t.app_id AND s.template_id = t.template_id) AS samples
                   FROM templates t WHERE t.app_id = $1 AND t.template_id = $2";
        let row = self.tx.fetch_optional(sql, values![self.app, template]).await?;
        row.map(|row| row.get("samples").map(row::number)).transpose()
    }

    /// The size of the gallery, counted row by row if the stored count does not apply.
    pub(super) async fn count(&mut self) -> Result<Counted, StoreError> {
        if let Some(counted) = self.counted {
            return Ok(counted);
        }
        let sql = "SELECT (SELECT count(*) FROM templates WHERE app_id = $1) AS templates,
                          (SELECT count(*) FROM samples WHERE app_id = $1) AS samples";
        let row = self.tx.fetch_one(sql, values![self.app]).await?;
        let counted =
            Counted { templates: row::number(row.get("templates")?), samples: row::number(row.get("samples")?) };
        self.counted = Some(counted);
        Ok(counted)
    }

    /// Commits the count of a gallery that this transaction has not changed.
    pub(super) async fn commit_count(mut self, counted: Counted) -> Result<(), StoreError> {
        self.store_count(self.raised - 1, counted).await?;
        self.tx.commit().await
    }

    /// Stores the count with the revision that this transaction commits.
    pub(super) async fn store_count(&mut self, revision: i64, counted: Counted) -> Result<(), StoreError> {
        let sql = "UPDATE applications
                   SET revision = $2, counted_revision = $2, counted_templates = $3, counted_samples = $4
                   WHERE app_id = $1";
        let templates = row::integer(counted.templates);
        let samples = row::integer(counted.samples);
        self.tx.execute(sql, values![self.app, revision, templates, samples]).await?;
        Ok(())
    }
}
