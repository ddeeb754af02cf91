//! Everything that is held of one person, for that person (GDPR, article 15).

use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::{Caller, Error, Service};
use crate::domain::{Details, FaceCrop, Similarity, TemplateId};
use crate::store::{HeldProbe, SampleRecord};

/// Everything that is held of a person.
#[derive(Debug, Clone)]
pub struct PersonExport {
    /// The template.
    pub id: TemplateId,
    /// When it was enrolled.
    pub created_at: SystemTime,
    /// When it was last changed.
    pub updated_at: SystemTime,
    /// Its details.
    pub details: Details,
    /// Its samples, oldest first.
    pub samples: Vec<SampleExport>,
    /// Held probes that came near it, last seen first, without their crops: whether they show this person is not decided
    /// yet, and a crop could show another one.
    pub near_probes: Vec<NearProbe>,
}

/// A held probe that came near a person.
#[derive(Debug, Clone)]
pub struct NearProbe {
    /// What is stored of it.
    pub probe: HeldProbe,
    /// How similar it is to the person.
    pub similarity: Similarity,
}

/// Everything that is held of a sample. An embedding can be turned back into a face that fools a matcher, so only its
/// digest is exported.
#[derive(Debug, Clone)]
pub struct SampleExport {
    /// What is stored with it.
    pub record: SampleRecord,
    /// SHA-256 of its embedding (f32, little-endian); `None`: of another model, or it cannot be read.
    pub embedding_sha256: Option<[u8; 32]>,
    /// Its crop, if one is kept.
    pub crop: Option<FaceCrop>,
}

impl Service {
    /// Everything that is held of a person. Bounded by the samples that a template may have.
    ///
    /// # Errors
    /// [`Error::TemplateNotFound`], store failures.
    pub async fn export_person(&self, caller: &Caller, template: &TemplateId) -> Result<PersonExport, Error> {
        let person = self.person(caller, template).await?;
        if person.unreadable {
            // An export that lacks what is held would be wrong.
            return Err(Error::internal("the details of a person cannot be opened"));
        }
        let record = person.template;
        let model = self.analyze.embedding_model();
        let opened = self.store.templates.samples(&caller.app, model, template).await?;
        let mut samples = Vec::with_capacity(record.samples.len());
        for stored in record.samples {
            let embedding = opened.iter().find(|sample| sample.id == stored.id).map(|sample| &sample.embedding);
            let embedding_sha256 = embedding.map(|embedding| {
                let bytes: Vec<u8> = embedding.values().iter().flat_map(|value| value.to_le_bytes()).collect();
                Sha256::digest(&bytes).into()
            });
            let crop = if stored.has_crop { self.crop(caller, template, stored.id).await? } else { None };
            samples.push(SampleExport { record: stored, embedding_sha256, crop });
        }
        let held = self.store.review.held_near(&caller.app, template).await?;
        let near_probe = |probe: HeldProbe| {
            let (_, cosine) = probe.near.as_ref()?;
            Some(NearProbe { similarity: self.similarity(*cosine), probe })
        };
        Ok(PersonExport {
            near_probes: held.into_iter().filter_map(near_probe).collect(),
            id: record.id,
            created_at: record.created_at,
            updated_at: person.updated_at,
            details: person.details,
            samples,
        })
    }
}
