//! Runs SQL on either database.
//!
//! SQLite and Postgres understand the same statements here (`$n` parameters, RETURNING, ON CONFLICT, row values), so
//! each statement is written once. This file hides what differs: the types of SQLx, the meaning of an error, and the few
//! things that only one of the two does.

use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::Transaction;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool};
use tokio::time::Instant;

use super::value::query;
pub(in crate::store) use super::value::{DbRow, Value, values};
use crate::store::error::StoreError;
use crate::store::postgres::{PgPool, PgSession};
use crate::store::scrub::{PendingScrub, ScrubGuard};
use crate::store::traits::PoolUsage;
use crate::store::{postgres, sqlite};

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) enum Limit {
    /// A few statements on a few rows.
    Request,
    /// Thousands of rows.
    Bulk,
    /// Background work, which no request waits for. The `statement_timeout` of Postgres still applies.
    Unbounded,
}

/// A call of [`Limit::Request`] may take so many timeouts of the settings: it waits for a connection, then for
/// statements.
const REQUEST_TIMEOUTS: u32 = 2;
/// A call of [`Limit::Bulk`] may take so many.
const BULK_TIMEOUTS: u32 = 20;

/// When a call is cut short.
///
/// Postgres ends a statement that takes too long, but nothing ends one when the server or the network is silent. A
/// call that is cut short counts as unavailable. Its write may have happened nevertheless, as when a connection breaks
/// before the answer; a replica that follows the revisions sees it.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Deadline(Option<Instant>);

impl Deadline {
    async fn bound<T>(self, work: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
        let Some(deadline) = self.0 else { return work.await };
        let outcome = tokio::time::timeout_at(deadline, work).await;
        outcome.unwrap_or_else(|elapsed| Err(StoreError::Unavailable(Box::new(elapsed))))
    }

    /// Whether a pause ends before it.
    pub(super) fn allows(self, pause: Duration) -> bool {
        self.0.is_none_or(|deadline| Instant::now() + pause < deadline)
    }
}

/// The connections of a database.
#[derive(Debug)]
pub(in crate::store) struct Db {
    pub(in crate::store) read: Pool,
    /// For SQLite this is one connection: SQLite has one writer, and waiting for the connection is fair.
    pub(in crate::store) write: Pool,
    /// The longest wait for a connection or a statement.
    pub(in crate::store) timeout: Duration,
    /// Set by transactions that erase something.
    pub(in crate::store) pending_scrub: PendingScrub,
    /// Calls that wait for a connection.
    waiting: AtomicUsize,
    /// Held while a file is read that no process has opened to write.
    pub(in crate::store) read_lock: Option<File>,
}

impl Db {
    pub(in crate::store) fn new(read: Pool, write: Pool, timeout: Duration) -> Self {
        let pending_scrub = PendingScrub::at_open();
        Self { read, write, timeout, pending_scrub, waiting: AtomicUsize::new(0), read_lock: None }
    }

    pub(super) fn deadline(&self, limit: Limit) -> Deadline {
        let timeouts = match limit {
            Limit::Request => REQUEST_TIMEOUTS,
            Limit::Bulk => BULK_TIMEOUTS,
            Limit::Unbounded => return Deadline(None),
        };
        Deadline(Some(Instant::now() + self.timeout * timeouts))
    }

    /// Counts a call as waiting until it has its connection.
    async fn acquire<T>(&self, connection: impl Future<Output = T>) -> T {
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        connection.await
    }

    pub(super) fn usage(&self) -> PoolUsage {
        let (in_use, capacity) = match (&self.read, &self.write) {
            (Pool::Sqlite(read), Pool::Sqlite(write)) => {
                [read, write].iter().fold((0, 0), |(in_use, capacity), pool| {
                    let open = pool.size() as usize;
                    let max = pool.options().get_max_connections() as usize;
                    (in_use + open.saturating_sub(pool.num_idle()), capacity + max)
                })
            }
            (_, Pool::Postgres(pool)) | (Pool::Postgres(pool), _) => pool.usage(),
        };
        PoolUsage { in_use, capacity, waiting: self.waiting.load(Ordering::Relaxed) }
    }

    /// A connection to read from.
    pub(in crate::store) async fn reader(&self, limit: Limit) -> Result<Session, StoreError> {
        self.acquire(Session::new(&self.read, self.deadline(limit))).await
    }

    /// A connection to write to. Each statement commits by itself.
    pub(in crate::store) async fn writer(&self, limit: Limit) -> Result<Session, StoreError> {
        self.writer_within(self.deadline(limit)).await
    }

    /// The same for an attempt of [`Db::transact`].
    pub(super) async fn writer_within(&self, deadline: Deadline) -> Result<Session, StoreError> {
        self.acquire(Session::new(&self.write, deadline)).await
    }

