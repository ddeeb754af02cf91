//! Keys of snapshots.

macro_rules! snapshots {
    ($store:ty, $database:ty, $failed:path) => {
        #[async_trait]
        impl SnapshotStore for $store {
            async fn register(&self, app: &AppId, id: SnapshotId) -> Result<(Key, Revision), StoreError> {
                let key = Key::random().map_err(|error| StoreError::Failed(Box::new(error)))?;
                let mut work = self.work().await?;
                // Locks the gallery's row as a write does, so that every removal comes before (and shows
                // in the revision) or after (and takes the key with it).
                let found: Option<(i64,)> =
                    sqlx::query_as("UPDATE applications SET revision = revision WHERE app_id = $1 RETURNING revision")
                        .bind(app.as_str())
                        .fetch_optional(&mut *work)
                        .await
                        .map_err($failed)?;
                let (revision,) = found.ok_or(StoreError::NoSuchApp)?;
                let sealer = self.sealer(&mut work).await?;
                sqlx::query(
                    "INSERT INTO snapshots (app_id, snapshot_id, created_at, sealed_key) VALUES ($1, $2, $3, $4)",
                )
                .bind(app.as_str())
                .bind(id.0.as_bytes().as_slice())
                .bind(row::now())
                .bind(sealer.seal_bytes(&snapshot_key_aad(app, id), key.0.as_ref())?)
                .execute(&mut *work)
                .await
                .map_err($failed)?;
                // Of nodes that are no more, nothing is kept for ever.
                sqlx::query("DELETE FROM snapshots WHERE app_id = $1 AND created_at < $2")
                    .bind(app.as_str())
                    .bind(row::now() - sql::SNAPSHOTS_KEPT_MS)
                    .execute(&mut *work)
                    .await
                    .map_err($failed)?;
                work.commit().await.map_err($failed)?;
                Ok((key, row::revision(revision)))
            }

            async fn key(&self, app: &AppId, id: SnapshotId) -> Result<Option<Key>, StoreError> {
                let found: Option<(Vec<u8>,)> =
                    sqlx::query_as("SELECT sealed_key FROM snapshots WHERE app_id = $1 AND snapshot_id = $2")
                        .bind(app.as_str())
                        .bind(id.0.as_bytes().as_slice())
                        .fetch_optional(&self.read)
                        .await
                        .map_err($failed)?;
                let open = |(sealed,): (Vec<u8>,)| {
                    self.keys.open_snapshot_key(app, id, &sealed).map_err(|error| match error {
                        SealError::OtherKey(key) => StoreError::KeyMissing(key),
                        error => StoreError::Corrupt(format!("the key of snapshot {} is {error}", id.0)),
                    })
                };
                found.map(open).transpose()
            }

            async fn discard(&self, app: &AppId, id: SnapshotId) -> Result<(), StoreError> {
                sqlx::query("DELETE FROM snapshots WHERE app_id = $1 AND snapshot_id = $2")
                    .bind(app.as_str())
                    .bind(id.0.as_bytes().as_slice())
                    .execute(&self.write)
                    .await
                    .map_err($failed)?;
                Ok(())
            }
        }
    };
}

pub(in crate::store) use snapshots;
