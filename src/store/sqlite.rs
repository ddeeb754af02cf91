//! SQLite, embedded: one file, one writer, readers beside it (WAL), durable at commit.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use uuid::Uuid;

use super::keyring::{self, JOURNAL_KEY, Keyring, SEAL_CHECK, SUPERSEDED};
use super::open::{KeySource, OpenError, OpenOptions, classify, migrations};
use super::outbox::LEASE;
use super::row;
use super::scrub::{PendingScrub, WriteTx};
use super::seal::{SampleRef, SealError, Sealer, sealed_under, snapshot_key_aad};
use super::sql::{self, sql_store};
use super::{
    AppRecord, AppStore, Changes, Claim, ErasureReason, GalleryPosition, HintStore, InsertError, Key, KeyHash, KeyId,
    KeyStatus, KeyStore, NodePosition, OnConflict, OutboxEvent, OutboxStore, PreviousKey, Resealed, SampleCursor,
    SampleRecord, Scrubber, SnapshotId, SnapshotStore, Store, StoreError, TemplatePage, TemplateRecord, TemplateStore,
};
use crate::domain::{AppId, EnrollRules, Guard, JournalPosition, ModelTag, Revision, TemplateId};
use crate::gallery::{Change, IndexedTemplate, Sample};

const MIGRATIONS: [(i64, &str, &str); 8] = [
    (1, "first", include_str!("../../migrations/sqlite/0001_first.sql")),
    (2, "attributes", include_str!("../../migrations/sqlite/0002_attributes.sql")),
    (3, "snapshots", include_str!("../../migrations/sqlite/0003_snapshots.sql")),
    (4, "data keys", include_str!("../../migrations/sqlite/0004_data_keys.sql")),
    (5, "periods", include_str!("../../migrations/sqlite/0005_periods.sql")),
    (6, "outbox", include_str!("../../migrations/sqlite/0006_outbox.sql")),
    (7, "tags", include_str!("../../migrations/sqlite/0007_tags.sql")),
    (8, "enrollment", include_str!("../../migrations/sqlite/0008_enrollment.sql")),
];

/// There is one writer at a time anyway.
const HOLD_WRITERS: Option<&str> = None;

/// No statement has a limit.
const NO_STATEMENT_TIMEOUT: Option<&str> = None;

/// Nobody could hear it.
const NOTIFY: Option<&str> = None;

/// Rows that SQLite reads ahead of the one that is looked at.
const PREFETCH_ROWS: usize = 1024;

#[derive(Debug)]
pub(super) struct SqliteStore {
    read: SqlitePool,
    /// One connection: SQLite has one writer, and waiting here is fair.
    write: SqlitePool,
    keys: Keyring,
    pending_scrub: PendingScrub,
    /// Whose journal tells of what is put down here, if this process has one.
    node: OnceLock<Uuid>,
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
        // A gallery is read while its rows are opened; with room between the two, neither waits for each row.
        .row_buffer_size(PREFETCH_ROWS)
        .busy_timeout(options.timeout);
    // One process at a time: SQLx takes no lock while it migrates SQLite, and two that turn a new file
    // to WAL at once find it locked.
    let turn =
        take_turn(path, options.timeout).await.map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    let pool = |most: u32| {
        SqlitePoolOptions::new()
            .max_connections(most)
            .acquire_timeout(options.timeout)
            // Where a COMMIT fails (a full disk), SQLx goes on counting a transaction that SQLite has ended, and
            // the next ones would be parts of one that never commits. Such a connection is closed.
            .after_release(|connection, _| {
                Box::pin(async move {
                    connection.ping().await?; // a rollback that was asked for has run then
                    Ok(!connection.is_in_transaction())
                })
            })
    };
    let write = pool(1).connect_with(connect.clone()).await.map_err(OpenError::connect)?;
    migrations(&MIGRATIONS).run(&write).await.map_err(OpenError::migrate)?;
    let read = pool(options.connections).connect_with(connect.read_only(true)).await.map_err(OpenError::connect)?;
    let store = SqliteStore::unlock(read, write, &options.key, NoNotifier).await;
    drop(turn);
    store
}

/// How long the emptying of the log waits for readers of it before it gives up until the next time;
/// writers wait meanwhile.
const SCRUB_WAIT: Duration = Duration::from_millis(200);

/// An empty log costs two writes to the disk.
const SCRUB_EVERY: Duration = Duration::from_secs(1);

#[async_trait]
impl Scrubber for SqliteStore {
    async fn scrub(&self) -> Result<bool, StoreError> {
        let Some(clearing) = self.pending_scrub.clearing() else { return Ok(true) };
        // On a connection of its own, for its own patience. Deleted rows were overwritten in their pages
        // (secure_delete); the log may have older copies of these pages until it is cut off.
        let options = SqliteConnectOptions::clone(&self.write.connect_options()).busy_timeout(SCRUB_WAIT);
        let emptied = async {
            let mut connection = options.connect().await?;
            let (busy,): (i64,) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await?;
            connection.close().await?;
            Ok(busy == 0)
        };
        let emptied = emptied.await.map_err(failed)?;
        if emptied {
            clearing.disarm();
        }
        Ok(emptied)
    }

    fn mark_pending(&self) {
        self.pending_scrub.note();
    }

    fn interval(&self) -> Duration {
        SCRUB_EVERY
    }
}

/// One process serves a file; what commands write into it is polled for.
struct NoNotifier;

#[async_trait]
impl HintStore for NoNotifier {
    async fn changed(&self) -> Result<(), StoreError> {
        std::future::pending().await
    }
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
    /// BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL.
    const AWAY: [i64; 8] = [5, 6, 7, 8, 10, 13, 14, 15];
    let code = error.as_database_error().and_then(|e| e.code()).and_then(|code| code.parse::<i64>().ok());
    classify(error, code.is_some_and(|code| AWAY.contains(&(code & 0xff))))
}
