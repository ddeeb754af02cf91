//! Applications.

macro_rules! apps {
    ($store:ty, $database:ty, $failed:path) => {
        #[async_trait]
        impl AppStore for $store {
            async fn create(&self, app: &AppRecord) -> Result<bool, StoreError> {
                let done = sqlx::query(
                    "INSERT INTO applications (app_id, name, key_hash, created_at, attributes, retention_s, guard, min_quality)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                     ON CONFLICT (app_id) DO NOTHING",
                )
                .bind(app.id.as_str())
                .bind(app.name.as_str())
                .bind(app.key_hash.0.as_slice())
                .bind(row::millis(app.created_at))
                .bind(app.attributes)
                .bind(app.retention.map(row::seconds))
                .bind(app.rules.guard.as_str())
                .bind(app.rules.min_quality)
                .execute(&self.write)
                .await
                .map_err($failed)?;
                Ok(done.rows_affected() == 1)
            }

            async fn create_first(&self, app: &AppRecord) -> Result<bool, StoreError> {
                let mut work = self.work().await?;
                if let Some(statement) = HOLD_WRITERS {
                    sqlx::query(statement).execute(&mut *work).await.map_err($failed)?;
                }
                let done = sqlx::query(
                    "INSERT INTO applications (app_id, name, key_hash, created_at, attributes, retention_s, guard, min_quality)
                     SELECT $1, $2, $3, $4, $5, $6, $7, $8 WHERE NOT EXISTS (SELECT 1 FROM applications)",
                )
                .bind(app.id.as_str())
                .bind(app.name.as_str())
                .bind(app.key_hash.0.as_slice())
                .bind(row::millis(app.created_at))
                .bind(app.attributes)
                .bind(app.retention.map(row::seconds))
                .bind(app.rules.guard.as_str())
                .bind(app.rules.min_quality)
                .execute(&mut *work)
                .await
                .map_err($failed)?;
                work.commit().await.map_err($failed)?;
                Ok(done.rows_affected() == 1)
            }

            async fn list(&self) -> Result<Vec<AppRecord>, StoreError> {
                type Row = (
                    String,
                    String,
                    Vec<u8>,
                    i64,
                    bool,
                    Option<Vec<u8>>,
                    Option<i64>,
                    Option<i64>,
                    String,
                    Option<f64>,
                );
                let rows: Vec<Row> = sqlx::query_as(
                    "SELECT app_id, name, key_hash, created_at, attributes, former_key_hash, former_until, retention_s,
                            guard, min_quality
                     FROM applications ORDER BY created_at, app_id",
                )
                .fetch_all(&self.read)
                .await
                .map_err($failed)?;
                rows.into_iter()
                    .map(|(id, name, key, created_at, attributes, former, until, retention, guard, min_quality)| {
                        let rules = EnrollRules { guard: row::guard(&guard, &id), min_quality };
                        let former = former.as_deref().map(|hash| row::key_hash(hash, &id));
                        Ok(AppRecord {
                            key_hash: row::key_hash(&key, &id),
                            id: row::app_id(&id)?,
                            name,
                            created_at: row::time(created_at),
                            previous_key: former
                                .zip(until)
                                .map(|(hash, until)| PreviousKey { hash, until: row::time(until) }),
                            attributes,
                            retention: retention.map(row::duration),
                            rules,
                        })
                    })
                    .collect()
            }

            async fn set_key(
                &self,
                id: &AppId,
                key: KeyHash,
                former_until: Option<SystemTime>,
            ) -> Result<bool, StoreError> {
                // All columns on the right are those of before.
                let done = sqlx::query(
                    "UPDATE applications SET key_hash = $2, former_until = $3,
                            former_key_hash = CASE WHEN $4 THEN key_hash ELSE NULL END
                     WHERE app_id = $1",
                )
                .bind(id.as_str())
                .bind(key.0.as_slice())
                .bind(former_until.map(row::millis))
                .bind(former_until.is_some())
                .execute(&self.write)
                .await
                .map_err($failed)?;
                Ok(done.rows_affected() == 1)
            }

            async fn set_retention(&self, id: &AppId, retention: Option<Duration>) -> Result<bool, StoreError> {
                let done = sqlx::query("UPDATE applications SET retention_s = $2 WHERE app_id = $1")
                    .bind(id.as_str())
                    .bind(retention.map(row::seconds))
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

            async fn set_guard(&self, id: &AppId, guard: Guard) -> Result<bool, StoreError> {
                let done = sqlx::query("UPDATE applications SET guard = $2 WHERE app_id = $1")
                    .bind(id.as_str())
                    .bind(guard.as_str())
                    .execute(&self.write)
                    .await
                    .map_err($failed)?;
                Ok(done.rows_affected() == 1)
            }

            async fn set_min_quality(&self, id: &AppId, least: Option<f64>) -> Result<bool, StoreError> {
                let done = sqlx::query("UPDATE applications SET min_quality = $2 WHERE app_id = $1")
                    .bind(id.as_str())
                    .bind(least)
                    .execute(&self.write)
                    .await
                    .map_err($failed)?;
                Ok(done.rows_affected() == 1)
            }

            async fn delete(&self, id: &AppId) -> Result<bool, StoreError> {
                // The gallery's row is locked first: nobody enrols from here on, and the cascade of the last
                // statement finds no template that was not told of.
                let (mut work, first) = match self.begin(id).await {
                    Err(StoreError::NoSuchApp) => return Ok(false),
                    begun => begun?,
                };
                let left: Vec<(String,)> =
                    sqlx::query_as("SELECT template_id FROM templates WHERE app_id = $1 ORDER BY template_id")
                        .bind(id.as_str())
                        .fetch_all(&mut *work)
                        .await
                        .map_err($failed)?;
                for (at, (template,)) in (first..).zip(left) {
                    self.erase(&mut work, id, &row::template_id(&template)?, at, ErasureReason::APPLICATION).await?;
                }
                sqlx::query("DELETE FROM applications WHERE app_id = $1")
                    .bind(id.as_str())
                    .execute(&mut *work)
                    .await
                    .map_err($failed)?;
                work.commit().await.map_err($failed)?;
                Ok(true)
            }
        }
    };
}

pub(in crate::store) use apps;
