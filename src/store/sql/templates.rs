//! Templates and their samples.

use std::time::SystemTime;

use async_trait::async_trait;

use super::executor::{Executor, Limit, values};
use super::sql_store::SqlStore;
use crate::domain::{AppId, Details, ModelTag, Revision, TemplateId};
use crate::gallery::{IndexedTemplate, Sample};
use crate::store::error::{InsertError, Refusal, StoreError};
use crate::store::outbox::ErasureReason;
use crate::store::people::{NewTemplate, PeopleStore as _};
use crate::store::record::{
    Changes, DatedTemplate, EnrolledSample, GalleryPosition, OnConflict, TemplateList, TemplatePage, TemplateRecord,
};
use crate::store::traits::TemplateStore;

#[async_trait]
impl TemplateStore for SqlStore {
    async fn insert(
        &self,
        app: &AppId,
        template: &TemplateId,
        sample: &EnrolledSample,
        on_conflict: OnConflict,
    ) -> Result<Revision, InsertError> {
        self.enroll(app, &NewTemplate::new(template, std::slice::from_ref(sample)), on_conflict).await
    }

    async fn insert_all(
        &self,
        app: &AppId,
        templates: &[IndexedTemplate],
        on_conflict: OnConflict,
    ) -> Result<Vec<Result<Revision, Refusal>>, StoreError> {
        let templates: Vec<_> = templates.iter().map(|template| (template, None)).collect();
        self.insert_each(app, &templates, &on_conflict).await
    }

    async fn insert_dated(
        &self,
        app: &AppId,
        templates: &[DatedTemplate],
        on_conflict: OnConflict,
    ) -> Result<Vec<Result<Revision, Refusal>>, StoreError> {
        let templates: Vec<_> = templates.iter().map(|dated| (&dated.template, Some(dated))).collect();
        self.insert_each(app, &templates, &on_conflict).await
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
        sample: &EnrolledSample,
    ) -> Result<Option<Revision>, InsertError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                let added = write.extend(template, sample).await;
                let is_written = matches!(added, Ok(Some(_)));
                write.end(added, is_written).await
            })
            .await
    }

    async fn remove(
        &self,
        app: &AppId,
        template: &TemplateId,
        reason: ErasureReason,
    ) -> Result<Option<Revision>, StoreError> {
        let reason = &reason;
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
        let reason = &reason;
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
        self.one_template(app, template).await
    }

    async fn samples(&self, app: &AppId, model: &ModelTag, template: &TemplateId) -> Result<Vec<Sample>, StoreError> {
        self.samples_of(app, model, template).await
    }

    async fn page(&self, app: &AppId, after: Option<&TemplateId>, limit: usize) -> Result<TemplateList, StoreError> {
        self.list_page(app, after, limit).await
    }

    async fn load(
        &self,
        app: &AppId,
        model: &ModelTag,
        after: Option<&TemplateId>,
        limit: usize,
    ) -> Result<TemplatePage, StoreError> {
        self.load_page(app, model, after, limit).await
    }

    async fn changes(
        &self,
        app: &AppId,
        model: &ModelTag,
        after: GalleryPosition,
        limit: usize,
    ) -> Result<Changes, StoreError> {
        self.changes_page(app, model, after, limit).await
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
        on_conflict: &OnConflict,
    ) -> Result<Vec<Result<Revision, Refusal>>, StoreError> {
        self.db
            .transact(Limit::Bulk, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                let sealer = write.sealer().await?;
                let mut revisions = Vec::with_capacity(templates.len());
                for (template, dated) in templates {
                    let details = dated.map_or(Details::NONE, |dated| &dated.details);
                    let samples: Vec<_> = template.samples.iter().cloned().map(EnrolledSample::by_command).collect();
                    let new = NewTemplate { id: &template.id, samples: &samples, details };
                    let inserted = write.insert(&sealer, &new, *dated, on_conflict).await;
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
