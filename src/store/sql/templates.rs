//! Templates and their samples.

use std::time::SystemTime;

use async_trait::async_trait;

use super::executor::{DbRow, Executor, Limit, values};
use super::gather::Gather;
use super::sql_store::SqlStore;
use crate::domain::{AppId, ModelTag, Revision, TemplateId};
use crate::gallery::{Change, IndexedTemplate, Sample};
use crate::store::error::{InsertError, Refusal, StoreError};
use crate::store::outbox::ErasureReason;
use crate::store::record::{
    Changes, DatedTemplate, GalleryPosition, OnConflict, SampleRecord, TemplatePage, TemplateRecord,
};
use crate::store::traits::TemplateStore;

#[async_trait]
impl TemplateStore for SqlStore {
    async fn insert(
        &self,
        app: &AppId,
        template: &TemplateId,
        sample: &Sample,
        on_conflict: OnConflict,
    ) -> Result<Revision, InsertError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                let sealer = write.sealer().await?;
                match write.insert(&sealer, template, std::slice::from_ref(sample), None, on_conflict).await {
                    Ok(revision) => {
                        write.commit().await?;
                        Ok(revision)
                    }
                    Err(refused @ InsertError::Refused(_)) => {
                        write.rollback().await?;
                        Err(refused)
                    }
                    failed => failed,
                }
            })
            .await
    }

    async fn insert_all(
        &self,
        app: &AppId,
        templates: &[IndexedTemplate],
        on_conflict: OnConflict,
    ) -> Result<Vec<Result<Revision, Refusal>>, StoreError> {
        let templates: Vec<_> = templates.iter().map(|template| (template, None)).collect();
        self.insert_each(app, &templates, on_conflict).await
    }

    async fn insert_dated(
        &self,
        app: &AppId,
        templates: &[DatedTemplate],
        on_conflict: OnConflict,
    ) -> Result<Vec<Result<Revision, Refusal>>, StoreError> {
        let templates: Vec<_> = templates.iter().map(|dated| (&dated.template, Some(dated))).collect();
        self.insert_each(app, &templates, on_conflict).await
    }

    async fn count(&self, app: &AppId) -> Result<usize, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let row = db.fetch_one("SELECT count(*) AS count FROM templates WHERE app_id = $1", values![app]).await?;
        Ok(usize::try_from(row.get::<i64>("count")?).unwrap_or(0))
    }

    async fn add_sample(
        &self,
        app: &AppId,
        template: &TemplateId,
        sample: &Sample,
    ) -> Result<Option<Revision>, InsertError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                if write.stored_samples(template).await?.is_none() {
                    write.rollback().await?;
                    return Ok(None);
                }
                if let Err(refused) = write.admit(template, 1, OnConflict::Extend).await {
                    write.rollback().await?;
                    return Err(refused);
                }
                let sealer = write.sealer().await?;
                write.insert_sample(&sealer, template, sample, None).await?;
                let revision = write.append_change(template).await?;
                write.commit().await?;
                Ok(Some(revision))
            })
            .await
    }

    async fn remove(
        &self,
        app: &AppId,
        template: &TemplateId,
        reason: ErasureReason,
    ) -> Result<Option<Revision>, StoreError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                if !write.erase(template, reason).await? {
                    write.rollback().await?;
                    return Ok(None);
                }
                let revision = write.append_change(template).await?;
                write.commit().await?;
                Ok(Some(revision))
            })
            .await
    }

    async fn remove_older(
        &self,
        app: &AppId,
        than: SystemTime,
        limit: usize,
        reason: ErasureReason,
    ) -> Result<Vec<(TemplateId, Revision)>, StoreError> {
        // Usually nothing has expired, and this read blocks no writer.
        let mut db = self.db.reader(Limit::Bulk).await?;
        let sql = "SELECT created_at FROM templates WHERE app_id = $1 AND created_at < $2 LIMIT 1";
        let is_none = db.fetch_optional(sql, values![app, than]).await?.is_none();
        drop(db);
        if is_none {
            return Ok(Vec::new());
        }
        self.db
            .transact(Limit::Bulk, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                let rows = write
                    .tx
                    .fetch_all(
                        "SELECT template_id FROM templates WHERE app_id = $1 AND created_at < $2
                         ORDER BY created_at, template_id LIMIT $3",
                        values![app, than, limit],
                    )
                    .await?;
                let mut removed = Vec::with_capacity(rows.len());
                for row in &rows {
                    let id = row.template_id("template_id")?;
                    write.erase(&id, reason).await?;
                    let revision = write.append_change(&id).await?;
                    removed.push((id, revision));
                }
                write.commit().await?;
                Ok(removed)
            })
            .await
    }

    async fn get(&self, app: &AppId, template: &TemplateId) -> Result<Option<TemplateRecord>, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let rows = db
            .fetch_all(
                "SELECT t.template_id, t.created_at, s.sample_id, s.model, s.created_at AS added_at
                 FROM templates t
                 LEFT JOIN samples s ON s.app_id = t.app_id AND s.template_id = t.template_id
                 WHERE t.app_id = $1 AND t.template_id = $2
                 ORDER BY s.created_at, s.sample_id",
                values![app, template],
            )
            .await?;
        Ok(records(&rows)?.pop())
    }

    async fn samples(&self, app: &AppId, model: &ModelTag, template: &TemplateId) -> Result<Vec<Sample>, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let rows = db
            .fetch_all(
                "SELECT template_id, sample_id, sealed, data_key FROM samples
                 WHERE app_id = $1 AND template_id = $2 AND model = $3 ORDER BY created_at, sample_id",
                values![app, template, model],
            )
            .await?;
        let mut gather = Gather::new(&self.keys, app, model);
        for row in &rows {
            gather.take(row)?;
        }
        Ok(gather.finish().into_iter().flat_map(|template| template.samples).collect())
    }

    async fn page(
        &self,
        app: &AppId,
        after: Option<&TemplateId>,
        limit: usize,
    ) -> Result<Vec<TemplateRecord>, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let rows = db
            .fetch_all(
                "SELECT t.template_id, t.created_at, s.sample_id, s.model, s.created_at AS added_at
                 FROM (SELECT app_id, template_id, created_at FROM templates
                       WHERE app_id = $1 AND template_id > $2 ORDER BY template_id LIMIT $3) t
                 LEFT JOIN samples s ON s.app_id = t.app_id AND s.template_id = t.template_id
                 ORDER BY t.template_id, s.created_at, s.sample_id",
                values![app, after.map_or(BEFORE_EVERY_ID, TemplateId::as_str), limit],
            )
            .await?;
        records(&rows)
    }

    async fn load(
        &self,
        app: &AppId,
        model: &ModelTag,
        after: Option<&TemplateId>,
        limit: usize,
    ) -> Result<TemplatePage, StoreError> {
        let after = after.map_or(BEFORE_EVERY_ID, TemplateId::as_str);
        let mut db = self.db.reader(Limit::Bulk).await?;
        // The end of the page is read from the narrow table. The rows of samples are then read once, in the order in
        // which they are stored, and opened while the database reads ahead.
        let last = db
            .fetch_optional(
                "SELECT template_id FROM templates WHERE app_id = $1 AND template_id > $2
                 ORDER BY template_id LIMIT 1 OFFSET $3",
                values![app, after, limit.saturating_sub(1)],
            )
            .await?;
        let next = last.map(|row| row.template_id("template_id")).transpose()?;
        let until = next.as_ref().map_or_else(after_every_id, |id| id.as_str().to_owned());
        let mut gather = Gather::new(&self.keys, app, model);
        db.for_each_row(
            "SELECT template_id, sample_id, sealed, data_key FROM samples
             WHERE app_id = $1 AND template_id > $2 AND template_id <= $3 AND model = $4
             ORDER BY template_id, created_at, sample_id",
            values![app, after, until.as_str(), model],
            |row| gather.take(&row),
        )
        .await?;
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
        let first = after.revision.next();
        let last = Revision(after.revision.0.saturating_add(u64::try_from(limit).unwrap_or(u64::MAX)));
        let mut db = self.db.reader(Limit::Bulk).await?;
        // Revisions have no gaps, so a range of them is a page of changes. One statement sees one state of the
        // database.
        let rows = db
            .fetch_all(
                "SELECT c.revision, c.template_id, s.sample_id, s.sealed, s.data_key, c.tag,
                        (SELECT tag FROM changes WHERE app_id = $1 AND revision = $3) AS tag_before
                 FROM changes c
                 LEFT JOIN samples s
                   ON s.app_id = c.app_id AND s.template_id = c.template_id AND s.model = $2
                 WHERE c.app_id = $1 AND c.revision > $3 AND c.revision <= $4
                 ORDER BY c.revision, s.created_at, s.sample_id",
                values![app, model, after.revision, last],
            )
            .await?;
        let (Some(first_row), Some(last_row)) = (rows.first(), rows.last()) else {
            let sql = "SELECT revision FROM applications WHERE app_id = $1";
            let current = db.fetch_optional(sql, values![app]).await?;
            let current = current.map(|row| row.revision("revision")).transpose()?;
            return Ok(if current == Some(after.revision) { Changes::none() } else { Changes::TooOld });
        };
        let tag_before: Option<i64> = first_row.get("tag_before")?;
        let has_other_history = after.tag.zip(tag_before).is_some_and(|(known, found)| known != found);
        if first_row.revision("revision")? != first || has_other_history {
            return Ok(Changes::TooOld);
        }
        let tag = last_row.get("tag")?;
        let mut changes: Vec<Change> = Vec::new();
        let mut gather = Gather::new(&self.keys, app, model);
        let mut rows = rows.iter().peekable();
        while let Some(row) = rows.next() {
            gather.take(row)?;
            let revision = row.revision("revision")?;
            let next = rows.peek().map(|next| next.revision("revision")).transpose()?;
            if next != Some(revision) {
                changes.extend(gather.finish().into_iter().map(|template| Change { revision, template }));
            }
        }
        Ok(Changes::List { changes, unreadable: gather.unreadable(), tag })
    }

    async fn revisions(&self) -> Result<Vec<(AppId, GalleryPosition)>, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let rows = db
            .fetch_all(
                "SELECT a.app_id, a.revision, c.tag FROM applications a
                 LEFT JOIN changes c ON c.app_id = a.app_id AND c.revision = a.revision ORDER BY a.app_id",
                &[],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let position = GalleryPosition { revision: row.revision("revision")?, tag: row.get("tag")? };
                Ok((row.app_id("app_id")?, position))
            })
            .collect()
    }
}

