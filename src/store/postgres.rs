//! Postgres: any number of nodes share one.

use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions, Postgres};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use tokio::sync::Mutex;
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
    (1, "first", include_str!("../../migrations/postgres/0001_first.sql")),
    (2, "attributes", include_str!("../../migrations/postgres/0002_attributes.sql")),
    (3, "snapshots", include_str!("../../migrations/postgres/0003_snapshots.sql")),
    (4, "data keys", include_str!("../../migrations/postgres/0004_data_keys.sql")),
    (5, "periods", include_str!("../../migrations/postgres/0005_periods.sql")),
    (6, "outbox", include_str!("../../migrations/postgres/0006_outbox.sql")),
    (7, "tags", include_str!("../../migrations/postgres/0007_tags.sql")),
    (8, "enrollment", include_str!("../../migrations/postgres/0008_enrollment.sql")),
];

/// Waits for the writers of galleries and keeps others waiting; readers go on.
const HOLD_WRITERS: Option<&str> = Some("LOCK TABLE applications IN EXCLUSIVE MODE");

/// For a statement that takes as long as the table is large.
const NO_STATEMENT_TIMEOUT: Option<&str> = Some("SET LOCAL statement_timeout = 0");

/// Told in the transaction of a write, it is heard when that is committed. Only a hint: it is left out before a queue
/// that nobody empties is full, which would fail the commit.
const NOTIFY: Option<&str> = Some("SELECT pg_notify('semblance', '') WHERE pg_notification_queue_usage() < 0.9");

/// Where it is told.
const CHANNEL: &str = "semblance";

/// A connection that told nothing for so long is exchanged: nothing else tells a quiet one from a dead one.
const LISTENER_MAX_IDLE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct PostgresStore {
    read: PgPool,
    write: PgPool,
    keys: Keyring,
    pending_scrub: PendingScrub,
    /// Whose journal tells of what is put down here, if this process has one.
    node: OnceLock<Uuid>,
}

sql_store!(PostgresStore, Postgres, failed);

/// Opens a database of a server. Nodes that start at once take turns with its migrations (SQLx
/// holds an advisory lock meanwhile).
pub(super) async fn open(url: &str, password: Option<&str>, options: &OpenOptions) -> Result<Store, OpenError> {
    let mut connect = PgConnectOptions::from_str(url).map_err(|_| OpenError::Url)?.application_name("semblance");
    if let Some(password) = password {
        connect = connect.password(password);
    }
    let timeout = options.timeout;
    let timeout_ms = timeout.as_millis().to_string();
    // A commit is on disk before it is acknowledged, whatever the server's default is.
    let connect = connect.options([("statement_timeout", timeout_ms.as_str()), ("synchronous_commit", "on")]);
    migrate(&connect, timeout).await?;
    let pool = PgPoolOptions::new()
        .max_connections(options.connections)
        .acquire_timeout(options.timeout)
        // A connection that has gone silent is given up when it comes back, or it would keep its place
        // in the pool for ever.
        .after_release(move |connection, _| {
            Box::pin(async move {
                tokio::time::timeout(timeout, connection.ping()).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
                Ok(true)
            })
        })
        .connect_with(connect.clone())
        .await
        .map_err(OpenError::connect)?;
    let hints = Listener { options: connect, slot: Mutex::default() };
    PostgresStore::unlock(pool.clone(), pool, &options.key, hints).await
}

/// Longest that a node waits for another's migrations, or for a table that somebody else holds.
const MIGRATION_WAIT: Duration = Duration::from_secs(15 * 60);

