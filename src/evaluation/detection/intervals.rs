//! 95 % intervals: which of them the units carry.

use super::super::Estimate;
use crate::domain::wilson;

/// Fewer units than this are not drawn: their bootstrap would be too narrow.
pub(super) const MIN_UNITS: usize = 20;

/// How the photos of a rate hang together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence {
    /// Units that the rate is of.
    pub(super) units: usize,
    /// Whether each photo is a unit of its own, so that photos are independent.
    pub(super) is_by_photo: bool,
}

/// A share of photos. Photos that are units of their own have the interval of Wilson; photos of sub-folders that of the
/// bootstrap or, with fewer than [`MIN_UNITS`] units, that of Wilson as if a sub-folder was one photo. Shares of 0 and 1
/// have the rule of three.
pub(super) fn share(rate: f64, drawn: Option<(f64, f64)>, evidence: Evidence) -> Estimate {
    let by_units = || Some(wilson(rate, evidence.units));
    let interval =
        if evidence.is_by_photo || evidence.units < MIN_UNITS { by_units() } else { drawn.or_else(by_units) };
    at_the_ends(rate, interval, evidence.units)
}

/// A rate whose threshold each draw chooses again.
pub(super) fn at_chosen_threshold(rate: f64, drawn: Option<(f64, f64)>, units: usize) -> Estimate {
    at_the_ends(rate, drawn, units)
}

fn at_the_ends(rate: f64, interval: Option<(f64, f64)>, units: usize) -> Estimate {
    if rate < 1.0 {
        return Estimate::new(rate, interval, units as u64);
    }
    let mirrored = Estimate::new(0.0, None, units as u64);
    Estimate { rate, low: mirrored.high.map(|high| 1.0 - high), high: Some(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(units: usize, is_by_photo: bool) -> Evidence {
        Evidence { units, is_by_photo }
    }

    #[test]
    fn photos_of_their_own_have_wilsons_interval_and_sub_folders_that_of_the_draws() {
        let drawn = Some((0.1, 0.4));
        let wilsons = |units| Estimate::new(0.2, Some(wilson(0.2, units)), 1);
        assert_eq!(share(0.2, drawn, evidence(50, true)), wilsons(50));
        assert_eq!(share(0.2, drawn, evidence(20, false)), Estimate::new(0.2, drawn, 1));
        assert_eq!(share(0.2, drawn, evidence(19, false)), wilsons(19), "too few units");
        assert_eq!(share(0.2, None, evidence(20, false)), wilsons(20));
    }

    #[test]
    fn shares_of_nothing_and_of_all_have_the_rule_of_three() {
        for is_by_photo in [true, false] {
            let none = share(0.0, Some((0.0, 0.0)), evidence(60, is_by_photo));
            assert_eq!((none.low, none.high), (Some(0.0), Some(0.05)));
            let all = share(1.0, Some((1.0, 1.0)), evidence(60, is_by_photo));
            assert_eq!((all.low, all.high), (Some(0.95), Some(1.0)));
        }
        assert_eq!(share(1.0, None, evidence(2, true)).low, Some(0.0));
        assert_eq!(at_chosen_threshold(0.0, Some((0.0, 0.2)), 30).high, Some(0.1));
    }
}
