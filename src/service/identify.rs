//! Identify: whose face is this, among the templates of one application?

use super::{Caller, Error, PhotoOptions, Service};
use crate::domain::{Analysis, AnalysisRequest, SampleId, Similarity, TemplateId};
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
    /// Its most similar sample.
    pub sample: SampleId,
    /// How similar that sample is.
    pub similarity: Similarity,
}

/// The outcome of an identification, with what explains it.
#[derive(Debug, Clone)]
pub struct Examined {
    /// The analysis of the photo.
    pub analysis: Analysis,
    /// The best templates, best first, also below the threshold.
    pub candidates: Vec<Candidate>,
    /// The threshold in force.
    pub threshold: f64,
    /// Samples in the gallery.
    pub samples: usize,
    /// The probability that a person who is not enrolled reaches the threshold; `None`: it is not known.
    pub expected_fpir: Option<f64>,
}

impl Examined {
    /// The best candidate, if it reaches the threshold.
    pub fn best(&self) -> Option<&Candidate> {
        self.candidates.first().filter(|best| best.similarity.get() >= self.threshold)
    }

    /// By how much the best candidate is more similar than the next one; `None` with fewer than two.
    pub fn margin(&self) -> Option<f64> {
        let [best, next, ..] = &self.candidates[..] else { return None };
        Some(best.similarity.get() - next.similarity.get())
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
        let crop = caller.keep_probes.is_some();
        let (mut analysis, ranked) = self.analyze_and_search(caller, photo, options.photo_options, limit, crop).await?;
        let threshold = self.threshold(caller, options.threshold);
        self.offer_probe(caller, &mut analysis, &ranked);
        let near = self.near(&ranked, threshold);
        let matches: Vec<Match> = ranked
            .hits
            .into_iter()
            .map(|hit| Match { template: hit.template, similarity: self.similarity(hit.cosine) })
            .filter(|found| found.similarity.get() >= threshold)
            .collect();
        let best = matches.first().cloned();
        Ok(Identified { analysis, best, near, candidates: options.candidates.map(|_| matches), threshold })
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
        let (analysis, ranked) = self.analyze_and_search(caller, photo, options, limit, false).await?;
        let threshold = self.threshold(caller, threshold);
        let candidate = |hit: Hit| Candidate {
            template: hit.template,
            sample: hit.sample,
            similarity: self.similarity(hit.cosine),
        };
        let candidates: Vec<Candidate> = ranked.hits.into_iter().map(candidate).collect();
        let samples = self.feed.size(&caller.app).samples;
        let expected_fpir = self.expected_fpir(threshold, samples);
        Ok(Examined { analysis, candidates, threshold, samples, expected_fpir })
    }

    /// The probability that a person who is not enrolled reaches a threshold, in a gallery with so many samples. `None`
    /// where the false match rate at the threshold was not measured: an extrapolated rate would promise too much.
    pub fn expected_fpir(&self, threshold: f64, samples: usize) -> Option<f64> {
        let cosine = self.policy.calibration.cosine(threshold)?;
        let rate = self.analyze.false_matches().measured_rate(cosine)?;
        Some(expected_fpir(rate, samples))
    }

    /// Analyzes a photo, with a crop of its face if requested, and searches for the face.
    async fn analyze_and_search(
        &self,
        caller: &Caller,
        photo: Photo,
        options: PhotoOptions,
        limit: usize,
        crop: bool,
    ) -> Result<(Analysis, Ranked), Error> {
        // The gallery is searched while the engine analyzes the rest of the face.
        let (sender, embedding) = EmbeddingSender::channel();
        let search = async {
            match embedding.await {
                Ok(embedding) => self.search(caller, &embedding, limit).await,
                Err(_) => Err(Error::internal("the engine returned no embedding")),
            }
        };
        let request = AnalysisRequest { crop, ..self.analysis_request(caller, options, true) };
        let (analysis, ranked) = tokio::join!(self.analyze.analyze_with_sender(photo, request, sender), search);
        Ok((analysis?, ranked?))
    }
}

/// 1 - (1 - FMR)^N: each of N samples is a comparison with another person.
fn expected_fpir(false_match_rate: f64, samples: usize) -> f64 {
    -((-false_match_rate).ln_1p() * samples as f64).exp_m1()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_false_positive_becomes_more_likely_with_the_gallery() {
        assert_eq!(expected_fpir(1e-5, 0), 0.0);
        assert!((expected_fpir(1e-5, 1) - 1e-5).abs() < 1e-12);
        assert!((expected_fpir(1e-5, 10_000) - 0.0952).abs() < 1e-3);
        assert!(expected_fpir(1e-3, 1_000_000) > 0.999);
    }
}
