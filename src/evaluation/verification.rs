//! Error rates of one comparison: ISO/IEC 19795-1.

use serde::Serialize;

use super::bins::{BINS, ErrorCurve, edge, threshold_bin};
use super::interval::Estimate;
use super::sample::{Both, Draws, Sample, Weighting};
use super::scores::Scores;

/// False match rates at which FNMR is reported, if the impostors carry them.
pub(super) const FMRS: [f64; 5] = [1e-2, 1e-3, 1e-4, 1e-5, 1e-6];
/// Impostor comparisons, or pairs of people, that a rate needs: this many expected matches.
pub(super) const MATCHES_NEEDED: f64 = 30.0;
/// Points of a DET curve in each power of ten.
const DET_POINTS: i32 = 5;

/// The threshold of a server with these settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Threshold {
    /// The setting `matching.threshold`.
    pub similarity: f64,
    /// The cosine of that similarity.
    pub cosine: f64,
}

/// A false match rate, its threshold, and FNMR there.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct OperatingPoint {
    /// The highest allowed FMR.
    pub fmr: f64,
    /// The lowest cosine, in steps of 1e-4, that keeps it.
    pub cosine: f64,
    /// FMR at that cosine.
    pub measured_fmr: f64,
    /// FNMR at that cosine. The interval is of the rate at `fmr`: each draw chooses its own threshold.
    pub fnmr: Estimate,
}

/// The threshold where both rates are equal.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct EqualError {
    /// The threshold.
    pub cosine: f64,
    /// The rate.
    pub rate: Estimate,
}

/// A rate that the comparisons do not carry.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct NotReported {
    /// The rate.
    pub rate: f64,
    /// Comparisons, pairs of people or people that it needs.
    pub needs: u64,
    /// How many there are.
    pub has: u64,
}

/// The rates at the threshold of the settings.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RatesInForce {
    /// False match rate.
    pub fmr: Estimate,
    /// False non-match rate.
    pub fnmr: Estimate,
}

/// A point of a DET curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DetPoint {
    /// The threshold.
    pub cosine: f64,
    /// False match rate.
    pub fmr: f64,
    /// False non-match rate.
    pub fnmr: f64,
}

/// Error rates, counted in one way.
#[derive(Debug, Clone, Serialize)]
pub struct Rates {
    /// Genuine comparisons, or people with several photos.
    pub genuine: u64,
    /// Impostor comparisons, or pairs of people.
    pub impostors: u64,
    /// The equal error rate.
    pub equal_error: Option<EqualError>,
    /// FNMR at false match rates.
    pub points: Vec<OperatingPoint>,
    /// False match rates for which there are too few impostors.
    pub not_reported: Vec<NotReported>,
    /// FNMR at the lowest threshold without a false match.
    pub zero_fmr: Option<OperatingPoint>,
    /// The rates at the threshold of the settings.
    pub in_force: Option<RatesInForce>,
    /// Points with falling FMR, as far as the impostors carry it.
    pub det: Vec<DetPoint>,
    /// Every threshold at which a rate changes, in steps of 1e-3.
    #[serde(skip)]
    pub curve: Vec<DetPoint>,
}

/// Error rates of one comparison, counted in both ways.
#[derive(Debug, Serialize)]
pub struct Verification {
    /// The threshold of the settings.
    pub threshold: Threshold,
    /// The rates.
    #[serde(flatten)]
    pub rates: Both<Rates>,
    /// FNMR at other false match rates that were requested.
    #[serde(skip)]
    pub(super) extra: Both<Vec<OperatingPoint>>,
}

impl Verification {
    /// The rates of a sample of the whole data set. `extra` are more false match rates, for the rates of large galleries.
    pub(super) fn new(scores: &Scores, sample: &Sample, threshold: Threshold, extra: &[f64], draws: Draws) -> Self {
        let at = threshold_bin(threshold.cosine);
        let fmrs: Vec<f64> = FMRS.iter().chain(extra).copied().collect();
        let intervals = sample.bootstrap(draws, |curves| {
            Weighting::ALL.iter().flat_map(|weighting| values(curves.get(*weighting), at, &fmrs)).collect()
        });
        let whole = sample.whole_curves(scores);
        let half = intervals.len() / 2;
        let of = |weighting| {
            let start = if weighting == Weighting::Comparison { 0 } else { half };
            let intervals: Vec<_> = (0..half).map(|at| intervals.get(start + at).copied().flatten()).collect();
            Reading {
                curve: whole.get(weighting),
                intervals,
                genuine: if weighting == Weighting::Comparison {
                    sample.genuine()
                } else {
                    sample.people_with_several()
                },
                impostors: sample.impostors(weighting),
                people_with_several: sample.people_with_several(),
                pairs_of_people: sample.impostors(Weighting::Person),
            }
        };
        let readings = Both::new(of);
        Self {
            threshold,
            rates: Both::new(|weighting| readings.get(weighting).rates(at)),
            extra: Both::new(|weighting| readings.get(weighting).points(extra, VALUES_BEFORE_FMRS + FMRS.len())),
        }
    }
}

