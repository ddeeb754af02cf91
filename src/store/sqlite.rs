//! SQLite, embedded: one file, one writer, readers beside it (WAL), durable at commit.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use super::config::{OpenMode, OpenOptions};
use super::continuity;
use super::error::{OpenError, StoreError};
use super::migrate::{Pending, migrator, pending};
use super::traits::HintStore;
use crate::domain::stopwatch;

const MIGRATIONS: [(i64, &str, &str); 16] = [
    (1, "first", include_str!("../../migrations/sqlite/0001_first.sql")),
    (2, "attributes", include_str!("../../migrations/sqlite/0002_attributes.sql")),
    (3, "snapshots", include_str!("../../migrations/sqlite/0003_snapshots.sql")),
    (4, "data keys", include_str!("../../migrations/sqlite/0004_data_keys.sql")),
    (5, "periods", include_str!("../../migrations/sqlite/0005_periods.sql")),
    (6, "outbox", include_str!("../../migrations/sqlite/0006_outbox.sql")),
    (7, "tags", include_str!("../../migrations/sqlite/0007_tags.sql")),
    (8, "enrollment", include_str!("../../migrations/sqlite/0008_enrollment.sql")),
    (9, "quotas", include_str!("../../migrations/sqlite/0009_quotas.sql")),
    (10, "retention", include_str!("../../migrations/sqlite/0010_retention.sql")),
    (11, "idempotency", include_str!("../../migrations/sqlite/0011_idempotency.sql")),
    (12, "administration", include_str!("../../migrations/sqlite/0012_administration.sql")),
    (13, "samples", include_str!("../../migrations/sqlite/0013_samples.sql")),
    (14, "app_keys", include_str!("../../migrations/sqlite/0014_app_keys.sql")),
    (15, "people", include_str!("../../migrations/sqlite/0015_people.sql")),
    (16, "review", include_str!("../../migrations/sqlite/0016_review.sql")),
];

/// Rows that SQLite reads ahead of the one that is processed. A gallery is read while its rows are opened; with these
/// between the two, neither waits for each row.
const PREFETCH_ROWS: usize = 1024;

/// How long a scrub waits for readers of the log. Writers wait meanwhile.
const SCRUB_BUSY_TIMEOUT: Duration = Duration::from_millis(200);

/// How often a scrub is worth its price: an empty log costs two writes to the disk.
pub(super) const SCRUB_INTERVAL: Duration = Duration::from_secs(1);

/// How often a process looks whether another one is done with opening the file.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A database file whose schema is up to date.
pub(super) struct Opened {
    pub(super) read: SqlitePool,
    /// One connection: SQLite has one writer.
    pub(super) write: SqlitePool,
    /// Keeps other processes from opening the file until it is dropped.
    pub(super) lock: Option<File>,
    /// Migrations that were applied.
    pub(super) applied: usize,
}

/// Opens a database file. [`OpenMode::Create`] creates it if it does not exist.
pub(super) async fn connect(path: &Path, options: &OpenOptions) -> Result<Opened, OpenError> {
    let file_error = |source| OpenError::File { path: path.to_owned(), source };
    if options.mode != OpenMode::Create && !path.exists() {
        return Err(OpenError::NoFile(path.to_owned()));
    }
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // What is deleted is overwritten with zeros.
        .pragma("secure_delete", "ON")
        // Every checkpoint raises the mark of the file (see `continuity`).
        .pragma("wal_autocheckpoint", "0")
        .row_buffer_size(PREFETCH_ROWS)
        .busy_timeout(options.timeout);
    // One process at a time: SQLx takes no lock while it migrates SQLite, and two processes that switch a new file to
    // WAL at once find it locked.
    let lock = lock(path, options.timeout).await.map_err(file_error)?;
    continuity::check(path).await?;
    open_private(path).map_err(file_error)?;
    let write = pool(1, options.timeout).connect_with(connect.clone()).await.map_err(OpenError::connect)?;
    let pending = pending_migrations(&write).await?;
    if options.mode == OpenMode::Create {
        migrator(&MIGRATIONS).run(&write).await.map_err(OpenError::migrate)?;
    } else {
        pending.check_none()?;
    }
    let mut connection = write.acquire().await.map_err(OpenError::connect)?;
    continuity::begin(&mut connection, path).await.map_err(OpenError::connect)?;
    drop(connection);
    let read = pool(options.connections, options.timeout);
    let read = read.connect_with(connect.read_only(true)).await.map_err(OpenError::connect)?;
    Ok(Opened { read, write, lock: Some(lock), applied: pending.missing })
}

async fn pending_migrations(pool: &SqlitePool) -> Result<Pending, OpenError> {
    let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'";
    let mut connection = pool.acquire().await.map_err(OpenError::connect)?;
    let (tables,): (i64,) = sqlx::query_as(sql).fetch_one(&mut *connection).await.map_err(OpenError::connect)?;
    pending(&mut *connection, &migrator(&MIGRATIONS), tables > 0).await
}

