//! The stores over SQL, once for both databases.
//!
//! SQLite and Postgres understand the same statements here ($n parameters, RETURNING, ON CONFLICT,
//! row values); what differs (connecting, migrating, what an error means) is in their own files.
//! SQLx's types differ per database, so [`sql_store`] writes the same code down for each: a macro,
//! because the generic bounds it would take instead are longer than the code.

/// Changes of a gallery that are kept at least, for replicas to follow. One that is further behind
/// loads the whole gallery.
pub(super) const CHANGES_KEPT: i64 = 100_000;

/// How often, in revisions, older changes are trimmed away.
pub(super) const TRIM_EVERY: i64 = 1024;

/// Implements the stores of one database: a struct with the fields `read`, `write` (pools) and
/// `sealer`, and a function that says what an error means.
macro_rules! sql_store {
    ($store:ty, $database:ty, $failed:path) => {
        impl $store {
            /// Begins a write: the gallery's revision is raised, and its row is locked until the end.
            async fn begin(&self, app: &AppId) -> Result<(sqlx::Transaction<'static, $database>, i64), StoreError> {
                let mut work = self.write.begin().await.map_err($failed)?;
                let raised: Option<(i64,)> = sqlx::query_as(
                    "UPDATE applications SET revision = revision + 1 WHERE app_id = $1 RETURNING revision",
                )
                .bind(app.as_str())
                .fetch_optional(&mut *work)
                .await
                .map_err($failed)?;
                let (revision,) = raised.ok_or(StoreError::NoSuchApp)?;
                Ok((work, revision))
            }

            /// Ends a write: notes the change, trims old ones now and then, commits.
            async fn commit(
                &self,
                mut work: sqlx::Transaction<'static, $database>,
                app: &AppId,
                revision: i64,
                template: &TemplateId,
            ) -> Result<Revision, StoreError> {
                sqlx::query("INSERT INTO changes (app_id, revision, template_id) VALUES ($1, $2, $3)")
                    .bind(app.as_str())
                    .bind(revision)
                    .bind(template.as_str())
                    .execute(&mut *work)
                    .await
                    .map_err($failed)?;
                if revision % sql::TRIM_EVERY == 0 {
                    sqlx::query("DELETE FROM changes WHERE app_id = $1 AND revision <= $2")
                        .bind(app.as_str())
                        .bind(revision - sql::CHANGES_KEPT)
                        .execute(&mut *work)
                        .await
                        .map_err($failed)?;
                }
                work.commit().await.map_err($failed)?;
                Ok(row::revision(revision))
            }

            async fn insert_sample(
                &self,
                work: &mut sqlx::Transaction<'static, $database>,
                app: &AppId,
                template: &TemplateId,
                sample: &Sample,
            ) -> Result<(), StoreError> {
                let model = sample.embedding.model();
                let place = Place { app, template, sample: sample.id, model };
                sqlx::query(
                    "INSERT INTO samples (app_id, template_id, created_at, sample_id, model, sealed)
                     VALUES ($1, $2, $3, $4, $5, $6)",
                )
                .bind(app.as_str())
                .bind(template.as_str())
                .bind(row::now())
                .bind(sample.id.0.as_bytes().as_slice())
                .bind(model.as_str())
                .bind(row::seal(&self.sealer, &place, &sample.embedding)?)
                .execute(&mut **work)
                .await
                .map_err($failed)?;
                Ok(())
            }

            fn records(
                rows: Vec<(String, i64, Option<Vec<u8>>, Option<String>, Option<i64>)>,
            ) -> Result<Vec<TemplateRecord>, StoreError> {
                let mut records: Vec<TemplateRecord> = Vec::new();
                for (template, created_at, sample, model, added_at) in rows {
                    if records.last().is_none_or(|last| last.id.as_str() != template) {
                        records.push(TemplateRecord {
                            id: row::template_id(&template)?,
                            created_at: row::time(created_at),
                            samples: Vec::new(),
                        });
                    }
                    if let (Some(last), Some(sample), Some(model), Some(added_at)) =
                        (records.last_mut(), sample, model, added_at)
                    {
                        last.samples.push(SampleRecord {
                            id: row::sample_id(&sample)?,
                            model: ModelTag::new(&model),
                            created_at: row::time(added_at),
                        });
                    }
                }
                Ok(records)
            }

            /// Puts the store on connected pools whose schema is up to date, if the key fits: a known
            /// text, sealed on first use, must open.
            async fn unlock(
                read: sqlx::Pool<$database>,
                write: sqlx::Pool<$database>,
                key: &KeySource,
            ) -> Result<Store, OpenError> {
                let known = || sqlx::query_as("SELECT value FROM meta WHERE name = $1").bind(SEAL_CHECK);
                let found: Option<(Vec<u8>,)> = known().fetch_optional(&write).await.map_err($failed)?;
                let sealer = key.sealer(found.is_some())?;
                sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
                    .bind(SEAL_CHECK)
                    .bind(sealer.check()?)
                    .execute(&write)
                    .await
                    .map_err($failed)?;
                // Read again: of two nodes that start at once, the other's may be the one that stands.
                let (stands,): (Vec<u8>,) = known().fetch_one(&write).await.map_err($failed)?;
                if !sealer.opens_check(&stands) {
                    return Err(OpenError::WrongKey);
                }
                let store = Arc::new(Self { read, write, sealer });
                Ok(Store { apps: store.clone(), templates: store })
            }
        }

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
                Ok(done.rows_affected() == 1)
            }
        }

        #[async_trait]
        impl TemplateStore for $store {
            async fn insert(
                &self,
                app: &AppId,
                template: &TemplateId,
                sample: &Sample,
                on_conflict: OnConflict,
            ) -> Result<Revision, InsertError> {
                let (mut work, revision) = self.begin(app).await?;
                if on_conflict == OnConflict::Replace {
                    sqlx::query("DELETE FROM templates WHERE app_id = $1 AND template_id = $2")
                        .bind(app.as_str())
                        .bind(template.as_str())
                        .execute(&mut *work)
                        .await
                        .map_err($failed)?;
                }
                let done = sqlx::query(
                    "INSERT INTO templates (app_id, template_id, created_at) VALUES ($1, $2, $3)
                     ON CONFLICT (app_id, template_id) DO NOTHING",
                )
                .bind(app.as_str())
                .bind(template.as_str())
                .bind(row::now())
                .execute(&mut *work)
                .await
                .map_err($failed)?;
                if done.rows_affected() == 0 {
                    work.rollback().await.map_err($failed)?; // gives the revision back
                    return Err(InsertError::Exists);
                }
                self.insert_sample(&mut work, app, template, sample).await?;
                Ok(self.commit(work, app, revision, template).await?)
            }

            async fn add_sample(
                &self,
                app: &AppId,
                template: &TemplateId,
                sample: &Sample,
            ) -> Result<Option<Revision>, StoreError> {
                let (mut work, revision) = self.begin(app).await?;
                let known: Option<(i64,)> =
                    sqlx::query_as("SELECT created_at FROM templates WHERE app_id = $1 AND template_id = $2")
                        .bind(app.as_str())
                        .bind(template.as_str())
                        .fetch_optional(&mut *work)
                        .await
                        .map_err($failed)?;
                if known.is_none() {
                    work.rollback().await.map_err($failed)?;
                    return Ok(None);
                }
                self.insert_sample(&mut work, app, template, sample).await?;
                self.commit(work, app, revision, template).await.map(Some)
            }

            async fn remove(&self, app: &AppId, template: &TemplateId) -> Result<Option<Revision>, StoreError> {
                let (mut work, revision) = self.begin(app).await?;
                let done = sqlx::query("DELETE FROM templates WHERE app_id = $1 AND template_id = $2")
                    .bind(app.as_str())
                    .bind(template.as_str())
                    .execute(&mut *work)
                    .await
                    .map_err($failed)?;
                if done.rows_affected() == 0 {
                    work.rollback().await.map_err($failed)?;
                    return Ok(None);
                }
                self.commit(work, app, revision, template).await.map(Some)
            }

            async fn get(&self, app: &AppId, template: &TemplateId) -> Result<Option<TemplateRecord>, StoreError> {
                let rows = sqlx::query_as(
                    "SELECT t.template_id, t.created_at, s.sample_id, s.model, s.created_at
                     FROM templates t
                     LEFT JOIN samples s ON s.app_id = t.app_id AND s.template_id = t.template_id
                     WHERE t.app_id = $1 AND t.template_id = $2
                     ORDER BY s.created_at, s.sample_id",
                )
                .bind(app.as_str())
                .bind(template.as_str())
                .fetch_all(&self.read)
                .await
                .map_err($failed)?;
                Ok(Self::records(rows)?.pop())
            }

            async fn page(
                &self,
                app: &AppId,
                after: Option<&TemplateId>,
                limit: usize,
            ) -> Result<Vec<TemplateRecord>, StoreError> {
                // No id is empty, so every id comes after the empty text.
                let rows = sqlx::query_as(
                    "SELECT t.template_id, t.created_at, s.sample_id, s.model, s.created_at
                     FROM (SELECT app_id, template_id, created_at FROM templates
                           WHERE app_id = $1 AND template_id > $2 ORDER BY template_id LIMIT $3) t
                     LEFT JOIN samples s ON s.app_id = t.app_id AND s.template_id = t.template_id
                     ORDER BY t.template_id, s.created_at, s.sample_id",
                )
                .bind(app.as_str())
                .bind(after.map_or("", TemplateId::as_str))
                .bind(row::count(limit))
                .fetch_all(&self.read)
                .await
                .map_err($failed)?;
                Self::records(rows)
            }

            async fn load(
                &self,
                app: &AppId,
                model: &ModelTag,
                after: Option<&TemplateId>,
                limit: usize,
            ) -> Result<Vec<IndexedTemplate>, StoreError> {
                let rows: Vec<row::SealedRow> = sqlx::query_as(
                    "SELECT t.template_id, s.sample_id, s.sealed
                     FROM (SELECT DISTINCT template_id FROM samples
                           WHERE app_id = $1 AND model = $2 AND template_id > $3
                           ORDER BY template_id LIMIT $4) t
                     JOIN samples s ON s.app_id = $1 AND s.template_id = t.template_id AND s.model = $2
                     ORDER BY t.template_id, s.created_at, s.sample_id",
                )
                .bind(app.as_str())
                .bind(model.as_str())
                .bind(after.map_or("", TemplateId::as_str))
                .bind(row::count(limit))
                .fetch_all(&self.read)
                .await
                .map_err($failed)?;
                row::gather(&self.sealer, app, model, rows)
            }

            async fn changes(
                &self,
                app: &AppId,
                model: &ModelTag,
                after: Revision,
                limit: usize,
            ) -> Result<Changes, StoreError> {
                let after = row::number(after);
                // Revisions have no gaps, so a range of them is a page of changes. One statement sees
                // one state of the database.
                let rows: Vec<(i64, String, Option<Vec<u8>>, Option<Vec<u8>>)> = sqlx::query_as(
                    "SELECT c.revision, c.template_id, s.sample_id, s.sealed
                     FROM changes c
                     LEFT JOIN samples s
                       ON s.app_id = c.app_id AND s.template_id = c.template_id AND s.model = $2
                     WHERE c.app_id = $1 AND c.revision > $3 AND c.revision <= $4
                     ORDER BY c.revision, s.created_at, s.sample_id",
                )
                .bind(app.as_str())
                .bind(model.as_str())
                .bind(after)
                .bind(after.saturating_add(row::count(limit)))
                .fetch_all(&self.read)
                .await
                .map_err($failed)?;
                let Some((first, ..)) = rows.first() else {
                    let at: Option<(i64,)> = sqlx::query_as("SELECT revision FROM applications WHERE app_id = $1")
                        .bind(app.as_str())
                        .fetch_optional(&self.read)
                        .await
                        .map_err($failed)?;
                    return Ok(if at == Some((after,)) { Changes::List(Vec::new()) } else { Changes::TooOld });
                };
                if *first != after + 1 {
                    return Ok(Changes::TooOld);
                }
                let mut changes: Vec<Change> = Vec::new();
                let mut of_one: Vec<row::SealedRow> = Vec::new();
                let mut rows = rows.into_iter().peekable();
                while let Some((revision, template, sample, sealed)) = rows.next() {
                    of_one.push((template, sample, sealed));
                    if rows.peek().is_none_or(|(next, ..)| *next != revision) {
                        let gathered = row::gather(&self.sealer, app, model, std::mem::take(&mut of_one))?;
                        changes.extend(
                            gathered.into_iter().map(|template| Change { revision: row::revision(revision), template }),
                        );
                    }
                }
                Ok(Changes::List(changes))
            }

            async fn revisions(&self) -> Result<Vec<(AppId, Revision)>, StoreError> {
                let rows: Vec<(String, i64)> =
                    sqlx::query_as("SELECT app_id, revision FROM applications ORDER BY app_id")
                        .fetch_all(&self.read)
                        .await
                        .map_err($failed)?;
                rows.into_iter().map(|(id, at)| Ok((row::app_id(&id)?, row::revision(at)))).collect()
            }
        }
    };
}

pub(super) use sql_store;
