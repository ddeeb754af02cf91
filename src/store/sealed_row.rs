//! The row of a sample, sealed and opened without a database around it: as every read of the store opens it.

use super::seal::{SampleRef, Sealed, Sealer};
use super::{Key, StoreError};
use crate::domain::{AppId, Embedding, ModelTag, SampleId, TemplateId};

/// Where the row of a sample belongs; it opens nowhere else.
#[derive(Debug, Clone)]
pub struct SealedRow {
    /// The application.
    pub app: AppId,
    /// The template.
    pub template: TemplateId,
    /// The sample.
    pub sample: SampleId,
    /// The model of its embedding.
    pub model: ModelTag,
}

impl SealedRow {
    fn place(&self) -> SampleRef<'_> {
        SampleRef { app: &self.app, template: &self.template, sample: self.sample, model: &self.model }
    }

    /// Opens what a row has: the sealed embedding, and its data key unless it is of the version before these.
    ///
    /// # Errors
    /// [`StoreError::KeyMissing`] when it is sealed under another key, [`StoreError::Corrupt`] when it is damaged, was
    /// moved, or holds no embedding.
    pub fn open(&self, key: &Key, sealed: &[u8], data_key: Option<&[u8]>) -> Result<Embedding, StoreError> {
        Ok(Sealer::new(key).open(&self.place(), sealed, data_key)?)
    }

    /// Seals whatever a row is to hold: the sealed text, and its data key.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the system gives no random numbers.
    pub fn seal(&self, key: &Key, text: &[u8]) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
        let Sealed { embedding, data_key } = Sealer::new(key).seal_text(&self.place(), text)?;
        Ok((embedding, data_key))
    }
}
