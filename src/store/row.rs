//! Between columns and values of the domain.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::ring::KeyRing;
use super::seal::{Place, SealError};
use super::{KeyHash, Notice, SnapshotId, StoreError};
use crate::domain::{AppId, ModelTag, Revision, SampleId, TemplateId};
use crate::gallery::{IndexedTemplate, Sample};

pub(super) fn now() -> i64 {
    millis(SystemTime::now())
}

pub(super) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn time(millis: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

pub(super) fn duration(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

pub(super) fn number(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

pub(super) fn revision(number: i64) -> Revision {
    Revision(u64::try_from(number).unwrap_or(0))
}

pub(super) fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn app_id(text: &str) -> Result<AppId, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt("an application id".to_owned()))
}

pub(super) fn template_id(text: &str) -> Result<TemplateId, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt("a template id".to_owned()))
}

pub(super) fn sample_id(bytes: &[u8]) -> Result<SampleId, StoreError> {
    Uuid::from_slice(bytes).map(SampleId).map_err(|_| StoreError::Corrupt("a sample id".to_owned()))
}

pub(super) fn snapshot_id(bytes: &[u8]) -> Result<SnapshotId, StoreError> {
    Uuid::from_slice(bytes).map(SnapshotId).map_err(|_| StoreError::Corrupt("a snapshot's id".to_owned()))
}

pub(super) fn key_hash(bytes: &[u8]) -> Result<KeyHash, StoreError> {
    bytes.try_into().map(KeyHash).map_err(|_| StoreError::Corrupt("a key hash".to_owned()))
}

pub(super) fn uuid(bytes: &[u8]) -> Result<Uuid, StoreError> {
    Uuid::from_slice(bytes).map_err(|_| StoreError::Corrupt("an id".to_owned()))
}

/// A notice: id, moment, operation, transaction, application, template, revision, detail.
pub(super) type NoticeRow =
    (Vec<u8>, i64, String, Option<Vec<u8>>, Option<String>, Option<String>, Option<i64>, String);

pub(super) fn notice(row: NoticeRow) -> Result<Notice, StoreError> {
    let (id, at, operation, transaction, app, template, number, detail) = row;
    Ok(Notice {
        id: uuid(&id)?,
        at: time(at),
        operation,
        transaction: transaction.as_deref().map(uuid).transpose()?,
        app,
        template,
        revision: number.map(|number| revision(number).0),
        detail,
    })
}

/// The columns of a sample, as they lie in a row.
pub(super) struct SampleColumns<'a> {
    pub(super) sample: &'a [u8],
    pub(super) sealed: &'a [u8],
    pub(super) data_key: Option<&'a [u8]>,
}

/// A change, its template and, unless it has none, a sample of it: revision, template, sample, sealed, data key.
pub(super) type ChangeRow = (i64, String, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);

/// Opens the rows of samples one by one and gathers those of one template, which follow each other.
pub(super) struct Gather<'a> {
    keys: &'a KeyRing,
    app: &'a AppId,
    model: &'a ModelTag,
    templates: Vec<IndexedTemplate>,
}

impl<'a> Gather<'a> {
    pub(super) fn new(keys: &'a KeyRing, app: &'a AppId, model: &'a ModelTag) -> Self {
        Self { keys, app, model, templates: Vec::new() }
    }

    /// Takes the next row: a template and, unless it has none, a sample of it.
    pub(super) fn take(&mut self, template: &str, columns: Option<SampleColumns<'_>>) -> Result<(), StoreError> {
        if self.templates.last().is_none_or(|last| last.id.as_str() != template) {
            self.templates.push(IndexedTemplate { id: template_id(template)?, samples: Vec::new() });
        }
        let (Some(last), Some(columns)) = (self.templates.last_mut(), columns) else { return Ok(()) };
        let id = sample_id(columns.sample)?;
        let place = Place { app: self.app, template: &last.id, sample: id, model: self.model };
        let embedding = self.keys.open(&place, columns.sealed, columns.data_key).map_err(|error| match error {
            SealError::OtherKey(key) => StoreError::KeyMissing(key),
            error => StoreError::Corrupt(format!("sample {} of template {} is {error}", place.sample, place.template)),
        })?;
        last.samples.push(Sample { id, embedding });
        Ok(())
    }

    /// What was gathered since the last time.
    pub(super) fn finish(&mut self) -> Vec<IndexedTemplate> {
        std::mem::take(&mut self.templates)
    }
}
