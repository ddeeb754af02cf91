//! Verify: compares the faces on two photos.

use super::{Caller, ComparisonDecision, Error, PhotoOptions, Service};
use crate::domain::{Analysis, Cosine, Embedding, SampleId, Similarity, TemplateId, dot};
use crate::gallery::vectors;
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
    /// Which threshold decided.
    pub decision: ComparisonDecision,
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
    /// How similar the face is to that sample or, if that is more, to the mean of all samples.
    pub similarity: Similarity,
    /// Whether the similarity reaches the threshold.
    pub same: bool,
    /// Which threshold decided.
    pub decision: ComparisonDecision,
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

    /// Compares a face with the stored samples of a template, and with their mean; the most similar one counts, as in a
    /// search.
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
        let probe = embedding.values();
        let comparable = vectors(&samples).filter(|(_, vector)| vector.len() == probe.len());
        let compared: Vec<(Option<SampleId>, f32)> =
            comparable.map(|(sample, vector)| (sample, dot(probe, &vector))).collect();
        let nearest = compared.iter().filter_map(|(sample, cosine)| Some(((*sample)?, *cosine)));
        let highest = compared.iter().map(|(_, cosine)| *cosine).max_by(f32::total_cmp);
        let (Some((sample, _)), Some(highest)) = (nearest.max_by(|(_, a), (_, b)| a.total_cmp(b)), highest) else {
            self.template(caller, template).await?;
            return Err(Error::NotComparable);
        };
        let similarity = self.similarity(Cosine::clamped(highest));
        let decision = self.comparison_decision(caller, threshold, compared.len());
        let same = similarity.get() >= decision.threshold;
        Ok(VerifiedTemplate { analysis, sample, similarity, same, decision })
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
        let decision = self.comparison_decision(caller, threshold, 1);
        let same = similarity.get() >= decision.threshold;
        Ok(Verified { first, second, similarity, same, decision })
    }
}
