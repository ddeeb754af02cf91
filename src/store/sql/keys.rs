//! Sealing keys: which key is active, and what is sealed under others.

use std::sync::Arc;

use async_trait::async_trait;

use super::executor::{Db, DbRow, Deadline, Executor, Limit, Tx, values};
use super::row::corrupt;
use super::sql_store::SqlStore;
use crate::domain::ModelTag;
use crate::store::error::{OpenError, StoreError};
use crate::store::key::KeyId;
use crate::store::keyring::{CURSOR_KEY, JOURNAL_KEY, LOOKUP_KEY, SEAL_CHECK, SUPERSEDED};
use crate::store::record::{KeyStatus, Resealed, SampleCursor};
use crate::store::seal::{
    SampleRef, Sealed, Sealer, details_key_aad, probe_key_aad, reply_key_aad, sealed_under, snapshot_key_aad,
};
use crate::store::traits::KeyStore;

/// Samples that are resealed in one transaction. On SQLite other writers wait for it: some hundredths of a second.
const BATCH_SAMPLES: usize = 500;

#[async_trait]
impl KeyStore for SqlStore {
    fn has(&self, key: KeyId) -> bool {
        self.keys.sealer(key).is_ok()
    }

    fn reload(&self) -> Result<usize, StoreError> {
        self.keys.reload()
    }

    async fn status(&self) -> Result<KeyStatus, StoreError> {
        let mut db = self.db.reader(Limit::Unbounded).await?;
        let check = db.fetch_one("SELECT value FROM meta WHERE name = $1", values![SEAL_CHECK]).await?;
        drop(db);
        Ok(KeyStatus {
            active: sealed_under(check.get("value")?)?,
            given: self.keys.ids()?,
            in_use: keys_in_use(&self.db).await?,
        })
    }

    async fn activate(&self, key: KeyId) -> Result<(), StoreError> {
        self.db
            .transact(Limit::Unbounded, |deadline| async move {
                let sealer = self.keys.sealer(key)?;
                let mut tx = self.db.begin(deadline).await?;
                // A writer first locks the row of a gallery, and then reads which key is active.
                tx.lock_galleries().await?;
                let before = hold_check(&mut tx).await?;
                let mut superseded = superseded(&mut tx).await?;
                superseded.push(sealed_under(&before)?);
                superseded.retain(|id| *id != key);
                set_superseded(&mut tx, &superseded).await?;
                set_meta(&mut tx, SEAL_CHECK, &sealer.check()?).await?;
                for name in [JOURNAL_KEY, CURSOR_KEY, LOOKUP_KEY] {
                    let sql = "SELECT value FROM meta WHERE name = $1";
                    let Some(row) = tx.fetch_optional(sql, values![name]).await? else { continue };
                    if let Some(rewrapped) = self.keys.rewrap(&sealer, name.as_bytes(), row.get("value")?)? {
                        set_meta(&mut tx, name, &rewrapped).await?;
                    }
                }
                tx.commit().await
            })
            .await
    }

    async fn reseal(&self, after: Option<SampleCursor>) -> Result<Resealed, StoreError> {
        let after = &after;
        self.db
            .transact(Limit::Unbounded, |deadline| async move {
                let Some(after) = after else {
                    let count = self.reseal_snapshots(deadline).await?
                        + self.reseal_replies(deadline).await?
                        + self.reseal_details(deadline).await?
                        + self.reseal_probes(deadline).await?;
                    return Ok(Resealed { count, next: Some(SampleCursor::first()) });
                };
                let mut db = self.db.reader(Limit::Unbounded).await?;
                let rows = db
                    .fetch_all(
                        "SELECT app_id, template_id, created_at, sample_id, model, data_key,
                                CASE WHEN data_key IS NULL THEN sealed END AS sealed
                         FROM samples WHERE (app_id, template_id, created_at, sample_id) > ($1, $2, $3, $4)
                         ORDER BY app_id, template_id, created_at, sample_id LIMIT $5",
                        values![
                            after.app.as_str(),
                            after.template.as_str(),
                            after.created_at,
                            &after.sample,
                            BATCH_SAMPLES
                        ],
                    )
                    .await?;
                drop(db);
                let next = match rows.last() {
                    Some(last) if rows.len() == BATCH_SAMPLES => Some(cursor(last)?),
                    _ => None,
                };
                let (mut tx, sealer) = self.begin_reseal(deadline).await?;
                let mut count = 0;
                for row in &rows {
                    count += self.reseal_sample(&mut tx, &sealer, row).await?;
                }
                tx.commit().await?;
                if next.is_none() {
                    self.update_superseded(deadline).await?;
                }
                Ok(Resealed { count, next })
            })
            .await
    }
}

