//! Applications.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::app_keys::{insert_key, key_record, mirror_keys};
use super::executor::{DbRow, Executor, Limit, Tx, Value, values};
use super::row;
use super::sql_store::SqlStore;
use crate::domain::{AppId, EnrollRules, Quota, RequestLimits};
use crate::store::application::{AppChange, AppKeyRecord, AppRecord, AppRefusal};
use crate::store::error::StoreError;
use crate::store::outbox::{ErasureReason, OutboxEvent};
use crate::store::traits::AppStore;

#[async_trait]
impl AppStore for SqlStore {
    async fn create_recorded(&self, app: &AppRecord, event: Option<&OutboxEvent>) -> Result<bool, StoreError> {
        self.insert_app(app, false, event).await
    }

    async fn create_first(&self, app: &AppRecord) -> Result<bool, StoreError> {
        self.insert_app(app, true, None).await
    }

    async fn list(&self) -> Result<Vec<AppRecord>, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let rows = db
            .fetch_all(
                "SELECT app_id, name, state, created_at, attributes, retention_s, guard, min_quality, max_templates,
                        max_samples, threshold, rate_per_s, rate_burst, share, settings_revision, keep_crops,
                        name_search, require_consent, keep_probes_s
                 FROM applications ORDER BY created_at, app_id",
                &[],
            )
            .await?;
        let mut apps = rows.iter().map(record).collect::<Result<Vec<_>, _>>()?;
        let mut keys: HashMap<AppId, Vec<AppKeyRecord>> = HashMap::new();
        let sql =
            "SELECT app_id, key_id, name, key_hash, hint, scopes, state, created_at, created_by, last_used_at, ends_at,
                          expires_at
                   FROM app_keys ORDER BY created_at, key_id";
        for row in &db.fetch_all(sql, &[]).await? {
            let app = row.app_id("app_id")?;
            let key = key_record(row, &app)?;
            keys.entry(app).or_default().extend(key);
        }
        for app in &mut apps {
            app.keys = keys.remove(&app.id).unwrap_or_default();
        }
        Ok(apps)
    }

    async fn change(
        &self,
        id: &AppId,
        change: &AppChange,
        event: Option<&OutboxEvent>,
    ) -> Result<Result<u64, AppRefusal>, StoreError> {
        self.db
            .transact(Limit::Bulk, |deadline| async move {
                let mut tx = self.db.begin(deadline).await?;
                let sql = "UPDATE applications SET settings_revision = settings_revision + 1 WHERE app_id = $1
                           RETURNING settings_revision, retention_s";
                let Some(row) = tx.fetch_optional(sql, values![id]).await? else {
                    tx.rollback().await?;
                    return Ok(Err(AppRefusal::NoSuchApp));
                };
                let revision = row::number(row.get("settings_revision")?);
                let before = revision.saturating_sub(1);
                if change.if_revision.is_some_and(|expected| expected != before) {
                    tx.rollback().await?;
                    return Ok(Err(AppRefusal::Changed(before)));
                }
                let now = self.now(&mut tx).await?;
                let old = row.get::<Option<i64>>("retention_s")?.map(row::duration);
                if let Some(refusal) = confirm_erasure(&mut tx, id, change, old, now).await? {
                    tx.rollback().await?;
                    return Ok(Err(refusal));
                }
                write_change(&mut tx, id, change).await?;
                if change.state.is_some() {
                    mirror_keys(&mut tx, id).await?;
                }
                if let Some(event) = event {
                    self.insert_event(&mut tx, &OutboxEvent { at: now, ..event.clone() }).await?;
                }
                tx.commit_and_notify().await?;
                Ok(Ok(revision))
            })
            .await
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
    /// Inserts an application with its keys; with `first`, only if none exists.
    async fn insert_app(&self, app: &AppRecord, first: bool, event: Option<&OutboxEvent>) -> Result<bool, StoreError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut tx = self.db.begin(deadline).await?;
                if first {
                    tx.lock_galleries().await?;
                }
                // `key_hash` is written by `mirror_keys`.
                let sql = if first {
                    "INSERT INTO applications
                         (app_id, name, key_hash, created_at, attributes, retention_s, guard, min_quality, max_templates,
                          max_samples, keep_crops, state, threshold, rate_per_s, rate_burst, share, name_search,
                          require_consent, keep_probes_s)
                     SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19
                     WHERE NOT EXISTS (SELECT 1 FROM applications)"
                } else {
                    "INSERT INTO applications
                         (app_id, name, key_hash, created_at, attributes, retention_s, guard, min_quality, max_templates,
                          max_samples, keep_crops, state, threshold, rate_per_s, rate_burst, share, name_search,
                          require_consent, keep_probes_s)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
                     ON CONFLICT (app_id) DO NOTHING"
                };
                if tx.execute(sql, &columns(app)).await? == 0 {
                    tx.rollback().await?;
                    return Ok(false);
                }
                for key in &app.keys {
                    insert_key(&mut tx, &app.id, key).await?;
                }
                mirror_keys(&mut tx, &app.id).await?;
                if let Some(event) = event {
                    let at = self.now(&mut tx).await?;
                    self.insert_event(&mut tx, &OutboxEvent { at, ..event.clone() }).await?;
                }
                tx.commit_and_notify().await?;
                Ok(true)
            })
            .await
    }

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

