//! Postgres: any number of nodes share one database.

mod connector;
mod hosts;
mod listener;
mod pool;
mod session;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};
use tokio::time::Instant;

use connector::Connector;
use hosts::Hosts;
use listener::Listener;
pub(super) use pool::{PgPool, PgSession};
use session::SessionSettings;

use super::config::{OpenMode, OpenOptions};
use super::error::{OpenError, StoreError};
use super::migrate::{Pending, migrator, pending};
use crate::domain::stopwatch;

const MIGRATIONS: [(i64, &str, &str); 16] = [
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
    (12, "administration", include_str!("../../migrations/postgres/0012_administration.sql")),
    (13, "samples", include_str!("../../migrations/postgres/0013_samples.sql")),
    (14, "app_keys", include_str!("../../migrations/postgres/0014_app_keys.sql")),
    (15, "people", include_str!("../../migrations/postgres/0015_people.sql")),
    (16, "review", include_str!("../../migrations/postgres/0016_review.sql")),
];

/// Notifies other nodes when its transaction commits. It is only a hint, and skipped before the queue of a listener
/// that does not read is full, which would fail the commit.
pub(super) const NOTIFY: &str = "SELECT pg_notify('semblance', '') WHERE pg_notification_queue_usage() < 0.9";

/// How often a scrub is worth its price: VACUUM reads the indexes of the table.
pub(super) const SCRUB_INTERVAL: Duration = Duration::from_secs(60);

/// Longest that one VACUUM takes. After that it starts again.
const VACUUM_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Longest that a node waits for the migrations of another, or for a table that another process has locked.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Longest that a start waits for a Postgres that starts up, such as after a crash.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often it is tried whether connections have sessions of their own. Another client of a pooler may disturb a try.
const POOLING_TRIES: usize = 3;

/// Connects to a server and, with [`OpenMode::Create`], brings the schema up to date.
pub(super) async fn connect(
    url: &str,
    password_file: Option<&PathBuf>,
    options: &OpenOptions,
) -> Result<(PgPool, Listener), OpenError> {
    let session = SessionSettings::new(options.timeout, options.mode == OpenMode::Read);
    let connector = Connector::new(url, password_file, session)?;
    let mut connection = connect_within(&connector, &connector.session, options.timeout).await?;
    if let Some((is_weak, text)) = Hosts::parse(url)?.security() {
        log_security(is_weak, text, &mut connection).await;
    }
    check_sessions(&connector, connection, options.timeout).await?;
    match options.mode {
        OpenMode::Create => drop(bring_up_to_date(&connector, options).await?),
        OpenMode::Write | OpenMode::Read => pending_migrations(&connector, options.timeout).await?.check_none()?,
    }
    let pool = PgPool::new(connector, options.connections, options.timeout);
    Ok((pool.clone(), Listener::new(pool)))
}

/// Brings the schema up to date, and returns how many migrations were applied.
pub(super) async fn migrate_only(
    url: &str,
    password_file: Option<&PathBuf>,
    options: &OpenOptions,
) -> Result<usize, OpenError> {
    let connector = Connector::new(url, password_file, SessionSettings::new(options.timeout, false))?;
    let connection = connect_within(&connector, &connector.session, options.timeout).await?;
    check_sessions(&connector, connection, options.timeout).await?;
    bring_up_to_date(&connector, options).await.map(|pending| pending.missing)
}

async fn connect_within(
    connector: &Connector,
    session: &SessionSettings,
    timeout: Duration,
) -> Result<PgConnection, OpenError> {
    let start = stopwatch();
    loop {
        match connector.connect_with(session, Instant::now() + timeout).await {
            Ok(connection) => return Ok(connection),
            Err(error) if error.is_starting() && start.elapsed() < START_TIMEOUT => {
                tracing::warn!("the database starts up; it is awaited");
            }
            Err(error) => return Err(OpenError::Connect(Box::new(error))),
        }
    }
}

async fn log_security(is_weak: bool, text: &str, connection: &mut PgConnection) {
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let row = sqlx::raw_sql(sql).fetch_one(connection).await;
    let encrypted = row.and_then(|row| row.try_get::<bool, _>("ssl")).is_ok_and(|ssl| ssl);
    if is_weak {
        tracing::warn!(encrypted, "database: {text}; see docs/guides/postgres.md");
    } else {
        tracing::info!(encrypted, "database: {text}");
    }
}

/// Checks that two connections are two sessions. A pooler that lends a session for a transaction only loses settings,
/// prepared statements and notifications.
async fn check_sessions(connector: &Connector, mut first: PgConnection, timeout: Duration) -> Result<(), OpenError> {
    let mut second = connect_within(connector, &connector.session, timeout).await?;
    let checked = async {
        for _ in 0..POOLING_TRIES {
            let before = backend(&mut first).await?;
            if sqlx::raw_sql("BEGIN").execute(&mut second).await.is_err() {
                return Ok(false); // a pooler that lends a session for a statement
            }
            // In this order: of a pooler with one session, the first connection gets no answer now.
            let is_shared = backend(&mut second).await? == before || backend(&mut first).await? != before;
            sqlx::raw_sql("ROLLBACK").execute(&mut second).await?;
            if is_shared {
                return Ok(false);
            }
        }
        Ok(true)
    };
    let outcome = tokio::time::timeout(timeout, checked).await;
    let _ = tokio::time::timeout(timeout, async { tokio::join!(first.close(), second.close()) }).await;
    match outcome {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(OpenError::SharedSessions),
        Ok(Err(error)) => Err(OpenError::connect(error)),
        Err(elapsed) => Err(OpenError::Connect(Box::new(elapsed))),
    }
}

