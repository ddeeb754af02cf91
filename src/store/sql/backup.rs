//! Reads whole databases, and fills empty ones.

use std::collections::HashSet;

use async_trait::async_trait;

use super::app_keys::adopt_keys;
use super::executor::{DbRow, Executor, Limit, Tx, Value, values};
use super::row;
use super::sql_store::SqlStore;
use crate::domain::{random_uuid, rfc3339};
use crate::store::backup::{
    About, BATCH_ROWS, BackupError, BackupSink, BackupStore, Cell, Column, Fallback, Kind, LOCAL_META, Record,
    RecordSource, RowCounts, STATEMENTS, TABLES, TableRecord, new_file_key,
};
use crate::store::error::StoreError;
use crate::store::key::KeyId;
use crate::store::keyring::{DATABASE_ID, JOURNAL_KEY, SEAL_CHECK};
use crate::store::seal::sealed_under;

#[async_trait]
impl BackupStore for SqlStore {
    async fn read_all(&self, sink: &mut dyn BackupSink) -> Result<RowCounts, BackupError> {
        let mut tx = self.db.begin_snapshot().await?;
        let about = self.about(&mut tx).await?;
        sink.begin(&about)?;
        let mut counts = RowCounts::new();
        for (table, statements) in TABLES.iter().zip(STATEMENTS.iter()) {
            sink.record(Record::Table(TableRecord {
                name: table.name.to_owned(),
                columns: table.columns.iter().map(|column| column.name.to_owned()).collect(),
                optional_columns: Vec::new(),
                optional: false,
            }))?;
            let (mut count, mut failed) = (0, None);
            let read = tx
                .for_each_row(&statements.select, &[], |row| {
                    let cells = table.columns.iter().map(|column| cell(&row, column)).collect::<Result<Vec<_>, _>>()?;
                    if table.name == "meta" && is_local(&cells) {
                        return Ok(());
                    }
                    count += 1;
                    sink.record(Record::Row(cells)).map_err(|error| {
                        failed = Some(error);
                        StoreError::Corrupt("the backup is stopped".to_owned())
                    })
                })
                .await;
            if let Some(error) = failed {
                return Err(error);
            }
            read?;
            counts.insert(table.name.to_owned(), count);
        }
        sink.record(Record::End(counts.clone()))?;
        tx.rollback().await?;
        Ok(counts)
    }

    async fn write_all(&self, source: &mut dyn RecordSource) -> Result<RowCounts, BackupError> {
        let mut tx = self.db.begin(self.db.deadline(Limit::Unbounded)).await?;
        tx.lift_statement_timeout().await?;
        tx.lock_galleries().await?;
        // SQLite does not let a transaction write that has begun by reading.
        tx.execute("UPDATE meta SET value = value WHERE name = $1", values![SEAL_CHECK]).await?;
        if tx.fetch_optional("SELECT app_id FROM applications LIMIT 1", &[]).await?.is_some() {
            return Err(BackupError::NotEmpty);
        }
        let mut filling = Filling::default();
        let counts = loop {
            match source.next().await?.ok_or(BackupError::CutOff)? {
                Record::Table(table) => filling.begin(&mut tx, &table).await?,
                Record::Row(cells) => filling.row(&mut tx, cells).await?,
                Record::End(counts) => break counts,
            }
        };
        filling.flush(&mut tx).await?;
        if filling.counts.iter().any(|(table, count)| counts.get(table) != Some(count)) {
            return Err(BackupError::Damaged);
        }
        adopt_keys(&mut tx).await?;
        begin_history(&mut tx).await?;
        tx.commit().await?;
        Ok(counts)
    }
}

