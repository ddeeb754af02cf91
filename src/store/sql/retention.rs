//! Retention: the clock, the budget, and what is held.

use std::time::SystemTime;

use async_trait::async_trait;

use super::executor::{Connection, DbRow, Deadline, Executor, Limit, values};
use super::gallery_write::GalleryWrite;
use super::row;
use super::sql_store::SqlStore;
use crate::domain::{Actor, AppId, TemplateId, rfc3339};
use crate::store::error::StoreError;
use crate::store::outbox::{ErasureReason, OutboxEvent};
use crate::store::retention::{
    ClockReading, DEFAULT_SHARE, Expired, Hold, MIN_BUDGET, RetentionRecord, RetentionStore,
};

/// The rows of `meta` with the clock: the latest time that was seen, and the time of the last confirmation.
const CLOCK_SEEN: &str = "clock seen";
const CLOCK_CONFIRMED: &str = "clock confirmed";

const SET_META: &str =
    "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";

/// The hours of the day in which the budget is counted.
const BUDGET_HOURS: i64 = 24;

const HOUR_MS: i64 = 3_600_000;

/// How much a hold may lag behind, so that not every look at it is a write.
const HOLD_UPDATE_MS: u64 = 60_000;

#[async_trait]
impl RetentionStore for SqlStore {
    async fn read_clock(&self) -> Result<ClockReading, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        self.clock_reading(&mut db).await
    }

    async fn record_clock(&self, now: SystemTime) -> Result<(), StoreError> {
        self.update(SET_META, values![CLOCK_SEEN, row::millis(now).to_be_bytes().as_slice()]).await.map(drop)
    }

    async fn confirm_clock(&self) -> Result<ClockReading, StoreError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut tx = self.db.begin(deadline).await?;
                let before = self.clock_reading(&mut tx).await?;
                set_meta_time(&mut tx, CLOCK_SEEN, before.now).await?;
                set_meta_time(&mut tx, CLOCK_CONFIRMED, before.now).await?;
                let seen = before.seen.map_or_else(|| "never".to_owned(), rfc3339);
                let detail = format!("confirmed: {}, last seen: {seen}", rfc3339(before.now));
                let event = OutboxEvent::new(before.now, "retention confirm-clock", None, &detail).by(Actor::Command);
                self.insert_event(&mut tx, &event).await?;
                tx.commit().await?;
                Ok(before)
            })
            .await
    }

    async fn expire(&self, app: &AppId, limit: usize) -> Result<Expired, StoreError> {
        // Usually nothing is due. What is decided here blocks no writer, and only what it has counted is erased.
        let mut db = self.db.reader(Limit::Bulk).await?;
        let now = row::millis(self.now(&mut db).await?);
        let Some(rule) = Rule::read(&mut db, app).await? else { return Ok(Expired::default()) };
        let due_before = rule.due_before(now);
        let plan = rule.plan(&mut db, app, due_before, now).await?;
        drop(db);
        let is_recent = |new: i64, recorded: i64| new.abs_diff(recorded) < HOLD_UPDATE_MS;
        let is_recorded =
            plan.held == 0 || (is_recent(due_before, rule.held_before) && is_recent(now, rule.held_until));
        if plan.held != rule.held || !is_recorded {
            self.record_hold(app, plan.held, due_before, now).await?;
        }
        if plan.limit == Some(0) || !plan.any {
            return Ok(Expired::default());
        }
        let limit = plan.limit.map_or(limit, |most| limit.min(usize::try_from(most).unwrap_or(limit)));
        let (rule, plan) = (&rule, &plan);
        self.db.transact(Limit::Bulk, |deadline| self.erase_due(app, rule, plan, limit, deadline)).await
    }

    async fn due_by_expiry(&self) -> Result<Vec<AppId>, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let now = self.now(&mut db).await?;
        let sql = "SELECT a.app_id FROM applications a
                   WHERE EXISTS (SELECT 1 FROM details d WHERE d.app_id = a.app_id AND d.expires_at < $1)
                   ORDER BY a.app_id";
        let rows = db.fetch_all(sql, values![now]).await?;
        rows.iter().map(|row| row.app_id("app_id")).collect()
    }

    async fn retentions(&self) -> Result<Vec<RetentionRecord>, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let rows = db
            .fetch_all(
                "SELECT a.app_id, a.retention_s, r.share, r.held, r.held_before, r.held_until, r.held_since
                 FROM applications a LEFT JOIN retention r ON r.app_id = a.app_id
                 WHERE a.retention_s IS NOT NULL OR r.held > 0 ORDER BY a.app_id",
                &[],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(RetentionRecord {
                    app: row.app_id("app_id")?,
                    period: row.get::<Option<i64>>("retention_s")?.map(row::duration),
                    share: share(row)?,
                    hold: hold(row)?,
                })
            })
            .collect()
    }

    async fn confirm_expiry(&self, app: &AppId) -> Result<Option<Hold>, StoreError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut tx = self.db.begin(deadline).await?;
                let confirmed = tx
                    .fetch_optional(
                        "UPDATE retention SET confirmed_before = held_before, confirmed_until = held_until, confirmed = held
                         WHERE app_id = $1 AND held > 0
                           AND (EXISTS (SELECT 1 FROM applications WHERE app_id = $1 AND retention_s IS NOT NULL)
                                OR EXISTS (SELECT 1 FROM details d WHERE d.app_id = $1 AND d.expires_at < held_until))
                         RETURNING held, held_before, held_until, held_since",
                        values![app],
                    )
                    .await?;
                let Some(hold) = confirmed.as_ref().map(hold).transpose()?.flatten() else {
                    tx.rollback().await?;
                    return Ok(None);
                };
                tx.execute("UPDATE retention SET held = 0 WHERE app_id = $1", values![app]).await?;
                let at = self.now(&mut tx).await?;
                let before = rfc3339(hold.enrolled_before);
                let expiry = rfc3339(hold.expire_before);
                let detail = format!(
                    "confirmed: {} templates enrolled before {before}, or that expire before {expiry}",
                    hold.templates
                );
                let event = OutboxEvent::new(at, "retention confirm", Some(app), &detail).by(Actor::Command);
                self.insert_event(&mut tx, &event).await?;
                tx.commit().await?;
                Ok(Some(hold))
            })
            .await
    }

    async fn set_expiry_share(&self, app: &AppId, percent: Option<u64>) -> Result<bool, StoreError> {
        let percent = percent.and_then(|percent| i64::try_from(percent).ok());
        let sql = "INSERT INTO retention (app_id, share) SELECT app_id, $2 FROM applications WHERE app_id = $1
                   ON CONFLICT (app_id) DO UPDATE SET share = excluded.share";
        self.update(sql, values![app, percent]).await
    }
}

