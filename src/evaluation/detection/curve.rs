//! Both rates at every threshold, and what is read off them.

use serde::Serialize;

use super::super::Estimate;
use super::classes::{Class, Thresholds};

/// The rates at which the other rate is reported.
pub(in crate::evaluation) const RATES: [f64; 3] = [0.01, 0.05, 0.1];

/// Values that the bootstrap reads off a curve: the equal error rate, and the other rate at each of [`RATES`], both ways.
pub(super) const VALUES: usize = 1 + 2 * RATES.len();

/// Errors on each side that a point of the reported curve has at least.
const ERRORS_OF_A_POINT: f64 = 3.0;

/// The distance of two points of the reported curve, in powers of ten of either rate.
const POINT_DISTANCE: f64 = 0.02;

/// The threshold where both rates are equal.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct DetectionEqualError {
    /// The threshold; `None` above all scores.
    pub threshold: Option<f64>,
    /// The rate.
    pub rate: Estimate,
}

/// One rate at the threshold that keeps the other one.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RateAt {
    /// The highest allowed value of the other rate.
    pub at: f64,
    /// The threshold; `None` above all scores.
    pub threshold: Option<f64>,
    /// The value of the other rate at the threshold.
    pub measured: f64,
    /// The rate. The interval is of the rate at `at`: each draw chooses its own threshold.
    pub rate: Estimate,
}

/// Both rates at a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CurvePoint {
    /// The threshold; `None` above all scores.
    pub threshold: Option<f64>,
    /// Share of attacks that pass.
    pub missed: f64,
    /// Share of bona fide photos that do not.
    pub flagged: f64,
}

/// The rates over all thresholds.
#[derive(Debug, Clone, Serialize)]
pub struct KindCurve {
    /// The kind of attack; `None`: at each threshold the kind with the highest rate.
    pub kind: Option<String>,
    /// The equal error rate.
    pub equal_error: Option<DetectionEqualError>,
    /// Flagged bona fide photos at a share of missed attacks.
    pub flagged_at_missed: Vec<RateAt>,
    /// Missed attacks at a share of flagged bona fide photos.
    pub missed_at_flagged: Vec<RateAt>,
    /// The DET curve, where at least three photos of each side are errors.
    pub det: Vec<CurvePoint>,
    /// Every threshold at which a rate changes.
    #[serde(skip)]
    pub every_point: Vec<CurvePoint>,
}

/// The share of photos of a class that pass, at each threshold. `times` is how often each unit is drawn.
pub(super) fn passing(class: &Class<'_>, thresholds: usize, times: Option<&[u32]>) -> Option<Vec<f64>> {
    let mut passing = vec![0.0; thresholds];
    for (at, unit) in class.units.iter().enumerate() {
        let weight = times.map_or(1.0, |times| f64::from(times[at]));
        unit.highest_passed.iter().for_each(|threshold| passing[*threshold] += weight);
    }
    let mut sum = 0.0;
    for share in passing.iter_mut().rev() {
        sum += *share;
        *share = sum;
    }
    (sum > 0.0).then(|| passing.into_iter().map(|part| part / sum).collect())
}

/// Both rates at each threshold.
#[derive(Debug)]
pub(super) struct Curve {
    pub(super) missed: Vec<f64>,
    pub(super) flagged: Vec<f64>,
}

impl Curve {
    pub(super) fn new(attacks: Vec<f64>, bona_fide: &[f64]) -> Self {
        Self { missed: attacks, flagged: bona_fide.iter().map(|passing| 1.0 - passing).collect() }
    }

