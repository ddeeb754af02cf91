//! Probes that are held for review.

use async_trait::async_trait;

use super::executor::{DbRow, Executor, Limit, values};
use super::row;
use super::sql_store::SqlStore;
use crate::domain::{AppId, Cosine, Embedding, FaceCrop, ModelTag, ProbeId, Revision, TemplateId, TransactionId};
use crate::store::error::{InsertError, StoreError};
use crate::store::people::NewTemplate;
use crate::store::record::{EnrolledSample, OnConflict};
use crate::store::review::{Held, HeldFilter, HeldProbe, HeldQuery, MAX_HELD, NewProbe, ProbeContent, ReviewStore};
use crate::store::seal::{SealedFace, probe_key_aad};

/// The columns of a [`HeldProbe`].
macro_rules! select_held {
    ($rest:literal) => {
        concat!(
            "SELECT probe_id, template_id, cosine, threshold, quality, quality_fine, times, first_seen_at,
                    last_seen_at, ends_at, transaction_id, crop IS NOT NULL AS has_crop
             FROM probes WHERE app_id = $1 AND ends_at > $2 ",
            $rest
        )
    };
}

#[async_trait]
impl ReviewStore for SqlStore {
    async fn hold(&self, app: &AppId, probe: &NewProbe, same: Cosine) -> Result<Held, StoreError> {
        let alike = self.most_alike(app, &probe.embedding).await?.filter(|(_, cosine)| *cosine >= same);
        match alike {
            Some((id, _)) if self.see_again(app, id, probe).await? => Ok(Held::Again(id)),
            // A probe that ended meanwhile is held as a new one.
            Some(_) | None => self.insert_probe(app, probe).await.map(Held::New),
        }
    }

    async fn held(&self, app: &AppId, query: &HeldQuery) -> Result<Vec<HeldProbe>, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let now = self.now(&mut db).await?;
        let sql = select_held!(
            "AND (template_id IS NOT NULL OR $3) AND (template_id IS NULL OR $4) AND (last_seen_at, probe_id) < ($5, $6)
             ORDER BY last_seen_at DESC, probe_id DESC LIMIT $7"
        );
        let (unknown, near) = (query.filter != HeldFilter::Near, query.filter != HeldFilter::Unknown);
        let (at, id) = query.after.unwrap_or((i64::MAX, ProbeId(uuid::Uuid::max())));
        let rows = db.fetch_all(sql, values![app, now, unknown, near, at, &id.0, query.limit]).await?;
        rows.iter().map(held).collect()
    }

    async fn held_near(&self, app: &AppId, template: &TemplateId) -> Result<Vec<HeldProbe>, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let now = self.now(&mut db).await?;
        let sql = select_held!("AND template_id = $3 ORDER BY last_seen_at DESC, probe_id DESC");
        let rows = db.fetch_all(sql, values![app, now, template]).await?;
        rows.iter().map(held).collect()
    }

    async fn count_held(&self, app: &AppId) -> Result<u64, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let now = self.now(&mut db).await?;
        let sql = "SELECT count(*) AS count FROM probes WHERE app_id = $1 AND ends_at > $2";
        Ok(row::number(db.fetch_one(sql, values![app, now]).await?.get("count")?))
    }

    async fn probe(&self, app: &AppId, id: ProbeId) -> Result<Option<(HeldProbe, ProbeContent)>, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let now = self.now(&mut db).await?;
        let sql = select_held!("AND probe_id = $3");
        let Some(found) = db.fetch_optional(sql, values![app, now, &id.0]).await? else { return Ok(None) };
        let sql = "SELECT probe_id, model, sealed, crop, data_key FROM probes WHERE app_id = $1 AND probe_id = $2";
        let Some(content) = db.fetch_optional(sql, values![app, &id.0]).await? else { return Ok(None) };
        drop(db);
        let embedding = self.open_probe(app, &content)?;
        let aad = probe_key_aad(app, id, embedding.model());
        let crop = match content.get::<Option<&[u8]>>("crop")? {
            Some(sealed) => Some(self.keys.open_crop(&aad, sealed, content.get("data_key")?)?),
            None => None,
        };
        let crop = crop.map(|jpeg| FaceCrop::new(jpeg.as_slice()));
        Ok(Some((held(&found)?, ProbeContent { embedding, crop })))
    }

    async fn confirm_probe(
        &self,
        app: &AppId,
        probe: ProbeId,
        template: &TemplateId,
        sample: &EnrolledSample,
    ) -> Result<Option<Revision>, InsertError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                if !write.end_probe(probe).await? {
                    write.rollback().await?;
                    return Ok(None);
                }
                let added = write.extend(template, sample).await;
                let is_written = matches!(added, Ok(Some(_)));
                write.end(added, is_written).await
            })
            .await
    }

    async fn enroll_probe(
        &self,
        app: &AppId,
        probe: ProbeId,
        new: &NewTemplate<'_>,
    ) -> Result<Option<Revision>, InsertError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                if !write.end_probe(probe).await? {
                    write.rollback().await?;
                    return Ok(None);
                }
                let sealer = write.sealer().await?;
                let enrolled = write.insert(&sealer, new, None, &OnConflict::Refuse).await.map(Some);
                let is_written = enrolled.is_ok();
                write.end(enrolled, is_written).await
            })
            .await
    }

    async fn dismiss_probe(&self, app: &AppId, probe: ProbeId) -> Result<bool, StoreError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut tx = self.db.begin(deadline).await?;
                tx.set_erasing();
                let sql = "DELETE FROM probes WHERE app_id = $1 AND probe_id = $2";
                let erased = tx.execute(sql, values![app, &probe.0]).await?;
                tx.commit().await?;
                Ok(erased == 1)
            })
            .await
    }

    async fn expire_probes(&self, limit: usize) -> Result<u64, StoreError> {
        // Usually none has ended, and this read blocks no writer.
        let mut db = self.db.reader(Limit::Request).await?;
        let now = self.now(&mut db).await?;
        let is_none =
            db.fetch_optional("SELECT ends_at FROM probes WHERE ends_at <= $1 LIMIT 1", values![now]).await?.is_none();
        drop(db);
        if is_none {
            return Ok(0);
        }
        self.db
            .transact(Limit::Bulk, |deadline| async move {
                let mut tx = self.db.begin(deadline).await?;
                tx.set_erasing();
                let sql = "DELETE FROM probes WHERE (app_id, probe_id) IN (
                               SELECT app_id, probe_id FROM probes WHERE ends_at <= $1 ORDER BY ends_at LIMIT $2)";
                let erased = tx.execute(sql, values![now, limit]).await?;
                tx.commit().await?;
                Ok(erased)
            })
            .await
    }
}