    /// Begins a transaction that writes, in an attempt of [`Db::transact`].
    pub(super) async fn begin(&self, deadline: Deadline) -> Result<Tx, StoreError> {
        self.acquire(Tx::begin(&self.write, &self.pending_scrub, deadline)).await
    }

    /// Begins a transaction that reads whole tables. Its statements have no time limit.
    pub(in crate::store) async fn begin_scan(&self) -> Result<Tx, StoreError> {
        let mut tx = self.acquire(Tx::begin(&self.read, &self.pending_scrub, Deadline(None))).await?;
        tx.lift_statement_timeout().await?;
        Ok(tx)
    }

    /// Begins a transaction that reads all tables as they are at its first read. Its statements have no time limit.
    pub(in crate::store) async fn begin_snapshot(&self) -> Result<Tx, StoreError> {
        let mut tx = self.begin_scan().await?;
        tx.execute_on_postgres("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
        Ok(tx)
    }
}

/// The pool of either database.
#[derive(Debug)]
pub(in crate::store) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Runs statements, within a deadline. Values are never part of the SQL text: they are bound to `$1`, `$2`, ...
pub(in crate::store) trait Executor: Send {
    /// Where statements run.
    fn connection(&mut self) -> Connection<'_>;

    /// By when all of them have to end.
    fn deadline(&self) -> Deadline;

    /// Runs a statement and returns how many rows it changed.
    fn execute(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<u64, StoreError>> + Send {
        async move { self.deadline().bound(self.connection().execute(sql, values)).await }
    }

    /// The first row, if any.
    fn fetch_optional(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Option<DbRow>, StoreError>> + Send {
        async move { self.deadline().bound(self.connection().fetch_optional(sql, values)).await }
    }

    /// The first row, which has to exist.
    fn fetch_one(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<DbRow, StoreError>> + Send {
        async move {
            let row = self.fetch_optional(sql, values).await?;
            row.ok_or_else(|| StoreError::Failed(Box::new(sqlx::Error::RowNotFound)))
        }
    }

    /// All rows at once.
    fn fetch_all(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<DbRow>, StoreError>> + Send {
        async move {
            let mut rows = Vec::new();
            self.for_each_row(sql, values, |row| {
                rows.push(row);
                Ok(())
            })
            .await?;
            Ok(rows)
        }
    }

    /// Passes on one row after the other while the database reads ahead.
    fn for_each_row(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
        each: impl FnMut(DbRow) -> Result<(), StoreError> + Send,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        async move { self.deadline().bound(self.connection().for_each_row(sql, values, each)).await }
    }
}

/// A connection of either database.
pub(in crate::store) enum Connection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgSession),
}

impl Connection<'_> {
    async fn execute(self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(connection) => {
                let done = query(sql, values).execute(connection).await.map_err(sqlite::store_error)?;
                Ok(done.rows_affected())
            }
            Self::Postgres(connection) => {
                let done = query(sql, values).execute(connection.begin_call()?).await;
                Ok(connection.end_call(done)?.rows_affected())
            }
        }
    }

    async fn fetch_optional(self, sql: &'static str, values: &[Value<'_>]) -> Result<Option<DbRow>, StoreError> {
        match self {
            Self::Sqlite(connection) => {
                let row = query(sql, values).fetch_optional(connection).await.map_err(sqlite::store_error)?;
                Ok(row.map(DbRow::Sqlite))
            }
            Self::Postgres(connection) => {
                let row = query(sql, values).fetch_optional(connection.begin_call()?).await;
                Ok(connection.end_call(row)?.map(DbRow::Postgres))
            }
        }
    }

    async fn for_each_row(
        self,
        sql: &'static str,
        values: &[Value<'_>],
        mut each: impl FnMut(DbRow) -> Result<(), StoreError> + Send,
    ) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(connection) => {
                let mut rows = query(sql, values).fetch(connection);
                while let Some(row) = rows.try_next().await.map_err(sqlite::store_error)? {
                    each(DbRow::Sqlite(row))?;
                }
            }
            Self::Postgres(connection) => {
                let mut rows = query(sql, values).fetch(connection.begin_call()?);
                let ended = loop {
                    match rows.try_next().await {
                        Ok(Some(row)) => each(DbRow::Postgres(row))?,
                        Ok(None) => break Ok(()),
                        Err(error) => break Err(error),
                    }
                };
                drop(rows);
                connection.end_call(ended)?;
            }
        }
        Ok(())
    }
}

/// A connection of a pool.
pub(in crate::store) struct Session {
    connection: Pooled,
    deadline: Deadline,
}

enum Pooled {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PgSession),
}

impl Session {
    async fn new(pool: &Pool, deadline: Deadline) -> Result<Self, StoreError> {
        let acquired = async {
            match pool {
                Pool::Sqlite(pool) => pool.acquire().await.map(Pooled::Sqlite).map_err(sqlite::store_error),
                Pool::Postgres(pool) => pool.acquire().await.map(Pooled::Postgres),
            }
        };
        let connection = deadline.bound(acquired).await?;
        Ok(Self { connection, deadline })
    }
}

