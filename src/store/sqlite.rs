//! SQLite, embedded: one file, one writer, readers beside it (WAL), durable at commit.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use super::open::{KeySource, OpenError, OpenOptions, SEAL_CHECK, classify, migrations};
use super::row;
use super::seal::{Place, Sealer};
use super::sql::{self, sql_store};
use super::{
    AppRecord, AppStore, Changes, InsertError, Key, KeyHash, OnConflict, SampleRecord, SnapshotId, SnapshotStore,
    Store, StoreError, TemplateRecord, TemplateStore,
};
use crate::domain::{AppId, ModelTag, Revision, TemplateId};
use crate::gallery::{Change, IndexedTemplate, Sample};

const MIGRATIONS: [(i64, &str, &str); 3] = [
    (1, "first", include_str!("../../migrations/sqlite/0001_first.sql")),
    (2, "attributes", include_str!("../../migrations/sqlite/0002_attributes.sql")),
    (3, "snapshots", include_str!("../../migrations/sqlite/0003_snapshots.sql")),
];

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
    open_private(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // What is deleted is overwritten with zeros, not only forgotten.
        .pragma("secure_delete", "ON")
        .busy_timeout(options.timeout);
    // One process at a time: SQLx takes no lock while it migrates SQLite, and two that turn a new file
    // to WAL at once find it locked.
    let turn =
        take_turn(path, options.timeout).await.map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    let pool = |most: u32| SqlitePoolOptions::new().max_connections(most).acquire_timeout(options.timeout);
    let write = pool(1).connect_with(connect.clone()).await.map_err(OpenError::connect)?;
    migrations(&MIGRATIONS).run(&write).await.map_err(OpenError::migrate)?;
    let read = pool(options.connections).connect_with(connect.read_only(true)).await.map_err(OpenError::connect)?;
    let store = SqliteStore::unlock(read, write, &options.key).await;
    drop(turn);
    store
}

/// Waits for the lock on a file beside the database; it is given back when the file is closed.
async fn take_turn(path: &Path, timeout: Duration) -> std::io::Result<File> {
    let file = open_private(&path.with_extension("lock"))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if start.elapsed() < timeout => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(TryLockError::WouldBlock) => return Err(std::io::ErrorKind::TimedOut.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Makes the database file with mode 0600 before SQLite would make it with the user's umask; the
/// files that SQLite puts beside it take its mode.
fn open_private(path: &Path) -> std::io::Result<File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// What an error of SQLite means: its primary codes are in <https://sqlite.org/rescode.html>.
fn failed(error: sqlx::Error) -> StoreError {
    /// BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN.
    const AWAY: [i64; 6] = [5, 6, 8, 10, 13, 14];
    let code = error.as_database_error().and_then(|e| e.code()).and_then(|code| code.parse::<i64>().ok());
    classify(error, code.is_some_and(|code| AWAY.contains(&(code & 0xff))))
}
