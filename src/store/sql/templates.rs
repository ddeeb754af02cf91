//! Templates and their samples.

macro_rules! templates {
    ($store:ty, $database:ty, $failed:path) => {
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
                let fresh = self.insert_template(&mut work, app, template, revision, on_conflict).await?;
                if !fresh && on_conflict != OnConflict::Extend {
                    work.rollback().await.map_err($failed)?; // gives the revision back
                    return Err(InsertError::Exists);
                }
                let sealer = self.sealer(&mut work).await?;
                self.insert_sample(&mut work, app, &sealer, template, sample).await?;
                Ok(self.commit(work, app, revision, template).await?)
            }

            async fn insert_all(
                &self,
                app: &AppId,
                templates: &[IndexedTemplate],
                on_conflict: OnConflict,
            ) -> Result<Vec<Option<Revision>>, StoreError> {
                let (mut work, first) = self.begin(app).await?;
                let sealer = self.sealer(&mut work).await?;
                let (mut next, mut inserted) = (first, Vec::with_capacity(templates.len()));
                for template in templates {
                    let fresh = self.insert_template(&mut work, app, &template.id, next, on_conflict).await?;
                    if !fresh && on_conflict != OnConflict::Extend {
                        inserted.push(None);
                        continue;
                    }
                    for sample in &template.samples {
                        self.insert_sample(&mut work, app, &sealer, &template.id, sample).await?;
                    }
                    self.note(&mut work, app, next, &template.id).await?;
                    inserted.push(Some(row::revision(next)));
                    next += 1;
                }
                self.end(work, app, first, inserted.iter().flatten().count()).await?;
                Ok(inserted)
            }

            async fn count(&self, app: &AppId) -> Result<usize, StoreError> {
                let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM templates WHERE app_id = $1")
                    .bind(app.as_str())
                    .fetch_one(&self.read)
                    .await
                    .map_err($failed)?;
                Ok(usize::try_from(count).unwrap_or(0))
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
                let sealer = self.sealer(&mut work).await?;
                self.insert_sample(&mut work, app, &sealer, template, sample).await?;
                self.commit(work, app, revision, template).await.map(Some)
            }

            async fn remove(
                &self,
                app: &AppId,
                template: &TemplateId,
                reason: ErasureReason,
            ) -> Result<Option<Revision>, StoreError> {
                let (mut work, revision) = self.begin(app).await?;
                if !self.erase(&mut work, app, template, revision, reason).await? {
                    work.rollback().await.map_err($failed)?;
                    return Ok(None);
                }
                self.commit(work, app, revision, template).await.map(Some)
            }

            async fn remove_older(
                &self,
                app: &AppId,
                than: SystemTime,
                limit: usize,
                reason: ErasureReason,
            ) -> Result<Vec<(TemplateId, Revision)>, StoreError> {
                // Mostly there is none, and nobody has to wait for it.
                let any: Option<(i64,)> =
                    sqlx::query_as("SELECT created_at FROM templates WHERE app_id = $1 AND created_at < $2 LIMIT 1")
                        .bind(app.as_str())
                        .bind(row::millis(than))
                        .fetch_optional(&self.read)
                        .await
                        .map_err($failed)?;
                if any.is_none() {
                    return Ok(Vec::new());
                }
                let (mut work, first) = self.begin(app).await?;
                let old: Vec<(String,)> = sqlx::query_as(
                    "SELECT template_id FROM templates WHERE app_id = $1 AND created_at < $2
                     ORDER BY created_at, template_id LIMIT $3",
                )
                .bind(app.as_str())
                .bind(row::millis(than))
                .bind(row::count(limit))
                .fetch_all(&mut *work)
                .await
                .map_err($failed)?;
                let mut removed = Vec::with_capacity(old.len());
                for (at, (id,)) in (first..).zip(old) {
                    let id = row::template_id(&id)?;
                    self.erase(&mut work, app, &id, at, reason).await?;
                    self.note(&mut work, app, at, &id).await?;
                    removed.push((id, row::revision(at)));
                }
                self.end(work, app, first, removed.len()).await?;
                Ok(removed)
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

            async fn samples(
                &self,
                app: &AppId,
                model: &ModelTag,
                template: &TemplateId,
            ) -> Result<Vec<Sample>, StoreError> {
                let rows: Vec<(Vec<u8>, Vec<u8>, Option<Vec<u8>>)> = sqlx::query_as(
                    "SELECT sample_id, sealed, data_key FROM samples
                     WHERE app_id = $1 AND template_id = $2 AND model = $3 ORDER BY created_at, sample_id",
                )
                .bind(app.as_str())
                .bind(template.as_str())
                .bind(model.as_str())
                .fetch_all(&self.read)
                .await
                .map_err($failed)?;
                let mut gather = row::Gather::new(&self.keys, app, model);
                for (sample, sealed, data_key) in &rows {
                    let columns = row::SampleColumns { sample, sealed, data_key: data_key.as_deref() };
                    gather.take(template.as_str(), Some(columns))?;
                }
                Ok(gather.finish().into_iter().flat_map(|template| template.samples).collect())
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
            ) -> Result<TemplatePage, StoreError> {
                let after = after.map_or("", TemplateId::as_str);
                // Where the page ends is read from the narrow table; the rows of samples are then read
                // once, in the order in which they lie, and opened while the database reads on.
                let end: Option<(String,)> = sqlx::query_as(
                    "SELECT template_id FROM templates WHERE app_id = $1 AND template_id > $2
                     ORDER BY template_id LIMIT 1 OFFSET $3",
                )
                .bind(app.as_str())
                .bind(after)
                .bind(row::count(limit.saturating_sub(1)))
                .fetch_optional(&self.read)
                .await
                .map_err($failed)?;
                let next = end.map(|(id,)| row::template_id(&id)).transpose()?;
                let until = next.as_ref().map_or_else(sql::beyond_every_id, |id| id.as_str().to_owned());
                let mut rows = sqlx::query(
                    "SELECT template_id, sample_id, sealed, data_key FROM samples
                     WHERE app_id = $1 AND template_id > $2 AND template_id <= $3 AND model = $4
                     ORDER BY template_id, created_at, sample_id",
                )
                .bind(app.as_str())
                .bind(after)
                .bind(until)
                .bind(model.as_str())
                .fetch(&self.read);
                let mut gather = row::Gather::new(&self.keys, app, model);
                while let Some(row) = rows.next().await {
                    let row = row.map_err($failed)?;
                    let columns = row::SampleColumns {
                        sample: row.try_get(1).map_err($failed)?,
                        sealed: row.try_get(2).map_err($failed)?,
                        data_key: row.try_get(3).map_err($failed)?,
                    };
                    gather.take(row.try_get(0).map_err($failed)?, Some(columns))?;
                }
                let mut templates = gather.finish();
                templates.retain(|template| !template.samples.is_empty());
                Ok(TemplatePage { templates, next, unreadable: gather.unreadable() })
            }

            async fn changes(
                &self,
                app: &AppId,
                model: &ModelTag,
                after: GalleryPosition,
                limit: usize,
            ) -> Result<Changes, StoreError> {
                let (after, tag) = (row::number(after.revision), after.tag);
                // Revisions have no gaps, so a range of them is a page of changes. One statement sees
                // one state of the database.
                let rows: Vec<row::ChangeRow> = sqlx::query_as(
                    "SELECT c.revision, c.template_id, s.sample_id, s.sealed, s.data_key, c.tag,
                            (SELECT tag FROM changes WHERE app_id = $1 AND revision = $3)
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
                let Some((first, .., before)) = rows.first() else {
                    let at: Option<(i64,)> = sqlx::query_as("SELECT revision FROM applications WHERE app_id = $1")
                        .bind(app.as_str())
                        .fetch_optional(&self.read)
                        .await
                        .map_err($failed)?;
                    return Ok(if at == Some((after,)) { Changes::none() } else { Changes::TooOld });
                };
                let another = tag.zip(*before).is_some_and(|(known, found)| known != found);
                if *first != after + 1 || another {
                    return Ok(Changes::TooOld);
                }
                let tag = rows.last().and_then(|(.., tag, _)| *tag);
                let mut changes: Vec<Change> = Vec::new();
                let mut gather = row::Gather::new(&self.keys, app, model);
                let mut rows = rows.iter().peekable();
                while let Some((revision, template, sample, sealed, data_key, ..)) = rows.next() {
                    let columns = sample.as_ref().zip(sealed.as_ref());
                    let columns = columns.map(|(sample, sealed)| row::SampleColumns {
                        sample,
                        sealed,
                        data_key: data_key.as_deref(),
                    });
                    gather.take(template, columns)?;
                    if rows.peek().is_none_or(|(next, ..)| next != revision) {
                        let revision = row::revision(*revision);
                        changes.extend(gather.finish().into_iter().map(|template| Change { revision, template }));
                    }
                }
                Ok(Changes::List { changes, unreadable: gather.unreadable(), tag })
            }

            async fn revisions(&self) -> Result<Vec<(AppId, GalleryPosition)>, StoreError> {
                let rows: Vec<(String, i64, Option<i64>)> = sqlx::query_as(
                    "SELECT a.app_id, a.revision, c.tag FROM applications a
                     LEFT JOIN changes c ON c.app_id = a.app_id AND c.revision = a.revision ORDER BY a.app_id",
                )
                .fetch_all(&self.read)
                .await
                .map_err($failed)?;
                let head = |revision, tag| GalleryPosition { revision: row::revision(revision), tag };
                rows.into_iter().map(|(id, at, tag)| Ok((row::app_id(&id)?, head(at, tag)))).collect()
            }
        }
    };
}

pub(in crate::store) use templates;
