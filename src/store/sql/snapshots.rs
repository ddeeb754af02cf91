//! The keys of snapshot files.

use std::time::Duration;

use async_trait::async_trait;

use super::executor::{Executor, Limit, values};
use super::sql_store::SqlStore;
use crate::domain::{AppId, Revision};
use crate::store::error::StoreError;
use crate::store::key::Key;
use crate::store::record::SnapshotId;
use crate::store::seal::{SealError, snapshot_key_aad};
use crate::store::traits::SnapshotStore;

/// How long the keys of snapshots are kept. After this, the keys of nodes that no longer exist are deleted.
const KEY_MAX_AGE: Duration = Duration::from_secs(90 * 86_400);

#[async_trait]
impl SnapshotStore for SqlStore {
    async fn register(&self, app: &AppId, id: SnapshotId) -> Result<(Key, Revision), StoreError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let key = Key::random().map_err(|error| StoreError::Failed(Box::new(error)))?;
                let mut tx = self.db.begin(deadline).await?;
                // Locks the gallery's row as a write does: a removal comes before, and is in the revision, or after, and
                // deletes the key.
                let gallery = tx
                    .fetch_optional(
                        "UPDATE applications SET revision = revision WHERE app_id = $1 RETURNING revision",
                        values![app],
                    )
                    .await?
                    .ok_or(StoreError::NoSuchApp)?;
                let sealed_key = self.sealer(&mut tx).await?.seal_bytes(&snapshot_key_aad(app, id), key.0.as_ref())?;
                let now = self.now(&mut tx).await?;
                tx.execute(
                    "INSERT INTO snapshots (app_id, snapshot_id, created_at, sealed_key) VALUES ($1, $2, $3, $4)",
                    values![app, &id.0, now, &sealed_key],
                )
                .await?;
                tx.execute(
                    "DELETE FROM snapshots WHERE app_id = $1 AND created_at < $2",
                    values![app, now - KEY_MAX_AGE],
                )
                .await?;
                tx.commit().await?;
                Ok((key, gallery.revision("revision")?))
            })
            .await
    }

    async fn key(&self, app: &AppId, id: SnapshotId) -> Result<Option<Key>, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let sql = "SELECT sealed_key FROM snapshots WHERE app_id = $1 AND snapshot_id = $2";
        let Some(row) = db.fetch_optional(sql, values![app, &id.0]).await? else { return Ok(None) };
        match self.keys.open_snapshot_key(app, id, row.get("sealed_key")?) {
            Ok(key) => Ok(Some(key)),
            Err(SealError::OtherKey(key)) => Err(StoreError::KeyMissing(key)),
            Err(error) => Err(StoreError::Corrupt(format!("the key of snapshot {} is {error}", id.0))),
        }
    }

    async fn discard(&self, app: &AppId, id: SnapshotId) -> Result<(), StoreError> {
        let mut db = self.db.writer(Limit::Request).await?;
        let sql = "DELETE FROM snapshots WHERE app_id = $1 AND snapshot_id = $2";
        db.execute(sql, values![app, &id.0]).await?;
        Ok(())
    }
}
