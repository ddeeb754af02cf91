//! What explains an identification: which threshold decided, how sure that is, and how clearly the best template won.

use std::time::Duration;

use super::{Caller, Service};
use crate::domain::{SampleId, Similarity, fpir};
use crate::gallery::{Hit, Ranked};

/// Whose threshold decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThresholdSource {
    /// The request's.
    Request,
    /// The application's.
    Application,
    /// The server's.
    Server,
}

impl ThresholdSource {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Application => "application",
            Self::Server => "server",
        }
    }
}

/// What explains an identification.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The similarity from which a template matches.
    pub threshold: f64,
    /// Whose threshold that is.
    pub source: ThresholdSource,
    /// What matches, and how similar it is; `None` without a match. `None` for the sample: the mean of the template's samples.
    pub matched: Option<(Option<SampleId>, Similarity)>,
    /// By how much the best template is more similar than the next one; `None` with fewer than two.
    pub margin: Option<f64>,
    /// Samples in the gallery.
    pub samples: usize,
    /// The probability that a person who is not enrolled reaches the threshold, in a gallery with so many samples and means of
    /// them; `None`: it is not known.
    pub expected_fpir: Option<f64>,
    /// How long the gallery was searched.
    pub searched: Duration,
}

/// What explains a comparison of one person with one face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ComparisonDecision {
    /// The similarity from which both count as one person.
    pub threshold: f64,
    /// Whose threshold that is.
    pub source: ThresholdSource,
    /// The probability that two different people reach the threshold; `None`: it is not known.
    pub expected_fmr: Option<f64>,
}

impl Service {
    /// What explains the comparison of a face with so many vectors of one person.
    pub(super) fn comparison_decision(
        &self,
        caller: &Caller,
        requested: Option<f64>,
        vectors: usize,
    ) -> ComparisonDecision {
        let (threshold, source) = self.sourced_threshold(caller, requested);
        // As many comparisons as in a search of a gallery with these vectors alone.
        ComparisonDecision { threshold, source, expected_fmr: self.expected_fpir(threshold, vectors) }
    }

    /// The similarity from which a caller gets a match, and whose it is: that of the request, or of its application, or of
    /// the server.
    pub(super) fn sourced_threshold(&self, caller: &Caller, requested: Option<f64>) -> (f64, ThresholdSource) {
        match (requested, caller.threshold) {
            (Some(threshold), _) => (threshold, ThresholdSource::Request),
            (None, Some(threshold)) => (threshold, ThresholdSource::Application),
            (None, None) => (self.policy.threshold, ThresholdSource::Server),
        }
    }

    /// What explains the outcome of a search that took this long. The margin needs at least two templates.
    pub(super) fn decision(
        &self,
        caller: &Caller,
        ranked: &Ranked,
        searched: Duration,
        requested: Option<f64>,
    ) -> Decision {
        let (threshold, source) = self.sourced_threshold(caller, requested);
        let similarity = |hit: &Hit| self.similarity(hit.cosine);
        let best = ranked.hits.first().map(|best| (best.sample, similarity(best)));
        let next = ranked.hits.get(1).map(similarity);
        Decision {
            threshold,
            source,
            matched: best.filter(|(_, best)| best.get() >= threshold),
            margin: best.zip(next).map(|((_, best), next)| best.get() - next.get()),
            samples: ranked.samples,
            expected_fpir: self.expected_fpir(threshold, ranked.vectors),
            searched,
        }
    }

    /// The probability that a person who is not enrolled reaches a threshold, in a gallery with so many vectors. `None`
    /// where the false match rate at the threshold was not measured: an extrapolated rate would promise too much.
    pub fn expected_fpir(&self, threshold: f64, vectors: usize) -> Option<f64> {
        let cosine = self.policy.calibration.cosine(threshold)?;
        let rate = self.analyze.false_matches().measured_rate(cosine)?;
        Some(fpir(rate, vectors as f64))
    }
}
