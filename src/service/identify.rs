//! Identify: whose face is this, among the templates of one application?

use std::time::Duration;

use super::{Caller, Decision, Error, PhotoOptions, Service};
use crate::domain::{Analysis, AnalysisRequest, SampleId, Scope, Similarity, TemplateId, stopwatch};
use crate::engine::EmbeddingSender;
use crate::gallery::{Hit, Ranked};
use crate::image::Photo;

/// How a face is identified.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct IdentifyOptions {
    /// Whose face is meant, and which checks are made.
    pub photo_options: PhotoOptions,
    /// The similarity from which a template matches, instead of the application's or the server's.
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

/// A template that may match.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The template.
    pub template: TemplateId,
    /// Its most similar sample; `None` if the mean of its samples is more similar than each of them.
    pub sample: Option<SampleId>,
    /// How similar that sample is, or the mean.
    pub similarity: Similarity,
}

/// The outcome of an identification, with what explains it.
#[derive(Debug, Clone)]
pub struct Examined {
    /// The analysis of the photo.
    pub analysis: Analysis,
    /// The best templates, best first, also below the threshold.
    pub candidates: Vec<Candidate>,
    /// What explains the outcome.
    pub decision: Decision,
}

impl Examined {
    /// The best candidate, if it reaches the threshold.
    pub fn best(&self) -> Option<&Candidate> {
        self.candidates.first().filter(|best| best.similarity.get() >= self.decision.threshold)
    }
}

/// The outcome of an identification.
#[derive(Debug, Clone)]
pub struct Identified {
    /// The analysis of the photo.
    pub analysis: Analysis,
    /// The best match; `None` when no template reaches the threshold.
    pub best: Option<Match>,
    /// Without a match: the most similar template, if it came near the threshold. For the journal only.
    pub near: Option<Match>,
    /// The candidates, best first, if they were requested.
    pub candidates: Option<Vec<Match>>,
    /// What explains the outcome.
    pub decision: Decision,
}

impl Service {
    /// Identifies the face on a photo.
    ///
    /// # Errors
    /// Photo faults, [`Error::Busy`], [`Error::Loading`], [`Error::Stale`].
    pub async fn identify(&self, caller: &Caller, photo: Photo, options: IdentifyOptions) -> Result<Identified, Error> {
        let limit = options.candidates.unwrap_or(1).clamp(1, self.policy.max_candidates.max(1));
        // The runner-up belongs to the decision; only who may read the gallery learns about it.
        let most = if caller.require(Scope::Read).is_ok() { limit.max(2) } else { limit };
        let crop = caller.keep_probes.is_some();
        let (mut analysis, ranked, searched) =
            self.analyze_and_search(caller, photo, options.photo_options, most, crop).await?;
        let decision = self.decision(caller, &ranked, searched, options.threshold);
        self.offer_probe(caller, &mut analysis, &ranked);
        let near = self.near(&ranked, decision.threshold);
        let matches: Vec<Match> = ranked
            .hits
            .into_iter()
            .take(limit)
            .map(|hit| Match { template: hit.template, similarity: self.similarity(hit.cosine) })
            .filter(|found| found.similarity.get() >= decision.threshold)
            .collect();
        let best = matches.first().cloned();
        Ok(Identified { analysis, best, near, candidates: options.candidates.map(|_| matches), decision })
    }

    /// Identifies the face on a photo, and explains the decision: the best templates whether they reach the threshold or
    /// not, and what the threshold means for a gallery of this size. For people who decide, not for machines: with it a
    /// caller sees who is alike below the threshold.
    ///
    /// # Errors
    /// As [`Service::identify`].
    pub async fn examine(
        &self,
        caller: &Caller,
        photo: Photo,
        options: PhotoOptions,
        threshold: Option<f64>,
        limit: usize,
    ) -> Result<Examined, Error> {
        // The runner-up belongs to the decision.
        let limit = limit.clamp(2, self.policy.max_candidates.max(2));
        let (analysis, ranked, searched) = self.analyze_and_search(caller, photo, options, limit, false).await?;
        let decision = self.decision(caller, &ranked, searched, threshold);
        let candidate = |hit: Hit| Candidate {
            template: hit.template,
            sample: hit.sample,
            similarity: self.similarity(hit.cosine),
        };
        Ok(Examined { analysis, candidates: ranked.hits.into_iter().map(candidate).collect(), decision })
    }

    /// Analyzes a photo, with a crop of its face if requested, and searches for the face. Returns how long the search took
    /// as well.
    async fn analyze_and_search(
        &self,
        caller: &Caller,
        photo: Photo,
        options: PhotoOptions,
        limit: usize,
        crop: bool,
    ) -> Result<(Analysis, Ranked, Duration), Error> {
        // The gallery is searched while the engine analyzes the rest of the face.
        let (sender, embedding) = EmbeddingSender::channel();
        let search = async {
            match embedding.await {
                Ok(embedding) => {
                    let start = stopwatch();
                    Ok((self.search(caller, &embedding, limit).await?, start.elapsed()))
                }
                Err(_) => Err(Error::internal("the engine returned no embedding")),
            }
        };
        let request = AnalysisRequest { crop, ..self.analysis_request(caller, options, true) };
        let (analysis, found) = tokio::join!(self.analyze.analyze_with_sender(photo, request, sender), search);
        let (analysis, (ranked, searched)) = (analysis?, found?);
        Ok((analysis, ranked, searched))
    }
}
