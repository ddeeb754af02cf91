//! A measured value and the limit that it is judged by.

use serde::Deserialize;

/// Where a measure counts as fine.
///
/// The documented samples fix intervals, not the tie; `AtLeast` includes its limit and `Below`
/// excludes it, as the contract's section 6 suggests.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// High is good: fine when `value >= limit`.
    AtLeast(f64),
    /// Low is good: fine when `value < limit`.
    Below(f64),
    /// A band is good: fine when `low <= value <= high`.
    Within(f64, f64),
}

impl Limit {
    /// Judges a value. A value that is not a number is never fine.
    pub fn judge(self, score: f64) -> Verdict {
        let fine = match self {
            Self::AtLeast(limit) => score >= limit,
            Self::Below(limit) => score < limit,
            Self::Within(low, high) => (low..=high).contains(&score),
        };
        Verdict { score, fine }
    }

    /// The same kind of limit with other numbers: one, or two with a comma between them.
    ///
    /// # Errors
    /// A sentence that says which numbers this kind of limit takes.
    pub fn with(self, numbers: &str) -> Result<Self, String> {
        let parsed: Result<Vec<f64>, _> = numbers.split(',').map(|number| number.trim().parse::<f64>()).collect();
        let parsed = parsed.ok().filter(|all| all.iter().all(|number| (0.0..=1.0).contains(number)));
        match (self, parsed.as_deref()) {
            (Self::AtLeast(_), Some(&[limit])) => Ok(Self::AtLeast(limit)),
            (Self::Below(_), Some(&[limit])) => Ok(Self::Below(limit)),
            (Self::Within(..), Some(&[low, high])) if low <= high => Ok(Self::Within(low, high)),
            (Self::Within(..), _) => Err("must be two numbers from 0 to 1, such as 0.2,0.8".to_owned()),
            _ => Err("must be a number from 0 to 1".to_owned()),
        }
    }
}

/// A measure in [0, 1] and whether it passes its limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The measured value.
    pub score: f64,
    /// Whether it passes.
    pub fine: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tie_is_fine_only_where_high_is_good() {
        assert!(Limit::AtLeast(0.75).judge(0.75).fine);
        assert!(!Limit::Below(0.5).judge(0.5).fine);
        assert!(Limit::Within(0.2, 0.4).judge(0.4).fine);
        assert!(!Limit::Within(0.2, 0.4).judge(0.41).fine);
    }

    #[test]
    fn not_a_number_is_never_fine() {
        for t in [Limit::AtLeast(0.0), Limit::Below(1.0), Limit::Within(0.0, 1.0)] {
            assert!(!t.judge(f64::NAN).fine);
        }
    }

    #[test]
    fn a_limit_moves_but_keeps_its_kind() {
        assert_eq!(Limit::Below(0.5).with("0.25"), Ok(Limit::Below(0.25)));
        assert_eq!(Limit::AtLeast(0.5).with(" 1 "), Ok(Limit::AtLeast(1.0)));
        assert_eq!(Limit::Within(0.2, 0.8).with("0.1, 0.9"), Ok(Limit::Within(0.1, 0.9)));
        for (limit, text) in [
            (Limit::Below(0.5), ""),
            (Limit::Below(0.5), "x"),
            (Limit::Below(0.5), "1.1"),
            (Limit::Below(0.5), "NaN"),
            (Limit::Below(0.5), "0.1,0.2"),
            (Limit::Within(0.2, 0.8), "0.3"),
            (Limit::Within(0.2, 0.8), "0.9,0.1"),
        ] {
            assert!(limit.with(text).is_err(), "{limit:?} {text:?}");
        }
    }
}
