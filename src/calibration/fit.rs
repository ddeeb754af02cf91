//! The tail of the impostor distribution, and what follows from it for a gallery of any size.

use std::collections::HashSet;

use super::estimate::Estimate;
use super::goodness::{self, Goodness};
use super::impostors::{Impostors, Pair, PairScore};
use super::pareto::{Censored, Excess, Pareto};
use crate::domain::{SplitMix, Z95, fmr, fpir, percentiles};

/// People that a fit needs. docs/calibrate.md has the figures of smaller galleries.
pub const MIN_PEOPLE: usize = 200;

/// Scores that a fit uses: as many as people, but no fewer than this.
pub(super) const MIN_SCORES: usize = 1000;

/// Pairs of the gallery that are expected to reach a threshold; with fewer, the threshold rests on the shape of the tail alone. At
/// FPIR 1 % and 1000 people this is a gallery of 10 times as many.
pub const MIN_EXPECTED_PAIRS: f64 = 0.5;

/// The false match rate of one person with one other from a cutoff on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tail {
    /// The cutoff, a cosine.
    pub cutoff: f64,
    /// The false match rate at the cutoff.
    pub rate: f64,
    /// The distribution beyond.
    pub pareto: Pareto,
}

impl Tail {
    /// The false match rate at a cosine that is not below the cutoff.
    pub fn fmr(self, cosine: f64) -> f64 {
        self.rate * self.pareto.survival(cosine - self.cutoff)
    }

    /// The cosine at a false match rate that is not above that of the cutoff.
    pub fn cosine(self, fmr: f64) -> f64 {
        self.cutoff + self.pareto.quantile(fmr / self.rate)
    }
}

/// A fitted tail.
#[derive(Debug, Clone)]
pub struct Fit {
    /// The fit.
    pub tail: Tail,
    /// Scores that it was fitted to.
    pub scores: usize,
    /// How well it describes them.
    pub goodness: Goodness,
    /// Pairs of the gallery.
    pairs: f64,
    /// The fits of the bootstrap samples.
    samples: Vec<Tail>,
    /// For each person, the share of comparisons that reach the threshold in force.
    reached: Vec<f64>,
}

/// Rounds of the bootstrap.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    /// For the intervals.
    pub intervals: usize,
    /// For the goodness of fit.
    pub goodness: usize,
}

/// How many scores a fit of a gallery uses whose threshold is to have a false match rate.
pub fn scores(people: usize, fmr: f64) -> usize {
    let pairs = people as f64 * (people as f64 - 1.0) / 2.0;
    people.max(MIN_SCORES).max((2.0 * fmr * pairs).ceil() as usize)
}

/// The scores above a cutoff, as excesses with a weight each, and the cutoff.
struct Scores<'a> {
    cutoff: f64,
    scores: &'a [PairScore],
}

impl<'a> Scores<'a> {
    /// The scores above the one that `count` scores exceed or equal. `None` where there are not more scores than that.
    fn highest(impostors: &'a Impostors, count: usize) -> Option<Self> {
        let cutoff = f64::from(impostors.searches.get(count)?.cosine);
        let above = impostors.searches.iter().take_while(|score| f64::from(score.cosine) > cutoff).count();
        Some(Self { cutoff, scores: impostors.searches.get(..above)? })
    }

    fn excesses(&self, weight: impl Fn(Pair) -> f64) -> Vec<Excess> {
        let value = |score: &PairScore| f64::from(score.cosine) - self.cutoff;
        self.scores.iter().map(|score| Excess { value: value(score), weight: weight(score.pair) }).collect()
    }
}

impl Fit {
    /// Fits the tail to the highest `count` scores of searches. `None` where there are not more scores than that, or all are the
    /// same.
    pub fn new(
        impostors: &Impostors,
        left_out: &HashSet<Pair>,
        count: usize,
        rounds: Rounds,
        random: &mut SplitMix,
    ) -> Option<Self> {
        let scores = Scores::highest(impostors, count)?;
        let (above, pairs) = (scores.scores.len(), impostors.pairs as f64);
        let excesses = scores.excesses(|_| 1.0);
        let tail = Tail { cutoff: scores.cutoff, rate: above as f64 / pairs, pareto: Pareto::fit(&excesses, None)? };
        let samples = bootstrap(impostors.people, left_out, &scores, rounds.intervals, random, |excesses| {
            Pareto::fit(excesses, None)
        });
        let goodness = goodness::test(tail.pareto, &excesses, rounds.goodness, random);
        Some(Self { tail, scores: above, goodness, pairs, samples, reached: impostors.reached.clone() })
    }

