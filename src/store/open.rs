//! Opens a database: connects, migrates, and checks that the sealing keys fit.

use std::sync::{Arc, OnceLock};

use uuid::Uuid;

use super::config::{DatabaseConfig, OpenMode, OpenOptions};
use super::cursor_key::CursorKey;
use super::error::{OpenError, StoreError};
use super::key::Key;
use super::keyring::{self, CURSOR_KEY, DATABASE_ID, JOURNAL_KEY, Keyring, SEAL_CHECK};
use super::sql::executor::{Db, Executor, Limit, Pool, values};
use super::sql::keys::check_keys_given;
use super::sql::opener::Opener;
use super::sql::sql_store::SqlStore;
use super::traits::{HintStore, Store};
use super::{continuity, postgres, sqlite};
use crate::domain::random_uuid;

/// Opens a database.
///
/// # Errors
/// See [`OpenError`].
pub async fn open(options: &OpenOptions) -> Result<Store, OpenError> {
    match &options.database {
        DatabaseConfig::Sqlite(path) => {
            let sqlite::Opened { read, write, lock, applied } = match options.mode {
                OpenMode::Read => sqlite::connect_read_only(path, options).await?,
                OpenMode::Create | OpenMode::Write => sqlite::connect(path, options).await?,
            };
            let writer = write.clone();
            let (read, write) = (Pool::Sqlite(read), Pool::Sqlite(write));
            let mut db = Db::new(read, write, options.timeout);
            // A process that opens the file waits for those that only read it; one that writes is seen by its log.
            db.read_lock = lock.filter(|_| options.mode == OpenMode::Read);
            let store = unlock(db, options, Arc::new(sqlite::NoNotifier)).await?;
            if applied > 0 {
                // The file of a new database holds its keys and its id, not only its log.
                sqlite::truncate_log(&writer).await?;
            }
            Ok(store)
        }
        DatabaseConfig::Postgres { url, password_file } => {
            let (pool, listener) = postgres::connect(url, password_file.as_ref(), options).await?;
            let db = Db::new(Pool::Postgres(pool.clone()), Pool::Postgres(pool), options.timeout);
            unlock(db, options, Arc::new(listener)).await
        }
    }
}

/// Brings the schema of a database up to date, and does nothing else. Returns how many migrations were applied.
///
/// # Errors
/// See [`OpenError`].
pub async fn migrate(options: &OpenOptions) -> Result<usize, OpenError> {
    match &options.database {
        DatabaseConfig::Sqlite(path) => {
            let opened = sqlite::connect(path, options).await?;
            opened.read.close().await;
            opened.write.close().await; // its log is written to the file
            Ok(opened.applied)
        }
        DatabaseConfig::Postgres { url, password_file } => {
            postgres::migrate_only(url, password_file.as_ref(), options).await
        }
    }
}

/// Takes a database file of SQLite as it is, although writes are missing. The file is not opened to write.
///
/// # Errors
/// [`OpenError::MixedState`], or when the file cannot be read.
pub async fn accept(options: &OpenOptions) -> Result<(), OpenError> {
    match &options.database {
        DatabaseConfig::Sqlite(path) => continuity::accept(path).await,
        DatabaseConfig::Postgres { .. } => Ok(()),
    }
}

