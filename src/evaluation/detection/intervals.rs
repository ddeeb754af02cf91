//! 95 % intervals: which of them the units carry.

use super::super::Estimate;
use crate::domain::wilson;

/// Fewer units than this are not drawn: their bootstrap would be too narrow.
pub(super) const MIN_UNITS: usize = 20;

/// How the photos of a rate hang together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence {
    /// Photos that the rate is of.
    pub(super) photos: usize,
    /// Units that they belong to.
    pub(super) units: usize,
    /// The variance of the rate when units are drawn with replacement.
    pub(super) variance: Option<f64>,
}

impl Evidence {
    /// The number of independent photos that a rate would be as well known by: all photos where each is a unit of its own,
    /// otherwise that with the variance of the draws. With fewer than [`MIN_UNITS`] units it is their number, as if each was
    /// one photo.
    fn effective_photos(self, rate: f64) -> usize {
        if self.photos == self.units {
            return self.photos;
        }
        match self.variance.filter(|variance| *variance > 0.0 && self.units >= MIN_UNITS) {
            Some(variance) => ((rate * (1.0 - rate) / variance).round() as usize).clamp(1, self.photos),
            None => self.units,
        }
    }
}

/// A share of photos, with the interval of Wilson for the effective number of photos. Shares of 0 and 1 have the rule of
/// three of the units.
pub(super) fn share(rate: f64, evidence: Evidence) -> Estimate {
    estimate(rate, Some(wilson(rate, evidence.effective_photos(rate))), evidence.units)
}

/// The variance of values; `None` when one is missing.
pub(super) fn variance(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (values.len() > 1).then(|| values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0))
}

/// A rate with an interval, such as that of draws which choose the threshold again. Rates of 0 and 1 have the rule of three
/// of the units.
pub(super) fn estimate(rate: f64, interval: Option<(f64, f64)>, units: usize) -> Estimate {
    if rate < 1.0 {
        return Estimate::new(rate, interval, units as u64);
    }
    let mirrored = Estimate::new(0.0, None, units as u64);
    Estimate { rate, low: mirrored.high.map(|high| 1.0 - high), high: Some(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(photos: usize, units: usize, variance: Option<f64>) -> Evidence {
        Evidence { photos, units, variance }
    }

    fn wilsons(rate: f64, photos: usize) -> Estimate {
        Estimate::new(rate, Some(wilson(rate, photos)), 1)
    }

    #[test]
    fn photos_of_sub_folders_count_as_much_as_their_variance_says() {
        assert_eq!(share(0.2, evidence(50, 50, Some(1.0))), wilsons(0.2, 50), "each photo is a unit");
        // 0.2 * 0.8 / 0.0016 = 100 independent photos.
        assert_eq!(share(0.2, evidence(1000, 20, Some(0.0016))), wilsons(0.2, 100));
        assert_eq!(share(0.2, evidence(1000, 20, Some(1e-9))), wilsons(0.2, 1000), "never more than there are");
        assert_eq!(share(0.2, evidence(1000, 19, Some(0.0016))), wilsons(0.2, 19), "too few units");
        assert_eq!(share(0.2, evidence(1000, 20, None)), wilsons(0.2, 20));
    }

    #[test]
    fn shares_of_nothing_and_of_all_have_the_rule_of_three() {
        for photos in [60, 600] {
            let none = share(0.0, evidence(photos, 60, Some(0.0)));
            assert_eq!((none.low, none.high), (Some(0.0), Some(0.05)));
            let all = share(1.0, evidence(photos, 60, Some(0.0)));
            assert_eq!((all.low, all.high), (Some(0.95), Some(1.0)));
        }
        assert_eq!(share(1.0, evidence(2, 2, None)).low, Some(0.0));
        assert_eq!(estimate(0.0, Some((0.0, 0.2)), 30).high, Some(0.1));
    }

    #[test]
    fn the_variance_is_of_a_sample() {
        assert_eq!(variance([1.0, 2.0, 3.0, 4.0].into_iter().map(Some)), Some(5.0 / 3.0));
        assert_eq!(variance([Some(1.0), None].into_iter()), None);
        assert_eq!(variance([Some(1.0)].into_iter()), None);
    }
}
