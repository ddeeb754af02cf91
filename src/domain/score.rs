//! A measured value and what we make of it.

/// Where a measure counts as fine.
///
/// The documented samples fix intervals, not the tie; `AtLeast` includes its limit and `Below`
/// excludes it, as the contract's section 6 suggests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// High is good: fine when `value >= limit`.
    AtLeast(f64),
    /// Low is good: fine when `value < limit`.
    Below(f64),
    /// A band is good: fine when `low <= value <= high`.
    Within(f64, f64),
}

impl Threshold {
    /// Judges a value. A value that is not a number is never fine.
    pub fn judge(self, score: f64) -> Verdict {
        let fine = match self {
            Self::AtLeast(limit) => score >= limit,
            Self::Below(limit) => score < limit,
            Self::Within(low, high) => (low..=high).contains(&score),
        };
        Verdict { score, fine }
    }
}

/// A measure in [0, 1] and whether it passes its threshold.
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
        assert!(Threshold::AtLeast(0.75).judge(0.75).fine);
        assert!(!Threshold::Below(0.5).judge(0.5).fine);
        assert!(Threshold::Within(0.2, 0.4).judge(0.4).fine);
        assert!(!Threshold::Within(0.2, 0.4).judge(0.41).fine);
    }

    #[test]
    fn not_a_number_is_never_fine() {
        for t in [Threshold::AtLeast(0.0), Threshold::Below(1.0), Threshold::Within(0.0, 1.0)] {
            assert!(!t.judge(f64::NAN).fine);
        }
    }
}