/// The store of a database whose schema is up to date, if the active key is among those given.
async fn unlock(db: Db, options: &OpenOptions, hints: Arc<dyn HintStore>) -> Result<Store, OpenError> {
    let check = read_meta(&db, SEAL_CHECK).await?;
    if check.is_none() && options.mode != OpenMode::Create {
        return Err(OpenError::Unused);
    }
    let keys = Keyring::new(options.key.clone(), check.is_some())?;
    let check = match check {
        Some(check) => check,
        None => init_meta(&db, SEAL_CHECK, &keys.first_check()?).await?,
    };
    let key = keys.unlock(&check)?;
    check_keys_given(&db, &keys.ids()?).await?;
    let sealed = match read_meta(&db, JOURNAL_KEY).await? {
        Some(sealed) => sealed,
        None if options.mode != OpenMode::Create => return Err(OpenError::Unused),
        None => {
            // A database without applications has no journal to continue.
            let mut writer = db.writer(Limit::Unbounded).await?;
            let is_new = writer.fetch_optional("SELECT created_at FROM applications LIMIT 1", &[]).await?.is_none();
            drop(writer);
            init_meta(&db, JOURNAL_KEY, &keyring::first_journal_key(&key, is_new)?).await?
        }
    };
    let journal_key = keys.open_journal_key(&sealed).map_err(StoreError::from)?.0;
    let cursor_key = cursor_key(&db, &keys, &key, options.mode).await?;
    let id = match read_meta(&db, DATABASE_ID).await? {
        None if options.mode != OpenMode::Read => Some(init_meta(&db, DATABASE_ID, random_uuid().as_bytes()).await?),
        id => id,
    };
    let invalid = |_| StoreError::Corrupt("the id of the database".to_owned());
    let database_id = id.map(|id| Uuid::from_slice(&id).map_err(invalid)).transpose()?;
    let keys = Arc::new(keys);
    let store = Arc::new(SqlStore {
        db,
        opener: Opener::new(Arc::clone(&keys)),
        keys,
        samples_per_template: options.samples_per_template,
        clock: options.clock.clone(),
        node: OnceLock::new(),
    });
    if options.mode != OpenMode::Read {
        store.adopt_keys().await?;
    }
    Ok(Store {
        apps: store.clone(),
        administrators: store.clone(),
        app_keys: store.clone(),
        templates: store.clone(),
        samples: store.clone(),
        people: store.clone(),
        review: store.clone(),
        idempotency: store.clone(),
        snapshots: store.clone(),
        scrubber: store.clone(),
        outbox: store.clone(),
        backup: store.clone(),
        retention: store.clone(),
        probe: store.clone(),
        pool: store.clone(),
        keys: store,
        hints,
        journal_key,
        cursor_key: Arc::new(cursor_key),
        database_id,
    })
}

/// The key of cursors. One that cannot be opened, because a node of an older version has activated another sealing key,
/// is replaced: only cursors that are in use end.
async fn cursor_key(db: &Db, keys: &Keyring, active: &Key, mode: OpenMode) -> Result<CursorKey, OpenError> {
    let open = |sealed: &[u8]| keys.open_cursor_key(sealed).map(|key| CursorKey::new(&key));
    let known = read_meta(db, CURSOR_KEY).await?;
    if let Some(Ok(key)) = known.as_deref().map(open) {
        return Ok(key);
    }
    let new = keyring::new_cursor_key(active)?;
    if mode == OpenMode::Read {
        return Ok(open(&new).map_err(StoreError::from)?);
    }
    if let Some(unreadable) = known {
        let mut writer = db.writer(Limit::Unbounded).await?;
        let sql = "DELETE FROM meta WHERE name = $1 AND value = $2";
        writer.execute(sql, values![CURSOR_KEY, unreadable.as_slice()]).await?;
    }
    Ok(open(&init_meta(db, CURSOR_KEY, &new).await?).map_err(StoreError::from)?)
}

async fn read_meta(db: &Db, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let mut db = db.writer(Limit::Unbounded).await?;
    let row = db.fetch_optional("SELECT value FROM meta WHERE name = $1", values![name]).await?;
    row.as_ref().map(|row| row.get("value")).transpose()
}

/// The value of a row of `meta`, which is inserted if it does not exist. Of two nodes that start at once, one inserts
/// it and both read it.
async fn init_meta(db: &Db, name: &str, initial: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut writer = db.writer(Limit::Unbounded).await?;
    let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    writer.execute(sql, values![name, initial]).await?;
    writer.fetch_one("SELECT value FROM meta WHERE name = $1", values![name]).await?.get("value")
}