    /// The curve of the kind that is the highest at each threshold.
    pub(super) fn highest<'a>(curves: impl Iterator<Item = &'a Self>) -> Option<Self> {
        curves.fold(None, |highest: Option<Self>, curve| {
            let missed = match highest {
                None => curve.missed.clone(),
                Some(highest) => highest.missed.iter().zip(&curve.missed).map(|(a, b)| a.max(*b)).collect(),
            };
            Some(Self { missed, flagged: curve.flagged.clone() })
        })
    }

    /// The lowest threshold with at most this share of missed attacks; `None` when attacks that are not judged pass at
    /// every threshold.
    pub(super) fn at_missed(&self, rate: f64) -> Option<usize> {
        let allowed = rate * (1.0 + 1e-9);
        let first = self.missed.partition_point(|missed| *missed > allowed);
        (first < self.missed.len()).then_some(first)
    }

    /// The highest threshold with at most this share of flagged bona fide photos.
    pub(super) fn at_flagged(&self, rate: f64) -> usize {
        let allowed = rate * (1.0 + 1e-9) + 1e-12;
        self.flagged.partition_point(|flagged| *flagged <= allowed).saturating_sub(1)
    }

    /// The threshold where both rates differ least, and their mean there; `None` when they do not meet, because photos that
    /// are not judged pass at every threshold.
    pub(super) fn equal_error(&self) -> Option<(usize, f64)> {
        let gap = |at: usize| self.flagged[at] - self.missed[at];
        let above = (0..self.missed.len()).find(|at| gap(*at) >= 0.0)?;
        let at = if above > 0 && gap(above - 1).abs() < gap(above).abs() { above - 1 } else { above };
        Some((at, f64::midpoint(self.missed[at], self.flagged[at])))
    }

    /// What the bootstrap reads off the curve, in the order of [`VALUES`].
    pub(super) fn values(&self) -> [Option<f64>; VALUES] {
        let mut values = [None; VALUES];
        values[0] = self.equal_error().map(|(_, rate)| rate);
        for (at, rate) in RATES.into_iter().enumerate() {
            values[1 + at] = self.at_missed(rate).map(|threshold| self.flagged[threshold]);
            values[1 + RATES.len() + at] = Some(self.missed[self.at_flagged(rate)]);
        }
        values
    }

    fn point(&self, at: usize, thresholds: &Thresholds) -> CurvePoint {
        CurvePoint { threshold: thresholds.value(at), missed: self.missed[at], flagged: self.flagged[at] }
    }

    /// Every threshold at which a rate changes.
    pub(super) fn every_point(&self, thresholds: &Thresholds) -> Vec<CurvePoint> {
        let mut points: Vec<CurvePoint> = Vec::new();
        for at in 0..self.missed.len() {
            let point = self.point(at, thresholds);
            if points.last().is_none_or(|last| (last.missed, last.flagged) != (point.missed, point.flagged)) {
                points.push(point);
            }
        }
        points
    }
}