impl SqlStore {
    /// The held probe that is most like an embedding, of the same model. Reads all probes of an application, which are at
    /// most [`MAX_HELD`].
    async fn most_alike(&self, app: &AppId, embedding: &Embedding) -> Result<Option<(ProbeId, Cosine)>, StoreError> {
        let mut db = self.db.reader(Limit::Bulk).await?;
        let now = self.now(&mut db).await?;
        let sql = "SELECT probe_id, model, sealed, data_key FROM probes
                   WHERE app_id = $1 AND ends_at > $2 AND model = $3";
        let rows = db.fetch_all(sql, values![app, now, embedding.model()]).await?;
        drop(db);
        let mut best = None;
        for row in &rows {
            // One that cannot be opened is like no other, and ends like every other.
            let Ok(Ok(cosine)) = self.open_probe(app, row).map(|other| other.cosine(embedding)) else { continue };
            if best.is_none_or(|(_, known)| cosine > known) {
                best = Some((row.probe_id("probe_id")?, cosine));
            }
        }
        Ok(best)
    }

    /// The embedding of a row with the columns `probe_id`, `model`, `sealed` and `data_key`.
    fn open_probe(&self, app: &AppId, row: &DbRow) -> Result<Embedding, StoreError> {
        let model = ModelTag::new(row.get("model")?);
        let aad = probe_key_aad(app, row.probe_id("probe_id")?, &model);
        Ok(self.keys.open_embedding(&aad, row.get("sealed")?, row.get("data_key")?, &model)?)
    }