    /// The false match rate at a cosine from the cutoff on.
    fn fmr(&self, cosine: f64) -> Estimate {
        interval(self.tail.fmr(cosine), self.samples.iter().map(|sample| sample.fmr(cosine)).collect())
    }

    /// The false match rate at the threshold in force, if that is below the cutoff: the measured share. Its interval is that of
    /// a mean over pairs of people (Hoeffding 1948): the variance is four times that of the means by person.
    fn measured(&self) -> Estimate {
        let n = self.reached.len().max(2) as f64;
        let value = self.reached.iter().sum::<f64>() / n;
        let variance = self.reached.iter().map(|share| (share - value).powi(2)).sum::<f64>() / (n - 1.0);
        let spread = if value > 0.0 { (Z95 * 2.0 * (variance / n).sqrt() / value).exp() } else { 1.0 };
        Estimate { value, low: value / spread, high: (value * spread).min(1.0) }
    }

    /// FPIR at the threshold in force, or at another cosine from the cutoff on.
    pub fn fpir(&self, cosine: f64, gallery: f64) -> Estimate {
        let rate = if cosine >= self.tail.cutoff { self.fmr(cosine) } else { self.measured() };
        Estimate { value: fpir(rate.value, gallery), low: fpir(rate.low, gallery), high: fpir(rate.high, gallery) }
    }

    /// The cosine from which a gallery has a target FPIR.
    pub fn threshold(&self, target: f64, gallery: f64) -> Estimate {
        let rate = fmr(target, gallery);
        interval(self.tail.cosine(rate), self.samples.iter().map(|sample| sample.cosine(rate)).collect())
    }

    /// Pairs of this gallery that are expected to reach a cosine.
    pub fn expected_pairs(&self, cosine: f64) -> f64 {
        self.pairs * self.tail.fmr(cosine)
    }
}

/// A pair that is too similar for different people who are not related.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlier {
    /// The pair and its highest cosine.
    pub score: PairScore,
    /// Pairs of the gallery that are expected to be at least as similar.
    pub expected: f64,
}

/// The share of the fitted scores that the search for outliers does not rely on.
const CENSORED: f64 = 0.05;

/// The share of the listed pairs that may be expected without relatives.
const OUTLIERS_BY_CHANCE: f64 = 0.05;

/// Rounds of the bootstrap for outliers.
const OUTLIER_ROUNDS: usize = 100;

/// The pairs far above the fitted tail, highest first. The tail is fitted again with the highest 5 % of the scores only counted,
/// so relatives do not hide themselves. The first r pairs are outliers if at most 5 % of r pairs are expected to be so similar, at
/// the upper end of the 95 % interval of the expected number; r is the highest such number (Benjamini & Hochberg 1995).
pub fn outliers(
    impostors: &Impostors,
    left_out: &HashSet<Pair>,
    count: usize,
    samples_per_person: f64,
    random: &mut SplitMix,
) -> Option<Vec<Outlier>> {
    let scores = Scores::highest(impostors, count)?;
    let beyond = ((count as f64 * CENSORED) as usize).max(1);
    let limit = f64::from(impostors.searches.get(beyond)?.cosine) - scores.cutoff;
    let fit = |excesses: &[Excess]| {
        let (inside, outside): (Vec<Excess>, Vec<Excess>) = excesses.iter().partition(|e| e.value <= limit);
        let censored = Censored { at: limit, weight: outside.iter().map(|excess| excess.weight).sum() };
        Pareto::fit(&inside, Some(censored))
    };
    let rate = scores.scores.len() as f64 / impostors.pairs as f64;
    let tail = Tail { cutoff: scores.cutoff, rate, pareto: fit(&scores.excesses(|_| 1.0))? };
    let tails = bootstrap(impostors.people, left_out, &scores, OUTLIER_ROUNDS, random, fit);
    // A pair is as similar as its most similar samples, of several searches.
    let searches = impostors.pairs as f64 * samples_per_person;
    let expected = |cosine: f64| {
        interval(searches * tail.fmr(cosine), tails.iter().map(|tail| searches * tail.fmr(cosine)).collect())
    };
    let listed: Vec<(Outlier, f64)> = impostors
        .nearest
        .iter()
        .take(beyond)
        .map(|score| (score, expected(f64::from(score.cosine))))
        .map(|(score, expected)| (Outlier { score: *score, expected: expected.value }, expected.high))
        .collect();
    let is_unlikely = |(at, (_, high)): (usize, &(Outlier, f64))| *high <= OUTLIERS_BY_CHANCE * (at + 1) as f64;
    let found = listed.iter().enumerate().rposition(is_unlikely).map_or(0, |last| last + 1);
    Some(listed.into_iter().take(found).map(|(outlier, _)| outlier).collect())
}

