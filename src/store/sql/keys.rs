//! Sealing keys: which is in force, and what is sealed under others.

/// Samples that are sealed anew in one transaction: for SQLite, some hundredths of a second in which nobody else
/// writes.
pub(in crate::store) const RESEALED_AT_ONCE: i64 = 500;

/// `IS NOT DISTINCT FROM` is understood by both (SQLite 3.39): NULL is what the version before data keys had.
pub(in crate::store) const RESEAL: &str = "UPDATE samples SET data_key = $5, sealed = coalesce($6, sealed)
     WHERE app_id = $1 AND template_id = $2 AND created_at = $3 AND sample_id = $4
       AND data_key IS NOT DISTINCT FROM $7";

macro_rules! keys {
    ($store:ty, $database:ty, $failed:path) => {
        #[async_trait]
        impl KeyStore for $store {
            fn has(&self, key: KeyId) -> bool {
                self.keys.sealer(key).is_ok()
            }

            async fn status(&self) -> Result<KeyStatus, StoreError> {
                let (check,): (Vec<u8>,) = sqlx::query_as("SELECT value FROM meta WHERE name = $1")
                    .bind(SEAL_CHECK)
                    .fetch_one(&self.read)
                    .await
                    .map_err($failed)?;
                Ok(KeyStatus {
                    in_force: sealed_under(&check)?,
                    given: self.keys.ids()?,
                    in_use: Self::keys_in_use(&self.read).await?,
                })
            }

            async fn put_in_force(&self, key: KeyId) -> Result<(), StoreError> {
                let sealer = self.keys.sealer(key)?;
                let mut work = self.work().await?;
                // Whoever writes has begun with a row of a gallery, and reads then which key is in force.
                if let Some(statement) = HOLD_WRITERS {
                    sqlx::query(statement).execute(&mut *work).await.map_err($failed)?;
                }
                let before = Self::hold_check(&mut work).await?;
                let mut superseded = Self::superseded(&mut *work).await?;
                superseded.push(sealed_under(&before)?);
                superseded.retain(|id| *id != key);
                Self::put_superseded(&mut *work, &superseded).await?;
                sqlx::query("UPDATE meta SET value = $2 WHERE name = $1")
                    .bind(SEAL_CHECK)
                    .bind(sealer.check()?)
                    .execute(&mut *work)
                    .await
                    .map_err($failed)?;
                let (journal,): (Vec<u8>,) = sqlx::query_as("SELECT value FROM meta WHERE name = $1")
                    .bind(JOURNAL_KEY)
                    .fetch_one(&mut *work)
                    .await
                    .map_err($failed)?;
                if let Some(journal) = self.keys.rewrap(&sealer, JOURNAL_KEY.as_bytes(), &journal)? {
                    sqlx::query("UPDATE meta SET value = $2 WHERE name = $1")
                        .bind(JOURNAL_KEY)
                        .bind(journal)
                        .execute(&mut *work)
                        .await
                        .map_err($failed)?;
                }
                work.commit().await.map_err($failed)
            }

            async fn reseal(&self, after: Option<SampleCursor>) -> Result<Resealed, StoreError> {
                let Some(after) = after else {
                    return Ok(Resealed { count: self.reseal_snapshots().await?, next: Some(SampleCursor::first()) });
                };
                type Row = (String, String, i64, Vec<u8>, String, Option<Vec<u8>>, Option<Vec<u8>>);
                let rows: Vec<Row> = sqlx::query_as(
                    "SELECT app_id, template_id, created_at, sample_id, model, data_key,
                            CASE WHEN data_key IS NULL THEN sealed END
                     FROM samples WHERE (app_id, template_id, created_at, sample_id) > ($1, $2, $3, $4)
                     ORDER BY app_id, template_id, created_at, sample_id LIMIT $5",
                )
                .bind(&after.app)
                .bind(&after.template)
                .bind(after.created_at)
                .bind(&after.sample)
                .bind(sql::keys::RESEALED_AT_ONCE)
                .fetch_all(&self.read)
                .await
                .map_err($failed)?;
                let full = row::count(rows.len()) == sql::keys::RESEALED_AT_ONCE;
                let next = rows.last().filter(|_| full).map(|(app, template, created_at, sample, ..)| SampleCursor {
                    app: app.clone(),
                    template: template.clone(),
                    created_at: *created_at,
                    sample: sample.clone(),
                });
                let (mut work, sealer) = self.resealing().await?;
                let mut count = 0;
                for (app, template, created_at, sample, model, data_key, sealed) in rows {
                    let (of, id, model) = (row::app_id(&app)?, row::template_id(&template)?, ModelTag::new(&model));
                    let place = SampleRef { app: &of, template: &id, sample: row::sample_id(&sample)?, model: &model };
                    let (embedding, wrapped) = match (&data_key, &sealed) {
                        (Some(key), _) => match self.keys.rewrap(&sealer, &place.of_data_key(), key)? {
                            Some(wrapped) => (None, wrapped),
                            None => continue,
                        },
                        // Of the version before data keys: from now on it has one.
                        (None, Some(sealed)) => {
                            let anew = sealer.seal(&place, &self.keys.open(&place, sealed, None)?)?;
                            (Some(anew.embedding), anew.data_key)
                        }
                        (None, None) => continue,
                    };
                    work.erases();
                    // Whoever removed, replaced or resealed the sample meanwhile has the last word.
                    let done = sqlx::query(sql::keys::RESEAL)
                        .bind(app)
                        .bind(template)
                        .bind(created_at)
                        .bind(sample)
                        .bind(wrapped)
                        .bind(embedding)
                        .bind(data_key)
                        .execute(&mut *work)
                        .await
                        .map_err($failed)?;
                    count += done.rows_affected();
                }
                work.commit().await.map_err($failed)?;
                if next.is_none() {
                    self.settle_superseded().await?;
                }
                Ok(Resealed { count, next })
            }
        }

        impl $store {
            /// Under which keys something is sealed, and how much. Reads every sample's row.
            async fn keys_in_use(pool: &sqlx::Pool<$database>) -> Result<Vec<(KeyId, u64)>, StoreError> {
                let mut work = pool.begin_with("BEGIN").await.map_err($failed)?;
                if let Some(statement) = NO_STATEMENT_TIMEOUT {
                    sqlx::query(statement).execute(&mut *work).await.map_err($failed)?;
                }
                // A key's name follows the byte of the format (see `seal.rs`).
                let rows: Vec<(Vec<u8>, i64)> = sqlx::query_as(
                    "SELECT id, count(*) FROM (
                         SELECT substr(coalesce(data_key, sealed), 2, 4) AS id FROM samples
                         UNION ALL SELECT substr(sealed_key, 2, 4) FROM snapshots
                     ) AS sealed GROUP BY id ORDER BY id",
                )
                .fetch_all(&mut *work)
                .await
                .map_err($failed)?;
                work.rollback().await.map_err($failed)?;
                let counted = rows.into_iter().map(|(id, count)| {
                    let id = id.try_into().map_err(|_| StoreError::Corrupt("the name of a sealing key".to_owned()))?;
                    Ok((KeyId(id), u64::try_from(count).unwrap_or(0)))
                });
                counted.collect()
            }

            /// The keys that are in force no more, and under which something may be sealed still.
            async fn superseded(
                from: &mut <$database as sqlx::Database>::Connection,
            ) -> Result<Vec<KeyId>, StoreError> {
                let found: Option<(Vec<u8>,)> = sqlx::query_as("SELECT value FROM meta WHERE name = $1")
                    .bind(SUPERSEDED)
                    .fetch_optional(from)
                    .await
                    .map_err($failed)?;
                let ids = found.map(|(ids,)| ids).unwrap_or_default();
                Ok(ids.as_chunks().0.iter().map(|id| KeyId(*id)).collect())
            }

            async fn put_superseded(
                to: &mut <$database as sqlx::Database>::Connection,
                keys: &[KeyId],
            ) -> Result<(), StoreError> {
                sqlx::query(
                    "INSERT INTO meta (name, value) VALUES ($1, $2)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                )
                .bind(SUPERSEDED)
                .bind(keys.iter().flat_map(|id| id.0).collect::<Vec<u8>>())
                .execute(to)
                .await
                .map_err($failed)?;
                Ok(())
            }

            /// Notes which keys are superseded and needed still, once everything was to be sealed anew; not, if
            /// another key was put in force meanwhile.
            async fn settle_superseded(&self) -> Result<(), StoreError> {
                let before = self.resealing().await?.1.key_id();
                let in_use = Self::keys_in_use(&self.read).await?;
                let (mut work, sealer) = self.resealing().await?;
                if sealer.key_id() == before {
                    let needed: Vec<KeyId> = in_use.into_iter().map(|(id, _)| id).filter(|id| *id != before).collect();
                    Self::put_superseded(&mut work, &needed).await?;
                }
                work.commit().await.map_err($failed)
            }

            /// Refuses to start without a key under which something is sealed, as far as that is known without
            /// reading every row.
            async fn has_all_keys(pool: &sqlx::Pool<$database>, given: &[KeyId]) -> Result<(), OpenError> {
                let mut connection = pool.acquire().await.map_err($failed)?;
                let superseded = Self::superseded(&mut connection).await?;
                drop(connection);
                if superseded.iter().all(|id| given.contains(id)) {
                    return Ok(());
                }
                let in_use = Self::keys_in_use(pool).await?.into_iter().map(|(id, _)| id);
                let missing: Vec<String> = in_use.filter(|id| !given.contains(id)).map(|id| id.to_string()).collect();
                if missing.is_empty() { Ok(()) } else { Err(OpenError::KeysMissing(missing.join(", "))) }
            }

            /// Reads which key is in force and keeps it so until the work ends. Written to at once: SQLite does not let
            /// who has begun by reading write.
            async fn hold_check(work: &mut <$database as sqlx::Database>::Connection) -> Result<Vec<u8>, StoreError> {
                let (check,): (Vec<u8>,) =
                    sqlx::query_as("UPDATE meta SET value = value WHERE name = $1 RETURNING value")
                        .bind(SEAL_CHECK)
                        .fetch_one(work)
                        .await
                        .map_err($failed)?;
                Ok(check)
            }

            /// Begins to seal anew under the key that is in force, which stays so until the end: to put another in
            /// force waits for the row that is held here.
            async fn resealing(&self) -> Result<(WriteTx<$database>, Arc<Sealer>), StoreError> {
                let mut work = self.work().await?;
                let check = Self::hold_check(&mut work).await?;
                let sealer = self.keys.in_force(&check)?;
                Ok((work, sealer))
            }

            async fn reseal_snapshots(&self) -> Result<u64, StoreError> {
                let rows: Vec<(String, Vec<u8>, Vec<u8>)> =
                    sqlx::query_as("SELECT app_id, snapshot_id, sealed_key FROM snapshots")
                        .fetch_all(&self.read)
                        .await
                        .map_err($failed)?;
                let (mut work, sealer) = self.resealing().await?;
                let mut count = 0;
                for (app, id, sealed) in rows {
                    let place = snapshot_key_aad(&row::app_id(&app)?, row::snapshot_id(&id)?);
                    let Some(wrapped) = self.keys.rewrap(&sealer, &place, &sealed)? else { continue };
                    let done = sqlx::query(
                        "UPDATE snapshots SET sealed_key = $3
                         WHERE app_id = $1 AND snapshot_id = $2 AND sealed_key = $4",
                    )
                    .bind(app)
                    .bind(id)
                    .bind(wrapped)
                    .bind(sealed)
                    .execute(&mut *work)
                    .await
                    .map_err($failed)?;
                    count += done.rows_affected();
                }
                work.commit().await.map_err($failed)?;
                Ok(count)
            }
        }
    };
}

pub(in crate::store) use keys;
