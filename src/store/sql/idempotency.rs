//! Replies that are kept for repeated requests.

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use super::executor::{Executor, Limit, values};
use super::gallery_write::GalleryWrite;
use super::row::corrupt;
use super::sql_store::SqlStore;
use crate::domain::{AppId, IdempotencyKey, Revision, SampleId, TemplateId};
use crate::store::error::{InsertError, StoreError};
use crate::store::idempotency::{EnrollmentReply, Executed, IdempotencyStore, KeptReply, REPLY_MAX_AGE};
use crate::store::people::NewTemplate;
use crate::store::record::{EnrolledSample, OnConflict};
use crate::store::seal::{Sealed, reply_key_aad};

#[async_trait]
impl IdempotencyStore for SqlStore {
    async fn kept_reply(&self, app: &AppId, key: &IdempotencyKey) -> Result<Option<KeptReply>, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        self.find_reply(&mut db, app, &key_hash(key)).await
    }

    async fn insert_once(
        &self,
        app: &AppId,
        key: &IdempotencyKey,
        new: &NewTemplate<'_>,
        on_conflict: OnConflict,
        reply: &EnrollmentReply,
    ) -> Result<Executed, InsertError> {
        let key = &key_hash(key);
        let on_conflict = &on_conflict;
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                if let Some(before) = self.find_reply(&mut write.tx, app, key).await? {
                    write.rollback().await?;
                    return Ok(Executed::Before(before));
                }
                let sample = new.samples.first().map_or(SampleId(uuid::Uuid::nil()), |sample| sample.sample.id);
                let sealer = write.sealer().await?;
                let inserted = write.insert(&sealer, new, None, on_conflict).await;
                let executed = match inserted {
                    Ok(revision) => write.keep_reply(key, new.id, sample, revision, reply).await,
                    Err(error) => Err(error),
                };
                write.end(executed, true).await
            })
            .await
    }

    async fn add_sample_once(
        &self,
        app: &AppId,
        key: &IdempotencyKey,
        template: &TemplateId,
        sample: &EnrolledSample,
        reply: &EnrollmentReply,
    ) -> Result<Option<Executed>, InsertError> {
        let key = &key_hash(key);
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                if let Some(before) = self.find_reply(&mut write.tx, app, key).await? {
                    write.rollback().await?;
                    return Ok(Some(Executed::Before(before)));
                }
                let executed = match write.extend(template, sample).await {
                    Ok(Some(revision)) => {
                        write.keep_reply(key, template, sample.sample.id, revision, reply).await.map(Some)
                    }
                    Ok(None) => Ok(None),
                    Err(error) => Err(error),
                };
                let is_written = matches!(executed, Ok(Some(_)));
                write.end(executed, is_written).await
            })
            .await
    }

    async fn expire_replies(&self, limit: usize) -> Result<u64, StoreError> {
        // Usually none has expired, and this read blocks no writer.
        let mut db = self.db.reader(Limit::Request).await?;
        let now = self.now(&mut db).await?;
        let sql = "SELECT expires_at FROM idempotency WHERE expires_at < $1 LIMIT 1";
        let is_none = db.fetch_optional(sql, values![now]).await?.is_none();
        drop(db);
        if is_none {
            return Ok(0);
        }
        self.db
            .transact(Limit::Bulk, |deadline| async move {
                let mut tx = self.db.begin(deadline).await?;
                tx.set_erasing();
                let sql = "DELETE FROM idempotency WHERE (app_id, key_hash) IN (
                               SELECT app_id, key_hash FROM idempotency WHERE expires_at < $1
                               ORDER BY expires_at LIMIT $2)";
                let deleted = tx.execute(sql, values![now, limit]).await?;
                tx.commit().await?;
                Ok(deleted)
            })
            .await
    }
}

/// The digest under which a reply is kept.
fn key_hash(key: &IdempotencyKey) -> [u8; 32] {
    Sha256::digest(key.as_str()).into()
}

impl SqlStore {
    async fn find_reply(
        &self,
        db: &mut impl Executor,
        app: &AppId,
        key: &[u8; 32],
    ) -> Result<Option<KeptReply>, StoreError> {
        let sql = "SELECT template_id, revision, sealed, data_key FROM idempotency WHERE app_id = $1 AND key_hash = $2";
        let Some(row) = db.fetch_optional(sql, values![app, key]).await? else { return Ok(None) };
        let template = row.template_id("template_id")?;
        let aad = reply_key_aad(app, &template, key);
        let bytes = self.keys.open_text(&aad, row.get("sealed")?, row.get("data_key")?)?;
        let reply = EnrollmentReply::from_bytes(&bytes).ok_or_else(|| corrupt("sealed"))?;
        Ok(Some(KeptReply { template, revision: row.revision("revision")?, reply }))
    }
}

impl GalleryWrite<'_> {
    /// Keeps the reply of this enrollment, which made a revision.
    async fn keep_reply(
        &mut self,
        key: &[u8; 32],
        template: &TemplateId,
        sample: SampleId,
        revision: Revision,
        reply: &EnrollmentReply,
    ) -> Result<Executed, InsertError> {
        let expires_at = self.now + REPLY_MAX_AGE;
        let sealer = self.sealer().await?;
        let aad = reply_key_aad(self.app, template, key);
        let Sealed { text, data_key } = sealer.seal_text(&aad, &reply.to_bytes()).map_err(StoreError::from)?;
        self.tx
            .execute(
                "INSERT INTO idempotency (app_id, key_hash, template_id, revision, expires_at, sealed, data_key, sample_id)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                values![self.app, key, template, revision, expires_at, &text, &data_key, &sample.0],
            )
            .await?;
        Ok(Executed::Now(revision))
    }
}
