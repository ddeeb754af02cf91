//! Applications.

macro_rules! apps {
    ($store:ty, $database:ty, $failed:path) => {
        #[async_trait]
        impl AppStore for $store {
            async fn create(&self, app: &AppRecord) -> Result<bool, StoreError> {
                let done = sqlx::query(
                    "INSERT INTO applications (app_id, name, key_hash, created_at, attributes)
                     VALUES ($1, $2, $3, $4, $5)
                     ON CONFLICT (app_id) DO NOTHING",
                )
                .bind(app.id.as_str())
                .bind(app.name.as_str())
                .bind(app.key_hash.0.as_slice())
                .bind(row::millis(app.created_at))
                .bind(app.attributes)
                .execute(&self.write)
                .await
                .map_err($failed)?;
                Ok(done.rows_affected() == 1)
            }

            async fn list(&self) -> Result<Vec<AppRecord>, StoreError> {
                let rows: Vec<(String, String, Vec<u8>, i64, bool)> = sqlx::query_as(
                    "SELECT app_id, name, key_hash, created_at, attributes FROM applications
                     ORDER BY created_at, app_id",
                )
                .fetch_all(&self.read)
                .await
                .map_err($failed)?;
                rows.into_iter()
                    .map(|(id, name, key, created_at, attributes)| {
                        Ok(AppRecord {
                            id: row::app_id(&id)?,
                            name,
                            key_hash: row::key_hash(&key)?,
                            created_at: row::time(created_at),
                            attributes,
                        })
                    })
                    .collect()
            }

            async fn set_key(&self, id: &AppId, key: KeyHash) -> Result<bool, StoreError> {
                let done = sqlx::query("UPDATE applications SET key_hash = $2 WHERE app_id = $1")
                    .bind(id.as_str())
                    .bind(key.0.as_slice())
                    .execute(&self.write)
                    .await
                    .map_err($failed)?;
                Ok(done.rows_affected() == 1)
            }

            async fn set_attributes(&self, id: &AppId, reported: bool) -> Result<bool, StoreError> {
                let done = sqlx::query("UPDATE applications SET attributes = $2 WHERE app_id = $1")
                    .bind(id.as_str())
                    .bind(reported)
                    .execute(&self.write)
                    .await
                    .map_err($failed)?;
                Ok(done.rows_affected() == 1)
            }

            async fn delete(&self, id: &AppId) -> Result<bool, StoreError> {
                let done = sqlx::query("DELETE FROM applications WHERE app_id = $1")
                    .bind(id.as_str())
                    .execute(&self.write)
                    .await
                    .map_err($failed)?;
                self.removed.store(true, Ordering::Release);
                Ok(done.rows_affected() == 1)
            }
        }
    };
}

pub(in crate::store) use apps;
