//! The evaluation of a check on labeled photos.

use serde::Serialize;

use super::super::interval::percentiles;
use super::super::parallel::in_parallel;
use super::super::random::Random;
use super::super::verification::MATCHES_NEEDED;
use super::super::{Draws, Estimate};
use super::classes::{Class, LabeledClass, Thresholds};
use super::curve::{Curve, DetectionEqualError, KindCurve, RATES, RateAt, VALUES, det, passing};
use super::intervals::{MIN_UNITS, estimate, variance};
use super::overlap::Overlap;
use super::rates::{BonaFide, Kind, RATES_OF_A_CLASS, Rated, class_rates};
use crate::domain::Check;

/// The threshold of a server with these settings: a photo with this score or a higher one passes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckThreshold {
    /// The score.
    pub score: f64,
    /// The setting that has it.
    pub setting: String,
    /// Whether the setting is empty, so that the value is the pack's.
    pub is_default: bool,
}

/// What an evaluation of a check needs.
#[derive(Debug)]
pub struct DetectionInput {
    /// The check.
    pub check: Check,
    /// The folder of the data set.
    pub folder: String,
    /// Whose face on a photo is meant.
    pub faces: String,
    /// The threshold in force.
    pub threshold: CheckThreshold,
    /// The photos that should pass.
    pub bona_fide: LabeledClass,
    /// The kinds of attack.
    pub kinds: Vec<LabeledClass>,
}

/// The kind with the highest rate, which is the one that counts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HighestKind {
    /// The kind.
    pub kind: String,
    /// Its rate of missed attacks.
    pub missed: Estimate,
}

/// Figures that a class has too few photos for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NotCarried {
    /// The class.
    pub class: String,
    /// The rate of its errors at which the other rate is not reported; `None`: no figure over all thresholds is.
    pub rate: Option<f64>,
    /// Whether units are counted; photos otherwise.
    pub is_of_units: bool,
    /// Photos or units that it needs.
    pub needs: usize,
    /// Those with a response.
    pub has: usize,
}

/// The error rates of a check.
#[derive(Debug, Serialize)]
pub struct Detection {
    /// The check.
    pub check: &'static str,
    /// The folder of the data set.
    pub folder: String,
    /// Whose face on a photo is meant.
    pub faces: String,
    /// The threshold in force.
    pub threshold: CheckThreshold,
    /// The photos that should pass.
    pub bona_fide: BonaFide,
    /// Each kind of attack.
    pub kinds: Vec<Kind>,
    /// The kind with the highest rate at the threshold in force; `None` when no attack has a response.
    pub highest: Option<HighestKind>,
    /// Rates over all thresholds for each kind, then for the highest kind.
    pub over_all_thresholds: Vec<KindCurve>,
    /// Figures that are not reported.
    pub not_reported: Vec<NotCarried>,
    /// Photos that are there several times.
    pub overlap: Overlap,
}

impl Detection {
    /// Computes all rates. `name` is that of the bona fide side.
    pub fn new(input: &DetectionInput, name: &'static str, draws: Draws) -> Self {
        let classes = std::iter::once(&input.bona_fide).chain(&input.kinds);
        let thresholds = Thresholds::new(classes.clone(), input.check);
        let counted = |labeled| Class::new(labeled, input.check, &thresholds, input.threshold.score);
        let computation = Computation { classes: classes.map(counted).collect(), thresholds };
        let drawn = computation.draw(draws);
        let rated = |at: usize| {
            let variances = drawn.variances.get(at * RATES_OF_A_CLASS..(at + 1) * RATES_OF_A_CLASS);
            Rated { class: &computation.classes[at], variances: variances.unwrap_or_default() }
        };
        let kinds: Vec<Kind> = (1..computation.classes.len()).map(|at| rated(at).kind()).collect();
        let highest = kinds.iter().filter_map(|kind| Some((kind, kind.missed?)));
        let highest = highest.max_by(|a, b| a.1.rate.total_cmp(&b.1.rate));
        Self {
            check: input.check.name(),
            folder: input.folder.clone(),
            faces: input.faces.clone(),
            threshold: input.threshold.clone(),
            bona_fide: rated(0).bona_fide(name),
            highest: highest.map(|(kind, missed)| HighestKind { kind: kind.kind.clone(), missed }),
            kinds,
            over_all_thresholds: computation.over_all_thresholds(&drawn.curves),
            not_reported: computation.classes.iter().flat_map(not_carried).collect(),
            overlap: Overlap::new(&input.bona_fide, &input.kinds, draws.threads),
        }
    }
}

