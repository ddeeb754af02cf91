//! How well a fitted tail describes the scores that it was fitted to.

use super::pareto::{Excess, Pareto};
use crate::domain::SplitMix;

/// The Anderson-Darling test of a fitted tail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goodness {
    /// The statistic A^2 (Anderson & Darling 1954).
    pub statistic: f64,
    /// The share of samples of the fitted distribution, each fitted again, whose statistic is as high. Pairs share people,
    /// so scores are less independent than those of the samples, and the p-value is too small rather than too high.
    pub p_value: f64,
}

/// A^2 of the excesses of which each counts once. They need not be in order.
pub(super) fn anderson_darling(pareto: Pareto, excesses: &[Excess]) -> f64 {
    let mut survivals: Vec<f64> = excesses.iter().map(|excess| pareto.survival(excess.value)).collect();
    survivals.sort_by(|a, b| b.total_cmp(a));
    let count = survivals.len() as f64;
    // A score at or beyond the end of the fitted distribution has a survival of 0.
    let log = |value: f64| value.max(f64::MIN_POSITIVE).ln();
    let sum: f64 = survivals
        .iter()
        .zip(survivals.iter().rev())
        .enumerate()
        .map(|(at, (low, high))| (2 * at + 1) as f64 * (log(1.0 - low) + log(*high)))
        .sum();
    -count - sum / count
}

/// Tests a fit with a parametric bootstrap of some rounds: the limits of A^2 in tables do not hold for a distribution whose
/// parameters come from the same scores (Choulakian & Stephens 2001).
pub(super) fn test(pareto: Pareto, excesses: &[Excess], rounds: usize, random: &mut SplitMix) -> Goodness {
    let statistic = anderson_darling(pareto, excesses);
    let (mut higher, mut fitted) = (0usize, 0usize);
    for _ in 0..rounds {
        let sample: Vec<Excess> =
            excesses.iter().map(|_| Excess { value: pareto.quantile(random.uniform()), weight: 1.0 }).collect();
        if let Some(again) = Pareto::fit(&sample, None) {
            fitted += 1;
            higher += usize::from(anderson_darling(again, &sample) >= statistic);
        }
    }
    // One is added to both (Davison & Hinkley 1997): a share of 0 is not shown by a number of rounds.
    Goodness { statistic, p_value: (higher + 1) as f64 / (fitted + 1) as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excesses(values: impl IntoIterator<Item = f64>) -> Vec<Excess> {
        values.into_iter().map(|value| Excess { value, weight: 1.0 }).collect()
    }

    /// By the definition, with a sum of its own: three scores of an exponential distribution with mean 1.
    #[test]
    fn the_statistic_is_that_of_the_definition() {
        let exponential = Pareto { shape: 0.0, scale: 1.0 };
        let (a, b, c) = (1.0 - (-0.2f64).exp(), 1.0 - (-1.0f64).exp(), 1.0 - (-2.5f64).exp());
        let sum = (a.ln() + (1.0 - c).ln()) + 3.0 * (b.ln() + (1.0 - b).ln()) + 5.0 * (c.ln() + (1.0 - a).ln());
        let statistic = anderson_darling(exponential, &excesses([1.0, 2.5, 0.2]));
        assert!((statistic - (-3.0 - sum / 3.0)).abs() < 1e-12);
    }

    #[test]
    fn p_values_of_samples_of_the_distribution_are_spread_and_those_of_another_are_low() {
        let mut random = SplitMix::new(11);
        let truth = Pareto { shape: -0.12, scale: 0.04 };
        let mut values = Vec::new();
        for _ in 0..20 {
            let sample = excesses((0..100).map(|_| truth.quantile(random.uniform())));
            let fit = Pareto::fit(&sample, None).unwrap();
            values.push(test(fit, &sample, 39, &mut random).p_value);
        }
        let low = values.iter().filter(|p| **p < 0.2).count();
        // 4 of 20 are expected, with a standard deviation of 1.8.
        assert!((1..=10).contains(&low), "{values:?}");
        // Two heaps, which no tail has.
        let two = excesses((0..100).map(|n| if n % 2 == 0 { 0.01 } else { 0.2 } + 0.01 * random.uniform()));
        let fit = Pareto::fit(&two, None).unwrap();
        assert!(test(fit, &two, 59, &mut random).p_value <= 0.02);
    }
}
