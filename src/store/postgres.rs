//! Postgres: any number of nodes share one database.

use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::Mutex;

use super::config::{OpenMode, OpenOptions};
use super::error::{OpenError, StoreError};
use super::migrate::{Pending, migrator, pending};
use super::traits::HintStore;
use crate::domain::stopwatch;

const MIGRATIONS: [(i64, &str, &str); 11] = [
    (1, "first", include_str!("../../migrations/postgres/0001_first.sql")),
    (2, "attributes", include_str!("../../migrations/postgres/0002_attributes.sql")),
    (3, "snapshots", include_str!("../../migrations/postgres/0003_snapshots.sql")),
    (4, "data keys", include_str!("../../migrations/postgres/0004_data_keys.sql")),
    (5, "periods", include_str!("../../migrations/postgres/0005_periods.sql")),
    (6, "outbox", include_str!("../../migrations/postgres/0006_outbox.sql")),
    (7, "tags", include_str!("../../migrations/postgres/0007_tags.sql")),
    (8, "enrollment", include_str!("../../migrations/postgres/0008_enrollment.sql")),
    (9, "quotas", include_str!("../../migrations/postgres/0009_quotas.sql")),
    (10, "retention", include_str!("../../migrations/postgres/0010_retention.sql")),
    (11, "idempotency", include_str!("../../migrations/postgres/0011_idempotency.sql")),
];

/// Notifies other nodes when its transaction commits. It is only a hint, and skipped before the queue of a listener
/// that does not read is full, which would fail the commit.
pub(super) const NOTIFY: &str = "SELECT pg_notify('semblance', '') WHERE pg_notification_queue_usage() < 0.9";

/// The channel of [`NOTIFY`].
const CHANNEL: &str = "semblance";

/// How long a listening connection may be silent before it is replaced: nothing else distinguishes a quiet one from a
/// dead one.
const LISTENER_MAX_IDLE: Duration = Duration::from_secs(60);

/// How often a scrub is worth its price: VACUUM reads the indexes of the table.
pub(super) const SCRUB_INTERVAL: Duration = Duration::from_secs(60);