impl Detection {
    /// All photos.
    pub fn photos(&self) -> usize {
        self.bona_fide.counts.photos + self.kinds.iter().map(|kind| kind.counts.photos).sum::<usize>()
    }
}

/// The classes, the bona fide one first, and the thresholds of all of them.
struct Computation<'a> {
    classes: Vec<Class<'a>>,
    thresholds: Thresholds,
}

/// What the draws say.
struct Drawn {
    /// The variance of the [`class_rates`] of each class.
    variances: Vec<Option<f64>>,
    /// The intervals of the values of each curve.
    curves: Vec<Option<(f64, f64)>>,
}

impl Computation<'_> {
    /// The curves of each kind with a response, then that of the highest kind; empty when a side has no response.
    fn curves(&self, times: Option<&[Vec<u32>]>) -> Vec<Option<Curve>> {
        let passing =
            |at: usize| passing(&self.classes[at], self.thresholds.count(), times.map(|times| times[at].as_slice()));
        let bona_fide = passing(0);
        let kinds = (1..self.classes.len()).filter(|at| self.classes[*at].answered() > 0);
        let mut curves: Vec<Option<Curve>> =
            kinds.map(|at| Some(Curve::new(passing(at)?, bona_fide.as_ref()?))).collect();
        // A draw without a photo of one kind has no highest kind.
        let all: Option<Vec<&Curve>> = curves.iter().map(Option::as_ref).collect();
        let highest = all.and_then(|curves| Curve::highest(curves.into_iter()));
        curves.push(highest);
        curves
    }

    /// Draws units with replacement.
    fn draw(&self, draws: Draws) -> Drawn {
        let values = in_parallel(draws.threads, draws.count, 1, |range| {
            let mut random = Random::for_draw(draws.seed, range.start);
            let times: Vec<Vec<u32>> =
                self.classes.iter().map(|class| random.multiplicities(class.units.len())).collect();
            let rates = self.classes.iter().zip(&times).flat_map(|(class, times)| class_rates(class, Some(times)));
            let curves = self.curves(Some(&times));
            let curves = curves.iter().flat_map(|curve| curve.as_ref().map_or([None; VALUES], Curve::values));
            rates.chain(curves).collect::<Vec<Option<f64>>>()
        });
        let (count, of_classes) = (values.first().map_or(0, Vec::len), self.classes.len() * RATES_OF_A_CLASS);
        let each = |at: usize| values.iter().map(move |value| value[at]);
        Drawn {
            variances: (0..of_classes.min(count)).map(|at| variance(each(at))).collect(),
            curves: (of_classes..count).map(|at| percentiles(each(at))).collect(),
        }
    }

    fn over_all_thresholds(&self, drawn: &[Option<(f64, f64)>]) -> Vec<KindCurve> {
        let kinds: Vec<&Class<'_>> = self.classes[1..].iter().filter(|class| class.answered() > 0).collect();
        let of: Vec<Vec<&Class<'_>>> = kinds.iter().map(|kind| vec![*kind]).chain([kinds.clone()]).collect();
        let curves = self.curves(None).into_iter().zip(of).enumerate();
        let read = curves.filter_map(|(at, (curve, attacks))| {
            let drawn = drawn.get(at * VALUES..(at + 1) * VALUES).unwrap_or_default();
            let is_highest = at == kinds.len();
            let reading =
                Reading { curve: &curve?, thresholds: &self.thresholds, bona_fide: &self.classes[0], attacks, drawn };
            Some(reading.read((!is_highest).then(|| kinds[at].labeled.name.clone())))
        });
        read.collect()
    }
}