/// Brings the schema up to date, on a connection of its own: a migration takes as long as the table is large. It waits
/// for locks only so long at a time, for whoever comes after it waits for it.
async fn migrate(connect: &PgConnectOptions, timeout: Duration) -> Result<(), OpenError> {
    let wait = timeout.as_millis().to_string();
    let connect = connect.clone().options([("statement_timeout", "0"), ("lock_timeout", wait.as_str())]);
    let own = PgPoolOptions::new().max_connections(1).acquire_timeout(timeout);
    let own = own.connect_with(connect).await.map_err(OpenError::connect)?;
    let start = Instant::now();
    loop {
        match migrations(&MIGRATIONS).run(&own).await {
            Err(error) if is_locked(&error) && start.elapsed() < MIGRATION_WAIT => {
                tracing::warn!(
                    "the schema is held by somebody else, perhaps another node's migration; it is waited for"
                );
            }
            outcome => {
                own.close().await;
                return outcome.map_err(OpenError::migrate);
            }
        }
    }
}

/// Whether a lock was not to be had in time.
fn is_locked(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else { return false };
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "55P03")
}

/// A VACUUM reads the table's indexes.
const SCRUB_EVERY: Duration = Duration::from_secs(60);

/// Longest that one of them takes; it is begun anew then.
const VACUUM_LIMIT: Duration = Duration::from_secs(15 * 60);

#[async_trait]
impl Scrubber for PostgresStore {
    async fn scrub(&self) -> Result<bool, StoreError> {
        let Some(clearing) = self.pending_scrub.clearing() else { return Ok(true) };
        // Takes as long as the table is large, so the limit on statements is not for it.
        let limit = VACUUM_LIMIT.as_millis().to_string();
        let options = PgConnectOptions::clone(&self.write.connect_options());
        let options = options.options([("statement_timeout", limit.as_str())]);
        let cleared = async {
            let mut connection = options.connect().await?;
            sqlx::query("VACUUM samples").execute(&mut connection).await?;
            sqlx::query("VACUUM snapshots").execute(&mut connection).await?;
            connection.close().await
        };
        // A wire that is silent ends nothing.
        let late = |late| StoreError::Unavailable(Box::new(late));
        tokio::time::timeout(VACUUM_LIMIT, cleared).await.map_err(late)?.map_err(failed)?;
        clearing.disarm();
        Ok(true)
    }

    fn mark_pending(&self) {
        // Whoever removed something sees to it, also after a crash: at its next start.
    }

    fn interval(&self) -> Duration {
        SCRUB_EVERY
    }
}

/// Hears what is told.
struct Listener {
    options: PgConnectOptions,
    /// The connection that listens, while there is one.
    slot: Mutex<Option<PgListener>>,
}

#[async_trait]
impl HintStore for Listener {
    async fn changed(&self) -> Result<(), StoreError> {
        let mut slot = self.slot.lock().await;
        let heard = async {
            if let Some(listener) = &mut *slot {
                if listener.try_recv().await?.is_none() {
                    *slot = None; // the connection is gone
                }
                return Ok(());
            }
            let own = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
            let own = own.connect_lazy_with(self.options.clone());
            let mut listener = PgListener::connect_with(&own).await?;
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            *slot = Some(listener);
            Ok(()) // whatever was told before it listened
        };
        match tokio::time::timeout(LISTENER_MAX_IDLE, heard).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                *slot = None;
                Err(failed(error))
            }
            Err(_) => {
                *slot = None;
                Ok(())
            }
        }
    }
}

/// What an error of Postgres means: by SQLSTATE class (appendix A of its manual).
fn failed(error: sqlx::Error) -> StoreError {
    let away = error.as_database_error().and_then(|e| e.code()).is_some_and(|code| {
        // Connection, authorisation (a password that is being changed), resources, operator intervention (a
        // cancelled statement too), system error; read-only; serialisation, deadlock, lock not available; the
        // database, or a table, is not there, or takes no connections (a restore); a limit (the queue of notices).
        ["08", "28", "53", "57", "58"].iter().any(|class| code.starts_with(class))
            || ["25006", "3D000", "40001", "40P01", "42P01", "54000", "55000", "55P03"].contains(&code.as_ref())
    });
    classify(error, away)
}
