//! The generalized Pareto distribution: what lies beyond a high cutoff (Pickands 1975; Balkema & de Haan 1974).

/// A score above the cutoff, and how often it counts (once, except in a bootstrap sample).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Excess {
    /// The score less the cutoff; positive.
    pub value: f64,
    /// How often it counts.
    pub weight: f64,
}

/// Scores that are known only to lie at or above a limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Censored {
    /// The limit, less the cutoff.
    pub at: f64,
    /// How many there are.
    pub weight: f64,
}

/// P(excess > y) = (1 + shape y / scale)^(-1 / shape). With a negative shape nothing exceeds -scale / shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pareto {
    /// The shape.
    pub shape: f64,
    /// The scale; positive.
    pub scale: f64,
}

/// Lower bound of the shape. Below it maximum likelihood is not regular (Smith 1985).
const MIN_SHAPE: f64 = -0.5;

/// The search for the maximum: the range and the step of v in theta = (e^v - 1) / max(excess).
const SEARCH_FROM: f64 = -7.0;
const SEARCH_STEPS: usize = 28;
const SEARCH_STEP: f64 = 0.5;

/// Steps of the golden-section search between two points of the grid: to 1e-6 of v.
const GOLDEN_STEPS: usize = 28;

impl Pareto {
    /// The maximum likelihood estimate, with censored scores if there are any.
    ///
    /// With theta = shape / scale, the likelihood is highest for a given theta at shape = mean of ln(1 + theta y) (Davison
    /// 1984; Grimshaw 1993), so only theta is searched for. Censored scores enter this mean with their limit, but do not
    /// count in its denominator. `None` where the excesses have no weight or are all the same.
    pub fn fit(excesses: &[Excess], censored: Option<Censored>) -> Option<Self> {
        let counted = || excesses.iter().filter(|excess| excess.weight > 0.0);
        let (count, total) = counted().fold((0.0, 0.0), |(n, sum), e| (n + e.weight, sum + e.weight * e.value));
        let (least, most) =
            counted().fold((f64::INFINITY, 0.0f64), |(low, high), e| (low.min(e.value), high.max(e.value)));
        if !(count > 0.0 && most > least) {
            return None;
        }
        let censored = censored.filter(|censored| censored.weight > 0.0);
        let most = censored.map_or(most, |censored| most.max(censored.at));
        let at = |v: f64| {
            // The limit at theta = 0 is the exponential distribution.
            let theta = if v.abs() < 1e-7 { 1e-7 } else { v.exp_m1() } / most;
            let logs: f64 = counted().map(|e| e.weight * (theta * e.value).ln_1p()).sum();
            let beyond = censored.map_or(0.0, |censored| censored.weight * (theta * censored.at).ln_1p());
            let shape = (logs + beyond) / count;
            let fit = Self { shape, scale: shape / theta };
            let likelihood = -count * fit.scale.ln() - logs - count;
            (if shape >= MIN_SHAPE && likelihood.is_finite() { likelihood } else { f64::NEG_INFINITY }, fit)
        };
        let grid = (0..=SEARCH_STEPS).map(|step| SEARCH_FROM + SEARCH_STEP * step as f64);
        let best = grid.max_by(|a, b| at(*a).0.total_cmp(&at(*b).0))?;
        let ratio = (5f64.sqrt() - 1.0) / 2.0;
        let (mut low, mut high) = (best - SEARCH_STEP, best + SEARCH_STEP);
        for _ in 0..GOLDEN_STEPS {
            let (left, right) = (high - ratio * (high - low), low + ratio * (high - low));
            if at(left).0 < at(right).0 { low = left } else { high = right }
        }
        let (likelihood, fit) = at(f64::midpoint(low, high));
        let (of_grid, fallback) = at(best);
        let fit = if likelihood >= of_grid { fit } else { fallback };
        (fit.scale > 0.0 && fit.scale <= total.max(most) * 1e3).then_some(fit)
    }

