//! Verify: compares the faces on two photos.

use super::{Caller, Error, PhotoOptions, Service};
use crate::domain::{Analysis, Similarity};
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

impl Service {
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
        let same = similarity.get() >= threshold.unwrap_or(self.policy.threshold);
        Ok(Verified { first, second, similarity, same })
    }
}