/// The process of the server that answers this connection.
async fn backend(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::raw_sql("SELECT pg_backend_pid() AS pid").fetch_one(connection).await?.try_get("pid")
}

/// What the schema lacks. Only reads, so a role without the right to change the schema can serve.
async fn pending_migrations(connector: &Connector, timeout: Duration) -> Result<Pending, OpenError> {
    let mut connection = connect_within(connector, &connector.session, timeout).await?;
    let sql = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    let (exists,): (bool,) = sqlx::query_as(sql).fetch_one(&mut connection).await.map_err(OpenError::connect)?;
    let pending = pending(&mut connection, &migrator(&MIGRATIONS), exists).await;
    let _ = connection.close().await;
    pending
}

/// Applies the migrations that are missing, and returns what was missing.
async fn bring_up_to_date(connector: &Connector, options: &OpenOptions) -> Result<Pending, OpenError> {
    let pending = pending_migrations(connector, options.timeout).await?;
    if pending.missing > 0 {
        migrate(connector, options.timeout, pending.missing).await?;
    }
    Ok(pending)
}

/// Brings the schema up to date, on a connection of its own: a migration takes as long as the table is large. It waits
/// for a lock only for a short time, because every later statement waits behind it. Nodes that start at once migrate one
/// after the other (SQLx holds an advisory lock).
async fn migrate(connector: &Connector, timeout: Duration, missing: usize) -> Result<(), OpenError> {
    let session = SessionSettings {
        statement_timeout: Duration::ZERO,
        lock_timeout: timeout,
        ..SessionSettings::new(timeout, false)
    };
    let mut connection = connect_within(connector, &session, timeout).await?;
    let start = stopwatch();
    loop {
        // The future of `run` is not `Send` for every lifetime; this is what it calls.
        match migrator(&MIGRATIONS).run_direct(None, &mut connection, false).await {
            Err(error) if code(&error).as_deref() == Some("55P03") && start.elapsed() < MIGRATION_TIMEOUT => {
                tracing::warn!("the schema is locked, perhaps by the migration of another node; the lock is awaited");
            }
            Err(error) => {
                let _ = connection.close_hard().await;
                return Err(match code(&error).as_deref() {
                    Some("42501") => OpenError::MayNotMigrate { missing, source: Box::new(error) },
                    _ => OpenError::migrate(error),
                });
            }
            Ok(()) => {
                let _ = connection.close().await;
                return Ok(());
            }
        }
    }
}

/// The SQLSTATE of a migration that failed.
fn code(error: &MigrateError) -> Option<String> {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else { return None };
    Some(error.as_database_error()?.code()?.into_owned())
}

/// Whether the role may VACUUM: it owns the tables or the database, or has the right of Postgres 17.
const MAY_VACUUM: &str = "
    SELECT bool_and(
        pg_has_role(c.relowner, 'USAGE')
        OR (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database())
        OR CASE WHEN current_setting('server_version_num')::int >= 170000
                THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END) AS may
    FROM pg_class c WHERE c.oid IN ('samples'::regclass, 'crops'::regclass, 'snapshots'::regclass,
                                     'idempotency'::regclass, 'details'::regclass, 'probes'::regclass)";

/// Lets Postgres overwrite deleted rows. It takes as long as the tables are large, so it has a connection and a time
/// limit of its own. A role that may not do it leaves it to the autovacuum of the server.
pub(super) async fn vacuum(pool: &PgPool) -> Result<(), StoreError> {
    static WARNED: AtomicBool = AtomicBool::new(false);
    let session = SessionSettings { statement_timeout: VACUUM_TIMEOUT, ..pool.connector().session.clone() };
    let deadline = Instant::now() + pool.timeout();
    let connection = pool.connector().connect_with(&session, deadline).await;
    let mut connection = connection.map_err(|error| StoreError::Unavailable(Box::new(error)))?;
    let vacuumed = async {
        if sqlx::raw_sql(MAY_VACUUM).fetch_one(&mut connection).await?.try_get("may")? {
            sqlx::query("VACUUM samples").execute(&mut connection).await?;
            sqlx::query("VACUUM crops").execute(&mut connection).await?;
            sqlx::query("VACUUM snapshots").execute(&mut connection).await?;
            sqlx::query("VACUUM idempotency").execute(&mut connection).await?;
            sqlx::query("VACUUM details").execute(&mut connection).await?;
            sqlx::query("VACUUM probes").execute(&mut connection).await?;
        } else if !WARNED.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the role of the database may not VACUUM the tables with templates: what was deleted is cleared \
                 away by the autovacuum of the server, later; see docs/guides/postgres.md"
            );
        }
        connection.close().await
    };
    // The statement timeout of Postgres does not end the wait for a silent network.
    let outcome = tokio::time::timeout(VACUUM_TIMEOUT, vacuumed).await;
    outcome.map_err(|elapsed| StoreError::Unavailable(Box::new(elapsed)))?.map_err(store_error)
}

/// Classifies an error by its SQLSTATE (appendix A of the manual of Postgres).
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    let is_unavailable = error.as_database_error().and_then(|e| e.code()).is_some_and(|code| {
        // Connection, authorization (a password that is being changed), resources, operator intervention (also a
        // cancelled statement), system error; read-only; serialization, deadlock, lock not available; the database or a
        // table does not exist, or takes no connections (a restore); a limit (the queue of notifications).
        ["08", "28", "53", "57", "58"].iter().any(|class| code.starts_with(class))
            // An idle transaction that the server ended, and a prepared statement of another session.
            || ["25P03", "25P04", "26000", "42P05"].contains(&code.as_ref())
            || ["25006", "3D000", "40001", "40P01", "42P01", "54000", "55000", "55P03"].contains(&code.as_ref())
    });
    StoreError::from_sqlx(error, is_unavailable)
}