    /// Counts a probe that is seen once more, and keeps the nearest template; `false` when it has ended meanwhile.
    async fn see_again(&self, app: &AppId, id: ProbeId, probe: &NewProbe) -> Result<bool, StoreError> {
        let near = probe.near.as_ref();
        self.db
            .transact(Limit::Bulk, |deadline| async move {
                let mut tx = self.db.begin(deadline).await?;
                let now = self.now(&mut tx).await?;
                let sql = "UPDATE probes SET times = times + 1, last_seen_at = $3 WHERE app_id = $1 AND probe_id = $2";
                let found = tx.execute(sql, values![app, &id.0, now]).await? == 1;
                if let (true, Some((template, cosine))) = (found, near) {
                    let sql = "UPDATE probes SET template_id = $3, cosine = $4, threshold = $5
                               WHERE app_id = $1 AND probe_id = $2 AND coalesce(cosine, -1) < $4";
                    tx.execute(
                        sql,
                        values![app, &id.0, template, Some(f64::from(cosine.get())), Some(probe.threshold)],
                    )
                    .await?;
                }
                tx.commit().await?;
                Ok(found)
            })
            .await
    }

    async fn insert_probe(&self, app: &AppId, probe: &NewProbe) -> Result<ProbeId, StoreError> {
        let id = ProbeId::random();
        let model = probe.embedding.model();
        let aad = &probe_key_aad(app, id, model);
        self.db
            .transact(Limit::Bulk, |deadline| async move {
                let (mut tx, sealer) = self.begin_reseal(deadline).await?;
                let now = self.now(&mut tx).await?;
                let count = "SELECT count(*) AS count FROM probes WHERE app_id = $1";
                let held: i64 = tx.fetch_one(count, values![app]).await?.get("count")?;
                let surplus = row::number(held).saturating_sub(MAX_HELD as u64 - 1);
                if surplus > 0 {
                    tx.set_erasing();
                    let sql = "DELETE FROM probes WHERE app_id = $1 AND probe_id IN (
                                   SELECT probe_id FROM probes WHERE app_id = $1
                                   ORDER BY template_id IS NOT NULL, times, last_seen_at, probe_id LIMIT $2)";
                    tx.execute(sql, values![app, row::integer(surplus)]).await?;
                }
                let crop = probe.crop.as_ref().map(FaceCrop::jpeg);
                let SealedFace { embedding, crop, data_key } = sealer.seal_face(aad, &probe.embedding, crop)?;
                tx.execute(
                    "INSERT INTO probes (app_id, probe_id, template_id, cosine, threshold, quality, quality_fine, times,
                                         first_seen_at, last_seen_at, ends_at, transaction_id, model, sealed, crop,
                                         data_key)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $8, $9, $10, $11, $12, $13, $14)",
                    values![
                        app,
                        &id.0,
                        probe.near.as_ref().map(|(template, _)| template.as_str()),
                        probe.near.as_ref().map(|(_, cosine)| f64::from(cosine.get())),
                        Some(probe.threshold),
                        probe.quality.map(|quality| quality.score),
                        probe.quality.map(|quality| i64::from(quality.fine)),
                        now,
                        now + probe.keep,
                        &probe.transaction.0,
                        model,
                        &embedding,
                        crop.as_deref(),
                        &data_key,
                    ],
                )
                .await?;
                tx.commit().await?;
                Ok(id)
            })
            .await
    }
}

impl super::gallery_write::GalleryWrite<'_> {
    /// Erases a probe of which a sample is made; `false` when it does not exist.
    async fn end_probe(&mut self, probe: ProbeId) -> Result<bool, StoreError> {
        self.tx.set_erasing();
        let sql = "DELETE FROM probes WHERE app_id = $1 AND probe_id = $2";
        Ok(self.tx.execute(sql, values![self.app, &probe.0]).await? == 1)
    }
}

fn held(row: &DbRow) -> Result<HeldProbe, StoreError> {
    let near = match row.get::<Option<f64>>("cosine")? {
        Some(cosine) => Some((row.template_id("template_id")?, Cosine::clamped(cosine as f32))),
        None => None,
    };
    Ok(HeldProbe {
        id: row.probe_id("probe_id")?,
        near,
        threshold: row.get("threshold")?,
        quality: row.quality()?,
        times: row::number(row.get("times")?),
        first_seen_at: row.time("first_seen_at")?,
        last_seen_at: row.time("last_seen_at")?,
        ends_at: row.time("ends_at")?,
        transaction: TransactionId(row.uuid("transaction_id")?),
        has_crop: row.get("has_crop")?,
    })
}