    /// The share of excesses above a value.
    pub fn survival(self, value: f64) -> f64 {
        if value <= 0.0 {
            return 1.0;
        }
        let scaled = value / self.scale;
        if self.shape.abs() < 1e-9 {
            return (-scaled).exp();
        }
        let inside = self.shape * scaled;
        if inside <= -1.0 { 0.0 } else { (-inside.ln_1p() / self.shape).exp() }
    }

    /// The excess that a share exceeds.
    pub fn quantile(self, share: f64) -> f64 {
        let log = -share.clamp(f64::MIN_POSITIVE, 1.0).ln();
        if self.shape.abs() < 1e-9 { self.scale * log } else { self.scale * (self.shape * log).exp_m1() / self.shape }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SplitMix;

    fn drawn(truth: Pareto, count: usize) -> Vec<Excess> {
        let mut random = SplitMix::new(7);
        (0..count).map(|_| Excess { value: truth.quantile(random.uniform()), weight: 1.0 }).collect()
    }

    #[test]
    fn survival_and_quantile_are_inverse() {
        for shape in [-0.3, -0.12, 0.0, 0.2] {
            let pareto = Pareto { shape, scale: 0.04 };
            for share in [1.0, 0.5, 1e-3, 1e-6] {
                assert!((pareto.survival(pareto.quantile(share)) / share - 1.0).abs() < 1e-6, "{shape} {share}");
            }
        }
        assert_eq!(Pareto { shape: -0.5, scale: 0.1 }.survival(0.21), 0.0);
    }

    #[test]
    fn a_fit_finds_the_parameters_that_made_the_sample() {
        for shape in [-0.3, -0.12, 0.0, 0.2] {
            let truth = Pareto { shape, scale: 0.04 };
            let sample = drawn(truth, 20_000);
            let fit = Pareto::fit(&sample, None).unwrap();
            // Three standard errors of maximum likelihood: (1 + shape) / sqrt(n), and scale * sqrt(2 (1 + shape) / n).
            assert!((fit.shape - shape).abs() < 3.0 * (1.0 + shape) / 20_000f64.sqrt(), "{fit:?}");
            assert!((fit.scale / 0.04 - 1.0).abs() < 3.0 * (2.0 * (1.0 + shape) / 20_000.0).sqrt(), "{fit:?}");
        }
    }

    #[test]
    fn censored_scores_do_not_bias_the_fit_as_cut_off_ones_would() {
        let truth = Pareto { shape: -0.12, scale: 0.04 };
        let at = truth.quantile(0.05);
        let (inside, beyond): (Vec<Excess>, Vec<Excess>) =
            drawn(truth, 40_000).into_iter().partition(|excess| excess.value < at);
        let fit = Pareto::fit(&inside, Some(Censored { at, weight: beyond.len() as f64 })).unwrap();
        assert!((fit.shape + 0.12).abs() < 0.05 && (fit.scale - 0.04).abs() < 0.002, "{fit:?}");
        let cut = Pareto::fit(&inside, None).unwrap();
        assert!(cut.shape < -0.2, "{cut:?}");
    }

    #[test]
    fn a_weight_counts_as_copies() {
        let sample = drawn(Pareto { shape: -0.1, scale: 0.04 }, 300);
        let doubled: Vec<Excess> = sample.iter().map(|e| Excess { weight: 2.0, ..*e }).collect();
        let copied: Vec<Excess> = sample.iter().chain(&sample).copied().collect();
        let (doubled, copied) = (Pareto::fit(&doubled, None).unwrap(), Pareto::fit(&copied, None).unwrap());
        assert!((doubled.shape - copied.shape).abs() < 1e-6 && (doubled.scale - copied.scale).abs() < 1e-8);
    }

    #[test]
    fn nothing_is_fitted_to_nothing() {
        assert_eq!(Pareto::fit(&[], None), None);
        assert_eq!(Pareto::fit(&[Excess { value: 0.1, weight: 1.0 }], None), None);
        assert_eq!(Pareto::fit(&[Excess { value: 0.1, weight: 0.0 }, Excess { value: 0.2, weight: 0.0 }], None), None);
    }
}
