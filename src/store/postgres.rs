//! Postgres: any number of nodes share one.

use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, Postgres};

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
    (1, "first", include_str!("../../migrations/postgres/0001_first.sql")),
    (2, "attributes", include_str!("../../migrations/postgres/0002_attributes.sql")),
    (3, "snapshots", include_str!("../../migrations/postgres/0003_snapshots.sql")),
];

#[derive(Debug)]
pub(super) struct PostgresStore {
    read: PgPool,
    write: PgPool,
    sealer: Sealer,
}

sql_store!(PostgresStore, Postgres, failed);

/// Opens a database of a server. Nodes that start at once take turns with its migrations (SQLx
/// holds an advisory lock meanwhile).
pub(super) async fn open(url: &str, password: Option<&str>, options: &OpenOptions) -> Result<Store, OpenError> {
    let mut connect = PgConnectOptions::from_str(url).map_err(|_| OpenError::Url)?.application_name("semblance");
    if let Some(password) = password {
        connect = connect.password(password);
    }
    let timeout_ms = options.timeout.as_millis().to_string();
    // A commit is on disk before it is acknowledged, whatever the server's default is.
    let connect = connect.options([("statement_timeout", timeout_ms.as_str()), ("synchronous_commit", "on")]);
    let pool = PgPoolOptions::new()
        .max_connections(options.connections)
        .acquire_timeout(options.timeout)
        .connect_with(connect)
        .await
        .map_err(OpenError::connect)?;
    migrations(&MIGRATIONS).run(&pool).await.map_err(OpenError::migrate)?;
    PostgresStore::unlock(pool.clone(), pool, &options.key).await
}

/// What an error of Postgres means: by SQLSTATE class (appendix A of its manual).
fn failed(error: sqlx::Error) -> StoreError {
    let away = error.as_database_error().and_then(|e| e.code()).is_some_and(|code| {
        // Connection, resources, operator intervention (a cancelled statement too), system error;
        // read-only; serialisation, deadlock, lock not available.
        ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class))
            || ["25006", "40001", "40P01", "55P03"].contains(&code.as_ref())
    });
    classify(error, away)
}
