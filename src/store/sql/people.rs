//! Templates with their details.

use std::collections::HashMap;
use std::sync::LazyLock;

use async_trait::async_trait;

use super::executor::{DbRow, Executor, Limit, Value, values};
use super::gallery_write::GalleryWrite;
use super::pages::records;
use super::row;
use super::sql_store::SqlStore;
use crate::domain::{AppId, DetailsPatch, Revision, TemplateId};
use crate::store::error::{EraseError, InsertError, Refusal, StoreError, UpdateError};
use crate::store::outbox::ErasureReason;
use crate::store::people::{
    ErasedPerson, ListEntry, ListFilter, ListQuery, NewTemplate, NotedPage, NotedPerson, PeopleStore, PersonRecord,
};
use crate::store::record::OnConflict;

/// Templates that one statement reads by their ids.
const IDS: usize = 100;

/// The numbers of the parameters after the application's.
fn places() -> String {
    (2..IDS + 2).map(|at| format!("${at}")).collect::<Vec<_>>().join(", ")
}

/// The samples of templates.
static SAMPLES: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT t.template_id, t.created_at, s.sample_id, s.model, s.created_at AS added_at, s.enrolled_by, s.quality,
                s.quality_fine,
                EXISTS (SELECT 1 FROM crops c WHERE c.app_id = s.app_id AND c.template_id = s.template_id
                        AND c.created_at = s.created_at AND c.sample_id = s.sample_id) AS has_crop
         FROM templates t LEFT JOIN samples s ON s.app_id = t.app_id AND s.template_id = t.template_id
         WHERE t.app_id = $1 AND t.template_id IN ({})
         ORDER BY t.template_id, s.created_at, s.sample_id",
        places()
    )
});

/// The columns of a person without samples.
const NOTED: &str = "t.template_id, t.created_at, coalesce(t.updated_at, t.created_at) AS updated_at, t.revision,
                     d.sealed, d.data_key, d.expires_at";

/// The details of templates.
static DETAILS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {NOTED} FROM templates t
         LEFT JOIN details d ON d.app_id = t.app_id AND d.template_id = t.template_id
         WHERE t.app_id = $1 AND t.template_id IN ({})",
        places()
    )
});

/// A page of templates with details.
static NOTED_PAGE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {NOTED} FROM details d
         JOIN templates t ON t.app_id = d.app_id AND t.template_id = d.template_id
         WHERE d.app_id = $1 AND d.template_id > $2 ORDER BY d.template_id LIMIT $3"
    )
});

/// The values of a statement with [`IDS`] ids. Fewer are filled up with the last one.
fn id_values<'a>(app: &'a AppId, ids: &'a [TemplateId]) -> Vec<Value<'a>> {
    let last = ids.last();
    let filled = ids.iter().chain(last.into_iter().cycle().take(IDS - ids.len().min(IDS)));
    std::iter::once(Value::from(app)).chain(filled.map(Value::from)).collect()
}