/// Photos of one class that a rate needs: 30 errors make a rate known to about 30 %.
fn photos_needed(rate: f64) -> usize {
    (MATCHES_NEEDED / rate).round() as usize
}

fn carries(class: &Class<'_>, rate: f64) -> bool {
    class.answered() >= photos_needed(rate)
}

fn not_carried(class: &Class<'_>) -> Vec<NotCarried> {
    let name = &class.labeled.name;
    let (units, photos) = (class.answered_units(), class.answered());
    if units < MIN_UNITS {
        let entry = NotCarried { class: name.clone(), rate: None, is_of_units: true, needs: MIN_UNITS, has: units };
        return vec![entry];
    }
    let missing = RATES.into_iter().filter(|rate| !carries(class, *rate)).rev();
    missing
        .map(|rate| NotCarried {
            class: name.clone(),
            rate: Some(rate),
            is_of_units: false,
            needs: photos_needed(rate),
            has: photos,
        })
        .collect()
}

/// A curve, what it is of, and the intervals of what is read off it.
struct Reading<'a> {
    curve: &'a Curve,
    thresholds: &'a Thresholds,
    bona_fide: &'a Class<'a>,
    attacks: Vec<&'a Class<'a>>,
    drawn: &'a [Option<(f64, f64)>],
}

impl Reading<'_> {
    fn drawn(&self, at: usize) -> Option<(f64, f64)> {
        self.drawn.get(at).copied().flatten()
    }

    fn read(&self, kind: Option<String>) -> KindCurve {
        let attack_units = self.attacks.iter().map(|class| class.answered_units()).min().unwrap_or(0);
        let attack_photos = self.attacks.iter().map(|class| class.answered()).min().unwrap_or(0);
        let (bona_fide_units, bona_fide_photos) = (self.bona_fide.answered_units(), self.bona_fide.answered());
        let units = attack_units.min(bona_fide_units);
        let mut found = KindCurve {
            kind,
            equal_error: None,
            flagged_at_missed: Vec::new(),
            missed_at_flagged: Vec::new(),
            det: Vec::new(),
            every_point: self.curve.every_point(self.thresholds),
        };
        if units < MIN_UNITS {
            return found;
        }
        found.equal_error = self.curve.equal_error().map(|(at, rate)| DetectionEqualError {
            threshold: self.thresholds.value(at),
            rate: estimate(rate, self.drawn(0), units),
        });
        for (at, rate) in RATES.into_iter().enumerate() {
            let threshold = self.curve.at_missed(rate);
            let is_carried = self.attacks.iter().all(|class| carries(class, rate));
            found.flagged_at_missed.extend(threshold.filter(|_| is_carried).map(|threshold| RateAt {
                at: rate,
                threshold: self.thresholds.value(threshold),
                measured: self.curve.missed[threshold],
                rate: estimate(self.curve.flagged[threshold], self.drawn(1 + at), bona_fide_units),
            }));
            let threshold = self.curve.at_flagged(rate);
            found.missed_at_flagged.extend(carries(self.bona_fide, rate).then(|| RateAt {
                at: rate,
                threshold: self.thresholds.value(threshold),
                measured: self.curve.flagged[threshold],
                rate: estimate(self.curve.missed[threshold], self.drawn(1 + RATES.len() + at), attack_units),
            }));
        }
        found.det = det(&found.every_point, attack_photos, bona_fide_photos);
        found
    }
}

#[cfg(test)]
pub(in crate::evaluation) mod tests {
    use super::super::super::photo::CheckScore;
    use super::super::classes::tests::{class, photo, unanswered};
    use super::*;