impl SqlStore {
    async fn clock_reading(&self, db: &mut impl Executor) -> Result<ClockReading, StoreError> {
        Ok(ClockReading {
            seen: meta_time(db, CLOCK_SEEN).await?,
            confirmed: meta_time(db, CLOCK_CONFIRMED).await?,
            is_servers: matches!(db.connection(), Connection::Postgres(_)),
            // Last, so that it is as new as possible.
            now: row::time(row::millis(self.now(db).await?)),
        })
    }

    async fn record_hold(&self, app: &AppId, held: i64, before: i64, now: i64) -> Result<(), StoreError> {
        let sql = "INSERT INTO retention (app_id, held, held_before, held_until, held_since)
             SELECT app_id, $2, $3, $4, $4 FROM applications WHERE app_id = $1
             ON CONFLICT (app_id) DO UPDATE
                 SET held = excluded.held, held_before = excluded.held_before, held_until = excluded.held_until,
                     held_since = CASE WHEN retention.held > 0 THEN retention.held_since ELSE excluded.held_since END";
        self.update(sql, values![app, held, before, now]).await.map(drop)
    }

    /// Erases what a plan allows, and counts it.
    async fn erase_due(
        &self,
        app: &AppId,
        rule: &Rule,
        plan: &Plan,
        limit: usize,
        deadline: Deadline,
    ) -> Result<Expired, StoreError> {
        let mut write = match self.begin_write(app, deadline).await {
            Err(StoreError::NoSuchApp) => return Ok(Expired::default()),
            begun => begun?,
        };
        // A period that was changed meanwhile is in force at once.
        if Rule::read(&mut write.tx, app).await?.is_none_or(|now| now.period_s != rule.period_s) {
            write.rollback().await?;
            return Ok(Expired::default());
        }
        let rows = write
            .tx
            .fetch_all(
                "SELECT template_id, created_at FROM templates WHERE app_id = $1 AND created_at < $2
                 ORDER BY created_at, template_id LIMIT $3",
                values![app, plan.erase_before, limit],
            )
            .await?;
        let (mut expired, mut confirmed) = (Expired::default(), 0_i64);
        for row in &rows {
            write.expire(&row.template_id("template_id")?, &ErasureReason::RETENTION, &mut expired).await?;
            confirmed += i64::from(row.get::<i64>("created_at")? < rule.confirmed_before);
        }
        let rows = write
            .tx
            .fetch_all(
                "SELECT d.template_id, d.expires_at FROM details d
                 JOIN templates t ON t.app_id = d.app_id AND t.template_id = d.template_id
                 WHERE d.app_id = $1 AND d.expires_at < $2 AND t.created_at >= $3
                 ORDER BY d.expires_at, d.template_id LIMIT $4",
                values![app, plan.erase_until, plan.erase_before, limit.saturating_sub(rows.len())],
            )
            .await?;
        for row in &rows {
            write.expire(&row.template_id("template_id")?, &ErasureReason::EXPIRY, &mut expired).await?;
            confirmed += i64::from(row.get::<i64>("expires_at")? < rule.confirmed_until);
        }
        let counted = i64::try_from(expired.erased).unwrap_or(i64::MAX) - confirmed;
        let hour = row::millis(write.now) / HOUR_MS;
        if counted > 0 {
            write
                .tx
                .execute(
                    "INSERT INTO expired (app_id, hour, templates) VALUES ($1, $2, $3)
                     ON CONFLICT (app_id, hour) DO UPDATE SET templates = expired.templates + excluded.templates",
                    values![app, hour, counted],
                )
                .await?;
            let sql = "DELETE FROM expired WHERE app_id = $1 AND hour <= $2";
            write.tx.execute(sql, values![app, hour - BUDGET_HOURS]).await?;
        }
        if confirmed > 0 {
            let sql = "UPDATE retention SET confirmed = CASE WHEN confirmed > $2 THEN confirmed - $2 ELSE 0 END
                       WHERE app_id = $1";
            write.tx.execute(sql, values![app, confirmed]).await?;
        }
        write.commit().await?;
        Ok(expired)
    }
}

