//! What `gallery export` writes and `gallery import` reads: a line of JSON for each template.

use serde::{Deserialize, Serialize};

use crate::domain::{Embedding, EmbeddingError, IdError, ModelTag, SampleId};
use crate::gallery::{IndexedTemplate, Sample};

/// One line: a template. Unknown fields, of newer versions, are ignored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    pub(super) template_id: String,
    pub(super) samples: Vec<LineSample>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LineSample {
    pub(super) sample_id: uuid::Uuid,
    pub(super) model: String,
    pub(super) embedding: Vec<f32>,
}

/// Why a line is not a template.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is not JSON of the right shape.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Its id is invalid.
    #[error("templateId {0}")]
    Template(#[from] IdError),
    /// Its numbers are not an embedding.
    #[error(transparent)]
    Embedding(#[from] EmbeddingError),
}

impl Line {
    /// Parses a line.
    ///
    /// # Errors
    /// [`LineError`].
    pub fn read(text: &str) -> Result<IndexedTemplate, LineError> {
        let line: Self = serde_json::from_str(text)?;
        let samples = line.samples.into_iter().map(|sample| {
            let embedding = Embedding::new(&sample.embedding, ModelTag::new(&sample.model))?;
            Ok(Sample { id: SampleId(sample.sample_id), embedding })
        });
        Ok(IndexedTemplate { id: line.template_id.parse()?, samples: samples.collect::<Result<_, LineError>>()? })
    }
}

impl From<IndexedTemplate> for Line {
    fn from(template: IndexedTemplate) -> Self {
        let samples = template.samples.into_iter().map(|sample| LineSample {
            sample_id: sample.id.0,
            model: sample.embedding.model().to_string(),
            embedding: sample.embedding.values().to_vec(),
        });
        Self { template_id: template.id.to_string(), samples: samples.collect() }
    }
}
