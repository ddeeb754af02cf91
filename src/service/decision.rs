//! What explains an identification: which threshold decided, how sure that is, and how clearly the best template won.

use super::{Caller, Service};
use crate::domain::SampleId;
use crate::gallery::Ranked;

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

/// What explains an identification.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The similarity from which a template matches.
    pub threshold: f64,
    /// Whose threshold that is.
    pub source: ThresholdSource,
    /// The sample that matches; `None` without a match.
    pub sample: Option<SampleId>,
    /// By how much the best template is more similar than the next one; `None` with fewer than two.
    pub margin: Option<f64>,
    /// Samples in the gallery.
    pub samples: usize,
    /// The probability that a person who is not enrolled reaches the threshold, in a gallery with so many samples; `None`:
    /// it is not known.
    pub expected_fpir: Option<f64>,
}

impl Service {
    /// The similarity from which a caller gets a match, and whose it is: that of the request, or of its application, or of
    /// the server.
    pub(super) fn sourced_threshold(&self, caller: &Caller, requested: Option<f64>) -> (f64, ThresholdSource) {
        match (requested, caller.threshold) {
            (Some(threshold), _) => (threshold, ThresholdSource::Request),
            (None, Some(threshold)) => (threshold, ThresholdSource::Application),
            (None, None) => (self.policy.threshold, ThresholdSource::Server),
        }
    }

    /// What explains the outcome of a search. The margin needs at least two templates.
    pub(super) fn decision(&self, caller: &Caller, ranked: &Ranked, requested: Option<f64>) -> Decision {
        let (threshold, source) = self.sourced_threshold(caller, requested);
        let similarity = |hit: &crate::gallery::Hit| self.similarity(hit.cosine).get();
        let best = ranked.hits.first();
        let samples = self.feed.size(&caller.app).samples;
        Decision {
            threshold,
            source,
            sample: best.filter(|best| similarity(best) >= threshold).map(|best| best.sample),
            margin: best.zip(ranked.hits.get(1)).map(|(best, next)| similarity(best) - similarity(next)),
            samples,
            expected_fpir: self.expected_fpir(threshold, samples),
        }
    }

    /// The probability that a person who is not enrolled reaches a threshold, in a gallery with so many samples. `None`
    /// where the false match rate at the threshold was not measured: an extrapolated rate would promise too much.
    pub fn expected_fpir(&self, threshold: f64, samples: usize) -> Option<f64> {
        let cosine = self.policy.calibration.cosine(threshold)?;
        let rate = self.analyze.false_matches().measured_rate(cosine)?;
        Some(expected_fpir(rate, samples))
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