impl SqlStore {
    /// Inserts templates in one transaction, some with the times of an earlier enrollment.
    async fn insert_each(
        &self,
        app: &AppId,
        templates: &[(&IndexedTemplate, Option<&DatedTemplate>)],
        on_conflict: OnConflict,
    ) -> Result<Vec<Result<Revision, Refusal>>, StoreError> {
        self.db
            .transact(Limit::Bulk, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                let sealer = write.sealer().await?;
                let mut revisions = Vec::with_capacity(templates.len());
                for (template, dated) in templates {
                    let inserted = write.insert(&sealer, &template.id, &template.samples, *dated, on_conflict).await;
                    revisions.push(match inserted {
                        Ok(revision) => Ok(revision),
                        Err(InsertError::Refused(refusal)) => Err(refusal),
                        Err(InsertError::Store(error)) => return Err(error),
                    });
                }
                write.commit().await?;
                Ok(revisions)
            })
            .await
    }
}

/// Comes before every template id: no id is empty.
const BEFORE_EVERY_ID: &str = "";

/// Comes after every template id in byte order: more of the last character than an id can have.
fn after_every_id() -> String {
    "\u{10FFFF}".repeat(TemplateId::MAX_CHARS + 1)
}

/// Templates with their samples, of rows that are ordered by template.
fn records(rows: &[DbRow]) -> Result<Vec<TemplateRecord>, StoreError> {
    let mut records: Vec<TemplateRecord> = Vec::new();
    for row in rows {
        let template: &str = row.get("template_id")?;
        if records.last().is_none_or(|last| last.id.as_str() != template) {
            records.push(TemplateRecord {
                id: row.template_id("template_id")?,
                created_at: row.time("created_at")?,
                samples: Vec::new(),
            });
        }
        let Some(last) = records.last_mut() else { continue };
        if let Some(model) = row.get::<Option<&str>>("model")? {
            last.samples.push(SampleRecord {
                id: row.sample_id("sample_id")?,
                model: ModelTag::new(model),
                created_at: row.time("added_at")?,
            });
        }
    }
    Ok(records)
}