/// The points of a curve that at least three errors of each side carry, at distances that a chart shows.
pub(super) fn det(points: &[CurvePoint], attacks: usize, bona_fide: usize) -> Vec<CurvePoint> {
    let enough = |rate: f64, count: usize| rate * count as f64 >= ERRORS_OF_A_POINT - 1e-6;
    let carried = |point: &&CurvePoint| enough(point.missed, attacks) && enough(point.flagged, bona_fide);
    let mut shown: Vec<CurvePoint> = Vec::new();
    for point in points.iter().filter(carried) {
        let far = |a: f64, b: f64| (a.log10() - b.log10()).abs() >= POINT_DISTANCE;
        if shown.last().is_none_or(|last| far(last.missed, point.missed) || far(last.flagged, point.flagged)) {
            shown.push(*point);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::super::photo::CheckScore;
    use super::super::classes::tests::{class, photo};
    use super::*;
    use crate::domain::Check;

    /// The curve of two lists of scores, with the thresholds.
    fn curve(attacks: &[f64], live: &[f64]) -> (Curve, Thresholds) {
        let (attacks, live) = (class("print", attacks), class("live", live));
        let thresholds = Thresholds::new([&attacks, &live].into_iter(), Check::Liveness);
        let of = |labeled| {
            passing(&Class::new(labeled, Check::Liveness, &thresholds, 0.5), thresholds.count(), None).unwrap()
        };
        (Curve::new(of(&attacks), &of(&live)), thresholds)
    }

    #[test]
    fn rates_are_counted_at_each_score() {
        let (curve, thresholds) = curve(&[0.1, 0.2, 0.6, 0.9], &[0.5, 0.8, 0.9, 1.0]);
        // Thresholds 0.1, 0.2, 0.5, 0.6, 0.8, 0.9, 1.0 and above: a score on the threshold passes.
        assert_eq!(curve.missed, [1.0, 0.75, 0.5, 0.5, 0.25, 0.25, 0.0, 0.0]);
        assert_eq!(curve.flagged, [0.0, 0.0, 0.0, 0.25, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(curve.equal_error(), Some((4, 0.25)));
        assert_eq!(thresholds.value(4), Some(0.8));
        assert_eq!((curve.at_missed(0.25), curve.at_missed(0.24), curve.at_missed(1.0)), (Some(4), Some(6), Some(0)));
        assert_eq!((curve.at_flagged(0.0), curve.at_flagged(0.25), curve.at_flagged(0.3)), (2, 4, 4));
        let values = curve.values();
        // Without a missed attack three of four live photos are flagged; without a flagged one, two of four attacks pass.
        assert_eq!(values, [0.25, 0.75, 0.75, 0.75, 0.5, 0.5, 0.5].map(Some));
    }

    #[test]
    fn attacks_that_are_not_judged_pass_at_every_threshold() {
        let mut attacks = class("swap", &[0.1, 0.2]);
        attacks.photos.push(photo("swap", 2, None, CheckScore::NotJudged));
        let live = class("genuine", &[0.3, 0.9]);
        let thresholds = Thresholds::new([&attacks, &live].into_iter(), Check::Liveness);
        let of = |labeled| {
            passing(&Class::new(labeled, Check::Liveness, &thresholds, 0.5), thresholds.count(), None).unwrap()
        };
        let curve = Curve::new(of(&attacks), &of(&live));
        assert_eq!(curve.missed, [1.0, 2.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0]);
        assert_eq!((curve.at_missed(0.1), curve.at_missed(0.34)), (None, Some(2)));
    }

    #[test]
    fn the_highest_kind_decides_at_each_threshold() {
        let [a, b] = [[1.0, 0.5, 0.0], [1.0, 0.2, 0.1]].map(|missed| Curve::new(missed.to_vec(), &[1.0, 1.0, 0.0]));
        let highest = Curve::highest([&a, &b].into_iter()).unwrap();
        assert_eq!((highest.missed, highest.flagged), (vec![1.0, 0.5, 0.1], vec![0.0, 0.0, 1.0]));
        assert!(Curve::highest(std::iter::empty()).is_none());
    }

    #[test]
    fn the_reported_curve_has_three_errors_of_each_side() {
        let attacks: Vec<f64> = (0..100).map(|at| f64::from(at) / 200.0).collect();
        let live: Vec<f64> = (0..100).map(|at| 0.3 + f64::from(at) / 200.0).collect();
        let (curve, thresholds) = curve(&attacks, &live);
        let points = curve.every_point(&thresholds);
        let det = det(&points, 100, 100);
        assert!(det.len() > 10 && det.len() < points.len());
        assert!(det.iter().all(|point| point.missed >= 0.03 - 1e-9 && point.flagged >= 0.03 - 1e-9), "{det:?}");
        assert!(det.windows(2).all(|pair| pair[0].missed >= pair[1].missed && pair[0].flagged <= pair[1].flagged));
    }

    #[test]
    fn a_unit_counts_as_often_as_it_is_drawn() {
        let labeled = class("print", &[0.1, 0.9]);
        let thresholds = Thresholds::new(std::iter::once(&labeled), Check::Liveness);
        let class = Class::new(&labeled, Check::Liveness, &thresholds, 0.5);
        assert_eq!(passing(&class, 3, Some(&[1, 3])).unwrap(), [1.0, 0.75, 0.0]);
        assert_eq!(passing(&class, 3, Some(&[0, 0])), None);
    }
}
