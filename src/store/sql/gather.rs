//! Opens the rows of samples and gathers them by template.

use super::executor::DbRow;
use crate::domain::{AppId, ModelTag, TemplateId};
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
            self.templates.push(IndexedTemplate { id: row.template_id("template_id")?, samples: Vec::new() });
        }
        let Some(last) = self.templates.last_mut() else { return Ok(()) };
        match open_sample(self.keys, self.app, self.model, &last.id, row)? {
            None => {}
            Some(Ok(sample)) => last.samples.push(sample),
            Some(Err(fault)) => self.unreadable.push(UnreadableSample { template: last.id.clone(), fault }),
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

/// Opens the sample of a row, if the row has one.
fn open_sample(
    keys: &Keyring,
    app: &AppId,
    model: &ModelTag,
    template: &TemplateId,
    row: &DbRow,
) -> Result<Option<Result<Sample, SampleFault>>, StoreError> {
    if row.get::<Option<&[u8]>>("sample_id")?.is_none() {
        return Ok(None);
    }
    let id = match row.sample_id("sample_id") {
        Ok(id) => id,
        Err(error) => return Ok(Some(Err(SampleFault::Damaged(error.to_string())))),
    };
    let sample = SampleRef { app, template, sample: id, model };
    Ok(Some(match keys.open(&sample, row.get("sealed")?, row.get("data_key")?) {
        Ok(embedding) => Ok(Sample { id, embedding }),
        Err(SealError::OtherKey(key)) => Err(SampleFault::KeyMissing(key)),
        Err(error) => Err(SampleFault::Damaged(format!("sample {id} is {error}"))),
    }))
}
