//! The keys of applications.
//!
//! A change begins by raising `settings_revision` of the application, which locks its row, so two nodes exceed no limit
//! together.

use std::time::Duration;

use async_trait::async_trait;

use super::executor::{DbRow, Executor, Limit, Tx, values};
use super::row;
use super::sql_store::SqlStore;
use crate::domain::{AppId, AppKeyId, KeySwitch, Scopes};
use crate::store::application::{
    AppKeyChange, AppKeyRecord, AppKeyRefusal, AppKeyStore, KeySet, KeyUse, Replaced, Replacement, Rotated,
};
use crate::store::error::StoreError;
use crate::store::outbox::OutboxEvent;
use crate::store::record::KeyHash;

#[async_trait]
impl AppKeyStore for SqlStore {
    async fn add_key(
        &self,
        app: &AppId,
        key: &AppKeyRecord,
        event: Option<&OutboxEvent>,
    ) -> Result<Result<AppKeyRecord, AppKeyRefusal>, StoreError> {
        self.change_keys(app, event, |keys| keys.add(key)).await
    }

    async fn replace_key(
        &self,
        app: &AppId,
        replaced: Replaced,
        replacement: &Replacement,
        overlap: Duration,
        event: Option<&OutboxEvent>,
    ) -> Result<Result<Rotated, AppKeyRefusal>, StoreError> {
        self.change_keys(app, event, |keys| keys.replace(replaced, replacement, overlap)).await
    }

    async fn change_key(
        &self,
        app: &AppId,
        key: AppKeyId,
        change: &AppKeyChange,
        event: Option<&OutboxEvent>,
    ) -> Result<Result<AppKeyRecord, AppKeyRefusal>, StoreError> {
        self.change_keys(app, event, |keys| keys.change(key, change)).await
    }

    async fn end_keys(&self, app: &AppId, event: Option<&OutboxEvent>) -> Result<bool, StoreError> {
        let ended = self.change_keys(app, event, |keys| {
            keys.end_all();
            Ok(())
        });
        Ok(ended.await?.is_ok())
    }

    async fn record_key_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut tx = self.db.begin(deadline).await?;
                for KeyUse { app, key, at } in uses {
                    tx.execute(
                        "UPDATE app_keys SET last_used_at = $3
                         WHERE app_id = $1 AND key_id = $2 AND (last_used_at IS NULL OR last_used_at < $3)",
                        values![app, key.to_string().as_str(), *at],
                    )
                    .await?;
                }
                tx.commit().await
            })
            .await
    }
}

impl SqlStore {
    /// Changes the keys of an application by the rules of [`KeySet`].
    async fn change_keys<T: Send>(
        &self,
        app: &AppId,
        event: Option<&OutboxEvent>,
        change: impl Fn(&mut KeySet) -> Result<T, AppKeyRefusal> + Send + Sync,
    ) -> Result<Result<T, AppKeyRefusal>, StoreError> {
        let change = &change;
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut tx = self.db.begin(deadline).await?;
                let sql = "UPDATE applications SET settings_revision = settings_revision + 1 WHERE app_id = $1";
                if tx.execute(sql, values![app]).await? == 0 {
                    tx.rollback().await?;
                    return Ok(Err(AppKeyRefusal::NoSuchApp));
                }
                let now = row::time(row::millis(self.now(&mut tx).await?));
                let before = keys_of(&mut tx, app).await?;
                let mut after = KeySet { keys: before.clone(), now };
                let changed = match change(&mut after) {
                    Ok(changed) => changed,
                    Err(refusal) => {
                        tx.rollback().await?;
                        return Ok(Err(refusal));
                    }
                };
                write_keys(&mut tx, app, &before, &after.keys).await?;
                mirror_keys(&mut tx, app).await?;
                if let Some(event) = event {
                    self.insert_event(&mut tx, &OutboxEvent { at: now, ..event.clone() }).await?;
                }
                tx.commit_and_notify().await?;
                Ok(Ok(changed))
            })
            .await
    }

    /// Makes keys of those that a version before has stored with its applications: in a database that was filled from one of
    /// its backups, or that it has written to since the migration.
    pub(in crate::store) async fn adopt_keys(&self) -> Result<(), StoreError> {
        let sql = "SELECT app_id FROM applications a
                   WHERE NOT EXISTS (SELECT 1 FROM app_keys k WHERE k.app_id = a.app_id) LIMIT 1";
        let mut db = self.db.reader(Limit::Unbounded).await?;
        let is_complete = db.fetch_optional(sql, &[]).await?.is_none();
        drop(db);
        if is_complete {
            return Ok(());
        }
        self.db
            .transact(Limit::Unbounded, |deadline| async move {
                let mut tx = self.db.begin(deadline).await?;
                tx.lock_galleries().await?;
                adopt_keys(&mut tx).await?;
                tx.commit().await
            })
            .await
    }
}

/// See [`SqlStore::adopt_keys`]. The transaction has locked the galleries, and has written.
pub(super) async fn adopt_keys(tx: &mut Tx) -> Result<(), StoreError> {
    // SQLite does not let a transaction write that has begun by reading.
    tx.execute("UPDATE applications SET key_hash = key_hash", &[]).await?;
    let rows = tx
        .fetch_all(
            "SELECT app_id, key_hash, former_key_hash, former_until, created_at FROM applications a
             WHERE NOT EXISTS (SELECT 1 FROM app_keys k WHERE k.app_id = a.app_id)",
            &[],
        )
        .await?;
    for row in &rows {
        let app = row.app_id("app_id")?;
        let present: &[u8] = row.get("key_hash")?;
        let former: Option<&[u8]> = row.get("former_key_hash")?;
        let until = row.get::<Option<i64>>("former_until")?.map(row::time);
        let former = former.zip(until).map(|(hash, until)| (hash, Some(until)));
        for (hash, ends_at) in
            [Some((present, None)), former].into_iter().flatten().filter(|(hash, _)| !hash.is_empty())
        {
            let key = AppKeyRecord {
                id: AppKeyId::random(),
                name: "first".to_owned(),
                hash: row::key_hash(hash, &app),
                hint: None,
                scopes: Scopes::ALL,
                switch: KeySwitch::Active,
                created_at: row.time("created_at")?,
                created_by: None,
                last_used_at: None,
                ends_at,
                expires_at: None,
            };
            insert_key(tx, &app, &key).await?;
        }
    }
    Ok(())
}

