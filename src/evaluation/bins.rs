//! Cosines in steps of 1e-4: thresholds, and the error rates at each of them.

/// Steps from -1 to 1, and one for 1 itself.
pub(super) const BINS: usize = 20_001;

/// A cosine that is a step apart from the edge by less than this part of a step counts as on the edge, since an f32 has no
/// more digits.
const ROUNDING: f64 = 2e-3;

/// The step that a cosine falls into.
pub(super) fn bin(cosine: f32) -> usize {
    ((f64::from(cosine.clamp(-1.0, 1.0)) + 1.0) * 10_000.0 + ROUNDING) as usize
}

/// The lowest step that lies above a threshold as a whole.
pub(super) fn threshold_bin(cosine: f64) -> usize {
    (((cosine.clamp(-1.0, 1.0) + 1.0) * 10_000.0 - ROUNDING).ceil().max(0.0) as usize).min(BINS)
}

/// The lower edge of a step: what falls into it or a higher one has at least this cosine.
pub(super) fn edge(bin: usize) -> f64 {
    (bin as f64 - 10_000.0) / 10_000.0
}

/// What comparisons count, by step.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    /// Weight of the genuine comparisons of each step.
    pub(super) genuine: Vec<f64>,
    pub(super) genuine_total: f64,
    /// Weight of the impostor comparisons of each step from `known_from` on.
    pub(super) impostor: Vec<f64>,
    pub(super) impostor_total: f64,
    /// Impostor comparisons of lower steps are part of the total only.
    pub(super) known_from: usize,
}

/// Error rates at each threshold, counted in one way. The threshold `BINS` is above every cosine.
#[derive(Debug, Clone)]
pub(super) struct ErrorCurve {
    fmr: Vec<f64>,
    fnmr: Vec<f64>,
    known_from: usize,
}

impl ErrorCurve {
    /// The rates of counted comparisons. Without comparisons of a kind its rate is 0.
    pub(super) fn new(counted: &Counted) -> Self {
        // Sums of weights may exceed the whole by rounding.
        let share = |part: f64, whole: f64| if whole > 0.0 { (part / whole).min(1.0) } else { 0.0 };
        let mut fmr = vec![0.0; BINS + 1];
        let mut matches = 0.0;
        for at in (counted.known_from..BINS).rev() {
            matches += counted.impostor[at];
            fmr[at] = share(matches, counted.impostor_total);
        }
        let mut fnmr = vec![0.0; BINS + 1];
        let mut misses = 0.0;
        for at in 0..BINS {
            misses += counted.genuine[at];
            fnmr[at + 1] = share(misses, counted.genuine_total);
        }
        Self { fmr, fnmr, known_from: counted.known_from }
    }

    /// FMR at a threshold; `None` below the lowest known one.
    pub(super) fn fmr(&self, threshold: usize) -> Option<f64> {
        (threshold >= self.known_from).then(|| self.fmr[threshold])
    }

    /// FNMR at a threshold.
    pub(super) fn fnmr(&self, threshold: usize) -> f64 {
        self.fnmr[threshold]
    }

    /// The lowest threshold with at most this FMR; `None` when it may be below the lowest known one.
    pub(super) fn at_fmr(&self, fmr: f64) -> Option<usize> {
        // A sum of weights may exceed the rate that it is equal to by rounding.
        let allowed = fmr * (1.0 + 1e-9);
        let first = (self.known_from..=BINS).rev().take_while(|at| self.fmr[*at] <= allowed).last()?;
        (first > self.known_from || self.known_from == 0).then_some(first)
    }

    /// The equal error rate and its threshold: where both rates differ least, and their mean there. `None` when it may be
    /// below the lowest known threshold.
    pub(super) fn equal_error(&self) -> Option<(usize, f64)> {
        let above = (self.known_from..=BINS).find(|at| self.fnmr[*at] >= self.fmr[*at])?;
        if above == self.known_from && self.known_from > 0 {
            return None;
        }
        let gap = |at: usize| (self.fnmr[at] - self.fmr[at]).abs();
        let at = if above > self.known_from && gap(above - 1) < gap(above) { above - 1 } else { above };
        Some((at, f64::midpoint(self.fmr[at], self.fnmr[at])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(genuine: &[f32], impostor: &[f32]) -> Counted {
        let count = |cosines: &[f32]| {
            let mut counts = vec![0.0; BINS];
            cosines.iter().for_each(|cosine| counts[bin(*cosine)] += 1.0);
            counts
        };
        Counted {
            genuine: count(genuine),
            genuine_total: genuine.len() as f64,
            impostor: count(impostor),
            impostor_total: impostor.len() as f64,
            known_from: 0,
        }
    }

    #[test]
    fn a_cosine_on_a_threshold_reaches_it() {
        for at in 0..BINS {
            assert_eq!(bin(edge(at) as f32), at);
            assert_eq!(threshold_bin(edge(at)), at);
        }
        assert_eq!((bin(-2.0), bin(2.0), bin(0.505_05)), (0, BINS - 1, 15_050));
        assert_eq!(threshold_bin(0.505_05), 15_051);
    }

    #[test]
    fn the_threshold_keeps_the_requested_fmr() {
        let impostor: Vec<f32> = (0..1000u16).map(|at| f32::from(at) / 1000.0).collect();
        let curve = ErrorCurve::new(&counted(&[0.5, 0.985, 0.999], &impostor));
        let at = curve.at_fmr(0.01).unwrap();
        assert_eq!(at, threshold_bin(0.9891), "the first above the eleventh highest");
        assert!((curve.fmr(at).unwrap() - 0.01).abs() < 1e-12);
        assert!((curve.fnmr(at) - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(curve.at_fmr(0.0), Some(threshold_bin(0.9991)));
        assert_eq!(curve.at_fmr(1.0), Some(0));
    }

    #[test]
    fn the_equal_error_rate_is_where_both_rates_meet() {
        let curve = ErrorCurve::new(&counted(&[0.3, 0.6, 0.7, 0.8], &[0.0, 0.1, 0.2, 0.5]));
        let (at, rate) = curve.equal_error().unwrap();
        assert!((rate - 0.25).abs() < 1e-12);
        assert!(edge(at) > 0.3 && edge(at) <= 0.5, "{}", edge(at));
    }

    #[test]
    fn what_is_below_the_known_steps_is_not_reported() {
        let mut counted = counted(&[0.1, 0.9], &[-0.5, 0.0, 0.2, 0.4]);
        counted.known_from = threshold_bin(0.1);
        let curve = ErrorCurve::new(&counted);
        assert_eq!(curve.at_fmr(0.5), None);
        assert_eq!(curve.at_fmr(0.25), Some(threshold_bin(0.2001)));
        assert_eq!((curve.fmr(0), curve.fmr(threshold_bin(0.3))), (None, Some(0.25)));
    }

    #[test]
    fn rates_without_comparisons_are_zero_and_not_minus_zero() {
        let curve = ErrorCurve::new(&counted(&[], &[]));
        assert_eq!((curve.fmr(500).unwrap().to_bits(), curve.fnmr(500).to_bits()), (0, 0));
    }
}
