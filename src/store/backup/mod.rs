//! Backups: the whole database at one moment, independent of the kind of database.
//!
//! [`BackupStore::read_all`] passes on the rows of all tables as records, [`BackupStore::write_all`] fills an empty
//! database with them. Between the two is a sealed file ([`BackupWriter`], [`BackupFile`]), or nothing: a copy from one
//! database to another. Samples stay sealed as they are, so both sides need the same sealing keys.

mod error;
mod file;
mod record;
mod tables;

use std::collections::BTreeMap;

use async_trait::async_trait;
pub use error::BackupError;
pub(in crate::store) use file::new_file_key;
pub use file::{BackupFile, BackupHeader, BackupReader, BackupWriter};
pub use record::{Cell, Record, TableRecord};
use tables::LEFT_OUT;
pub(in crate::store) use tables::{BATCH_ROWS, Column, Fallback, Kind, LOCAL_META, STATEMENTS, TABLES};
use uuid::Uuid;

use super::key::{Key, KeyId};
use super::seal::Sealer;
use crate::domain::random_uuid;

/// The number of rows of each table.
pub type RowCounts = BTreeMap<String, u64>;

/// What a backup is of.
#[derive(Debug)]
pub struct About {
    /// The id of the backup.
    pub id: Uuid,
    /// The id of the database.
    pub database: Uuid,
    /// When its state was read (RFC 3339, UTC).
    pub created_at: String,
    /// The newest migration of the database.
    pub schema: i64,
    /// The sealing keys that are needed to restore it, the active one first.
    pub keys: Vec<KeyId>,
    /// The key of its file.
    pub(super) file_key: Key,
    /// That key, sealed under the active sealing key.
    pub(super) sealed_file_key: Vec<u8>,
}

impl About {
    /// A backup that is sealed under a key and needs no other, without a database.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn under(key: &Key, database: Uuid, created_at: String) -> Result<Self, BackupError> {
        let id = random_uuid();
        let (file_key, sealed_file_key) = new_file_key(&Sealer::new(key), id)?;
        Ok(Self { id, database, created_at, schema: 0, keys: vec![key.id()], file_key, sealed_file_key })
    }
}

/// Takes the records of a database.
pub trait BackupSink: Send {
    /// Called once, before the first record.
    ///
    /// # Errors
    /// Ends the backup.
    fn begin(&mut self, about: &About) -> Result<(), BackupError>;

    /// Called for each record; the last one is [`Record::End`].
    ///
    /// # Errors
    /// Ends the backup.
    fn record(&mut self, record: Record) -> Result<(), BackupError>;
}

/// Returns the records of a backup.
#[async_trait]
pub trait RecordSource: Send {
    /// The next record; `None` after [`Record::End`].
    async fn next(&mut self) -> Result<Option<Record>, BackupError>;
}

/// Reads and fills whole databases.
#[async_trait]
pub trait BackupStore: Send + Sync {
    /// Passes on the whole database at one moment, while others write. Returns the number of rows.
    async fn read_all(&self, sink: &mut dyn BackupSink) -> Result<RowCounts, BackupError>;

    /// Fills a database without applications, in one transaction: after an error, or when the process is killed, nothing
    /// has changed. Returns the number of rows.
    async fn write_all(&self, source: &mut dyn RecordSource) -> Result<RowCounts, BackupError>;
}

/// The columns that a backup holds, by table.
pub fn held_columns() -> BTreeMap<&'static str, Vec<&'static str>> {
    TABLES.iter().map(|table| (table.name, table.columns.iter().map(|column| column.name).collect())).collect()
}

/// What a backup leaves out, each with a reason: a table and its column, or `*`.
pub fn left_out_columns() -> Vec<(&'static str, &'static str)> {
    LEFT_OUT.iter().filter(|(_, _, why)| !why.is_empty()).map(|(table, column, _)| (*table, *column)).collect()
}