impl SqlStore {
    /// Begins to reseal under the active key. No other key is activated until the transaction ends: that waits
    /// for the row that is locked here.
    pub(super) async fn begin_reseal(&self, deadline: Deadline) -> Result<(Tx, Arc<Sealer>), StoreError> {
        let mut tx = self.db.begin(deadline).await?;
        let check = hold_check(&mut tx).await?;
        Ok((tx, self.keys.active_sealer(&check)?))
    }

    /// Reseals a sample that is sealed under another key. A sample that was removed, replaced or resealed since its row
    /// was read stays as it is.
    async fn reseal_sample(&self, tx: &mut Tx, sealer: &Sealer, row: &DbRow) -> Result<u64, StoreError> {
        let app = row.app_id("app_id")?;
        let template = row.template_id("template_id")?;
        let model = ModelTag::new(row.get("model")?);
        let sample = SampleRef { app: &app, template: &template, sample: row.sample_id("sample_id")?, model: &model };
        let data_key: Option<&[u8]> = row.get("data_key")?;
        let sealed: Option<&[u8]> = row.get("sealed")?;
        // Only a sample of the version before data keys gets another embedding.
        let (embedding, new_data_key) = match (data_key, sealed) {
            (Some(data_key), _) => match self.keys.rewrap(sealer, &sample.data_key_aad(), data_key)? {
                Some(rewrapped) => (None, rewrapped),
                None => return Ok(0),
            },
            (None, Some(sealed)) => {
                let Sealed { text, data_key } = sealer.seal(&sample, &self.keys.open(&sample, sealed, None)?)?;
                (Some(text), data_key)
            }
            (None, None) => return Ok(0),
        };
        tx.set_erasing();
        // Both databases know `IS NOT DISTINCT FROM` (SQLite from 3.39 on).
        tx.execute(
            "UPDATE samples SET data_key = $5, sealed = coalesce($6, sealed)
             WHERE app_id = $1 AND template_id = $2 AND created_at = $3 AND sample_id = $4
               AND data_key IS NOT DISTINCT FROM $7",
            values![
                &app,
                &template,
                row.get::<i64>("created_at")?,
                &sample.sample.0,
                &new_data_key,
                embedding.as_deref(),
                data_key,
            ],
        )
        .await
    }

    async fn reseal_snapshots(&self, deadline: Deadline) -> Result<u64, StoreError> {
        let mut db = self.db.reader(Limit::Unbounded).await?;
        let rows = db.fetch_all("SELECT app_id, snapshot_id, sealed_key FROM snapshots", &[]).await?;
        drop(db);
        let (mut tx, sealer) = self.begin_reseal(deadline).await?;
        let mut count = 0;
        for row in &rows {
            let app = row.app_id("app_id")?;
            let id = row.snapshot_id("snapshot_id")?;
            let sealed_key: &[u8] = row.get("sealed_key")?;
            let Some(rewrapped) = self.keys.rewrap(&sealer, &snapshot_key_aad(&app, id), sealed_key)? else { continue };
            count += tx
                .execute(
                    "UPDATE snapshots SET sealed_key = $3
                     WHERE app_id = $1 AND snapshot_id = $2 AND sealed_key = $4",
                    values![&app, &id.0, &rewrapped, sealed_key],
                )
                .await?;
        }
        tx.commit().await?;
        Ok(count)
    }

