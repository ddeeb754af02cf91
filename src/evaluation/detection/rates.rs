//! Counts and rates of each class at the threshold in force.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::Estimate;
use super::super::photo::PhotoOutcome;
use super::classes::{Class, Unit};
use super::intervals::{Evidence, share};

/// Shares of the photos at which the scores are reported, if at least one photo lies on each side.
pub(in crate::evaluation) const QUANTILES: [f64; 9] = [0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0];

/// What is drawn with replacement for the intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitKind {
    /// Each photo.
    Photo,
    /// Each sub-folder of the class, with all its photos.
    SubFolder,
    /// Sub-folders, and the photos beside them.
    SubFolderAndPhoto,
}

/// A photo without a response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnansweredPhoto {
    /// Its path below the folder of the data set.
    pub file: String,
    /// The kind of its fault.
    pub reason: String,
}

/// A share of the photos, and the score that it does not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantile {
    /// The share.
    pub share: f64,
    /// The score.
    pub score: f64,
}

/// How the scores of a class are distributed.
#[derive(Debug, Clone, Serialize)]
pub struct ScoreDistribution {
    /// Photos with a score.
    pub photos: usize,
    /// Quantiles by nearest rank; empty without a score.
    pub quantiles: Vec<Quantile>,
    /// All scores, in rising order.
    #[serde(skip)]
    pub scores: Vec<f64>,
}

/// Counts of a class.
#[derive(Debug, Clone, Serialize)]
pub struct ClassCounts {
    /// All photos.
    pub photos: usize,
    /// Photos with a response.
    pub answered: usize,
    /// Photos that pass because the check does not judge faces of their size.
    pub not_judged: usize,
    /// Photos that pass at the threshold in force.
    pub passed: usize,
    /// Units that are drawn for the intervals.
    pub units: usize,
    /// Units with a response.
    pub answered_units: usize,
    /// What a unit is.
    pub unit: UnitKind,
    /// Photos without a response, by reason.
    pub by_reason: BTreeMap<String, usize>,
    /// The photos without a response.
    pub unanswered: Vec<UnansweredPhoto>,
    /// The scores.
    pub scores: ScoreDistribution,
}

/// The photos that should pass.
#[derive(Debug, Clone, Serialize)]
pub struct BonaFide {
    /// The name of their folder.
    pub name: &'static str,
    /// Counts.
    #[serde(flatten)]
    pub counts: ClassCounts,
    /// BPCER: the share of photos with a response that do not pass; `None` without any.
    pub flagged: Option<Estimate>,
    /// BPNRR: the share of photos without a response.
    pub bona_fide_no_response: Estimate,
    /// The share of all photos that do not pass, or have no response.
    pub not_passed_of_all: Estimate,
}

/// The photos of one kind of attack.
#[derive(Debug, Clone, Serialize)]
pub struct Kind {
    /// The kind.
    pub kind: String,
    /// Counts.
    #[serde(flatten)]
    pub counts: ClassCounts,
    /// APCER: the share of photos with a response that pass; `None` without any.
    pub missed: Option<Estimate>,
    /// APNRR: the share of photos without a response.
    pub attack_no_response: Estimate,
    /// The share of all photos that pass.
    pub passed_of_all: Estimate,
}

/// The rates of a class, as the bootstrap computes them in each draw: the share of photos with a response that pass, of all
/// photos without a response, and of all photos that pass.
pub(super) const RATES_OF_A_CLASS: usize = 3;

/// These rates. `times` is how often each unit is drawn.
pub(super) fn class_rates(class: &Class<'_>, times: Option<&[u32]>) -> [Option<f64>; RATES_OF_A_CLASS] {
    let sum = |part: fn(&Unit) -> usize| -> f64 {
        let units = class.units.iter().enumerate();
        units.map(|(at, unit)| times.map_or(1.0, |times| f64::from(times[at])) * part(unit) as f64).sum()
    };
    let (photos, answered, passed) = (sum(Unit::photos), sum(Unit::answered), sum(|unit| unit.passed));
    let of = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
    [of(passed, answered), of(photos - answered, photos), of(passed, photos)]
}

/// A class, and the variance that each of its rates has in the draws.
pub(super) struct Rated<'a> {
    pub(super) class: &'a Class<'a>,
    pub(super) variances: &'a [Option<f64>],
}

impl Rated<'_> {
    /// A rate by its place in [`class_rates`], or one minus it, of so many photos and units.
    fn rate(&self, at: usize, of: (usize, usize), is_complement: bool) -> Option<Estimate> {
        let rate = class_rates(self.class, None)[at]?;
        let (photos, units) = of;
        let evidence = Evidence { photos, units, variance: self.variances.get(at).copied().flatten() };
        Some(share(if is_complement { 1.0 - rate } else { rate }, evidence))
    }

    fn of_answered(&self, is_complement: bool) -> Option<Estimate> {
        self.rate(0, (self.class.answered(), self.class.answered_units()), is_complement)
    }

    fn of_all(&self, at: usize, is_complement: bool) -> Estimate {
        let none = Estimate { rate: 0.0, low: None, high: None };
        self.rate(at, (self.class.photos(), self.class.units.len()), is_complement).unwrap_or(none)
    }

    pub(super) fn bona_fide(&self, name: &'static str) -> BonaFide {
        BonaFide {
            name,
            counts: counts(self.class),
            flagged: self.of_answered(true),
            bona_fide_no_response: self.of_all(1, false),
            not_passed_of_all: self.of_all(2, true),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        Kind {
            kind: self.class.labeled.name.clone(),
            counts: counts(self.class),
            missed: self.of_answered(false),
            attack_no_response: self.of_all(1, false),
            passed_of_all: self.of_all(2, false),
        }
    }
}