pub(super) async fn insert_key(tx: &mut Tx, app: &AppId, key: &AppKeyRecord) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO app_keys
             (app_id, key_id, name, key_hash, hint, scopes, state, created_at, created_by, last_used_at, ends_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        values![
            app,
            key.id.to_string().as_str(),
            key.name.as_str(),
            &key.hash.0,
            key.hint.as_deref(),
            key.scopes.to_string().as_str(),
            key.switch.as_str(),
            key.created_at,
            key.created_by.as_deref(),
            key.last_used_at,
            key.ends_at,
            key.expires_at,
        ],
    )
    .await
    .map(drop)
}

/// Writes the keys that differ.
async fn write_keys(
    tx: &mut Tx,
    app: &AppId,
    before: &[AppKeyRecord],
    after: &[AppKeyRecord],
) -> Result<(), StoreError> {
    for old in before.iter().filter(|old| after.iter().all(|key| key.id != old.id)) {
        let sql = "DELETE FROM app_keys WHERE app_id = $1 AND key_id = $2";
        tx.execute(sql, values![app, old.id.to_string().as_str()]).await?;
    }
    for key in after {
        match before.iter().find(|old| old.id == key.id) {
            None => insert_key(tx, app, key).await?,
            Some(old) if old != key => update_key(tx, app, key).await?,
            Some(_) => {}
        }
    }
    Ok(())
}

async fn update_key(tx: &mut Tx, app: &AppId, key: &AppKeyRecord) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE app_keys SET name = $3, scopes = $4, state = $5, ends_at = $6, expires_at = $7
         WHERE app_id = $1 AND key_id = $2",
        values![
            app,
            key.id.to_string().as_str(),
            key.name.as_str(),
            key.scopes.to_string().as_str(),
            key.switch.as_str(),
            key.ends_at,
            key.expires_at,
        ],
    )
    .await
    .map(drop)
}

async fn keys_of(tx: &mut Tx, app: &AppId) -> Result<Vec<AppKeyRecord>, StoreError> {
    let sql =
        "SELECT key_id, name, key_hash, hint, scopes, state, created_at, created_by, last_used_at, ends_at, expires_at
               FROM app_keys WHERE app_id = $1 ORDER BY created_at, key_id";
    let rows = tx.fetch_all(sql, values![app]).await?;
    let keys = rows.iter().map(|row| key_record(row, app)).collect::<Result<Vec<_>, _>>()?;
    Ok(keys.into_iter().flatten().collect())
}

/// A key; `None`, with an error in the log, when its row cannot be understood: it opens for no one, and others still do.
pub(super) fn key_record(row: &DbRow, app: &AppId) -> Result<Option<AppKeyRecord>, StoreError> {
    let id: &str = row.get("key_id")?;
    let scopes: &str = row.get("scopes")?;
    let switch: &str = row.get("state")?;
    let (Ok(id), Ok(scopes), Ok(switch)) = (id.parse(), scopes.parse(), switch.parse()) else {
        tracing::error!(%app, key = id, "a key of the application is damaged, or of a newer version, and not accepted");
        return Ok(None);
    };
    Ok(Some(AppKeyRecord {
        id,
        name: row.get("name")?,
        hash: row::key_hash(row.get("key_hash")?, app),
        hint: row.get("hint")?,
        scopes,
        switch,
        created_at: row.time("created_at")?,
        created_by: row.get("created_by")?,
        last_used_at: row.get::<Option<i64>>("last_used_at")?.map(row::time),
        ends_at: row.get::<Option<i64>>("ends_at")?.map(row::time),
        expires_at: row.get::<Option<i64>>("expires_at")?.map(row::time),
    }))
}

/// Copies the keys of an application to the columns that servers of the version before read: those with all scopes and
/// without an expiry, of an application that is not suspended. Such a server knows no other ones.
pub(super) async fn mirror_keys(tx: &mut Tx, app: &AppId) -> Result<(), StoreError> {
    let keys = keys_of(tx, app).await?;
    let state = tx.fetch_one("SELECT state FROM applications WHERE app_id = $1", values![app]).await?;
    let is_served = state.get::<&str>("state")? == "active";
    let understood = |key: &&AppKeyRecord| {
        is_served && key.switch == KeySwitch::Active && key.scopes == Scopes::ALL && key.expires_at.is_none()
    };
    let present = keys.iter().filter(understood).rfind(|key| key.ends_at.is_none());
    let former = keys.iter().filter(understood).filter(|key| key.ends_at.is_some()).max_by_key(|key| key.ends_at);
    let hash = |key: Option<&AppKeyRecord>| key.map(|AppKeyRecord { hash: KeyHash(hash), .. }| hash.to_vec());
    let (present, former_hash) = (hash(present).unwrap_or_default(), hash(former));
    tx.execute(
        "UPDATE applications SET key_hash = $2, former_key_hash = $3, former_until = $4 WHERE app_id = $1",
        values![app, &present, former_hash.as_deref(), former.and_then(|key| key.ends_at)],
    )
    .await
    .map(drop)
}
