//! The whole evaluation of a data set.

use serde::Serialize;

use super::bins::{BINS, threshold_bin};
use super::data_check::DataCheck;
use super::data_set::DataSet;
use super::discard::{Discard, discards};
use super::failures::Failures;
use super::folds::Folds;
use super::groups::{Group, Groups, group_rates};
use super::identification::{Identification, needed_fmrs};
use super::leading::LeadingPeople;
use super::sample::{Draws, Sample, Tail, Weighting};
use super::scores::{Scores, impostors_from};
use super::verification::{Threshold, Verification};

/// Most impostor comparisons that are kept one by one: about 250 MB. Those of lower cosines are counted only, and have no
/// part in the intervals.
const MOST_KEPT: u64 = 20_000_000;
/// With fewer impostor comparisons all are kept.
const ALL_KEPT: u64 = 4_000_000;
/// The false match rate down to which comparisons are kept: twice the highest reported one, since a draw of people may
/// have another threshold.
const KEPT_TO_FMR: f64 = 2e-2;

/// What an evaluation needs beside the data set.
#[derive(Debug)]
pub struct Options {
    /// The threshold of the settings.
    pub threshold: Threshold,
    /// Groups of people, if any.
    pub groups: Option<Groups>,
    /// How people are drawn for the intervals.
    pub draws: Draws,
}

/// Counts of the data set.
#[derive(Debug, Clone, Serialize)]
pub struct Counts {
    /// People with a template.
    pub people: usize,
    /// Photos with a template.
    pub photos: usize,
    /// People with several of them.
    pub people_with_several_photos: u64,
    /// Comparisons of two photos of one person.
    pub genuine: u64,
    /// Comparisons of photos of two people.
    pub impostors: u64,
    /// Pairs of people who are compared.
    pub pairs_of_people: u64,
    /// Pairs of relatives, left out of the impostors.
    pub pairs_of_relatives: usize,
    /// Comparisons of relatives, left out.
    pub comparisons_of_relatives: u64,
}

/// The evaluation of a data set.
#[derive(Debug, Serialize)]
pub struct Evaluation {
    /// Photos and people without a template.
    pub failures: Failures,
    /// Counts of those with one.
    pub counts: Counts,
    /// What looks wrong in the data set.
    pub data_check: DataCheck,
    /// The accuracy by the protocol of Labeled Faces in the Wild, if it was requested.
    pub ten_folds: Option<Folds>,
    /// Error rates of one comparison.
    pub verification: Verification,
    /// The people behind most comparisons.
    pub leading: LeadingPeople,
    /// Error rates of a search.
    pub identification: Identification,
    /// Rates without the photos of the lowest quality; empty when the pack does not measure quality.
    pub error_versus_discard: Vec<Discard>,
    /// Rates within groups of people.
    pub groups: Vec<Group>,
}

impl Evaluation {
    /// Compares every photo with every other one and computes all rates. `step` is called with the name of each step when
    /// it begins.
    pub fn new(data: &DataSet, options: &Options, mut step: impl FnMut(&str)) -> Self {
        let Options { threshold, groups, draws } = options;
        let (threshold, draws) = (*threshold, *draws);
        step("comparing");
        let scores = Scores::new(data, draws.threads);
        let known_from = kept_from(data, &scores, threshold);
        let pairs = impostors_from(data, draws.threads, known_from);
        let tail = Tail { pairs: &pairs, known_from };
        let sample = Sample::new(data, &scores, tail, |_| true);
        step("verification");
        let verification = Verification::new(&scores, &sample, threshold, &needed_fmrs(data), draws);
        step("identification");
        let identification = Identification::new(data, &scores, &verification, draws);
        step("error versus discard");
        let error_versus_discard = discards(data, &scores, tail, threshold, draws);
        step("groups");
        let groups = groups.as_ref().map(|groups| group_rates(data, &scores, tail, groups, threshold, draws));
        let counts = Counts {
            people: data.people(),
            photos: data.photos().len(),
            people_with_several_photos: sample.people_with_several(),
            genuine: sample.genuine(),
            impostors: scores.impostors(),
            pairs_of_people: sample.impostors(Weighting::Person),
            pairs_of_relatives: data.relatives().len(),
            comparisons_of_relatives: scores.of_relatives,
        };
        Self {
            failures: Failures::new(data),
            counts,
            data_check: DataCheck::new(data, &scores),
            ten_folds: None,
            leading: LeadingPeople::new(data, &pairs, threshold_bin(threshold.cosine).max(known_from)),
            verification,
            identification,
            error_versus_discard,
            groups: groups.unwrap_or_default(),
        }
    }
}

/// The step from which on impostor comparisons are kept one by one: low enough for every reported rate, if that many fit.
fn kept_from(data: &DataSet, scores: &Scores, threshold: Threshold) -> usize {
    if scores.impostors() <= ALL_KEPT {
        return 0;
    }
    let none = Tail { pairs: &[], known_from: BINS };
    let curves = Sample::new(data, scores, none, |_| true).whole_curves(scores);
    let needed = Weighting::ALL.into_iter().flat_map(|weighting| {
        let curve = curves.get(weighting);
        let equal = curve.equal_error().and_then(|(_, rate)| curve.at_fmr(2.0 * rate));
        [curve.at_fmr(KEPT_TO_FMR), equal]
    });
    let lowest = needed.flatten().chain([threshold_bin(threshold.cosine)]).min().unwrap_or(0);
    lowest.max(scores.step_with_impostors(MOST_KEPT))
}
