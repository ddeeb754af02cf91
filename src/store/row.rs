//! Between columns and values of the domain.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::seal::{Place, SealError, Sealer};
use super::{KeyHash, StoreError};
use crate::domain::{AppId, Embedding, ModelTag, Revision, SampleId, TemplateId};

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

pub(super) fn key_hash(bytes: &[u8]) -> Result<KeyHash, StoreError> {
    bytes.try_into().map(KeyHash).map_err(|_| StoreError::Corrupt("a key hash".to_owned()))
}

pub(super) fn seal(sealer: &Sealer, place: &Place<'_>, embedding: &Embedding) -> Result<Vec<u8>, StoreError> {
    sealer.seal(place, embedding).map_err(|error| StoreError::Failed(Box::new(error)))
}

pub(super) fn unseal(sealer: &Sealer, place: &Place<'_>, sealed: &[u8]) -> Result<Embedding, StoreError> {
    sealer.open(place, sealed).map_err(|error: SealError| {
        StoreError::Corrupt(format!("sample {} of template {} is {error}", place.sample, place.template))
    })
}

/// A row of a join of templates with samples: the template and, unless it has none, one sample.
pub(super) type SealedRow = (String, Option<Vec<u8>>, Option<Vec<u8>>);

/// Opens rows and gathers those of one template, which follow each other.
pub(super) fn gather(
    sealer: &Sealer,
    app: &AppId,
    model: &ModelTag,
    rows: Vec<SealedRow>,
) -> Result<Vec<crate::gallery::IndexedTemplate>, StoreError> {
    let mut templates: Vec<crate::gallery::IndexedTemplate> = Vec::new();
    for (template, sample, sealed) in rows {
        if templates.last().is_none_or(|last| last.id.as_str() != template) {
            templates.push(crate::gallery::IndexedTemplate { id: template_id(&template)?, samples: Vec::new() });
        }
        let (Some(last), Some(sample), Some(sealed)) = (templates.last_mut(), sample, sealed) else { continue };
        let id = sample_id(&sample)?;
        let embedding = unseal(sealer, &Place { app, template: &last.id, sample: id, model }, &sealed)?;
        last.samples.push(crate::gallery::Sample { id, embedding });
    }
    Ok(templates)
}
