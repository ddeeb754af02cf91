//! What `gallery export` writes and `gallery import` reads: a line of JSON for each template.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::{
    DetailError, Details, Embedding, EmbeddingError, IdError, ModelTag, SampleId, parse_rfc3339, rfc3339,
};
use crate::gallery::{IndexedTemplate, Sample};
use crate::store::{DatedTemplate, PersonRecord};

/// One line: a template. Unknown fields, of newer versions, are ignored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    pub(super) template_id: String,
    /// When it was enrolled (RFC 3339, UTC). Lines of earlier versions lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created_at: Option<String>,
    pub(super) samples: Vec<LineSample>,
    /// Its details: `name`, `externalId`, `groups`, `metadata`, `consentReference` and `expiresAt`.
    #[serde(flatten)]
    pub(super) details: Map<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LineSample {
    pub(super) sample_id: uuid::Uuid,
    pub(super) model: String,
    /// When it was added, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created_at: Option<String>,
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
    /// A time is not in RFC 3339.
    #[error("createdAt must be a time such as 2026-11-23T09:30:00.000Z")]
    Time,
    /// A detail is invalid.
    #[error(transparent)]
    Detail(#[from] DetailError),
    /// Its numbers are not an embedding.
    #[error(transparent)]
    Embedding(#[from] EmbeddingError),
}

impl Line {
    /// Parses a line, without its times.
    ///
    /// # Errors
    /// [`LineError`].
    pub fn read(text: &str) -> Result<IndexedTemplate, LineError> {
        Ok(Self::read_dated(text)?.template)
    }

    /// Parses a line.
    ///
    /// # Errors
    /// [`LineError`].
    pub fn read_dated(text: &str) -> Result<DatedTemplate, LineError> {
        let line: Self = serde_json::from_str(text)?;
        let created_at = time(line.created_at.as_deref())?;
        let mut samples_at = Vec::with_capacity(line.samples.len());
        let mut samples = Vec::with_capacity(line.samples.len());
        for sample in line.samples {
            let embedding = Embedding::new(&sample.embedding, ModelTag::new(&sample.model))?;
            samples.push(Sample { id: SampleId(sample.sample_id), embedding });
            samples_at.push(time(sample.created_at.as_deref())?);
        }
        let template = IndexedTemplate { id: line.template_id.parse()?, samples };
        let details = Details::from_json(&line.details)?;
        Ok(DatedTemplate { template, created_at, samples_at, details })
    }

    /// Adds the details and the times of the stored template.
    pub(super) fn noted(mut self, person: &PersonRecord) -> Self {
        if let Value::Object(details) = person.details.to_full_json() {
            self.details = details;
        }
        let record = &person.template;
        self.created_at = Some(rfc3339(record.created_at));
        for sample in &mut self.samples {
            let stored = record.samples.iter().find(|stored| stored.id.0 == sample.sample_id);
            sample.created_at = stored.map(|stored| rfc3339(stored.created_at));
        }
        self
    }
}

fn time(text: Option<&str>) -> Result<Option<SystemTime>, LineError> {
    text.map(|text| parse_rfc3339(text).ok_or(LineError::Time)).transpose()
}

impl From<IndexedTemplate> for Line {
    fn from(template: IndexedTemplate) -> Self {
        let samples = template.samples.into_iter().map(|sample| LineSample {
            sample_id: sample.id.0,
            model: sample.embedding.model().to_string(),
            created_at: None,
            embedding: sample.embedding.values().to_vec(),
        });
        Self { template_id: template.id.to_string(), created_at: None, samples: samples.collect(), details: Map::new() }
    }
}