/// Longest that one VACUUM takes. After that it starts again.
const VACUUM_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Longest that a node waits for the migrations of another, or for a table that another process has locked.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Connects to a server and brings the schema up to date. Nodes that start at once migrate one after the other (SQLx
/// holds an advisory lock).
pub(super) async fn connect(
    url: &str,
    password: Option<&str>,
    options: &OpenOptions,
) -> Result<(PgPool, Listener), OpenError> {
    let timeout = options.timeout;
    let connect = connect_options(url, password, options)?;
    let pending = pending_migrations(&connect, timeout).await?;
    if options.mode != OpenMode::Create {
        pending.check_none()?;
    } else if pending.missing > 0 {
        migrate(&connect, timeout, pending.missing).await?;
    }
    let pool = PgPoolOptions::new()
        .max_connections(options.connections)
        .acquire_timeout(timeout)
        // A connection that is silent when it comes back is closed, or it would keep its place in the pool for ever.
        .after_release(move |connection, _| {
            Box::pin(async move {
                tokio::time::timeout(timeout, connection.ping()).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
                Ok(true)
            })
        })
        .connect_with(connect.clone())
        .await
        .map_err(OpenError::connect)?;
    Ok((pool, Listener { options: connect, connection: Mutex::default() }))
}

/// Brings the schema up to date, and returns how many migrations were applied.
pub(super) async fn migrate_only(url: &str, password: Option<&str>, options: &OpenOptions) -> Result<usize, OpenError> {
    let connect = connect_options(url, password, options)?;
    let missing = pending_migrations(&connect, options.timeout).await?.missing;
    if missing > 0 {
        migrate(&connect, options.timeout, missing).await?;
    }
    Ok(missing)
}

fn connect_options(url: &str, password: Option<&str>, options: &OpenOptions) -> Result<PgConnectOptions, OpenError> {
    let mut connect = PgConnectOptions::from_str(url).map_err(|_| OpenError::Url)?.application_name("semblance");
    if let Some(password) = password {
        connect = connect.password(password);
    }
    let timeout_ms = options.timeout.as_millis().to_string();
    // A commit is on disk before it is acknowledged, whatever the default of the server is.
    let connect = connect.options([("statement_timeout", timeout_ms.as_str()), ("synchronous_commit", "on")]);
    Ok(match options.mode {
        OpenMode::Read => connect.options([("default_transaction_read_only", "on")]),
        OpenMode::Create | OpenMode::Write => connect,
    })
}

/// What the schema lacks. Only reads, so a role without the right to change the schema can serve.
async fn pending_migrations(connect: &PgConnectOptions, timeout: Duration) -> Result<Pending, OpenError> {
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(timeout);
    let pool = pool.connect_with(connect.clone()).await.map_err(OpenError::connect)?;
    let mut connection = pool.acquire().await.map_err(OpenError::connect)?;
    let sql = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    let (exists,): (bool,) = sqlx::query_as(sql).fetch_one(&mut *connection).await.map_err(OpenError::connect)?;
    let pending = pending(&mut *connection, &migrator(&MIGRATIONS), exists).await;
    drop(connection);
    pool.close().await;
    pending
}

/// Brings the schema up to date, on a connection of its own: a migration takes as long as the table is large. It waits
/// for a lock only for a short time, because every later statement waits behind it.
async fn migrate(connect: &PgConnectOptions, timeout: Duration, missing: usize) -> Result<(), OpenError> {
    let lock_timeout = timeout.as_millis().to_string();
    let connect = connect.clone().options([("statement_timeout", "0"), ("lock_timeout", lock_timeout.as_str())]);
    let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(timeout);
    let pool = pool.connect_with(connect).await.map_err(OpenError::connect)?;
    let start = stopwatch();
    loop {
        match migrator(&MIGRATIONS).run(&pool).await {
            Err(error) if code(&error).as_deref() == Some("55P03") && start.elapsed() < MIGRATION_TIMEOUT => {
                tracing::warn!("the schema is locked, perhaps by the migration of another node; the lock is awaited");
            }
            outcome => {
                pool.close().await;
                return outcome.map_err(|error| match code(&error).as_deref() {
                    Some("42501") => OpenError::MayNotMigrate { missing, source: Box::new(error) },
                    _ => OpenError::migrate(error),
                });
            }
        }
    }
}

/// The SQLSTATE of a migration that failed.
fn code(error: &MigrateError) -> Option<String> {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else { return None };
    Some(error.as_database_error()?.code()?.into_owned())
}

/// Lets Postgres overwrite deleted rows. It takes as long as the tables are large, so it has a connection and a time
/// limit of its own.
pub(super) async fn vacuum(pool: &PgPool) -> Result<(), StoreError> {
    let statement_timeout = VACUUM_TIMEOUT.as_millis().to_string();
    let options = PgConnectOptions::clone(&pool.connect_options());
    let options = options.options([("statement_timeout", statement_timeout.as_str())]);
    let vacuumed = async {
        let mut connection = options.connect().await?;
        sqlx::query("VACUUM samples").execute(&mut connection).await?;
        sqlx::query("VACUUM snapshots").execute(&mut connection).await?;
        sqlx::query("VACUUM idempotency").execute(&mut connection).await?;
        connection.close().await
    };
    // The statement timeout of Postgres does not end the wait for a silent network.
    let outcome = tokio::time::timeout(VACUUM_TIMEOUT, vacuumed).await;
    outcome.map_err(|elapsed| StoreError::Unavailable(Box::new(elapsed)))?.map_err(store_error)
}

/// Receives the notifications of all nodes.
pub(super) struct Listener {
    options: PgConnectOptions,
    /// The listening connection, while there is one.
    connection: Mutex<Option<PgListener>>,
}

#[async_trait]
impl HintStore for Listener {
    async fn changed(&self) -> Result<(), StoreError> {
        let mut connection = self.connection.lock().await;
        let notified = async {
            if let Some(listener) = &mut *connection {
                if listener.try_recv().await?.is_none() {
                    *connection = None; // it is closed
                }
                return Ok(());
            }
            let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
            let pool = pool.connect_lazy_with(self.options.clone());
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            *connection = Some(listener);
            Ok(()) // something may have changed before it listened
        };
        match tokio::time::timeout(LISTENER_MAX_IDLE, notified).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                *connection = None;
                Err(store_error(error))
            }
            Err(_) => {
                *connection = None;
                Ok(())
            }
        }
    }
}

/// Classifies an error by its SQLSTATE (appendix A of the manual of Postgres).
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    let is_unavailable = error.as_database_error().and_then(|e| e.code()).is_some_and(|code| {
        // Connection, authorization (a password that is being changed), resources, operator intervention (also a
        // cancelled statement), system error; read-only; serialization, deadlock, lock not available; the database or a
        // table does not exist, or takes no connections (a restore); a limit (the queue of notifications).
        ["08", "28", "53", "57", "58"].iter().any(|class| code.starts_with(class))
            || ["25006", "3D000", "40001", "40P01", "42P01", "54000", "55000", "55P03"].contains(&code.as_ref())
    });
    StoreError::from_sqlx(error, is_unavailable)
}