#[async_trait]
impl PeopleStore for SqlStore {
    async fn enroll(
        &self,
        app: &AppId,
        new: &NewTemplate<'_>,
        on_conflict: OnConflict,
    ) -> Result<Revision, InsertError> {
        let on_conflict = &on_conflict;
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                let sealer = write.sealer().await?;
                let inserted = write.insert(&sealer, new, None, on_conflict).await;
                write.end(inserted, true).await
            })
            .await
    }

    async fn update(
        &self,
        app: &AppId,
        template: &TemplateId,
        patch: &DetailsPatch,
        expected: Option<Revision>,
    ) -> Result<Revision, UpdateError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                match write.update_details(template, patch, expected).await {
                    Ok((revision, true)) => {
                        write.commit().await?;
                        Ok(revision)
                    }
                    Ok((revision, false)) => {
                        write.rollback().await?;
                        Ok(revision)
                    }
                    Err(UpdateError::Store(error)) => Err(error.into()), // dropped, which rolls back
                    Err(refused) => {
                        write.rollback().await?;
                        Err(refused)
                    }
                }
            })
            .await
    }

    async fn erase(
        &self,
        app: &AppId,
        template: &TemplateId,
        reason: &ErasureReason,
        expected: Option<Revision>,
        samples: Option<u64>,
    ) -> Result<ErasedPerson, EraseError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                match write.erase_person(template, reason, expected, samples).await {
                    Ok(erased) => {
                        write.commit().await?;
                        Ok(erased)
                    }
                    Err(EraseError::Store(error)) => Err(error.into()), // dropped, which rolls back
                    Err(refused) => {
                        write.rollback().await?;
                        Err(refused)
                    }
                }
            })
            .await
    }

    async fn people(&self, app: &AppId, ids: &[TemplateId]) -> Result<Vec<PersonRecord>, StoreError> {
        let mut people: HashMap<TemplateId, PersonRecord> = HashMap::with_capacity(ids.len());
        let mut db = self.db.reader(Limit::Request).await?;
        for ids in ids.chunks(IDS) {
            let values = id_values(app, ids);
            let samples = db.fetch_all(&SAMPLES, &values).await?;
            let mut templates: HashMap<_, _> =
                records(&samples)?.into_iter().map(|template| (template.id.clone(), template)).collect();
            for row in db.fetch_all(&DETAILS, &values).await? {
                let id = row.template_id("template_id")?;
                // Removed between the two statements.
                let Some(template) = templates.remove(&id) else { continue };
                let (details, unreadable) = self.readable_details(app, &row)?;
                let record = PersonRecord {
                    template,
                    updated_at: row.time("updated_at")?,
                    revision: row.revision("revision")?,
                    details: details.unwrap_or_default(),
                    unreadable,
                };
                people.insert(id, record);
            }
        }
        Ok(ids.iter().filter_map(|id| people.remove(id)).collect())
    }

    async fn noted(&self, app: &AppId, ids: &[TemplateId]) -> Result<NotedPage, StoreError> {
        let mut page = NotedPage::default();
        let mut db = self.db.reader(Limit::Bulk).await?;
        for ids in ids.chunks(IDS) {
            for row in db.fetch_all(&DETAILS, &id_values(app, ids)).await? {
                self.push_noted(&mut page, app, &row)?;
            }
        }
        Ok(page)
    }

    async fn noted_page(&self, app: &AppId, after: Option<&TemplateId>, limit: usize) -> Result<NotedPage, StoreError> {
        let mut page = NotedPage::default();
        let mut db = self.db.reader(Limit::Bulk).await?;
        let rows = db.fetch_all(&NOTED_PAGE, values![app, after.map_or("", TemplateId::as_str), limit.max(1)]).await?;
        drop(db);
        for row in &rows {
            self.push_noted(&mut page, app, row)?;
        }
        page.next = match rows.last() {
            Some(last) if rows.len() == limit.max(1) => Some(last.template_id("template_id")?),
            _ => None,
        };
        Ok(page)
    }

    async fn by_external_id(&self, app: &AppId, external_id: &str) -> Result<Option<TemplateId>, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let Some(hash) = self.external_hash(&mut db, app, external_id).await? else { return Ok(None) };
        let sql = "SELECT template_id FROM details WHERE app_id = $1 AND external_hash = $2";
        let row = db.fetch_optional(sql, values![app, &hash]).await?;
        row.map(|row| row.template_id("template_id")).transpose()
    }

    async fn list(&self, app: &AppId, query: &ListQuery) -> Result<Vec<ListEntry>, StoreError> {
        self.list_entries(app, query).await
    }

    async fn count_matching(&self, app: &AppId, filter: &ListFilter, limit: usize) -> Result<usize, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        self.count_entries(&mut db, app, filter, limit).await
    }

    async fn total(&self, app: &AppId) -> Result<u64, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let sql = "SELECT revision, counted_revision, counted_templates FROM applications WHERE app_id = $1";
        let row = db.fetch_optional(sql, values![app]).await?.ok_or(StoreError::NoSuchApp)?;
        drop(db);
        if row.get::<Option<i64>>("counted_revision")? == Some(row.get::<i64>("revision")?)
            && let Some(templates) = row.get::<Option<i64>>("counted_templates")?
        {
            return Ok(row::number(templates));
        }
        self.db
            .transact(Limit::Bulk, |deadline| async move {
                let mut write = self.begin_write(app, deadline).await?;
                let counted = write.count().await?;
                write.commit_count(counted).await?;
                Ok(counted.templates)
            })
            .await
    }
}