/// Counts what a shorter retention period erases at once, and confirms it, so that retention does not hold it back. Returns
/// the refusal when it is more than the change may erase.
async fn confirm_erasure(
    tx: &mut Tx,
    id: &AppId,
    change: &AppChange,
    old: Option<Duration>,
    now: SystemTime,
) -> Result<Option<AppRefusal>, StoreError> {
    let (Some(Some(period)), Some(may_erase)) = (change.retention, change.may_erase) else { return Ok(None) };
    if old.is_some_and(|old| old <= period) {
        return Ok(None);
    }
    let due_before = row::millis(now).saturating_sub(row::seconds(period).saturating_mul(1000));
    let sql = "SELECT count(*) AS count FROM templates WHERE app_id = $1 AND created_at < $2";
    let count = tx.fetch_one(sql, values![id, due_before]).await?.get::<i64>("count")?;
    if row::number(count) > may_erase {
        return Ok(Some(AppRefusal::WouldErase(row::number(count))));
    }
    if count > 0 {
        tx.execute(
            "INSERT INTO retention (app_id, confirmed, confirmed_before) VALUES ($1, $2, $3)
             ON CONFLICT (app_id) DO UPDATE
                 SET held = 0, confirmed = excluded.confirmed, confirmed_before = excluded.confirmed_before",
            values![id, count, due_before],
        )
        .await?;
    }
    Ok(None)
}