    /// Reseals the data keys of kept replies, in batches.
    async fn reseal_replies(&self, deadline: Deadline) -> Result<u64, StoreError> {
        let mut count = 0;
        let mut after = (String::new(), Vec::new());
        loop {
            let mut db = self.db.reader(Limit::Unbounded).await?;
            let rows = db
                .fetch_all(
                    "SELECT app_id, key_hash, template_id, data_key FROM idempotency
                     WHERE (app_id, key_hash) > ($1, $2) ORDER BY app_id, key_hash LIMIT $3",
                    values![after.0.as_str(), &after.1, BATCH_SAMPLES],
                )
                .await?;
            drop(db);
            let Some(last) = rows.last() else { return Ok(count) };
            after = (last.get("app_id")?, last.get("key_hash")?);
            let (mut tx, sealer) = self.begin_reseal(deadline).await?;
            for row in &rows {
                let key: &[u8] = row.get("key_hash")?;
                let key = key.try_into().map_err(|_| corrupt("key_hash"))?;
                let app = row.app_id("app_id")?;
                let aad = reply_key_aad(&app, &row.template_id("template_id")?, key);
                let data_key: &[u8] = row.get("data_key")?;
                let Some(rewrapped) = self.keys.rewrap(&sealer, &aad, data_key)? else { continue };
                tx.set_erasing();
                count += tx
                    .execute(
                        "UPDATE idempotency SET data_key = $3 WHERE app_id = $1 AND key_hash = $2 AND data_key = $4",
                        values![&app, key, &rewrapped, data_key],
                    )
                    .await?;
            }
            tx.commit().await?;
        }
    }

    /// Reseals the data keys of details, in batches.
    async fn reseal_details(&self, deadline: Deadline) -> Result<u64, StoreError> {
        let mut count = 0;
        let mut after = (String::new(), String::new());
        loop {
            let mut db = self.db.reader(Limit::Unbounded).await?;
            let rows = db
                .fetch_all(
                    "SELECT app_id, template_id, data_key FROM details
                     WHERE (app_id, template_id) > ($1, $2) ORDER BY app_id, template_id LIMIT $3",
                    values![after.0.as_str(), after.1.as_str(), BATCH_SAMPLES],
                )
                .await?;
            drop(db);
            let Some(last) = rows.last() else { return Ok(count) };
            after = (last.get("app_id")?, last.get("template_id")?);
            let (mut tx, sealer) = self.begin_reseal(deadline).await?;
            for row in &rows {
                let (app, template) = (row.app_id("app_id")?, row.template_id("template_id")?);
                let data_key: &[u8] = row.get("data_key")?;
                let aad = details_key_aad(&app, &template);
                let Some(rewrapped) = self.keys.rewrap(&sealer, &aad, data_key)? else { continue };
                tx.set_erasing();
                count += tx
                    .execute(
                        "UPDATE details SET data_key = $3 WHERE app_id = $1 AND template_id = $2 AND data_key = $4",
                        values![&app, &template, &rewrapped, data_key],
                    )
                    .await?;
            }
            tx.commit().await?;
        }
    }

    /// Reseals the data keys of held probes, of which there are few.
    async fn reseal_probes(&self, deadline: Deadline) -> Result<u64, StoreError> {
        let mut db = self.db.reader(Limit::Unbounded).await?;
        let rows = db.fetch_all("SELECT app_id, probe_id, model, data_key FROM probes", &[]).await?;
        drop(db);
        let mut count = 0;
        for rows in rows.chunks(BATCH_SAMPLES) {
            let (mut tx, sealer) = self.begin_reseal(deadline).await?;
            for row in rows {
                let (app, probe) = (row.app_id("app_id")?, row.probe_id("probe_id")?);
                let data_key: &[u8] = row.get("data_key")?;
                let aad = probe_key_aad(&app, probe, &ModelTag::new(row.get("model")?));
                let Some(rewrapped) = self.keys.rewrap(&sealer, &aad, data_key)? else { continue };
                tx.set_erasing();
                let sql = "UPDATE probes SET data_key = $3 WHERE app_id = $1 AND probe_id = $2 AND data_key = $4";
                count += tx.execute(sql, values![&app, &probe.0, &rewrapped, data_key]).await?;
            }
            tx.commit().await?;
        }
        Ok(count)
    }