impl SqlStore {
    /// The details of a row, if it has any, and whether they cannot be opened. Damage and a missing key are logged once
    /// for a row, without its content.
    fn readable_details(&self, app: &AppId, row: &DbRow) -> Result<(Option<crate::domain::Details>, bool), StoreError> {
        match self.open_details(app, row) {
            Ok(details) if details.is_empty() => Ok((None, false)),
            Ok(details) => Ok((Some(details), false)),
            Err(error @ (StoreError::Corrupt(_) | StoreError::KeyMissing(_))) => {
                let template = row.template_id("template_id")?;
                tracing::error!(%app, %template, %error, "the details of a template cannot be read");
                Ok((None, true))
            }
            Err(error) => Err(error),
        }
    }

    fn push_noted(&self, page: &mut NotedPage, app: &AppId, row: &DbRow) -> Result<(), StoreError> {
        let (details, unreadable) = self.readable_details(app, row)?;
        page.unreadable += usize::from(unreadable);
        if let Some(details) = details {
            page.people.push(NotedPerson {
                id: row.template_id("template_id")?,
                created_at: row.time("created_at")?,
                updated_at: row.time("updated_at")?,
                details,
            });
        }
        Ok(())
    }
}

impl GalleryWrite<'_> {
    async fn erase_person(
        &mut self,
        template: &TemplateId,
        reason: &ErasureReason,
        expected: Option<Revision>,
        samples: Option<u64>,
    ) -> Result<ErasedPerson, EraseError> {
        let sql = "SELECT revision FROM templates WHERE app_id = $1 AND template_id = $2";
        let row = self.tx.fetch_optional(sql, values![self.app, template]).await?.ok_or(EraseError::NotFound)?;
        let revision = row.revision("revision")?;
        if expected.is_some_and(|expected| expected != revision) {
            return Err(EraseError::Changed);
        }
        let stored = self.stored_samples(template).await?.unwrap_or(0);
        if samples.is_some_and(|samples| samples != stored) {
            return Err(EraseError::CountDiffers(stored));
        }
        let erasure = self.erase_counted(template, Some(stored), reason).await?.ok_or(EraseError::NotFound)?;
        Ok(ErasedPerson { erasure, revision: self.append_change(template).await?, samples: stored })
    }

    /// Changes details. Returns the revision of the template's last change, and whether this is one.
    async fn update_details(
        &mut self,
        template: &TemplateId,
        patch: &DetailsPatch,
        expected: Option<Revision>,
    ) -> Result<(Revision, bool), UpdateError> {
        let (before, revision) = self.details(template).await?.ok_or(UpdateError::NotFound)?;
        if expected.is_some_and(|expected| expected != revision) {
            return Err(UpdateError::Changed);
        }
        let after = patch.apply(&before)?;
        if after == before {
            return Ok((revision, false));
        }
        let sealer = self.sealer().await?;
        match self.admit_details(&sealer, template, &after).await {
            Ok(()) => {}
            Err(InsertError::Refused(Refusal::ExternalIdTaken)) => return Err(UpdateError::ExternalIdTaken),
            Err(InsertError::Refused(refusal)) => {
                return Err(UpdateError::Store(StoreError::Failed(Box::new(refusal))));
            }
            Err(InsertError::Store(error)) => return Err(error.into()),
        }
        self.put_details(&sealer, template, &after).await?;
        Ok((self.append_update(template).await?, true))
    }
}