impl SqlStore {
    async fn about(&self, tx: &mut Tx) -> Result<About, BackupError> {
        // The first read: it sets the moment whose state is read.
        let check = meta(tx, SEAL_CHECK).await?;
        let created_at = rfc3339(self.clock.now());
        let journal_key = meta(tx, JOURNAL_KEY).await?;
        let active = self.keys.active_sealer(&check).map_err(StoreError::from)?;
        let mut keys = vec![active.key_id(), sealed_under(&journal_key).map_err(StoreError::from)?];
        // The id of a key follows the byte of the format (see `seal.rs`).
        let sql = "SELECT substr(coalesce(data_key, sealed), 2, 4) AS id FROM samples
                   UNION SELECT substr(data_key, 2, 4) FROM details
                   UNION SELECT substr(data_key, 2, 4) FROM idempotency";
        for row in tx.fetch_all(sql, &[]).await? {
            let id: &[u8] = row.get("id")?;
            keys.push(KeyId(id.try_into().map_err(|_| row::corrupt("the id of a sealing key"))?));
        }
        let mut seen = HashSet::new();
        keys.retain(|key| seen.insert(*key));
        let schema = tx.fetch_one("SELECT max(version) AS version FROM _sqlx_migrations", &[]).await?;
        let database = meta(tx, DATABASE_ID).await?;
        let id = random_uuid();
        let (file_key, sealed_file_key) = new_file_key(&active, id)?;
        Ok(About {
            id,
            database: database.as_slice().try_into().map(uuid::Uuid::from_bytes).map_err(|_| row::corrupt("meta"))?,
            created_at,
            schema: schema.get("version")?,
            keys,
            file_key,
            sealed_file_key,
        })
    }
}

async fn meta(tx: &mut Tx, name: &str) -> Result<Vec<u8>, StoreError> {
    tx.fetch_one("SELECT value FROM meta WHERE name = $1", values![name]).await?.get("value")
}

/// Whether a row of `meta` is about this database file alone.
fn is_local(cells: &[Cell]) -> bool {
    matches!(cells, [Cell::Text(name), ..] if LOCAL_META.contains(&name.as_str()))
}

fn cell(row: &DbRow, column: &Column) -> Result<Cell, StoreError> {
    let cell = match column.kind {
        Kind::Text => row.get::<Option<String>>(column.name)?.map(Cell::Text),
        Kind::Bytes => row.get::<Option<Vec<u8>>>(column.name)?.map(Cell::Bytes),
        Kind::Integer => row.get::<Option<i64>>(column.name)?.map(Cell::Integer),
        Kind::Real => row.get::<Option<f64>>(column.name)?.map(Cell::Real),
        Kind::Boolean => row.get::<Option<bool>>(column.name)?.map(Cell::Boolean),
    };
    Ok(cell.unwrap_or(Cell::Null))
}

/// A database that is being filled.
#[derive(Default)]
struct Filling {
    /// The present table: its place in [`TABLES`], and for each of its columns the place of its value in a row.
    table: Option<(usize, Vec<Option<usize>>)>,
    /// The number of values of a row.
    width: usize,
    /// Rows of the present table that are not written yet.
    rows: Vec<Vec<Cell>>,
    counts: RowCounts,
}

impl Filling {
    async fn begin(&mut self, tx: &mut Tx, record: &TableRecord) -> Result<(), BackupError> {
        self.flush(tx).await?;
        self.width = record.columns.len();
        let Some((at, table)) = TABLES.iter().enumerate().find(|(_, table)| table.name == record.name) else {
            self.table = None;
            let newer = || BackupError::Newer(format!("the table {}", record.name));
            return if record.optional { Ok(()) } else { Err(newer()) };
        };
        let known = |name: &String| table.columns.iter().any(|column| column.name == name.as_str());
        let unknown = record.columns.iter().find(|name| !known(name) && !record.optional_columns.contains(name));
        if let Some(name) = unknown {
            return Err(BackupError::Newer(format!("the column {}.{name}", record.name)));
        }
        let place = |column: &Column| record.columns.iter().position(|name| name == column.name);
        self.table = Some((at, table.columns.iter().map(place).collect()));
        self.counts.insert(record.name.clone(), 0);
        Ok(())
    }