/// Fits of bootstrap samples. People are drawn with replacement, because the pairs of one person are not independent; a pair
/// counts as often as both of its people were drawn, multiplied.
fn bootstrap(
    people: usize,
    left_out: &HashSet<Pair>,
    scores: &Scores<'_>,
    rounds: usize,
    random: &mut SplitMix,
    fit: impl Fn(&[Excess]) -> Option<Pareto>,
) -> Vec<Tail> {
    let mut tails = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let mut drawn = vec![0.0f64; people];
        for _ in 0..people {
            if let Some(count) = drawn.get_mut(random.below(people)) {
                *count += 1.0;
            }
        }
        let of = |place: usize| drawn.get(place).copied().unwrap_or_default();
        let weight = |pair: Pair| of(pair.first) * of(pair.second);
        let squares: f64 = drawn.iter().map(|count| count * count).sum();
        let out: f64 = left_out.iter().map(|pair| weight(*pair)).sum();
        let pairs = ((people * people) as f64 - squares) / 2.0 - out;
        let excesses = scores.excesses(weight);
        let above: f64 = excesses.iter().map(|excess| excess.weight).sum();
        if let Some(pareto) = fit(&excesses) {
            tails.push(Tail { cutoff: scores.cutoff, rate: above / pairs, pareto });
        }
    }
    tails
}

/// The estimate with the 2.5th and the 97.5th percentile of the bootstrap.
fn interval(value: f64, samples: Vec<f64>) -> Estimate {
    let (low, high) = percentiles(samples).unwrap_or((value, value));
    Estimate { value, low: low.min(value), high: high.max(value) }
}

#[cfg(test)]
mod tests {
    use super::super::impostors::{Measure, Person};
    use super::*;

    const DIMENSIONS: usize = 32;
    const ROUNDS: Rounds = Rounds { intervals: 100, goodness: 39 };

    /// People in random directions.
    fn directions(people: usize, random: &mut SplitMix) -> Vec<Vec<f32>> {
        let mut normal = || (-2.0 * random.uniform().ln()).sqrt() * (std::f64::consts::TAU * random.uniform()).cos();
        let mut row = || {
            let raw: Vec<f64> = (0..DIMENSIONS).map(|_| normal()).collect();
            let norm = raw.iter().map(|v| v * v).sum::<f64>().sqrt();
            raw.into_iter().map(|v| (v / norm) as f32).collect()
        };
        (0..people).map(|_| row()).collect()
    }

    /// P(cosine >= c) of two random directions: the integral of (1 - x^2)^((d - 3) / 2), by Simpson's rule.
    fn exact(cosine: f64) -> f64 {
        let density = |x: f64| (1.0 - x * x).max(0.0).powf((DIMENSIONS as f64 - 3.0) / 2.0);
        let integral = |from: f64| {
            let step = (1.0 - from) / 2000.0;
            (0..1000)
                .map(|k| from + 2.0 * k as f64 * step)
                .map(|x| step / 3.0 * (density(x) + 4.0 * density(x + step) + density(x + 2.0 * step)))
                .sum::<f64>()
        };
        integral(cosine) / integral(-1.0)
    }

