//! Applications.

use std::time::Duration;

use async_trait::async_trait;

use super::executor::{DbRow, Executor, Limit, Value, values};
use super::row;
use super::sql_store::SqlStore;
use crate::domain::{AppId, EnrollRules, Guard, Quota};
use crate::store::error::StoreError;
use crate::store::outbox::ErasureReason;
use crate::store::record::{AppRecord, KeyHash, PreviousKey};
use crate::store::traits::AppStore;

#[async_trait]
impl AppStore for SqlStore {
    async fn create(&self, app: &AppRecord) -> Result<bool, StoreError> {
        let mut db = self.db.writer(Limit::Request).await?;
        let inserted = db
            .execute(
                "INSERT INTO applications
                     (app_id, name, key_hash, created_at, attributes, retention_s, guard, min_quality, max_templates,
                      max_samples, keep_crops)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (app_id) DO NOTHING",
                &columns(app),
            )
            .await?;
        Ok(inserted == 1)
    }

    async fn create_first(&self, app: &AppRecord) -> Result<bool, StoreError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut tx = self.db.begin(deadline).await?;
                tx.lock_galleries().await?;
                let inserted = tx
                    .execute(
                        "INSERT INTO applications
                             (app_id, name, key_hash, created_at, attributes, retention_s, guard, min_quality, max_templates,
                              max_samples, keep_crops)
                         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 WHERE NOT EXISTS (SELECT 1 FROM applications)",
                        &columns(app),
                    )
                    .await?;
                tx.commit().await?;
                Ok(inserted == 1)
            })
            .await
    }

    async fn list(&self) -> Result<Vec<AppRecord>, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let rows = db
            .fetch_all(
                "SELECT app_id, name, key_hash, created_at, attributes, former_key_hash, former_until, retention_s,
                        guard, min_quality, max_templates, max_samples, keep_crops
                 FROM applications ORDER BY created_at, app_id",
                &[],
            )
            .await?;
        rows.iter().map(record).collect()
    }

    async fn set_key(&self, id: &AppId, key: KeyHash, overlap: Duration) -> Result<bool, StoreError> {
        let now = self.now(&mut self.db.reader(Limit::Request).await?).await?;
        let previous_until = now.checked_add(overlap).filter(|_| !overlap.is_zero());
        // The columns on the right have the values of before.
        let sql = "UPDATE applications SET key_hash = $2, former_until = $3,
                          former_key_hash = CASE WHEN $4 THEN key_hash ELSE NULL END
                   WHERE app_id = $1";
        self.update(sql, values![id, &key.0, previous_until, previous_until.is_some()]).await
    }

    async fn set_retention(&self, id: &AppId, retention: Option<Duration>) -> Result<bool, StoreError> {
        let sql = "UPDATE applications SET retention_s = $2 WHERE app_id = $1";
        self.update(sql, values![id, retention.map(row::seconds)]).await
    }

    async fn set_attributes(&self, id: &AppId, reported: bool) -> Result<bool, StoreError> {
        self.update("UPDATE applications SET attributes = $2 WHERE app_id = $1", values![id, reported]).await
    }

    async fn set_guard(&self, id: &AppId, guard: Guard) -> Result<bool, StoreError> {
        self.update("UPDATE applications SET guard = $2 WHERE app_id = $1", values![id, guard.as_str()]).await
    }

    async fn set_min_quality(&self, id: &AppId, min_quality: Option<f64>) -> Result<bool, StoreError> {
        self.update("UPDATE applications SET min_quality = $2 WHERE app_id = $1", values![id, min_quality]).await
    }

    async fn set_max_templates(&self, id: &AppId, max: Option<u64>) -> Result<bool, StoreError> {
        let sql = "UPDATE applications SET max_templates = $2 WHERE app_id = $1";
        self.update(sql, values![id, max.map(row::integer)]).await
    }

    async fn set_max_samples(&self, id: &AppId, max: Option<u64>) -> Result<bool, StoreError> {
        let sql = "UPDATE applications SET max_samples = $2 WHERE app_id = $1";
        self.update(sql, values![id, max.map(row::integer)]).await
    }

    async fn set_keep_crops(&self, id: &AppId, keep: bool) -> Result<bool, StoreError> {
        self.update("UPDATE applications SET keep_crops = $2 WHERE app_id = $1", values![id, keep]).await
    }

    async fn delete(&self, id: &AppId) -> Result<bool, StoreError> {
        self.db
            .transact(Limit::Bulk, |deadline| async move {
                // The gallery's row is locked first: no template is enrolled from here on, so the cascade of the last statement
                // deletes none that has no event.
                let mut write = match self.begin_write(id, deadline).await {
                    Err(StoreError::NoSuchApp) => return Ok(false),
                    begun => begun?,
                };
                let templates = write
                    .tx
                    .fetch_all("SELECT template_id FROM templates WHERE app_id = $1 ORDER BY template_id", values![id])
                    .await?;
                for row in &templates {
                    write.erase(&row.template_id("template_id")?, &ErasureReason::APPLICATION).await?;
                    write.skip_change();
                }
                write.tx.execute("DELETE FROM applications WHERE app_id = $1", values![id]).await?;
                write.tx.commit().await?;
                Ok(true)
            })
            .await
    }
}

impl SqlStore {
    /// Updates an application; `false` when it does not exist.
    pub(super) async fn update(&self, sql: &'static str, values: &[Value<'_>]) -> Result<bool, StoreError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut db = self.db.writer_within(deadline).await?;
                Ok(db.execute(sql, values).await? == 1)
            })
            .await
    }
}

fn columns(app: &AppRecord) -> [Value<'_>; 11] {
    [
        Value::from(&app.id),
        Value::from(app.name.as_str()),
        Value::from(&app.key_hash.0),
        Value::from(app.created_at),
        Value::from(app.attributes),
        Value::from(app.retention.map(row::seconds)),
        Value::from(app.rules.guard.as_str()),
        Value::from(app.rules.min_quality),
        Value::from(app.rules.quota.templates.map(row::integer)),
        Value::from(app.rules.quota.samples.map(row::integer)),
        Value::from(app.keep_crops),
    ]
}

fn record(row: &DbRow) -> Result<AppRecord, StoreError> {
    let id = row.app_id("app_id")?;
    let previous_hash: Option<&[u8]> = row.get("former_key_hash")?;
    let previous_until: Option<i64> = row.get("former_until")?;
    let quota = Quota {
        templates: row.get::<Option<i64>>("max_templates")?.map(row::number),
        samples: row.get::<Option<i64>>("max_samples")?.map(row::number),
    };
    Ok(AppRecord {
        name: row.get("name")?,
        key_hash: row::key_hash(row.get("key_hash")?, &id),
        created_at: row.time("created_at")?,
        previous_key: previous_hash
            .zip(previous_until)
            .map(|(hash, until)| PreviousKey { hash: row::key_hash(hash, &id), until: row::time(until) }),
        attributes: row.get("attributes")?,
        retention: row.get::<Option<i64>>("retention_s")?.map(row::duration),
        rules: EnrollRules { guard: row::guard(row.get("guard")?, &id), min_quality: row.get("min_quality")?, quota },
        keep_crops: row.get("keep_crops")?,
        id,
    })
}
