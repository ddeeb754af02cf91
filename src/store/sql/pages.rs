//! Reads templates page by page. Each page is bounded, however many samples a template has.

use std::collections::{HashMap, HashSet};

use super::executor::{DbRow, Executor, Limit, values};
use super::opener::Opened;
use super::sql_store::SqlStore;
use crate::domain::{AppId, ModelTag, Revision, TemplateId};
use crate::gallery::{Change, IndexedTemplate, Sample};
use crate::store::error::StoreError;
use crate::store::record::{Changes, GalleryPosition, SampleRecord, TemplateList, TemplatePage, TemplateRecord};

/// Comes before every template id: no id is empty.
const BEFORE_EVERY_ID: &str = "";

/// The most samples of one page of a list: more than the largest page has at the default limit of samples per template.
const MAX_LISTED_SAMPLES: usize = 40_000;

impl SqlStore {
    pub(super) async fn one_template(
        &self,
        app: &AppId,
        template: &TemplateId,
    ) -> Result<Option<TemplateRecord>, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let rows = db
            .fetch_all(
                "SELECT t.template_id, t.created_at, s.sample_id, s.model, s.created_at AS added_at,
                        s.enrolled_by, s.quality, s.quality_fine,
                        EXISTS (SELECT 1 FROM crops c WHERE c.app_id = s.app_id AND c.template_id = s.template_id
                                AND c.created_at = s.created_at AND c.sample_id = s.sample_id) AS has_crop
                 FROM templates t
                 LEFT JOIN samples s ON s.app_id = t.app_id AND s.template_id = t.template_id
                 WHERE t.app_id = $1 AND t.template_id = $2
                 ORDER BY s.created_at, s.sample_id",
                values![app, template],
            )
            .await?;
        Ok(records(&rows)?.pop())
    }

    pub(super) async fn list_page(
        &self,
        app: &AppId,
        after: Option<&TemplateId>,
        limit: usize,
    ) -> Result<TemplateList, StoreError> {
        let limit = limit.max(1);
        let mut db = self.db.reader(Limit::Request).await?;
        // One more than requested shows whether there is a next page.
        let rows = db
            .fetch_all(
                "SELECT t.template_id, t.created_at, s.sample_id, s.model, s.created_at AS added_at,
                        s.enrolled_by, s.quality, s.quality_fine,
                        EXISTS (SELECT 1 FROM crops c WHERE c.app_id = s.app_id AND c.template_id = s.template_id
                                AND c.created_at = s.created_at AND c.sample_id = s.sample_id) AS has_crop
                 FROM (SELECT app_id, template_id, created_at FROM templates
                       WHERE app_id = $1 AND template_id > $2 ORDER BY template_id LIMIT $3) t
                 LEFT JOIN samples s ON s.app_id = t.app_id AND s.template_id = t.template_id
                 ORDER BY t.template_id, s.created_at, s.sample_id LIMIT $4",
                values![
                    app,
                    after.map_or(BEFORE_EVERY_ID, TemplateId::as_str),
                    limit.saturating_add(1),
                    MAX_LISTED_SAMPLES
                ],
            )
            .await?;
        drop(db);
        let is_cut = rows.len() == MAX_LISTED_SAMPLES;
        let mut templates = records(&rows)?;
        drop(rows);
        if is_cut && let Some(cut) = templates.pop() {
            // The last template may lack samples, and more templates may follow. It is left to the next page, unless it
            // is the only one of this page.
            if templates.is_empty() {
                templates.extend(self.one_template(app, &cut.id).await?);
            }
            let next = Some(templates.last().map_or(cut.id, |last| last.id.clone()));
            templates.truncate(limit);
            return Ok(TemplateList { templates, next });
        }
        let has_more = templates.len() > limit;
        templates.truncate(limit);
        let next = templates.last().filter(|_| has_more).map(|last| last.id.clone());
        Ok(TemplateList { templates, next })
    }

    pub(super) async fn samples_of(
        &self,
        app: &AppId,
        model: &ModelTag,
        template: &TemplateId,
    ) -> Result<Vec<Sample>, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let mut reading = self.opener.read(app, model);
        db.for_each_row(
            "SELECT template_id, created_at, sample_id, sealed, data_key FROM samples
             WHERE app_id = $1 AND template_id = $2 AND model = $3 ORDER BY created_at, sample_id LIMIT $4",
            values![app, template, model, self.samples_per_template],
            |row| {
                reading.push(row);
                Ok(())
            },
        )
        .await?;
        drop(db);
        Ok(reading.finish().await?.templates.into_iter().flat_map(|template| template.samples).collect())
    }

    pub(super) async fn load_page(
        &self,
        app: &AppId,
        model: &ModelTag,
        after: Option<&TemplateId>,
        limit: usize,
    ) -> Result<TemplatePage, StoreError> {
        let limit = limit.max(1);
        let mut db = self.db.reader(Limit::Bulk).await?;
        let mut reading = self.opener.read(app, model);
        // Rows of other models are read without their content: where a gallery has only such rows, a statement that
        // searched for one of this model would read the whole gallery.
        db.for_each_row(
            "SELECT template_id, created_at, sample_id, CASE WHEN model = $3 THEN sealed END AS sealed,
                    CASE WHEN model = $3 THEN data_key END AS data_key
             FROM samples WHERE app_id = $1 AND template_id > $2
             ORDER BY template_id, created_at, sample_id LIMIT $4",
            values![app, after.map_or(BEFORE_EVERY_ID, TemplateId::as_str), model, limit.saturating_add(1)],
            |row| {
                reading.push(row);
                Ok(())
            },
        )
        .await?;
        drop(db);
        let mut opened = reading.finish().await?;
        let mut next = None;
        if opened.rows > limit {
            // The last template may lack samples. It is left to the next page, unless it is the only one of this page.
            if opened.templates.len() > 1 {
                opened.drop_last();
            } else {
                let rest = self.rest_of_template(app, model, &opened).await?;
                opened.extend_last(rest);
            }
            next = opened.templates.last().map(|last| last.id.clone());
        }
        let mut templates = opened.templates;
        templates.retain(|template| !template.samples.is_empty());
        Ok(TemplatePage { templates, next, unreadable: opened.unreadable })
    }

    /// The samples of the last template that come after its last row.
    async fn rest_of_template(&self, app: &AppId, model: &ModelTag, opened: &Opened) -> Result<Opened, StoreError> {
        let (Some(template), Some((created_at, sample))) = (opened.templates.last(), &opened.last) else {
            return Ok(Opened::default());
        };
        let mut db = self.db.reader(Limit::Bulk).await?;
        let mut reading = self.opener.read(app, model);
        db.for_each_row(
            "SELECT template_id, created_at, sample_id, sealed, data_key FROM samples
             WHERE app_id = $1 AND template_id = $2 AND model = $3 AND (created_at, sample_id) > ($4, $5)
             ORDER BY created_at, sample_id",
            values![app, &template.id, model, *created_at, sample],
            |row| {
                reading.push(row);
                Ok(())
            },
        )
        .await?;
        drop(db);
        reading.finish().await
    }

    pub(super) async fn changes_page(
        &self,
        app: &AppId,
        model: &ModelTag,
        after: GalleryPosition,
        limit: usize,
    ) -> Result<Changes, StoreError> {
        let log = match self.log_page(app, after, limit).await? {
            Ok(log) => log,
            Err(changes) => return Ok(changes),
        };
        let (until, tag) = self.bound(app, after.revision, &log, limit).await?;
        let mut db = self.db.reader(Limit::Bulk).await?;
        let mut reading = self.opener.read(app, model);
        // Each template once, also where it changed often. Its state may be later than the change.
        db.for_each_row(
            "SELECT c.template_id, s.created_at, s.sample_id, s.sealed, s.data_key
             FROM (SELECT DISTINCT template_id FROM changes
                   WHERE app_id = $1 AND revision > $2 AND revision <= $3) c
             LEFT JOIN samples s ON s.app_id = $1 AND s.template_id = c.template_id AND s.model = $4
             ORDER BY c.template_id, s.created_at, s.sample_id",
            values![app, after.revision, until, model],
            |row| {
                reading.push(row);
                Ok(())
            },
        )
        .await?;
        drop(db);
        let opened = reading.finish().await?;
        let mut states: HashMap<TemplateId, Vec<Sample>> =
            opened.templates.into_iter().map(|template| (template.id, template.samples)).collect();
        let mut changes: Vec<Change> = Vec::with_capacity(states.len());
        for entry in log.templates.into_iter().take_while(|entry| entry.first <= until) {
            // The log was trimmed between the two statements, or the application was deleted.
            let Some(samples) = states.remove(&entry.template) else { return Ok(Changes::TooOld) };
            if let Some(before) = changes.last_mut() {
                before.revision = Revision(entry.first.0 - 1);
            }
            let template = IndexedTemplate { id: entry.template, samples };
            changes.push(Change { first: entry.first, revision: until, template });
        }
        Ok(Changes::List { changes, unreadable: opened.unreadable, tag })
    }

    /// The log after a position, without samples; `Err` is the final answer if no changes can be listed.
    async fn log_page(
        &self,
        app: &AppId,
        after: GalleryPosition,
        limit: usize,
    ) -> Result<Result<LogPage, Changes>, StoreError> {
        let first = after.revision.next();
        let last = Revision(after.revision.0.saturating_add(u64::try_from(limit).unwrap_or(u64::MAX)));
        let mut db = self.db.reader(Limit::Bulk).await?;
        // Revisions have no gaps, so a range of them is a page of changes.
        let rows = db
            .fetch_all(
                "SELECT revision, template_id, tag,
                        (SELECT tag FROM changes WHERE app_id = $1 AND revision = $2) AS tag_before
                 FROM changes WHERE app_id = $1 AND revision > $2 AND revision <= $3 ORDER BY revision",
                values![app, after.revision, last],
            )
            .await?;
        let Some(first_row) = rows.first() else {
            let sql = "SELECT revision FROM applications WHERE app_id = $1";
            let current = db.fetch_optional(sql, values![app]).await?;
            let current = current.map(|row| row.revision("revision")).transpose()?;
            return Ok(Err(if current == Some(after.revision) { Changes::none() } else { Changes::TooOld }));
        };
        let tag_before: Option<i64> = first_row.get("tag_before")?;
        let has_other_history = after.tag.zip(tag_before).is_some_and(|(known, found)| known != found);
        if first_row.revision("revision")? != first || has_other_history {
            return Ok(Err(Changes::TooOld));
        }
        let mut page = LogPage { templates: Vec::new(), tags: Vec::with_capacity(rows.len()) };
        let mut seen: HashSet<&str> = HashSet::with_capacity(rows.len());
        for row in &rows {
            page.tags.push(row.get("tag")?);
            if seen.insert(row.get("template_id")?) {
                page.templates
                    .push(Entry { first: row.revision("revision")?, template: row.template_id("template_id")? });
            }
        }
        Ok(Ok(page))
    }

    /// The revision up to which the templates have `limit` samples at most, or there is only one, and its tag.
    async fn bound(
        &self,
        app: &AppId,
        after: Revision,
        log: &LogPage,
        limit: usize,
    ) -> Result<(Revision, Option<i64>), StoreError> {
        let mut covered = log.tags.len();
        if log.templates.len() > 1 {
            let last = Revision(after.0.saturating_add(covered as u64));
            let mut db = self.db.reader(Limit::Bulk).await?;
            let rows = db
                .fetch_all(
                    "SELECT c.template_id,
                            (SELECT count(*) FROM (SELECT 1 FROM samples s
                                 WHERE s.app_id = c.app_id AND s.template_id = c.template_id LIMIT $4) AS bounded)
                                AS samples
                     FROM (SELECT DISTINCT app_id, template_id FROM changes
                           WHERE app_id = $1 AND revision > $2 AND revision <= $3) c",
                    values![app, after, last, limit],
                )
                .await?;
            let mut sizes: HashMap<TemplateId, usize> = HashMap::with_capacity(rows.len());
            for row in &rows {
                sizes.insert(row.template_id("template_id")?, usize::try_from(row.get::<i64>("samples")?).unwrap_or(0));
            }
            let mut samples = 0;
            let left_out = log.templates.iter().find(|entry| {
                samples += sizes.get(&entry.template).copied().unwrap_or(0);
                samples > limit && entry.first != after.next()
            });
            if let Some(left_out) = left_out {
                covered = usize::try_from(left_out.first.0 - after.0 - 1).unwrap_or(covered);
            }
        }
        let tag = covered.checked_sub(1).and_then(|at| log.tags.get(at).copied().flatten());
        Ok((Revision(after.0.saturating_add(covered as u64)), tag))
    }
}

/// A part of the log of changes, without gaps.
struct LogPage {
    /// Each template that changed, in the order of its first change.
    templates: Vec<Entry>,
    /// The tag of each change.
    tags: Vec<Option<i64>>,
}

/// A template that changed.
struct Entry {
    /// Its first change in the page.
    first: Revision,
    template: TemplateId,
}

/// Templates with their samples, of rows that are ordered by template.
pub(super) fn records(rows: &[DbRow]) -> Result<Vec<TemplateRecord>, StoreError> {
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
                enrolled_by: row.get("enrolled_by")?,
                quality: row.quality()?,
                has_crop: row.get("has_crop")?,
            });
        }
    }
    Ok(records)
}