    fn measured(rows: &[Vec<f32>], left_out: &HashSet<Pair>, count: usize, threshold: f32) -> Impostors {
        let people: Vec<Person<'_>> = rows.iter().map(|row| Person::new(vec![row.as_slice()])).collect();
        let measure = Measure { left_out: left_out.clone(), keep: count + 1, list: 100, threshold, threads: 1 };
        Impostors::measure(&people, &measure)
    }

    /// Random directions have a tail that is known exactly. Of 10 intervals of 95 %, 8 or more hold but for one time in 100.
    #[test]
    fn intervals_contain_the_exact_rate_of_random_directions() {
        let (people, target) = (200, 0.05);
        let mut random = SplitMix::new(21);
        let (mut held, mut measured_held) = (0, 0);
        for _ in 0..10 {
            let rows = directions(people, &mut random);
            let count = scores(people, fmr(target, 200.0));
            let impostors = measured(&rows, &HashSet::new(), count, 0.2);
            let fit = Fit::new(&impostors, &HashSet::new(), count, ROUNDS, &mut random).unwrap();
            let threshold = fit.threshold(target, 200.0);
            let rate = fit.fpir(threshold.value, 200.0);
            assert!((rate.value - target).abs() < 1e-9 && threshold.low < threshold.high);
            let truth = fpir(exact(threshold.value), 200.0);
            held += usize::from(rate.low <= truth && truth <= rate.high);
            // The share at a threshold below the cutoff is measured.
            let low = fit.fpir(f64::from(0.2f32), 1.0);
            assert!(fit.tail.cutoff > 0.2 && low.value > fit.tail.rate);
            measured_held += usize::from((low.low..=low.high).contains(&exact(0.2)));
        }
        assert!(held >= 8 && measured_held >= 8, "{held} {measured_held}");
    }

    #[test]
    fn relatives_are_outliers_and_a_fit_without_them_is_that_of_the_others() {
        let mut random = SplitMix::new(5);
        let mut rows = directions(250, &mut random);
        let count = scores(250, fmr(0.05, 250.0));
        let none = HashSet::new();
        let clean = measured(&rows, &none, count, 0.9);
        assert_eq!(outliers(&clean, &none, count, 1.0, &mut random), Some(Vec::new()));
        for (copy, of) in [(10, 20), (30, 40), (50, 60)] {
            let mut near = rows[of].clone();
            near[0] += 0.2;
            let norm = near.iter().map(|v| v * v).sum::<f32>().sqrt();
            rows[copy] = near.into_iter().map(|v| v / norm).collect();
        }
        let all = measured(&rows, &none, count, 0.9);
        let found = outliers(&all, &none, count, 1.0, &mut random).unwrap();
        let pairs: HashSet<Pair> = found.iter().map(|outlier| outlier.score.pair).collect();
        assert_eq!(pairs, HashSet::from([Pair::new(10, 20), Pair::new(30, 40), Pair::new(50, 60)]));
        assert!(found.iter().all(|outlier| outlier.expected < 0.1 && outlier.score.cosine > 0.95), "{found:?}");
        let without = measured(&rows, &pairs, count, 0.9);
        let fit = |impostors: &Impostors, left_out| {
            Fit::new(impostors, left_out, count, ROUNDS, &mut SplitMix::new(1)).unwrap()
        };
        let (with, without) = (fit(&all, &none), fit(&without, &pairs));
        assert!(with.tail.pareto.shape > without.tail.pareto.shape);
        let exact_rate = exact(without.threshold(0.05, 250.0).value);
        assert!((0.4..2.5).contains(&(exact_rate / fmr(0.05, 250.0))), "{exact_rate}");
        assert!(with.fpir(0.9, 250.0).value > 10.0 * without.fpir(0.9, 250.0).value);
    }

    #[test]
    fn too_few_scores_are_not_fitted() {
        let rows = directions(20, &mut SplitMix::new(1));
        let impostors = measured(&rows, &HashSet::new(), 190, 0.5);
        assert!(Fit::new(&impostors, &HashSet::new(), 190, ROUNDS, &mut SplitMix::new(1)).is_none());
    }
}
