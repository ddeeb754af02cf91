//! The connections of a Postgres database.
//!
//! A connection goes back to the pool only if nothing is pending on it. One that failed, or whose server is read-only,
//! is closed, and with it all that were made before: they lead to the same server. So a switchover heals itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::connector::Connector;
use super::store_error;
use crate::store::error::StoreError;

/// How long an unused connection is kept.
const MAX_IDLE: Duration = Duration::from_secs(10 * 60);
/// How long a connection is used.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);
/// How long the end of a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The pool. Clones share their connections.
#[derive(Clone)]
pub(in crate::store) struct PgPool(Arc<Shared>);

struct Shared {
    connector: Connector,
    permits: Arc<Semaphore>,
    max_connections: usize,
    /// The one that was used last is at the end.
    idle: Mutex<Vec<Idle>>,
    /// Raised when all connections that were made before are to be closed.
    generation: watch::Sender<u64>,
    timeout: Duration,
}

struct Idle {
    connection: PgConnection,
    generation: u64,
    created_at: Instant,
    idle_since: Instant,
}

impl fmt::Debug for PgPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PgPool(..)")
    }
}

impl PgPool {
    /// A pool without connections. `timeout`: the longest wait for one.
    pub(super) fn new(connector: Connector, max_connections: u32, timeout: Duration) -> Self {
        Self(Arc::new(Shared {
            connector,
            permits: Arc::new(Semaphore::new(max_connections.max(1) as usize)),
            max_connections: max_connections.max(1) as usize,
            idle: Mutex::default(),
            generation: watch::Sender::new(0),
            timeout,
        }))
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.0.connector
    }

    /// Connections in use, and their maximum.
    pub(in crate::store) fn usage(&self) -> (usize, usize) {
        let Shared { permits, max_connections, .. } = &*self.0;
        (max_connections.saturating_sub(permits.available_permits()), *max_connections)
    }

    pub(super) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// Changes when all connections are replaced.
    pub(super) fn generation(&self) -> watch::Receiver<u64> {
        self.0.generation.subscribe()
    }

    /// A connection that answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(in crate::store) async fn acquire(&self) -> Result<PgSession, StoreError> {
        let shared = &self.0;
        let deadline = Instant::now() + shared.timeout;
        let permit = timeout_at(deadline, Arc::clone(&shared.permits).acquire_owned()).await;
        let permit = permit.map_err(unavailable)?.map_err(unavailable)?;
        while let Some(mut idle) = shared.pop_idle() {
            // Half of the time is left for a new connection.
            if let Ok(Ok(())) = timeout(shared.timeout / 2, idle.connection.ping()).await {
                return Ok(PgSession::new(self, idle.connection, idle.generation, idle.created_at, permit));
            }
            shared.replace_all(idle.generation);
            close(idle.connection);
        }
        let generation = *shared.generation.borrow();
        let connection = shared.connector.connect(deadline).await.map_err(unavailable)?;
        Ok(PgSession::new(self, connection, generation, Instant::now(), permit))
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}

impl Shared {
    /// The unused connection that was used last. Those that are too old are closed.
    fn pop_idle(&self) -> Option<Idle> {
        let mut idle = self.idle.lock();
        let now = Instant::now();
        let expired = idle.extract_if(.., |one| now - one.idle_since > MAX_IDLE || now - one.created_at > MAX_AGE);
        expired.for_each(|one| close(one.connection));
        idle.pop()
    }

    /// Keeps a connection for the next call, unless its generation has ended.
    fn push_idle(&self, one: Idle) {
        let mut idle = self.idle.lock();
        if one.generation == *self.generation.borrow() {
            idle.push(one);
        } else {
            drop(idle);
            close(one.connection);
        }
    }

    /// Closes all connections of a generation: the unused ones now, the others when their calls end.
    fn replace_all(&self, generation: u64) {
        let mut idle = self.idle.lock();
        let is_new = self.generation.send_if_modified(|current| {
            let is_new = *current == generation;
            *current += u64::from(is_new);
            is_new
        });
        let closed = if is_new { std::mem::take(&mut *idle) } else { Vec::new() };
        drop(idle);
        closed.into_iter().for_each(|one| close(one.connection));
    }
}

/// Ends a connection in the background.
fn close(connection: PgConnection) {
    // Without a runtime the process ends, which closes the socket.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    runtime.spawn(async move { timeout(CLOSE_TIMEOUT, connection.close()).await });
}