    /// Records which superseded keys are still in use after everything was resealed; not, if another key was
    /// force meanwhile.
    async fn update_superseded(&self, deadline: Deadline) -> Result<(), StoreError> {
        let (tx, sealer) = self.begin_reseal(deadline).await?;
        drop(tx);
        let before = sealer.key_id();
        let in_use = keys_in_use(&self.db).await?;
        let (mut tx, sealer) = self.begin_reseal(deadline).await?;
        if sealer.key_id() == before {
            let still_used: Vec<KeyId> = in_use.into_iter().map(|(id, _)| id).filter(|id| *id != before).collect();
            set_superseded(&mut tx, &still_used).await?;
        }
        tx.commit().await
    }
}

fn cursor(row: &DbRow) -> Result<SampleCursor, StoreError> {
    Ok(SampleCursor {
        app: row.get("app_id")?,
        template: row.get("template_id")?,
        created_at: row.get("created_at")?,
        sample: row.get("sample_id")?,
    })
}

/// Refuses to open a database without a key that is still in use, as far as that is known without reading every row.
pub(in crate::store) async fn check_keys_given(db: &Db, given: &[KeyId]) -> Result<(), OpenError> {
    let superseded = superseded(&mut db.writer(Limit::Unbounded).await?).await?;
    if superseded.iter().all(|id| given.contains(id)) {
        return Ok(());
    }
    let in_use = keys_in_use(db).await?.into_iter().map(|(id, _)| id);
    let missing: Vec<String> = in_use.filter(|id| !given.contains(id)).map(|id| id.to_string()).collect();
    if missing.is_empty() { Ok(()) } else { Err(OpenError::KeysMissing(missing.join(", "))) }
}

/// The keys under which something is sealed, and how much. Reads the row of every sample.
async fn keys_in_use(db: &Db) -> Result<Vec<(KeyId, u64)>, StoreError> {
    let mut tx = db.begin_scan().await?;
    // The id of a key follows the byte of the format (see `seal.rs`).
    let rows = tx
        .fetch_all(
            "SELECT id, count(*) AS count FROM (
                 SELECT substr(coalesce(data_key, sealed), 2, 4) AS id FROM samples
                 UNION ALL SELECT substr(sealed_key, 2, 4) FROM snapshots
                 UNION ALL SELECT substr(data_key, 2, 4) FROM idempotency
                 UNION ALL SELECT substr(data_key, 2, 4) FROM details
                 UNION ALL SELECT substr(data_key, 2, 4) FROM probes
             ) AS sealed GROUP BY id ORDER BY id",
            &[],
        )
        .await?;
    tx.rollback().await?;
    rows.iter()
        .map(|row| {
            let id: &[u8] = row.get("id")?;
            let id = id.try_into().map_err(|_| corrupt("the id of a sealing key"))?;
            Ok((KeyId(id), u64::try_from(row.get::<i64>("count")?).unwrap_or(0)))
        })
        .collect()
}

/// The keys that are no longer active, and under which something may still be sealed.
async fn superseded(db: &mut impl Executor) -> Result<Vec<KeyId>, StoreError> {
    let row = db.fetch_optional("SELECT value FROM meta WHERE name = $1", values![SUPERSEDED]).await?;
    let Some(row) = row else { return Ok(Vec::new()) };
    let ids: &[u8] = row.get("value")?;
    Ok(ids.as_chunks().0.iter().map(|id| KeyId(*id)).collect())
}

async fn set_superseded(tx: &mut Tx, keys: &[KeyId]) -> Result<(), StoreError> {
    let ids: Vec<u8> = keys.iter().flat_map(|id| id.0).collect();
    set_meta(tx, SUPERSEDED, &ids).await
}

async fn set_meta(tx: &mut Tx, name: &str, value: &[u8]) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        values![name, value],
    )
    .await?;
    Ok(())
}

/// Reads which key is active, and locks that row until the transaction ends. It writes to the row at once: SQLite
/// does not let a transaction write that has begun by reading.
async fn hold_check(tx: &mut Tx) -> Result<Vec<u8>, StoreError> {
    let sql = "UPDATE meta SET value = value WHERE name = $1 RETURNING value";
    tx.fetch_one(sql, values![SEAL_CHECK]).await?.get("value")
}
