//! Rates with their 95 % intervals.

use serde::Serialize;

use crate::domain::{self, wilson};

/// A rate with its 95 % interval; `None` where it cannot be computed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The rate.
    pub rate: f64,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
}

impl Estimate {
    /// A rate with an interval. A rate of zero gets the rule of three instead: an upper end of 3 / `independent`.
    pub(super) fn new(rate: f64, interval: Option<(f64, f64)>, independent: u64) -> Self {
        if rate == 0.0 {
            return Self { rate, low: Some(0.0), high: (independent > 0).then(|| (3.0 / independent as f64).min(1.0)) };
        }
        Self { rate, low: interval.map(|(low, _)| low), high: interval.map(|(_, high)| high) }
    }

    /// A share of counted things, with the interval of Wilson, or the rule of three at zero.
    pub(super) fn of_count(part: usize, whole: usize) -> Self {
        if whole == 0 {
            return Self { rate: 0.0, low: None, high: None };
        }
        let p = part as f64 / whole as f64;
        Self::new(p, Some(wilson(p, whole)), whole as u64)
    }

    /// The same after a monotone function.
    pub(super) fn map(self, function: impl Fn(f64) -> f64) -> Self {
        Self { rate: function(self.rate), low: self.low.map(&function), high: self.high.map(&function) }
    }
}

/// The range from the 2.5th to the 97.5th percentile; `None` when a value is missing.
pub(super) fn percentiles(values: impl IntoIterator<Item = Option<f64>>) -> Option<(f64, f64)> {
    domain::percentiles(values.into_iter().collect::<Option<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_holds_19_of_20_values() {
        assert_eq!(percentiles((0..=1000).rev().map(|at| Some(f64::from(at)))), Some((25.0, 975.0)));
        assert_eq!(percentiles([Some(1.0), None]), None);
        assert_eq!(percentiles([]), None);
    }

    #[test]
    fn without_errors_the_rule_of_three_is_the_upper_end() {
        let none = Estimate::new(0.0, Some((0.0, 0.0)), 300);
        assert_eq!(none, Estimate { rate: 0.0, low: Some(0.0), high: Some(0.01) });
        assert_eq!(Estimate::of_count(0, 300), none);
        assert_eq!(Estimate::new(0.0, None, 0).high, None);
    }

    /// Newcombe 1998: 15 of 148 has the interval 0.0624 to 0.1605.
    #[test]
    fn a_share_has_the_interval_of_wilson() {
        let share = Estimate::of_count(15, 148);
        assert!((share.low.unwrap() - 0.0624).abs() < 1e-4 && (share.high.unwrap() - 0.1605).abs() < 1e-4, "{share:?}");
    }
}