    async fn row(&mut self, tx: &mut Tx, cells: Vec<Cell>) -> Result<(), BackupError> {
        if cells.len() != self.width {
            return Err(BackupError::Damaged);
        }
        let Some((at, _)) = &self.table else { return Ok(()) };
        let table = TABLES.get(*at).ok_or(BackupError::Damaged)?;
        if let Some(count) = self.counts.get_mut(table.name) {
            *count += 1;
        }
        self.rows.push(cells);
        if self.rows.len() == BATCH_ROWS { self.flush(tx).await } else { Ok(()) }
    }

    async fn flush(&mut self, tx: &mut Tx) -> Result<(), BackupError> {
        let rows = std::mem::take(&mut self.rows);
        let Some((at, places)) = &self.table else { return Ok(()) };
        let (Some(table), Some(statements)) = (TABLES.get(*at), STATEMENTS.get(*at)) else { return Ok(()) };
        let per_statement = if rows.len() == BATCH_ROWS { BATCH_ROWS } else { 1 };
        let sql = if per_statement == 1 { &statements.insert_one } else { &statements.insert_batch };
        for rows in rows.chunks(per_statement) {
            let mut values = Vec::with_capacity(rows.len() * places.len());
            for row in rows {
                for (column, place) in table.columns.iter().zip(places) {
                    values.push(value(column, place.and_then(|at| row.get(at)))?);
                }
            }
            tx.execute(sql, &values).await?;
        }
        Ok(())
    }
}

/// The value of a column, of the column's type.
fn value<'a>(column: &Column, cell: Option<&'a Cell>) -> Result<Value<'a>, BackupError> {
    Ok(match (column.kind, cell) {
        (Kind::Text, Some(Cell::Text(text))) => Value::Text(Some(text)),
        (Kind::Bytes, Some(Cell::Bytes(bytes))) => Value::Bytes(Some(bytes)),
        (Kind::Integer, Some(Cell::Integer(number))) => Value::Integer(Some(*number)),
        (Kind::Real, Some(Cell::Real(number))) => Value::Real(Some(*number)),
        (Kind::Boolean, Some(Cell::Boolean(boolean))) => Value::Boolean(*boolean),
        (kind, None | Some(Cell::Null)) => match (column.default, kind) {
            (Fallback::Text(text), _) => Value::Text(Some(text)),
            (Fallback::Integer(integer), _) => Value::Integer(Some(integer)),
            (Fallback::Boolean(boolean), _) => Value::Boolean(boolean),
            (Fallback::Zero, _) => Value::Integer(Some(0)),
            (Fallback::Null, Kind::Text) => Value::Text(None),
            (Fallback::Null, Kind::Bytes) => Value::Bytes(None),
            (Fallback::Null, Kind::Integer) => Value::Integer(None),
            (Fallback::Null, Kind::Real) => Value::Real(None),
            (Fallback::Null, Kind::Boolean) => return Err(BackupError::Damaged),
        },
        _ => return Err(BackupError::Damaged),
    })
}

/// Begins another history of each gallery: a node that followed the database that the backup was made of, or an earlier
/// restore of the same backup, sees another tag at the same revision, or a revision that it is ahead of.
async fn begin_history(tx: &mut Tx) -> Result<(), StoreError> {
    let rows = tx
        .fetch_all(
            "SELECT a.app_id, a.revision, c.template_id FROM applications a
             LEFT JOIN changes c ON c.app_id = a.app_id AND c.revision = a.revision
             WHERE a.revision > 0",
            &[],
        )
        .await?;
    for row in &rows {
        let app: &str = row.get("app_id")?;
        let next = row.get::<i64>("revision")?.saturating_add(1);
        // A change carries the template's present state, so any id will do.
        let template: Option<&str> = row.get("template_id")?;
        tx.execute(
            "INSERT INTO changes (app_id, revision, template_id, tag) VALUES ($1, $2, $3, $4)",
            values![app, next, template.unwrap_or("restored"), row::random_tag()],
        )
        .await?;
        tx.execute("UPDATE applications SET revision = $2 WHERE app_id = $1", values![app, next]).await?;
    }
    Ok(())
}
