//! Notices a database file of SQLite that was exchanged, or lost its write-ahead log.
//!
//! The newest writes are in the log (`-wal`), and SQLite itself does not notice when the file or the log is replaced by an
//! older copy, or the log is removed: it loses rows, or mixes two states, without an error. So the database has a mark, a
//! number that only rises (`user_version`, in the header of the file):
//!
//! - Before a checkpoint the mark is raised, so the file holds it afterwards. After the checkpoint it is raised again,
//!   so a log that follows has a mark that the file lacks, and knows the mark of the file it belongs to (a row of
//!   `meta`). SQLite makes no checkpoints of its own.
//! - The file `semblance.state` beside the database holds the last mark that was on disk: never a newer one.
//! - A server that stops stores its last mark as that of a clean stop. A file without log and state, as a copy is, has to
//!   have it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::error::OpenError;

/// The row of `meta` with the mark that the file had when the present log began.
const LOG_BASE: &str = "sqlite log base";

/// The row of `meta` with the mark of the last clean stop.
const CLEAN_STOP: &str = "sqlite clean stop";

/// The size of the log after which it is written into the file: as many pages as SQLite itself would take.
const MAX_LOG_BYTES: u64 = 1000 * 4096;

/// The first bytes of a database file.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What the marks show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Marks {
    /// The mark of file and log together.
    newest: u32,
    log_base: Option<u32>,
    clean_stop: Option<u32>,
}