impl Executor for Session {
    fn connection(&mut self) -> Connection<'_> {
        match &mut self.connection {
            Pooled::Sqlite(connection) => Connection::Sqlite(connection),
            Pooled::Postgres(connection) => Connection::Postgres(connection),
        }
    }

    fn deadline(&self) -> Deadline {
        self.deadline
    }
}

/// A transaction. It is rolled back when it is dropped.
pub(in crate::store) struct Tx {
    // Dropped in this order: the rollback has begun before a scrub is pending.
    transaction: AnyTransaction,
    erased: Option<ScrubGuard>,
    pending_scrub: PendingScrub,
    deadline: Deadline,
}

enum AnyTransaction {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(PgSession),
}

impl Tx {
    async fn begin(pool: &Pool, pending_scrub: &PendingScrub, deadline: Deadline) -> Result<Self, StoreError> {
        // On SQLite `BEGIN` is written out: it fails in a transaction that was left open, where SQLx would nest one.
        let begun = async {
            match pool {
                Pool::Sqlite(pool) => {
                    pool.begin_with("BEGIN").await.map(AnyTransaction::Sqlite).map_err(sqlite::store_error)
                }
                Pool::Postgres(pool) => {
                    let mut session = pool.acquire().await?;
                    session.begin().await?;
                    Ok(AnyTransaction::Postgres(session))
                }
            }
        };
        let transaction = deadline.bound(begun).await?;
        Ok(Self { transaction, erased: None, pending_scrub: pending_scrub.clone(), deadline })
    }

    /// Marks the transaction as one that erases something. A scrub is pending when it has ended, however it ends: a
    /// client that disconnects, a deadline or an error after the commit do not prevent the scrub.
    pub(in crate::store) fn set_erasing(&mut self) {
        self.erased.get_or_insert_with(|| self.pending_scrub.guard());
    }

    /// The statements of this transaction have no time limit, and between them rows may be decrypted or read elsewhere.
    pub(in crate::store) async fn lift_statement_timeout(&mut self) -> Result<(), StoreError> {
        self.execute_on_postgres("SET LOCAL statement_timeout = 0").await?;
        self.execute_on_postgres("SET LOCAL idle_in_transaction_session_timeout = '60s'").await
    }

    /// Waits for all writers of galleries, and blocks new ones; readers go on. SQLite has one writer at a time.
    pub(in crate::store) async fn lock_galleries(&mut self) -> Result<(), StoreError> {
        self.execute_on_postgres("LOCK TABLE applications IN EXCLUSIVE MODE").await
    }

    /// Waits for all changes of administrators, and blocks new ones; readers go on. SQLite has one writer at a time.
    pub(in crate::store) async fn lock_administrators(&mut self) -> Result<(), StoreError> {
        self.execute_on_postgres("LOCK TABLE administrators IN EXCLUSIVE MODE").await
    }

    /// Commits, and notifies other nodes. The notification is skipped before the queue of Postgres is full, which
    /// would fail the commit.
    pub(in crate::store) async fn commit_and_notify(mut self) -> Result<(), StoreError> {
        self.execute_on_postgres(postgres::NOTIFY).await?;
        self.commit().await
    }

    async fn execute_on_postgres(&mut self, sql: &'static str) -> Result<(), StoreError> {
        if matches!(self.transaction, AnyTransaction::Postgres(_)) {
            self.execute(sql, &[]).await?;
        }
        Ok(())
    }

    pub(in crate::store) async fn commit(self) -> Result<(), StoreError> {
        let _erased = self.erased;
        let committed = async {
            match self.transaction {
                AnyTransaction::Sqlite(transaction) => transaction.commit().await.map_err(sqlite::store_error),
                AnyTransaction::Postgres(transaction) => transaction.commit().await,
            }
        };
        self.deadline.bound(committed).await
    }

    /// Nothing is erased then.
    pub(in crate::store) async fn rollback(self) -> Result<(), StoreError> {
        if let Some(erased) = self.erased {
            erased.disarm();
        }
        let rolled_back = async {
            match self.transaction {
                AnyTransaction::Sqlite(transaction) => transaction.rollback().await.map_err(sqlite::store_error),
                AnyTransaction::Postgres(transaction) => transaction.rollback().await,
            }
        };
        self.deadline.bound(rolled_back).await
    }
}

impl Executor for Tx {
    fn connection(&mut self) -> Connection<'_> {
        match &mut self.transaction {
            AnyTransaction::Sqlite(transaction) => Connection::Sqlite(transaction),
            AnyTransaction::Postgres(transaction) => Connection::Postgres(transaction),
        }
    }

    fn deadline(&self) -> Deadline {
        self.deadline
    }
}
