//! Sealing keys: which is in force, and what is sealed under others.

/// Samples that are sealed anew in one transaction: for SQLite, some hundredths of a second in which nobody else
/// writes.
pub(in crate::store) const RESEALED_AT_ONCE: i64 = 500;

macro_rules! vault {
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
                let mut work = self.read.begin_with("BEGIN").await.map_err($failed)?;
                if let Some(statement) = UNHURRIED {
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
                let in_use = rows.into_iter().map(|(id, count)| {
                    let id = id.try_into().map_err(|_| StoreError::Corrupt("the name of a sealing key".to_owned()))?;
                    Ok((KeyId(id), u64::try_from(count).unwrap_or(0)))
                });
                Ok(KeyStatus {
                    in_force: sealed_under(&check)?,
                    given: self.keys.ids()?,
                    in_use: in_use.collect::<Result<_, StoreError>>()?,
                })
            }

            async fn put_in_force(&self, key: KeyId) -> Result<(), StoreError> {
                let sealer = self.keys.sealer(key)?;
                let mut work = self.write.begin_with("BEGIN").await.map_err($failed)?;
                // Whoever writes has begun with a row of a gallery, and reads then which key is in force.
                if let Some(statement) = HOLD_WRITERS {
                    sqlx::query(statement).execute(&mut *work).await.map_err($failed)?;
                }
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
                let (check,): (Vec<u8>,) = sqlx::query_as("SELECT value FROM meta WHERE name = $1")
                    .bind(SEAL_CHECK)
                    .fetch_one(&self.read)
                    .await
                    .map_err($failed)?;
                let sealer = self.keys.in_force(&check)?;
                let Some(after) = after else {
                    return Ok(Resealed {
                        count: self.reseal_snapshots(&sealer).await?,
                        next: Some(SampleCursor::first()),
                    });
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
                .bind(sql::vault::RESEALED_AT_ONCE)
                .fetch_all(&self.read)
                .await
                .map_err($failed)?;
                let full = row::count(rows.len()) == sql::vault::RESEALED_AT_ONCE;
                let next = rows.last().filter(|_| full).map(|(app, template, created_at, sample, ..)| SampleCursor {
                    app: app.clone(),
                    template: template.clone(),
                    created_at: *created_at,
                    sample: sample.clone(),
                });
                let (mut work, mut count) = (None, 0);
                for (app, template, created_at, sample, model, data_key, sealed) in rows {
                    let (of, id, model) = (row::app_id(&app)?, row::template_id(&template)?, ModelTag::new(&model));
                    let place = Place { app: &of, template: &id, sample: row::sample_id(&sample)?, model: &model };
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
                    let work = match &mut work {
                        Some(work) => work,
                        none => none.insert(self.write.begin_with("BEGIN").await.map_err($failed)?),
                    };
                    // Whoever removed or replaced the sample meanwhile has the last word.
                    let done = sqlx::query(
                        "UPDATE samples SET data_key = $5, sealed = coalesce($6, sealed)
                         WHERE app_id = $1 AND template_id = $2 AND created_at = $3 AND sample_id = $4",
                    )
                    .bind(app)
                    .bind(template)
                    .bind(created_at)
                    .bind(sample)
                    .bind(wrapped)
                    .bind(embedding)
                    .execute(&mut **work)
                    .await
                    .map_err($failed)?;
                    count += done.rows_affected();
                }
                if let Some(work) = work {
                    work.commit().await.map_err($failed)?;
                    self.removed.store(true, Ordering::Release);
                }
                Ok(Resealed { count, next })
            }
        }

        impl $store {
            async fn reseal_snapshots(&self, sealer: &Sealer) -> Result<u64, StoreError> {
                let rows: Vec<(String, Vec<u8>, Vec<u8>)> =
                    sqlx::query_as("SELECT app_id, snapshot_id, sealed_key FROM snapshots")
                        .fetch_all(&self.read)
                        .await
                        .map_err($failed)?;
                let mut count = 0;
                for (app, id, sealed) in rows {
                    let place = snapshot_key_place(&row::app_id(&app)?, row::snapshot_id(&id)?);
                    let Some(wrapped) = self.keys.rewrap(sealer, &place, &sealed)? else { continue };
                    let done =
                        sqlx::query("UPDATE snapshots SET sealed_key = $3 WHERE app_id = $1 AND snapshot_id = $2")
                            .bind(app)
                            .bind(id)
                            .bind(wrapped)
                            .execute(&self.write)
                            .await
                            .map_err($failed)?;
                    count += done.rows_affected();
                }
                Ok(count)
            }
        }
    };
}

pub(in crate::store) use vault;