async fn write_change(tx: &mut Tx, id: &AppId, change: &AppChange) -> Result<(), StoreError> {
    if let Some(name) = &change.name {
        tx.execute("UPDATE applications SET name = $2 WHERE app_id = $1", values![id, name.as_str()]).await?;
    }
    if let Some(state) = change.state {
        tx.execute("UPDATE applications SET state = $2 WHERE app_id = $1", values![id, state.as_str()]).await?;
    }
    if let Some(threshold) = change.threshold {
        tx.execute("UPDATE applications SET threshold = $2 WHERE app_id = $1", values![id, threshold]).await?;
    }
    if let Some(RequestLimits { per_second, burst, share }) = change.limits {
        let sql = "UPDATE applications SET rate_per_s = $2, rate_burst = $3, share = $4 WHERE app_id = $1";
        tx.execute(sql, values![id, per_second, burst.map(i64::from), share]).await?;
    }
    if let Some(reported) = change.attributes {
        tx.execute("UPDATE applications SET attributes = $2 WHERE app_id = $1", values![id, reported]).await?;
    }
    if let Some(retention) = change.retention {
        let sql = "UPDATE applications SET retention_s = $2 WHERE app_id = $1";
        tx.execute(sql, values![id, retention.map(row::seconds)]).await?;
    }
    if let Some(guard) = change.guard {
        tx.execute("UPDATE applications SET guard = $2 WHERE app_id = $1", values![id, guard.as_str()]).await?;
    }
    if let Some(min_quality) = change.min_quality {
        tx.execute("UPDATE applications SET min_quality = $2 WHERE app_id = $1", values![id, min_quality]).await?;
    }
    if let Some(searched) = change.name_search {
        tx.execute("UPDATE applications SET name_search = $2 WHERE app_id = $1", values![id, searched]).await?;
    }
    if let Some(required) = change.require_consent {
        tx.execute("UPDATE applications SET require_consent = $2 WHERE app_id = $1", values![id, required]).await?;
    }
    if let Some(keep) = change.keep_crops {
        tx.execute("UPDATE applications SET keep_crops = $2 WHERE app_id = $1", values![id, keep]).await?;
    }
    if let Some(keep) = change.keep_probes {
        let sql = "UPDATE applications SET keep_probes_s = $2 WHERE app_id = $1";
        tx.execute(sql, values![id, keep.map(row::seconds)]).await?;
        let sql = "UPDATE probes SET ends_at = first_seen_at + $2 WHERE app_id = $1 AND ends_at > first_seen_at + $2";
        tx.execute(sql, values![id, keep.map_or(0, row::seconds).saturating_mul(1000)]).await?;
    }
    if let Some(max) = change.max_templates {
        let sql = "UPDATE applications SET max_templates = $2 WHERE app_id = $1";
        tx.execute(sql, values![id, max.map(row::integer)]).await?;
    }
    if let Some(max) = change.max_samples {
        let sql = "UPDATE applications SET max_samples = $2 WHERE app_id = $1";
        tx.execute(sql, values![id, max.map(row::integer)]).await?;
    }
    Ok(())
}

fn columns(app: &AppRecord) -> [Value<'_>; 19] {
    [
        Value::from(&app.id),
        Value::from(app.name.as_str()),
        Value::from([].as_slice()),
        Value::from(app.created_at),
        Value::from(app.attributes),
        Value::from(app.retention.map(row::seconds)),
        Value::from(app.rules.guard.as_str()),
        Value::from(app.rules.min_quality),
        Value::from(app.rules.quota.templates.map(row::integer)),
        Value::from(app.rules.quota.samples.map(row::integer)),
        Value::from(app.keep_crops),
        Value::from(app.state.as_str()),
        Value::from(app.threshold),
        Value::from(app.limits.per_second),
        Value::from(app.limits.burst.map(i64::from)),
        Value::from(app.limits.share),
        Value::from(app.name_search),
        Value::from(app.rules.require_consent),
        Value::from(app.keep_probes.map(row::seconds)),
    ]
}

fn record(row: &DbRow) -> Result<AppRecord, StoreError> {
    let id = row.app_id("app_id")?;
    let quota = Quota {
        templates: row.get::<Option<i64>>("max_templates")?.map(row::number),
        samples: row.get::<Option<i64>>("max_samples")?.map(row::number),
    };
    Ok(AppRecord {
        name: row.get("name")?,
        state: row::app_state(row.get("state")?, &id),
        keys: Vec::new(),
        created_at: row.time("created_at")?,
        attributes: row.get("attributes")?,
        retention: row.get::<Option<i64>>("retention_s")?.map(row::duration),
        rules: EnrollRules {
            guard: row::guard(row.get("guard")?, &id),
            min_quality: row.get("min_quality")?,
            quota,
            require_consent: row.get("require_consent")?,
        },
        name_search: row.get("name_search")?,
        keep_crops: row.get("keep_crops")?,
        keep_probes: row.get::<Option<i64>>("keep_probes_s")?.map(row::duration),
        threshold: row.get("threshold")?,
        limits: RequestLimits {
            per_second: row.get("rate_per_s")?,
            burst: row.get::<Option<i64>>("rate_burst")?.map(|burst| u32::try_from(burst).unwrap_or(1)),
            share: row.get("share")?,
        },
        settings_revision: row::number(row.get("settings_revision")?),
        id,
    })
}
