//! The stores over SQL, once for both databases.
//!
//! SQLite and Postgres understand the same statements here ($n parameters, RETURNING, ON CONFLICT,
//! row values); what differs (connecting, migrating, what an error means) is in their own files.
//! SQLx's types differ per database, so [`sql_store`] writes the same code down for each: a macro,
//! because the generic bounds it would take instead are longer than the code.

pub(super) mod apps;
pub(super) mod keys;
pub(super) mod outbox;
pub(super) mod snapshots;
pub(super) mod templates;

use crate::domain::TemplateId;

/// Changes of a gallery that are kept at least, for replicas to follow. One that is further behind
/// loads the whole gallery.
pub(super) const CHANGES_KEPT: i64 = 100_000;

/// Keys of snapshots are kept this long: 90 days.
pub(super) const SNAPSHOTS_KEPT_MS: i64 = 90 * 24 * 3_600_000;

/// How often, in revisions, older changes are trimmed away.
pub(super) const TRIM_EVERY: i64 = 1024;

/// Comes after every template id in byte order: more of the last character than an id can have.
pub(super) fn beyond_every_id() -> String {
    "\u{10FFFF}".repeat(TemplateId::MAX_CHARS + 1)
}

/// Implements the stores of one database: a struct with the fields `read`, `write` (pools), `keys`, `pending_scrub` and
/// `node` (whose journal is to tell), and a function that says what an error means.
macro_rules! sql_store {
    ($store:ty, $database:ty, $failed:path) => {
        impl $store {
            /// `BEGIN` is spelt out: within a transaction that was left open it fails, where SQLx would nest.
            async fn work(&self) -> Result<WriteTx<$database>, StoreError> {
                Ok(WriteTx::new(self.write.begin_with("BEGIN").await.map_err($failed)?, &self.pending_scrub))
            }

            /// Begins a write: the gallery's revision is raised, and its row is locked until the end.
            async fn begin(&self, app: &AppId) -> Result<(WriteTx<$database>, i64), StoreError> {
                let mut work = self.work().await?;
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

            /// Notes a change; trims old ones now and then.
            async fn note(
                &self,
                work: &mut WriteTx<$database>,
                app: &AppId,
                revision: i64,
                template: &TemplateId,
            ) -> Result<(), StoreError> {
                sqlx::query("INSERT INTO changes (app_id, revision, template_id, tag) VALUES ($1, $2, $3, $4)")
                    .bind(app.as_str())
                    .bind(revision)
                    .bind(template.as_str())
                    .bind(row::tag())
                    .execute(&mut **work)
                    .await
                    .map_err($failed)?;
                if revision % sql::TRIM_EVERY == 0 {
                    sqlx::query("DELETE FROM changes WHERE app_id = $1 AND revision <= $2")
                        .bind(app.as_str())
                        .bind(revision - sql::CHANGES_KEPT)
                        .execute(&mut **work)
                        .await
                        .map_err($failed)?;
                }
                Ok(())
            }

            /// Commits, and tells other nodes.
            async fn commit_and_tell(&self, mut work: WriteTx<$database>) -> Result<(), StoreError> {
                if let Some(statement) = NOTIFY {
                    sqlx::query(statement).execute(&mut *work).await.map_err($failed)?;
                }
                work.commit().await.map_err($failed)
            }

            /// Ends a write of one template.
            async fn commit(
                &self,
                mut work: WriteTx<$database>,
                app: &AppId,
                revision: i64,
                template: &TemplateId,
            ) -> Result<Revision, StoreError> {
                self.note(&mut work, app, revision, template).await?;
                self.commit_and_tell(work).await?;
                Ok(row::revision(revision))
            }

            /// Ends a write of several templates, each of which took a revision from `first` on.
            async fn end(
                &self,
                mut work: WriteTx<$database>,
                app: &AppId,
                first: i64,
                count: usize,
            ) -> Result<(), StoreError> {
                if count == 0 {
                    return work.rollback().await.map_err($failed); // gives the revision back
                }
                sqlx::query("UPDATE applications SET revision = $2 WHERE app_id = $1")
                    .bind(app.as_str())
                    .bind(first - 1 + row::count(count))
                    .execute(&mut *work)
                    .await
                    .map_err($failed)?;
                self.commit_and_tell(work).await
            }

            /// Deletes a template and, with it, the keys of all snapshots that may hold it; the journal is to tell
            /// of it. `false` when there is none.
            async fn erase(
                &self,
                work: &mut WriteTx<$database>,
                app: &AppId,
                template: &TemplateId,
                revision: i64,
                reason: ErasureReason,
            ) -> Result<bool, StoreError> {
                let done = sqlx::query("DELETE FROM templates WHERE app_id = $1 AND template_id = $2")
                    .bind(app.as_str())
                    .bind(template.as_str())
                    .execute(&mut **work)
                    .await
                    .map_err($failed)?;
                if done.rows_affected() == 0 {
                    return Ok(false);
                }
                work.erases();
                sqlx::query("DELETE FROM snapshots WHERE app_id = $1")
                    .bind(app.as_str())
                    .execute(&mut **work)
                    .await
                    .map_err($failed)?;
                let event = OutboxEvent::erasure(app, template, row::revision(revision), reason);
                self.insert_event(&mut **work, &event).await?;
                Ok(true)
            }

            /// Inserts a template without samples; `false` when there is one of that id.
            async fn insert_template(
                &self,
                work: &mut WriteTx<$database>,
                app: &AppId,
                template: &TemplateId,
                revision: i64,
                on_conflict: OnConflict,
            ) -> Result<bool, StoreError> {
                if let OnConflict::Replace(reason) = on_conflict {
                    self.erase(work, app, template, revision, reason).await?;
                }
                let done = sqlx::query(
                    "INSERT INTO templates (app_id, template_id, created_at) VALUES ($1, $2, $3)
                     ON CONFLICT (app_id, template_id) DO NOTHING",
                )
                .bind(app.as_str())
                .bind(template.as_str())
                .bind(row::now())
                .execute(&mut **work)
                .await
                .map_err($failed)?;
                Ok(done.rows_affected() == 1)
            }

            async fn insert_sample(
                &self,
                work: &mut WriteTx<$database>,
                app: &AppId,
                sealer: &Sealer,
                template: &TemplateId,
                sample: &Sample,
            ) -> Result<(), StoreError> {
                let model = sample.embedding.model();
                let place = SampleRef { app, template, sample: sample.id, model };
                let sealed = sealer.seal(&place, &sample.embedding)?;
                sqlx::query(
                    "INSERT INTO samples (app_id, template_id, created_at, sample_id, model, sealed, data_key)
                     VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(app.as_str())
                .bind(template.as_str())
                .bind(row::now())
                .bind(sample.id.0.as_bytes().as_slice())
                .bind(model.as_str())
                .bind(sealed.embedding)
                .bind(sealed.data_key)
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

            /// The sealer of the key that is in force for what this work writes. The work has begun with a write
            /// of the gallery's row, so no other key is put in force until it ends.
            async fn sealer(&self, work: &mut WriteTx<$database>) -> Result<Arc<Sealer>, StoreError> {
                let (check,): (Vec<u8>,) = sqlx::query_as("SELECT value FROM meta WHERE name = $1")
                    .bind(SEAL_CHECK)
                    .fetch_one(&mut **work)
                    .await
                    .map_err($failed)?;
                Ok(self.keys.in_force(&check)?)
            }

            /// The value of a row of `meta`, which is written first if there is none.
            async fn settled(pool: &sqlx::Pool<$database>, name: &str, first: Vec<u8>) -> Result<Vec<u8>, StoreError> {
                sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
                    .bind(name)
                    .bind(first)
                    .execute(pool)
                    .await
                    .map_err($failed)?;
                // Read again: of two nodes that start at once, the other's may be the one that stands.
                let (stands,): (Vec<u8>,) = sqlx::query_as("SELECT value FROM meta WHERE name = $1")
                    .bind(name)
                    .fetch_one(pool)
                    .await
                    .map_err($failed)?;
                Ok(stands)
            }

            /// Puts the store on connected pools whose schema is up to date, if the key that is in force is
            /// among those given.
            async fn unlock(
                read: sqlx::Pool<$database>,
                write: sqlx::Pool<$database>,
                source: &KeySource,
                hints: impl HintStore + 'static,
            ) -> Result<Store, OpenError> {
                let found: Option<(Vec<u8>,)> = sqlx::query_as("SELECT value FROM meta WHERE name = $1")
                    .bind(SEAL_CHECK)
                    .fetch_optional(&write)
                    .await
                    .map_err($failed)?;
                let keys = Keyring::new(source.clone(), found.is_some())?;
                let check = match found {
                    Some((check,)) => check,
                    None => Self::settled(&write, SEAL_CHECK, keys.first_check()?).await?,
                };
                let key = keys.unlock(&check)?;
                Self::has_all_keys(&write, &keys.ids()?).await?;
                // A database without applications has no journal that could go on.
                let any: Option<(i64,)> = sqlx::query_as("SELECT created_at FROM applications LIMIT 1")
                    .fetch_optional(&write)
                    .await
                    .map_err($failed)?;
                let first = keyring::first_journal_key(&key, any.is_none())?;
                let stands = Self::settled(&write, JOURNAL_KEY, first).await?;
                let journal_key = keys.open_journal_key(&stands).map_err(StoreError::from)?.0;
                let store =
                    Arc::new(Self { read, write, keys, pending_scrub: PendingScrub::perhaps(), node: OnceLock::new() });
                Ok(Store {
                    apps: store.clone(),
                    templates: store.clone(),
                    snapshots: store.clone(),
                    scrubber: store.clone(),
                    outbox: store.clone(),
                    keys: store,
                    hints: Arc::new(hints),
                    journal_key,
                })
            }
        }

        sql::apps::apps!($store, $database, $failed);
        sql::outbox::outbox!($store, $database, $failed);
        sql::templates::templates!($store, $database, $failed);
        sql::snapshots::snapshots!($store, $database, $failed);
        sql::keys::keys!($store, $database, $failed);
    };
}

pub(super) use sql_store;
