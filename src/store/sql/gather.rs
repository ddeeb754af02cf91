//! Opens the rows of samples and gathers them by template.

use uuid::Uuid;

use super::executor::DbRow;
use super::row::corrupt;
use crate::domain::{AppId, ModelTag, SampleId};
use crate::gallery::{IndexedTemplate, Sample};
use crate::store::error::StoreError;
use crate::store::keyring::Keyring;
use crate::store::record::{SampleFault, UnreadableSample};
use crate::store::seal::{SampleRef, SealError};

/// Takes rows with the columns `template_id`, `sample_id`, `sealed` and `data_key`. The rows of a template follow each
/// other.
pub(super) struct Gather<'a> {
    keys: &'a Keyring,
    app: &'a AppId,
    model: &'a ModelTag,
    templates: Vec<IndexedTemplate>,
    unreadable: Vec<UnreadableSample>,
}

impl<'a> Gather<'a> {
    pub(super) fn new(keys: &'a Keyring, app: &'a AppId, model: &'a ModelTag) -> Self {
        Self { keys, app, model, templates: Vec::new(), unreadable: Vec::new() }
    }

    /// Takes the next row: a template and a sample of it. `sample_id` is NULL when the template has none.
    pub(super) fn take(&mut self, row: &DbRow) -> Result<(), StoreError> {
        let template: &str = row.get("template_id")?;
        if self.templates.last().is_none_or(|last| last.id.as_str() != template) {
            let id = template.parse().map_err(|_| corrupt("template_id"))?;
            self.templates.push(IndexedTemplate { id, samples: Vec::new() });
        }
        let Some(last) = self.templates.last_mut() else { return Ok(()) };
        let Some(sample_id) = row.get::<Option<&[u8]>>("sample_id")? else { return Ok(()) };
        let sealed: &[u8] = row.get("sealed")?;
        let data_key: Option<&[u8]> = row.get("data_key")?;
        let opened = match Uuid::from_slice(sample_id).map(SampleId) {
            Ok(id) => {
                let sample = SampleRef { app: self.app, template: &last.id, sample: id, model: self.model };
                let opened = self.keys.open(&sample, sealed, data_key);
                opened.map(|embedding| Sample { id, embedding }).map_err(|error| sample_fault(id, error))
            }
            Err(_) => Err(SampleFault::Damaged("a sample id".to_owned())),
        };
        match opened {
            Ok(sample) => last.samples.push(sample),
            Err(fault) => self.unreadable.push(UnreadableSample { template: last.id.clone(), fault }),
        }
        Ok(())
    }

    /// The templates since the last call.
    pub(super) fn finish(&mut self) -> Vec<IndexedTemplate> {
        std::mem::take(&mut self.templates)
    }

    /// The samples since the last call that cannot be opened.
    pub(super) fn unreadable(&mut self) -> Vec<UnreadableSample> {
        std::mem::take(&mut self.unreadable)
    }
}

fn sample_fault(id: SampleId, error: SealError) -> SampleFault {
    match error {
        SealError::OtherKey(key) => SampleFault::KeyMissing(key),
        error => SampleFault::Damaged(format!("sample {id} is {error}")),
    }
}