/// What the bootstrap reads off a curve: equal error rate, FNMR without a false match, FMR and FNMR at the threshold of the
/// settings, and FNMR at each false match rate.
fn values(curve: &ErrorCurve, in_force: usize, fmrs: &[f64]) -> Vec<Option<f64>> {
    let fnmr_at = |fmr: f64| curve.at_fmr(fmr).map(|at| curve.fnmr(at));
    let mut values =
        vec![curve.equal_error().map(|(_, rate)| rate), fnmr_at(0.0), curve.fmr(in_force), Some(curve.fnmr(in_force))];
    values.extend(fmrs.iter().map(|fmr| fnmr_at(*fmr)));
    values
}

const VALUES_BEFORE_FMRS: usize = 4;

/// A curve, with the intervals of the values that are read off it.
struct Reading<'a> {
    curve: &'a ErrorCurve,
    intervals: Vec<Option<(f64, f64)>>,
    genuine: u64,
    impostors: u64,
    people_with_several: u64,
    pairs_of_people: u64,
}

impl Reading<'_> {
    fn interval(&self, at: usize) -> Option<(f64, f64)> {
        self.intervals.get(at).copied().flatten()
    }

    fn rates(&self, in_force: usize) -> Rates {
        let has_both = self.genuine > 0 && self.impostors > 0;
        let equal_error = self.curve.equal_error().filter(|_| has_both).map(|(at, rate)| EqualError {
            cosine: edge(at),
            rate: Estimate::new(rate, self.interval(0), self.people_with_several),
        });
        let fmr = self.curve.fmr(in_force).unwrap_or_default();
        let fmr = Estimate::new(fmr, self.interval(2), self.pairs_of_people);
        let fnmr = Estimate::new(self.curve.fnmr(in_force), self.interval(3), self.people_with_several);
        Rates {
            genuine: self.genuine,
            impostors: self.impostors,
            equal_error,
            points: self.points(&FMRS, VALUES_BEFORE_FMRS),
            not_reported: FMRS.into_iter().filter_map(|fmr| not_carried(fmr, self.impostors)).collect(),
            zero_fmr: self.point(0.0, 1).filter(|_| has_both),
            in_force: has_both.then_some(RatesInForce { fmr, fnmr }),
            det: if has_both { det(self.curve, self.impostors) } else { Vec::new() },
            curve: if has_both { fine_curve(self.curve) } else { Vec::new() },
        }
    }

    /// The points of those rates that the impostors carry; `first` is the place of the first interval.
    fn points(&self, fmrs: &[f64], first: usize) -> Vec<OperatingPoint> {
        let carried = |fmr: f64| self.genuine > 0 && not_carried(fmr, self.impostors).is_none();
        let points = fmrs.iter().enumerate().filter(|(_, fmr)| carried(**fmr));
        points.filter_map(|(at, fmr)| self.point(*fmr, first + at)).collect()
    }

    fn point(&self, fmr: f64, interval: usize) -> Option<OperatingPoint> {
        let at = self.curve.at_fmr(fmr)?;
        let fnmr = Estimate::new(self.curve.fnmr(at), self.interval(interval), self.people_with_several);
        Some(OperatingPoint { fmr, cosine: edge(at), measured_fmr: self.curve.fmr(at)?, fnmr })
    }
}

/// What a false match rate lacks; `None` when there are enough impostors.
pub(super) fn not_carried(fmr: f64, impostors: u64) -> Option<NotReported> {
    let needs = (MATCHES_NEEDED / fmr).round() as u64;
    (impostors < needs).then_some(NotReported { rate: fmr, needs, has: impostors })
}

/// Points at equal distances of the logarithm of FMR, from 1 to the lowest that the impostors carry.
fn det(curve: &ErrorCurve, impostors: u64) -> Vec<DetPoint> {
    let mut points: Vec<DetPoint> = Vec::new();
    for step in 0..=DET_POINTS * 12 {
        let fmr = 10f64.powf(-f64::from(step) / f64::from(DET_POINTS));
        let carried = not_carried(fmr, impostors).is_none();
        let point = curve.at_fmr(fmr).filter(|_| carried).and_then(|at| det_point(curve, at));
        let Some(point) = point.filter(|point| point.fmr > 0.0) else { break };
        if points.last().is_none_or(|last| *last != point) {
            points.push(point);
        }
    }
    points
}

