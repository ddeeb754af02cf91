//! Verify: compares the faces on two photos.

use super::{Caller, Error, PhotoOptions, Service};
use crate::domain::{Analysis, Embedding, SampleId, Similarity, TemplateId};
use crate::image::Photo;

/// The outcome of a comparison.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The analysis of the first photo.
    pub first: Analysis,
    /// The analysis of the second photo.
    pub second: Analysis,
    /// How similar the faces are.
    pub similarity: Similarity,
    /// Whether the similarity reaches the threshold.
    pub same: bool,
}

/// A photo that was analyzed to be compared with what is stored.
#[derive(Debug, Clone)]
pub struct Probe {
    analysis: Analysis,
    embedding: Embedding,
}

/// The outcome of a comparison with a stored template.
#[derive(Debug, Clone)]
pub struct VerifiedTemplate {
    /// The analysis of the photo.
    pub analysis: Analysis,
    /// The sample that is most similar.
    pub sample: SampleId,
    /// How similar it is.
    pub similarity: Similarity,
    /// Whether the similarity reaches the threshold.
    pub same: bool,
}

impl Service {
    /// Analyzes a photo to be compared with what is stored. Does not need the store, which may keep its callers waiting.
    ///
    /// # Errors
    /// Photo faults, [`Error::Busy`].
    pub async fn probe(&self, caller: &Caller, photo: Photo, options: PhotoOptions) -> Result<Probe, Error> {
        let (analysis, embedding) = self.analyze_for_matching(caller, photo, options).await?;
        Ok(Probe { analysis, embedding })
    }

    /// Compares a face with the stored samples of a template; the most similar one counts.
    ///
    /// # Errors
    /// [`Error::TemplateNotFound`], [`Error::NotComparable`], store failures.
    pub async fn verify_template(
        &self,
        caller: &Caller,
        template: &TemplateId,
        probe: Probe,
        threshold: Option<f64>,
    ) -> Result<VerifiedTemplate, Error> {
        let Probe { analysis, embedding } = probe;
        let samples = self.store.templates.samples(&caller.app, embedding.model(), template).await?;
        let compared = samples.iter().filter_map(|sample| Some((sample.id, sample.embedding.cosine(&embedding).ok()?)));
        let Some((sample, cosine)) = compared.max_by(|(_, a), (_, b)| a.get().total_cmp(&b.get())) else {
            self.template(caller, template).await?;
            return Err(Error::NotComparable);
        };
        let similarity = self.similarity(cosine);
        let same = similarity.get() >= self.threshold(caller, threshold);
        Ok(VerifiedTemplate { analysis, sample, similarity, same })
    }

    /// Compares the faces on two photos.
    ///
    /// # Errors
    /// Photo faults of either photo (the first photo's come first), [`Error::Busy`].
    pub async fn verify(
        &self,
        caller: &Caller,
        first: Photo,
        second: Photo,
        options: PhotoOptions,
        threshold: Option<f64>,
    ) -> Result<Verified, Error> {
        let (first, second) = tokio::join!(
            self.analyze_for_matching(caller, first, options),
            self.analyze_for_matching(caller, second, options)
        );
        let (first, first_embedding) = first?;
        let (second, second_embedding) = second?;
        let cosine = first_embedding.cosine(&second_embedding).map_err(|error| Error::Internal(Box::new(error)))?;
        let similarity = self.similarity(cosine);
        let same = similarity.get() >= self.threshold(caller, threshold);
        Ok(Verified { first, second, similarity, same })
    }
}