    /// 400 live photos, 300 prints, 10 screens and a mask without a response.
    ///
    /// Live scores are 0.0025 to 1 in steps of 0.0025, prints half of it over 300 photos.
    pub(in crate::evaluation) fn input() -> DetectionInput {
        let scores =
            |count: u32, to: f64| -> Vec<f64> { (1..=count).map(|at| f64::from(at) / f64::from(count) * to).collect() };
        let mut mask = class("mask", &[]);
        mask.photos.push(unanswered("mask", 0, "no_face"));
        DetectionInput {
            check: Check::Liveness,
            folder: "photos".to_owned(),
            faces: "only".to_owned(),
            threshold: CheckThreshold { score: 0.25, setting: "quality.liveness".to_owned(), is_default: true },
            bona_fide: class("live", &scores(400, 1.0)),
            kinds: vec![class("print", &scores(300, 0.5)), class("screen", &scores(10, 0.3)), mask],
        }
    }

    const DRAWS: Draws = Draws { count: 200, seed: 1, threads: 2 };

    #[test]
    fn the_rates_are_those_that_a_hand_computes() {
        let found = Detection::new(&input(), "live", DRAWS);
        // Live below 0.25: 99 of 400. Prints from 0.25 on: the 150th to the 300th, 151 of 300.
        assert!((found.bona_fide.flagged.unwrap().rate - 99.0 / 400.0).abs() < 1e-12);
        assert!((found.kinds[0].missed.unwrap().rate - 151.0 / 300.0).abs() < 1e-12);
        // Screens: 0.27 and 0.30.
        assert!((found.kinds[1].missed.unwrap().rate - 0.2).abs() < 1e-12);
        assert!(found.kinds[2].missed.is_none());
        assert_eq!(found.highest.as_ref().unwrap().kind, "print");
        // The rates meet at a third: live below t are t, prints from t on 1 - 2 t.
        let print = &found.over_all_thresholds[0];
        let equal = print.equal_error.unwrap();
        assert!((equal.rate.rate - 1.0 / 3.0).abs() < 5e-3, "{equal:?}");
        assert!((equal.threshold.unwrap() - 1.0 / 3.0).abs() < 5e-3, "{equal:?}");
        assert!(equal.rate.low.unwrap() < 1.0 / 3.0 && equal.rate.high.unwrap() > 1.0 / 3.0);
        // 300 prints carry a tenth of them: the threshold is 0.45, so 0.45 of live are flagged.
        assert_eq!(print.flagged_at_missed.len(), 1);
        let at = print.flagged_at_missed[0];
        assert!((at.rate.rate - 0.45).abs() < 5e-3 && at.measured <= 0.1 && at.at == 0.1, "{at:?}");
        // 400 live photos carry a tenth of them: the threshold is 0.1025, from which on 239 of 300 prints pass.
        assert_eq!(print.missed_at_flagged.len(), 1);
        let at = print.missed_at_flagged[0];
        assert!((at.threshold.unwrap() - 0.1025).abs() < 1e-9 && (at.measured - 0.1).abs() < 1e-9, "{at:?}");
        assert!((at.rate.rate - 239.0 / 300.0).abs() < 1e-9, "{at:?}");
        assert!(at.rate.low.unwrap() < at.rate.rate && at.rate.rate < at.rate.high.unwrap(), "{at:?}");
    }