fn fine_curve(curve: &ErrorCurve) -> Vec<DetPoint> {
    let all = (0..=BINS - 1).step_by(10).filter_map(|at| det_point(curve, at));
    let mut points: Vec<DetPoint> = Vec::new();
    for point in all {
        if points.last().is_none_or(|last| (last.fmr, last.fnmr) != (point.fmr, point.fnmr)) {
            points.push(point);
        }
    }
    points
}

fn det_point(curve: &ErrorCurve, at: usize) -> Option<DetPoint> {
    Some(DetPoint { cosine: edge(at), fmr: curve.fmr(at)?, fnmr: curve.fnmr(at) })
}

#[cfg(test)]
mod tests {
    use super::super::data_set::tests::people;
    use super::super::sample::Tail;
    use super::super::scores::impostors_from;
    use super::*;

    const THRESHOLD: Threshold = Threshold { similarity: 0.75, cosine: 0.5 };

    fn verification(photos: &[(&str, [f32; 2])]) -> Verification {
        let data = people(photos);
        let scores = Scores::new(&data, 1);
        let pairs = impostors_from(&data, 1, 0);
        let sample = Sample::new(&data, &scores, Tail { pairs: &pairs, known_from: 0 }, |_| true);
        Verification::new(&scores, &sample, THRESHOLD, &[0.05], Draws { count: 50, seed: 1, threads: 2 })
    }

    /// People at 7 degrees from each other, the second photo of each 3 degrees from the first one, in 120 directions.
    fn around() -> Vec<(String, [f32; 2])> {
        let photo = |n: u16, turn: f32| {
            let angle = (f32::from(n) * 3.0 + turn).to_radians();
            (format!("p{n:03}"), [angle.cos(), angle.sin()])
        };
        (0..120).flat_map(|n| [photo(n, 0.0), photo(n, 1.0)]).collect()
    }

    #[test]
    fn a_rate_is_reported_as_far_as_impostors_carry_it() {
        let photos = around();
        let photos: Vec<_> = photos.iter().map(|(name, values)| (name.as_str(), *values)).collect();
        let verification = verification(&photos);
        let comparisons = &verification.rates.by_comparison;
        assert_eq!((comparisons.genuine, comparisons.impostors), (120, 28_560));
        // 28 560 comparisons carry 30 / 28 560 > 1e-3: only 1e-2.
        assert_eq!(comparisons.points.iter().map(|point| point.fmr).collect::<Vec<_>>(), [1e-2]);
        assert_eq!(comparisons.not_reported[0].needs, 30_000);
        let people = &verification.rates.by_person;
        assert_eq!((people.genuine, people.impostors, people.points.len()), (120, 7140, 1));
        assert_eq!(verification.extra.by_person.len(), 1);
        let point = comparisons.points[0];
        assert!(point.measured_fmr <= 0.01 && point.measured_fmr > 0.0);
        assert_eq!(point.fnmr.rate, 0.0, "photos of one person are nearer than those of others");
        assert_eq!(point.fnmr.high, Some(0.025), "3 / 120");
    }

    #[test]
    fn rates_fall_along_the_curve() {
        let photos = around();
        let photos: Vec<_> = photos.iter().map(|(name, values)| (name.as_str(), *values)).collect();
        let det = &verification(&photos).rates.by_comparison.det;
        assert!(det.len() > 5 && det.windows(2).all(|pair| pair[0].fmr >= pair[1].fmr && pair[0].fnmr <= pair[1].fnmr));
    }

    #[test]
    fn without_genuine_or_impostor_comparisons_there_is_no_rate() {
        let alone = verification(&[("ann", [1.0, 0.0]), ("bob", [0.0, 1.0])]);
        let rates = &alone.rates.by_person;
        assert!(rates.equal_error.is_none() && rates.points.is_empty() && rates.zero_fmr.is_none());
        assert!(rates.in_force.is_none() && rates.det.is_empty());
    }

    #[test]
    fn zero_fmr_is_at_the_threshold_above_the_last_impostor() {
        let photos = [("ann", [1.0, 0.0]), ("ann", [0.6, 0.8]), ("ann", [1.0, 0.0]), ("bob", [0.8, 0.6])];
        let zero = verification(&photos).rates.by_comparison.zero_fmr.unwrap();
        assert!((zero.cosine - 0.9601).abs() < 1e-4, "{}", zero.cosine);
        assert!((zero.fnmr.rate - 2.0 / 3.0).abs() < 1e-9);
    }
}