impl GalleryWrite<'_> {
    async fn expire(
        &mut self,
        template: &TemplateId,
        reason: &ErasureReason,
        expired: &mut Expired,
    ) -> Result<(), StoreError> {
        self.erase(template, reason).await?;
        expired.revision = Some(self.append_change(template).await?);
        expired.erased += 1;
        Ok(())
    }
}

/// The retention of an application.
struct Rule {
    /// `None`: only templates with an expiry of their own expire.
    period_s: Option<i64>,
    share: u64,
    held: i64,
    held_before: i64,
    held_until: i64,
    /// Templates enrolled before this time may be erased without the budget; zero without a confirmation.
    confirmed_before: i64,
    /// Templates that expire before this time, likewise.
    confirmed_until: i64,
    /// How many.
    confirmed: i64,
}

/// What may be erased now.
struct Plan {
    /// Templates enrolled before this time ...
    erase_before: i64,
    /// ... and templates whose own expiry is before this time.
    erase_until: i64,
    /// At most so many; `None`: all of them.
    limit: Option<i64>,
    /// Whether there are any.
    any: bool,
    /// Templates that are due and not to be erased.
    held: i64,
}

impl Rule {
    /// `None` when the application does not exist.
    async fn read(db: &mut impl Executor, app: &AppId) -> Result<Option<Self>, StoreError> {
        let row = db
            .fetch_optional(
                "SELECT a.retention_s, r.share, r.held, r.held_before, r.held_until, r.confirmed_before,
                        r.confirmed_until, r.confirmed
                 FROM applications a LEFT JOIN retention r ON r.app_id = a.app_id WHERE a.app_id = $1",
                values![app],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let number = |column| Ok::<_, StoreError>(row.get::<Option<i64>>(column)?.unwrap_or(0));
        let confirmed = number("confirmed")?;
        Ok(Some(Self {
            period_s: row.get("retention_s")?,
            share: share(&row)?,
            held: number("held")?,
            held_before: number("held_before")?,
            held_until: number("held_until")?,
            confirmed_before: if confirmed > 0 { number("confirmed_before")? } else { 0 },
            confirmed_until: if confirmed > 0 { number("confirmed_until")? } else { 0 },
            confirmed,
        }))
    }

    /// Templates enrolled before this time are due; zero without a retention period.
    fn due_before(&self, now: i64) -> i64 {
        self.period_s.map_or(0, |period_s| now.saturating_sub(period_s.saturating_mul(1000)))
    }

    async fn plan(&self, db: &mut impl Executor, app: &AppId, due_before: i64, now: i64) -> Result<Plan, StoreError> {
        let sql = "SELECT created_at FROM templates WHERE app_id = $1 AND created_at < $2 ORDER BY created_at LIMIT 1";
        let oldest = db.fetch_optional(sql, values![app, due_before]).await?;
        let oldest = oldest.map(|row| row.get::<i64>("created_at")).transpose()?;
        let sql = "SELECT expires_at FROM details WHERE app_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT 1";
        let earliest = db.fetch_optional(sql, values![app, now]).await?;
        let earliest = earliest.map(|row| row.get::<i64>("expires_at")).transpose()?;
        if oldest.or(earliest).is_none() {
            return Ok(Plan { erase_before: due_before, erase_until: now, limit: Some(0), any: false, held: 0 });
        }
        let sql =
            "SELECT count(*) AS templates FROM templates WHERE app_id = $1 AND created_at >= $2 AND created_at < $3";
        let by_period =
            db.fetch_one(sql, values![app, self.confirmed_before, due_before]).await?.get::<i64>("templates")?;
        let sql = "SELECT count(*) AS templates FROM details d
                   JOIN templates t ON t.app_id = d.app_id AND t.template_id = d.template_id
                   WHERE d.app_id = $1 AND d.expires_at >= $2 AND d.expires_at < $3 AND t.created_at >= $4";
        let by_expiry = db.fetch_one(sql, values![app, self.confirmed_until, now, due_before]).await?;
        let due = by_period.saturating_add(by_expiry.get("templates")?);
        if due == 0 || self.is_within_budget(db, app, due, now).await? {
            return Ok(Plan { erase_before: due_before, erase_until: now, limit: None, any: true, held: 0 });
        }
        let erase_before = self.confirmed_before.min(due_before);
        let erase_until = self.confirmed_until.min(now);
        let any = oldest.is_some_and(|oldest| oldest < erase_before)
            || earliest.is_some_and(|earliest| earliest < erase_until);
        Ok(Plan { erase_before, erase_until, limit: Some(self.confirmed), any, held: due })
    }

    /// Whether so many templates more may expire within the day.
    async fn is_within_budget(
        &self,
        db: &mut impl Executor,
        app: &AppId,
        due: i64,
        now: i64,
    ) -> Result<bool, StoreError> {
        let sql = "SELECT CAST(coalesce(sum(templates), 0) AS BIGINT) AS templates FROM expired
                   WHERE app_id = $1 AND hour > $2";
        let first_hour = now / HOUR_MS - BUDGET_HOURS;
        let expired = db.fetch_one(sql, values![app, first_hour]).await?.get::<i64>("templates")?;
        let total = u64::try_from(expired.saturating_add(due)).unwrap_or(u64::MAX);
        if total <= MIN_BUDGET {
            return Ok(true);
        }
        // The gallery has been as large as it is and what has expired. It is counted only as far as necessary.
        let gallery = total.saturating_mul(100).div_ceil(self.share.max(1));
        let needed = i64::try_from(gallery).unwrap_or(i64::MAX).saturating_sub(expired).max(0);
        let sql = "SELECT count(*) AS templates FROM
                       (SELECT 1 AS one FROM templates WHERE app_id = $1 AND created_at >= $2 LIMIT $3) AS counted";
        let found = db.fetch_one(sql, values![app, self.confirmed_before, needed]).await?.get::<i64>("templates")?;
        Ok(found >= needed)
    }
}

fn share(row: &DbRow) -> Result<u64, StoreError> {
    let share = row.get::<Option<i64>>("share")?;
    Ok(share.and_then(|share| u64::try_from(share).ok()).unwrap_or(DEFAULT_SHARE))
}

fn hold(row: &DbRow) -> Result<Option<Hold>, StoreError> {
    let held = row.get::<Option<i64>>("held")?.and_then(|held| u64::try_from(held).ok()).filter(|held| *held > 0);
    let Some(templates) = held else { return Ok(None) };
    Ok(Some(Hold {
        templates,
        enrolled_before: row.time("held_before")?,
        expire_before: row.time("held_until")?,
        since: row.time("held_since")?,
    }))
}

async fn meta_time(db: &mut impl Executor, name: &str) -> Result<Option<SystemTime>, StoreError> {
    let row = db.fetch_optional("SELECT value FROM meta WHERE name = $1", values![name]).await?;
    let Some(row) = row else { return Ok(None) };
    let value: &[u8] = row.get("value")?;
    let millis = value.try_into().map(i64::from_be_bytes).map_err(|_| row::corrupt("value"))?;
    Ok(Some(row::time(millis)))
}

async fn set_meta_time(db: &mut impl Executor, name: &str, time: SystemTime) -> Result<(), StoreError> {
    db.execute(SET_META, values![name, row::millis(time).to_be_bytes().as_slice()]).await.map(drop)
}