fn beside(database: &Path, end: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn log_of(database: &Path) -> PathBuf {
    beside(database, "-wal")
}

fn state_of(database: &Path) -> PathBuf {
    database.with_extension("state")
}

/// Checks a database file before it is opened to write. Only reads.
///
/// # Errors
/// [`OpenError::OlderState`], [`OpenError::MixedState`], [`OpenError::NoLog`] and [`OpenError::Missing`].
pub(super) async fn check(database: &Path) -> Result<(), OpenError> {
    // Marks only rise, also while another process writes. So what has to be lower is read first.
    let state = read_state(database);
    let file_before = file_mark(database);
    let path = || database.to_owned();
    if std::fs::metadata(database).map_or(0, |file| file.len()) == 0 && log_length(database).is_none_or(|log| log == 0)
    {
        return if state.is_some() {
            Err(OpenError::Missing { path: path(), state: state_of(database) })
        } else {
            Ok(())
        };
    }
    let has_log = log_length(database).is_some();
    let marks = read_marks(database, has_log).await?;
    let file_after = file_mark(database);
    let is_older = |file: Option<u32>, than: Option<u32>| file.zip(than).is_some_and(|(file, than)| file < than);
    if is_older(file_after, marks.log_base) || is_older(Some(marks.newest), file_before) {
        return Err(OpenError::MixedState(path()));
    }
    match state {
        Some(state) if marks.newest < state => Err(OpenError::OlderState { path: path(), found: marks.newest, state }),
        Some(_) => Ok(()),
        // Marks begin with 1: versions before had none.
        None if !has_log && marks.newest > 0 && marks.clean_stop != Some(marks.newest) => Err(OpenError::NoLog(path())),
        None => Ok(()),
    }
}

/// Takes a database file as it is, whatever is missing. A file that does not belong to its log is refused even so.
///
/// # Errors
/// [`OpenError::MixedState`], or when the state cannot be written.
pub(super) async fn accept(database: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::File { path: state_of(database), source };
    match check(database).await {
        Err(OpenError::Missing { .. }) => std::fs::remove_file(state_of(database)).map_err(failed),
        Err(OpenError::OlderState { .. } | OpenError::NoLog(_)) => {
            let marks = read_marks(database, log_length(database).is_some()).await?;
            write_state(database, marks.newest).map_err(failed)
        }
        checked => checked,
    }
}

/// Begins the use of a database whose file was checked: from here on the file alone does not pass as complete.
pub(super) async fn begin(connection: &mut SqliteConnection, database: &Path) -> Result<(), sqlx::Error> {
    let marks = marks(connection).await?;
    let is_open = log_length(database).is_some_and(|log| log > 0) && marks.newest > 0;
    // While another process uses it, or after a crash, the log has its mark already.
    if !is_open || marks.clean_stop == Some(marks.newest) {
        checkpoint(connection, database).await?;
    } else if read_state(database).is_none() {
        note_state(database, marks.newest);
    }
    Ok(())
}

/// Writes the log into the file and truncates it. `false` when another connection prevents it.
pub(super) async fn checkpoint(connection: &mut SqliteConnection, database: &Path) -> Result<bool, sqlx::Error> {
    let mark = raise(connection, None).await?;
    note_state(database, mark);
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    let (busy, frames, written): (i64, i64, i64) = sqlx::query_as(sql).fetch_one(&mut *connection).await?;
    // A reader may prevent that the log is truncated after all of it was written. The next writer begins it again then.
    let is_written = busy == 0 || (frames >= 0 && frames == written);
    let next = raise(connection, is_written.then_some((LOG_BASE, mark))).await?;
    note_state(database, next);
    Ok(busy == 0)
}

/// Whether the log is long enough for a checkpoint.
pub(super) fn is_due(database: &Path) -> bool {
    log_length(database).is_some_and(|log| log > MAX_LOG_BYTES)
}

/// Ends the use of a database: writes the log into the file, which is complete then.
pub(super) async fn end(connection: &mut SqliteConnection, database: &Path) -> Result<(), sqlx::Error> {
    let next = marks(connection).await?.newest.saturating_add(1);
    let mark = raise(connection, Some((CLEAN_STOP, next))).await?;
    note_state(database, mark);
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(connection).await?;
    Ok(())
}

/// Raises the mark, and stores a row of `meta` with it. On disk when this returns.
async fn raise(connection: &mut SqliteConnection, row: Option<(&str, u32)>) -> Result<u32, sqlx::Error> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    let (mark,): (u32,) = sqlx::query_as("PRAGMA user_version").fetch_one(&mut *tx).await?;
    let next = mark.saturating_add(1).min(i32::MAX.unsigned_abs());
    sqlx::query(AssertSqlSafe(format!("PRAGMA user_version = {next}"))).execute(&mut *tx).await?;
    if let Some((name, value)) = row {
        let sql = "INSERT INTO meta (name, value) VALUES ($1, $2)
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        sqlx::query(sql).bind(name).bind(value.to_be_bytes().to_vec()).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(next)
}

async fn marks(connection: &mut SqliteConnection) -> Result<Marks, sqlx::Error> {
    let (newest,): (u32,) = sqlx::query_as("PRAGMA user_version").fetch_one(&mut *connection).await?;
    let mut marks = Marks { newest, log_base: None, clean_stop: None };
    if newest == 0 {
        return Ok(marks); // of a version without marks, or without tables
    }
    let sql = "SELECT name, value FROM meta WHERE name IN ($1, $2)";
    let rows: Vec<(String, Vec<u8>)> =
        sqlx::query_as(sql).bind(LOG_BASE).bind(CLEAN_STOP).fetch_all(connection).await?;
    for (name, value) in rows {
        let mark = value.try_into().ok().map(u32::from_be_bytes);
        *(if name == LOG_BASE { &mut marks.log_base } else { &mut marks.clean_stop }) = mark;
    }
    Ok(marks)
}

/// The marks of file and log, read without a change of either.
async fn read_marks(database: &Path, has_log: bool) -> Result<Marks, OpenError> {
    let options = SqliteConnectOptions::new().filename(database).read_only(true).immutable(!has_log);
    let read = async {
        let mut connection = options.connect().await?;
        let marks = marks(&mut connection).await;
        connection.close().await?;
        marks
    };
    read.await.map_err(OpenError::connect)
}

/// The mark in the header of the file itself, without its log.
fn file_mark(database: &Path) -> Option<u32> {
    let mut header = [0; 64];
    File::open(database).ok()?.read_exact(&mut header).ok()?;
    let is_database = header.starts_with(MAGIC);
    header.last_chunk::<4>().map(|mark| u32::from_be_bytes(*mark)).filter(|_| is_database)
}

/// The length of the log; `None` where it does not exist.
fn log_length(database: &Path) -> Option<u64> {
    std::fs::metadata(log_of(database)).ok().map(|log| log.len())
}

/// The last mark that is known to be on disk. A file that cannot be read tells nothing.
fn read_state(database: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(state_of(database)).ok()?;
    text.strip_prefix("mark ")?.get(..10)?.parse().ok()
}

/// Without the state only less is noticed.
fn note_state(database: &Path, mark: u32) {
    if let Err(error) = write_state(database, mark) {
        tracing::warn!(%error, file = %state_of(database).display(), "the state of the database cannot be recorded");
    }
}

/// Overwrites the file in place, with as many bytes as it has: it needs no space on a full disk.
fn write_state(database: &Path, mark: u32) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(state_of(database))?;
    file.write_all(format!("mark {mark:010}\n").as_bytes())?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("a.db");
        assert_eq!(read_state(&database), None);
        for mark in [1, 4_294_967_295, 7] {
            write_state(&database, mark).unwrap();
            assert_eq!(read_state(&database), Some(mark));
        }
        for damaged in ["", "mark ", "mark 00000000", "mark 00000000x1\n", "nothing"] {
            std::fs::write(state_of(&database), damaged).unwrap();
            assert_eq!(read_state(&database), None, "{damaged}");
        }
    }
}