fn counts(class: &Class<'_>) -> ClassCounts {
    let faults = class.labeled.photos.iter().filter_map(|photo| match &photo.photo.outcome {
        PhotoOutcome::Fault(reason) => Some(UnansweredPhoto { file: photo.photo.file.clone(), reason: reason.clone() }),
        PhotoOutcome::Face(_) => None,
    });
    let unanswered: Vec<UnansweredPhoto> = faults.collect();
    let mut by_reason: BTreeMap<String, usize> = BTreeMap::new();
    unanswered.iter().for_each(|photo| *by_reason.entry(photo.reason.clone()).or_default() += 1);
    let unit = match class.folders {
        0 => UnitKind::Photo,
        folders if folders == class.units.len() => UnitKind::SubFolder,
        _ => UnitKind::SubFolderAndPhoto,
    };
    ClassCounts {
        photos: class.photos(),
        answered: class.answered(),
        not_judged: class.not_judged,
        passed: class.passed(),
        units: class.units.len(),
        answered_units: class.answered_units(),
        unit,
        by_reason,
        unanswered,
        scores: distribution(&class.scores),
    }
}

fn distribution(scores: &[f64]) -> ScoreDistribution {
    let score = |share: f64| {
        let rank = (share * scores.len() as f64).ceil() as usize;
        scores.get(rank.saturating_sub(1)).copied()
    };
    let is_end = |share: f64| share == 0.0 || share == 1.0;
    let carried = |share: &f64| is_end(*share) || share.min(1.0 - share) * scores.len() as f64 >= 1.0 - 1e-9;
    let quantiles = QUANTILES.into_iter().filter(carried);
    let quantiles = quantiles.filter_map(|share| Some(Quantile { share, score: score(share)? }));
    ScoreDistribution { photos: scores.len(), quantiles: quantiles.collect(), scores: scores.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::super::super::photo::CheckScore;
    use super::super::classes::tests::{class, photo, unanswered};
    use super::super::classes::{LabeledClass, Thresholds};
    use super::*;
    use crate::domain::{Check, wilson};

    fn with<T>(labeled: &LabeledClass, check: impl FnOnce(&Class<'_>) -> T) -> T {
        let thresholds = Thresholds::new(std::iter::once(labeled), Check::Liveness);
        check(&Class::new(labeled, Check::Liveness, &thresholds, 0.75))
    }

    /// Eight photos: five with a score of which two pass, one that is not judged, two without a response.
    fn attacks() -> LabeledClass {
        let mut labeled = class("print", &[0.1, 0.2, 0.3, 0.75, 0.9]);
        labeled.photos.push(photo("print", 5, None, CheckScore::NotJudged));
        labeled.photos.push(unanswered("print", 6, "no_face"));
        labeled.photos.push(unanswered("print", 7, "many_faces"));
        labeled
    }

    #[test]
    fn photos_without_a_response_are_in_no_rate_but_those_of_all_photos() {
        with(&attacks(), |class| {
            let kind = Rated { class, variances: &[] }.kind();
            assert_eq!((kind.counts.photos, kind.counts.answered, kind.counts.passed), (8, 6, 3));
            assert_eq!((kind.missed.unwrap().rate, kind.passed_of_all.rate), (0.5, 0.375));
            assert_eq!(kind.attack_no_response.rate, 0.25);
            assert_eq!(kind.missed.unwrap(), Estimate::new(0.5, Some(wilson(0.5, 6)), 6));
            let reasons = BTreeMap::from([("many_faces".to_owned(), 1), ("no_face".to_owned(), 1)]);
            assert_eq!((kind.counts.by_reason, kind.counts.not_judged), (reasons, 1));
            assert_eq!(kind.counts.unanswered[1].file, "print/0007.jpg");
            let live = Rated { class, variances: &[] }.bona_fide("live");
            assert_eq!((live.flagged.unwrap().rate, live.not_passed_of_all.rate), (0.5, 0.625));
        });
    }

    #[test]
    fn a_class_without_a_response_has_no_error_rate() {
        let labeled = LabeledClass { name: "mask".to_owned(), photos: vec![unanswered("mask", 0, "no_face")] };
        with(&labeled, |class| {
            let kind = Rated { class, variances: &[] }.kind();
            assert!(kind.missed.is_none() && kind.counts.scores.quantiles.is_empty());
            assert_eq!((kind.attack_no_response.rate, kind.passed_of_all.rate), (1.0, 0.0));
        });
    }

    #[test]
    fn quantiles_are_by_nearest_rank() {
        let scores: Vec<f64> = (1..=100).map(|at| f64::from(at) / 100.0).collect();
        let quantiles = distribution(&scores).quantiles;
        let found: Vec<f64> = quantiles.iter().map(|quantile| quantile.score).collect();
        assert_eq!(found, [0.01, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0]);
        let few: Vec<f64> = distribution(&scores[..20]).quantiles.iter().map(|quantile| quantile.share).collect();
        assert_eq!(few, [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0], "20 photos carry no hundredth");
        assert_eq!(distribution(&scores[..1]).quantiles.len(), 2);
    }
}