    #[test]
    fn what_the_photos_do_not_carry_is_named_and_not_reported() {
        let found = Detection::new(&input(), "live", DRAWS);
        let not = |class: &str| -> Vec<(Option<f64>, usize, usize)> {
            let of_class = found.not_reported.iter().filter(|entry| entry.class == class);
            of_class.map(|entry| (entry.rate, entry.needs, entry.has)).collect()
        };
        assert_eq!(not("print"), [(Some(0.05), 600, 300), (Some(0.01), 3000, 300)]);
        assert_eq!(not("live"), [(Some(0.05), 600, 400), (Some(0.01), 3000, 400)]);
        assert_eq!((not("screen"), not("mask")), (vec![(None, 20, 10)], vec![(None, 20, 0)]));
        let kinds: Vec<Option<&str>> = found.over_all_thresholds.iter().map(|curve| curve.kind.as_deref()).collect();
        assert_eq!(kinds, [Some("print"), Some("screen"), None], "without the kind that has no response");
        for curve in &found.over_all_thresholds[1..] {
            assert!(curve.equal_error.is_none() && curve.det.is_empty() && curve.missed_at_flagged.is_empty());
            assert!(!curve.every_point.is_empty());
        }
    }

    /// Of 40 sub-folders with 25 photos each, a quarter passes as a whole: 40 independent units, not 1000 photos.
    #[test]
    fn photos_of_a_sub_folder_are_drawn_together() {
        let mut input = input();
        let score = |folder: usize| CheckScore::Score(if folder.is_multiple_of(4) { 0.9 } else { 0.1 });
        let names: Vec<String> = (0..40).map(|folder| format!("video {folder}")).collect();
        let photos = (0..1000).map(|at| photo("replay", at, Some(&names[at / 25]), score(at / 25)));
        input.kinds = vec![LabeledClass { name: "replay".to_owned(), photos: photos.collect() }];
        let found = Detection::new(&input, "live", Draws { count: 1000, ..DRAWS });
        let missed = found.kinds[0].missed.unwrap();
        assert_eq!((missed.rate, found.kinds[0].counts.units), (0.25, 40));
        let half = (missed.high.unwrap() - missed.low.unwrap()) / 2.0;
        // 1.96 sqrt(0.25 * 0.75 / 40) = 0.134; of independent photos it would be 0.027.
        assert!((half - 0.134).abs() < 0.02, "{missed:?}");

        // Where photos of a sub-folder do not hang together, the interval is that of independent photos.
        let mixed = |at: usize| CheckScore::Score(if (at * 7) % 20 < 5 { 0.9 } else { 0.1 });
        let photos = (0..1000).map(|at| photo("replay", at, Some(&names[at / 25]), mixed(at)));
        input.kinds = vec![LabeledClass { name: "replay".to_owned(), photos: photos.collect() }];
        let missed = Detection::new(&input, "live", DRAWS).kinds[0].missed.unwrap();
        assert_eq!(missed, Estimate::new(0.25, Some(crate::domain::wilson(0.25, 1000)), 1));
    }

    #[test]
    fn a_seed_repeats_the_intervals_on_any_number_of_threads() {
        let figures = |threads, seed| {
            let found = Detection::new(&input(), "live", Draws { count: 100, seed, threads });
            found.over_all_thresholds[0].equal_error.unwrap().rate
        };
        assert_eq!(figures(1, 7), figures(3, 7));
        assert_ne!(figures(1, 7), figures(1, 8));
    }

    #[test]
    fn classes_that_do_not_overlap_have_no_errors() {
        let mut input = input();
        let high: Vec<f64> = (0..50).map(|at| 0.8 + f64::from(at) / 1000.0).collect();
        let low: Vec<f64> = high.iter().map(|score| 1.0 - score).collect();
        input.bona_fide = class("live", &high);
        input.kinds = vec![class("print", &low)];
        input.threshold.score = 0.5;
        let found = Detection::new(&input, "live", DRAWS);
        assert_eq!(found.kinds[0].missed.unwrap(), Estimate { rate: 0.0, low: Some(0.0), high: Some(0.06) });
        assert_eq!(found.bona_fide.flagged.unwrap().high, Some(0.06), "3 / 50");
        let curve = &found.over_all_thresholds[0];
        assert_eq!(curve.equal_error.unwrap().rate, Estimate { rate: 0.0, low: Some(0.0), high: Some(0.06) });
        assert!(curve.det.is_empty());
    }
}
