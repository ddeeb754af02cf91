//! Identify: whose face is this, among the templates of one application?

use super::{Caller, Error, PhotoOptions, Service};
use crate::domain::{Analysis, Similarity, TemplateId};
use crate::engine::EmbeddingSender;
use crate::image::Photo;

/// How a face is identified.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct IdentifyOptions {
    /// Whose face is meant, and which checks are made.
    pub photo_options: PhotoOptions,
    /// The similarity from which a template matches, instead of the operator's threshold.
    pub threshold: Option<f64>,
    /// The most candidates to list, all at or above the threshold; `None`: no list.
    pub candidates: Option<usize>,
}

/// A template that reaches the threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// The template.
    pub template: TemplateId,
    /// How similar its best sample is.
    pub similarity: Similarity,
}

/// The outcome of an identification.
#[derive(Debug, Clone)]
pub struct Identified {
    /// The analysis of the photo.
    pub analysis: Analysis,
    /// The best match; `None` when no template reaches the threshold.
    pub best: Option<Match>,
    /// The candidates, best first, if they were requested.
    pub candidates: Option<Vec<Match>>,
    /// The threshold in force.
    pub threshold: f64,
}

impl Service {
    /// Identifies the face on a photo.
    ///
    /// # Errors
    /// Photo faults, [`Error::Busy`], [`Error::Loading`], [`Error::Stale`].
    pub async fn identify(&self, caller: &Caller, photo: Photo, options: IdentifyOptions) -> Result<Identified, Error> {
        let limit = options.candidates.unwrap_or(1).clamp(1, self.policy.max_candidates.max(1));
        // The gallery is searched while the engine analyzes the rest of the face.
        let (sender, embedding) = EmbeddingSender::channel();
        let search = async {
            match embedding.await {
                Ok(embedding) => self.search(caller, &embedding, limit).await,
                Err(_) => Err(Error::internal("the engine returned no embedding")),
            }
        };
        let request = self.analysis_request(caller, options.photo_options, true);
        let (analysis, ranked) = tokio::join!(self.analyze.analyze_with_sender(photo, request, sender), search);
        let analysis = analysis?;
        let ranked = ranked?;
        let threshold = options.threshold.unwrap_or(self.policy.threshold);
        let matches: Vec<Match> = ranked
            .hits
            .into_iter()
            .map(|hit| Match { template: hit.template, similarity: self.similarity(hit.cosine) })
            .filter(|found| found.similarity.get() >= threshold)
            .collect();
        let best = matches.first().cloned();
        Ok(Identified { analysis, best, candidates: options.candidates.map(|_| matches), threshold })
    }
}