/// A connection in use. When it is dropped, a transaction is rolled back, and what is pending is awaited.
pub(in crate::store) struct PgSession {
    connection: Option<PgConnection>,
    generation: u64,
    created_at: Instant,
    /// A statement was begun and its result is not read to the end.
    is_pending: bool,
    in_transaction: bool,
    is_broken: bool,
    pool: PgPool,
    permit: Option<OwnedSemaphorePermit>,
}

impl PgSession {
    fn new(
        pool: &PgPool,
        connection: PgConnection,
        generation: u64,
        created_at: Instant,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            connection: Some(connection),
            generation,
            created_at,
            is_pending: false,
            in_transaction: false,
            is_broken: false,
            pool: pool.clone(),
            permit: Some(permit),
        }
    }

    /// The connection for one statement, whose outcome goes to [`PgSession::end_call`].
    pub(in crate::store) fn begin_call(&mut self) -> Result<&mut PgConnection, StoreError> {
        self.is_pending = true;
        self.connection.as_mut().ok_or_else(|| unavailable(sqlx::Error::PoolClosed))
    }

    /// The outcome of a statement. An error decides whether the connection can be used again.
    pub(in crate::store) fn end_call<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        let error = match outcome {
            Ok(value) => {
                self.is_pending = false;
                return Ok(value);
            }
            Err(error) => error,
        };
        match Consequence::of(&error) {
            Consequence::Keep => self.is_pending = false,
            Consequence::Test => {}
            Consequence::Close => self.is_broken = true,
            Consequence::CloseAll => {
                self.is_broken = true;
                self.pool.0.replace_all(self.generation);
            }
        }
        Err(store_error(error))
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), StoreError> {
        let outcome = sqlx::raw_sql(sql).execute(self.begin_call()?).await;
        self.end_call(outcome).map(drop)
    }

    /// Begins a transaction.
    pub(in crate::store) async fn begin(&mut self) -> Result<(), StoreError> {
        self.in_transaction = true;
        self.run("BEGIN").await
    }

    pub(in crate::store) async fn commit(mut self) -> Result<(), StoreError> {
        self.run("COMMIT").await?;
        self.in_transaction = false;
        Ok(())
    }

    pub(in crate::store) async fn rollback(mut self) -> Result<(), StoreError> {
        self.run("ROLLBACK").await?;
        self.in_transaction = false;
        Ok(())
    }
}

impl Drop for PgSession {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let permit = self.permit.take();
        let shared = Arc::clone(&self.pool.0);
        let mut idle =
            Idle { connection, generation: self.generation, created_at: self.created_at, idle_since: Instant::now() };
        if self.is_broken {
            return close(idle.connection);
        }
        if !self.is_pending && !self.in_transaction {
            return shared.push_idle(idle);
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let in_transaction = self.in_transaction;
        runtime.spawn(async move {
            let ready = async {
                if in_transaction {
                    sqlx::raw_sql("ROLLBACK").execute(&mut idle.connection).await.map(drop)
                } else {
                    idle.connection.ping().await
                }
            };
            match timeout(shared.timeout, ready).await {
                Ok(Ok(())) => {
                    idle.idle_since = Instant::now();
                    shared.push_idle(idle);
                }
                _ => {
                    // It is silent, and so are the others that lead to the same server.
                    shared.replace_all(idle.generation);
                    close(idle.connection);
                }
            }
            drop(permit);
        });
    }
}

/// What an error means for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Consequence {
    /// The statement failed; the connection is as before.
    Keep,
    /// The connection has to show that it answers.
    Test,
    /// The connection is closed.
    Close,
    /// All connections are closed: they lead to a server that is away or cannot be written to.
    CloseAll,
}

impl Consequence {
    fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => match error.code().as_deref() {
                // Read-only; the server shuts down, crashed or starts.
                Some("25006" | "57P01" | "57P02" | "57P03") => Self::CloseAll,
                // The session was ended; a prepared statement of another session (a pooler).
                Some("25P03" | "25P04" | "57P04" | "57P05" | "26000" | "42P05") => Self::Close,
                Some(code) if code.starts_with("08") => Self::Close,
                _ => Self::Keep,
            },
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => Self::CloseAll,
            _ => Self::Test,
        }
    }
}
