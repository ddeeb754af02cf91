//! SQLite, embedded: one file, one writer, readers beside it (WAL), durable at commit.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use super::open::{KeySource, OpenError, OpenOptions, SEAL_CHECK, classify, migrations};
use super::row;
use super::seal::{Place, Sealer};
use super::sql::{self, sql_store};
use super::{
    AppRecord, AppStore, Changes, InsertError, KeyHash, OnConflict, SampleRecord, Store, StoreError, TemplateRecord,
    TemplateStore,
};
use crate::domain::{AppId, ModelTag, Revision, TemplateId};
use crate::gallery::{Change, IndexedTemplate, Sample};

const MIGRATIONS: [(i64, &str, &str); 1] = [(1, "first", include_str!("../../migrations/sqlite/0001_first.sql"))];

#[derive(Debug)]
pub(super) struct SqliteStore {
    read: SqlitePool,
    /// One connection: SQLite has one writer, and waiting here is fair.
    write: SqlitePool,
    sealer: Sealer,
}

sql_store!(SqliteStore, Sqlite, failed);

/// Opens a database file, made if there is none.
pub(super) async fn open(path: &Path, options: &OpenOptions) -> Result<Store, OpenError> {
    create_private(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // What is deleted is overwritten with zeros, not only forgotten.
        .pragma("secure_delete", "ON")
        .busy_timeout(options.timeout);
    let pool = |most: u32| SqlitePoolOptions::new().max_connections(most).acquire_timeout(options.timeout);
    let write = pool(1).connect_with(connect.clone()).await.map_err(OpenError::connect)?;
    migrations(&MIGRATIONS).run(&write).await.map_err(OpenError::migrate)?;
    let read = pool(options.connections).connect_with(connect.read_only(true)).await.map_err(OpenError::connect)?;
    SqliteStore::unlock(read, write, &options.key).await
}

/// Makes the database file with mode 0600 before SQLite would make it with the user's umask; the
/// files that SQLite puts beside it take its mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// What an error of SQLite means: its primary codes are in <https://sqlite.org/rescode.html>.
fn failed(error: sqlx::Error) -> StoreError {
    /// BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN.
    const AWAY: [i64; 6] = [5, 6, 8, 10, 13, 14];
    let code = error.as_database_error().and_then(|e| e.code()).and_then(|code| code.parse::<i64>().ok());
    classify(error, code.is_some_and(|code| AWAY.contains(&(code & 0xff))))
}
