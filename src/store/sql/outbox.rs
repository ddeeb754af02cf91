//! The outbox, and how far the journals reach.

use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use uuid::Uuid;

use super::executor::{DbRow, Executor, Limit, values};
use super::row::{self, corrupt};
use super::sql_store::SqlStore;
use crate::domain::{JournalPosition, SampleId, random_uuid};
use crate::store::error::StoreError;
use crate::store::outbox::{Claim, NodePosition, OutboxBacklog, OutboxEvent, OutboxStore};

#[async_trait]
impl OutboxStore for SqlStore {
    fn register_node(&self, node: Uuid) {
        let _ = self.node.set(node);
    }

    async fn enqueue(&self, event: &OutboxEvent) -> Result<(), StoreError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut db = self.db.writer_within(deadline).await?;
                let at = self.now(&mut db).await?;
                self.insert_event(&mut db, &OutboxEvent { at, ..event.clone() }).await
            })
            .await
    }

    async fn claim(&self, node: Uuid, lease: Duration, limit: usize) -> Result<Claim, StoreError> {
        let id = random_uuid();
        // The outbox is usually empty, and this read blocks no writer.
        let mut db = self.db.reader(Limit::Bulk).await?;
        let is_empty = db.fetch_optional("SELECT happened_at FROM outbox LIMIT 1", &[]).await?.is_none();
        drop(db);
        if is_empty {
            return Ok(Claim { id, events: Vec::new() });
        }
        let mut db = self.db.writer(Limit::Bulk).await?;
        let now = self.now(&mut db).await?;
        // The condition is repeated: of two nodes that choose the same rows, the second waits, and then checks again.
        let rows = db
            .fetch_all(
                "UPDATE outbox SET node = $1, claim = $2, claimed_until = $3
                 WHERE notice_id IN (
                     SELECT notice_id FROM outbox WHERE node IS NULL OR node = $1 OR claimed_until < $4
                     ORDER BY happened_at, notice_id LIMIT $5
                 ) AND (node IS NULL OR node = $1 OR claimed_until < $4)
                 RETURNING notice_id, happened_at, operation, transaction_id, app_id, template_id, revision, detail,
                           actor, sample_id, key_id, changed",
                values![&node, &id, now + lease, now, limit],
            )
            .await?;
        let mut events = rows.iter().map(event).collect::<Result<Vec<_>, StoreError>>()?;
        events.sort_by_key(|event| (event.at, event.revision));
        Ok(Claim { id, events })
    }

    async fn contains(&self, event: Uuid) -> Result<bool, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let sql = "SELECT happened_at FROM outbox WHERE notice_id = $1";
        Ok(db.fetch_optional(sql, values![&event]).await?.is_some())
    }

    async fn ack(&self, claim: Uuid) -> Result<(), StoreError> {
        let mut db = self.db.writer(Limit::Bulk).await?;
        db.execute("DELETE FROM outbox WHERE claim = $1", values![&claim]).await?;
        Ok(())
    }

    async fn expire(&self, age: Duration) -> Result<u64, StoreError> {
        let mut db = self.db.writer(Limit::Bulk).await?;
        let before = self.now(&mut db).await?.checked_sub(age).unwrap_or(UNIX_EPOCH);
        db.execute("DELETE FROM outbox WHERE happened_at < $1", values![before]).await
    }

    async fn backlog(&self) -> Result<OutboxBacklog, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let sql = "SELECT count(*) AS events, min(happened_at) AS oldest FROM outbox";
        let row = db.fetch_one(sql, &[]).await?;
        Ok(OutboxBacklog {
            events: u64::try_from(row.get::<i64>("events")?).unwrap_or(0),
            oldest: row.get::<Option<i64>>("oldest")?.map(row::time),
        })
    }

    async fn journal_positions(&self) -> Result<Vec<NodePosition>, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let sql = "SELECT node, last_line, mac, seen_at FROM journals ORDER BY seen_at, node";
        let rows = db.fetch_all(sql, &[]).await?;
        rows.iter().map(position).collect()
    }

    async fn record_position(&self, known: &NodePosition) -> Result<(), StoreError> {
        let mut db = self.db.writer(Limit::Request).await?;
        db.execute(
            "INSERT INTO journals (node, last_line, mac, seen_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (node) DO UPDATE
                 SET last_line = excluded.last_line, mac = excluded.mac, seen_at = excluded.seen_at
                 WHERE journals.last_line < excluded.last_line",
            values![&known.node, known.position.line, &known.position.mac, known.reported_at],
        )
        .await?;
        Ok(())
    }
}

fn event(row: &DbRow) -> Result<OutboxEvent, StoreError> {
    let revision: Option<i64> = row.get("revision")?;
    Ok(OutboxEvent {
        id: row.uuid("notice_id")?,
        at: row.time("happened_at")?,
        operation: row.get("operation")?,
        transaction: row.optional_uuid("transaction_id")?,
        app: row.get("app_id")?,
        template: row.get("template_id")?,
        revision: revision.and_then(|revision| u64::try_from(revision).ok()),
        detail: row.get("detail")?,
        // The kind of a newer version is left out: the line matters more.
        actor: row.get::<Option<&str>>("actor")?.and_then(|actor| actor.parse().ok()),
        sample: row.optional_uuid("sample_id")?.map(SampleId),
        key: row.get("key_id")?,
        changed: row
            .get::<Option<&str>>("changed")?
            .map(|changed| changed.split(',').map(str::to_owned).collect())
            .unwrap_or_default(),
    })
}

fn position(row: &DbRow) -> Result<NodePosition, StoreError> {
    let mac: &[u8] = row.get("mac")?;
    let mac = mac.try_into().map_err(|_| corrupt("mac"))?;
    Ok(NodePosition {
        node: row.uuid("node")?,
        position: JournalPosition { line: row.revision("last_line")?.0, mac },
        reported_at: row.time("seen_at")?,
    })
}