/// Opens an existing database file without changing it or a file beside it.
///
/// While a process has the file open for writing, its log and the log's index exist beside it, and it is read through
/// them. Otherwise SQLite would create both even to read, so the file is opened as immutable, and locked against
/// processes that want to open it for writing.
pub(super) async fn connect_read_only(path: &Path, options: &OpenOptions) -> Result<Opened, OpenError> {
    let file_error = |source| OpenError::File { path: path.to_owned(), source };
    if !path.try_exists().map_err(file_error)? {
        return Err(OpenError::NoFile(path.to_owned()));
    }
    let lock = lock_shared(path, options.timeout).await.map_err(file_error)?;
    continuity::check(path).await?;
    let is_open = path.with_extension("db-wal").try_exists().map_err(file_error)?;
    let connect =
        SqliteConnectOptions::new().filename(path).read_only(true).immutable(!is_open).busy_timeout(options.timeout);
    let read = SqlitePoolOptions::new().max_connections(options.connections).acquire_timeout(options.timeout);
    let read = read.connect_with(connect.row_buffer_size(PREFETCH_ROWS)).await.map_err(OpenError::connect)?;
    pending_migrations(&read).await?.check_none()?;
    Ok(Opened { write: read.clone(), read, lock: lock.filter(|_| !is_open), applied: 0 })
}

fn pool(max_connections: u32, timeout: Duration) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(timeout)
        // Where a COMMIT fails (a full disk), SQLx still counts a transaction that SQLite has ended, and the next ones
        // would be parts of one that never commits. Such a connection is closed.
        .after_release(|connection, _| {
            Box::pin(async move {
                connection.ping().await?; // a rollback that was requested has run then
                Ok(!connection.is_in_transaction())
            })
        })
}

/// Empties the log of writes into the database file, on a connection with a timeout of its own. Deleted rows were
/// overwritten in their pages (`secure_delete`), but the log may hold older copies of these pages until it is
/// truncated. `false` when the log is in use.
pub(super) async fn truncate_log(pool: &SqlitePool) -> Result<bool, StoreError> {
    let options = SqliteConnectOptions::clone(&pool.connect_options()).busy_timeout(SCRUB_BUSY_TIMEOUT);
    let truncated = async {
        let mut connection = options.connect().await?;
        let is_done = continuity::checkpoint(&mut connection, options.get_filename()).await;
        connection.close().await?;
        match is_done {
            Err(error) if is_busy(&error) => Ok(false),
            is_done => is_done,
        }
    };
    truncated.await.map_err(store_error)
}

/// Whether the log is long enough to be written into the file.
pub(super) fn is_log_long(pool: &SqlitePool) -> bool {
    continuity::is_due(pool.connect_options().get_filename())
}

/// Ends the use of a database: its file is complete then.
pub(super) async fn close(read: &SqlitePool, write: &SqlitePool) -> Result<(), StoreError> {
    read.close().await;
    let mut connection = write.acquire().await.map_err(store_error)?;
    let path = write.connect_options();
    let ended = continuity::end(&mut connection, path.get_filename()).await.map_err(store_error);
    drop(connection);
    write.close().await;
    ended
}

fn is_busy(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(code) if [5, 6].contains(&(code & 0xff)))
}

fn code(error: &sqlx::Error) -> Option<i64> {
    error.as_database_error()?.code()?.parse().ok()
}

/// SQLite notifies no other process. One process serves a file; what commands write is polled for.
pub(super) struct NoNotifier;

#[async_trait]
impl HintStore for NoNotifier {
    async fn changed(&self) -> Result<(), StoreError> {
        std::future::pending().await
    }
}

/// Waits for the lock of a file beside the database. Closing the file releases the lock.
async fn lock(path: &Path, timeout: Duration) -> std::io::Result<File> {
    let file = open_private(&path.with_extension("lock"))?;
    wait_for_lock(|| file.try_lock(), timeout).await?;
    Ok(file)
}

/// Waits for a shared lock of the same file; `None` where the file does not exist, as in a copy of the database.
async fn lock_shared(path: &Path, timeout: Duration) -> std::io::Result<Option<File>> {
    let file = match File::open(path.with_extension("lock")) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    wait_for_lock(|| file.try_lock_shared(), timeout).await?;
    Ok(Some(file))
}

async fn wait_for_lock(try_lock: impl Fn() -> Result<(), TryLockError>, timeout: Duration) -> std::io::Result<()> {
    let start = stopwatch();
    loop {
        match try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if start.elapsed() < timeout => {
                tokio::time::sleep(LOCK_POLL_INTERVAL).await;
            }
            Err(TryLockError::WouldBlock) => return Err(std::io::ErrorKind::TimedOut.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Creates the database file with mode 0600 before SQLite creates it with the umask of the user. The files that SQLite
/// adds take its mode.
fn open_private(path: &Path) -> std::io::Result<File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Classifies an error by the primary code of SQLite (<https://sqlite.org/rescode.html>).
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    /// BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL.
    const UNAVAILABLE: [i64; 8] = [5, 6, 7, 8, 10, 13, 14, 15];
    let code = code(&error);
    StoreError::from_sqlx(error, code.is_some_and(|code| UNAVAILABLE.contains(&(code & 0xff))))
}
