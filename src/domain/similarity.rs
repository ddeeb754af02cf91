//! From cosine to the similarity that callers compare with 0.75.

use std::fmt;

/// Cosine of the angle between two embeddings, -1 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Cosine(f32);

impl Cosine {
    /// Clamps rounding noise into [-1, 1]; not a number becomes -1.
    pub fn clamped(value: f32) -> Self {
        Self(if value.is_nan() { -1.0 } else { value.clamp(-1.0, 1.0) })
    }

    /// The value.
    pub fn get(self) -> f32 {
        self.0
    }
}

/// What goes on the wire as `similarity`. Only a [`Calibration`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Similarity(f64);

impl Similarity {
    /// The value.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Similarity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A calibration that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the operating point must lie between 0 and 1, not at {0}")]
pub struct CalibrationError(pub f32);

/// How cosines become similarities.
///
/// The documented use of `similarity` is "accept at 0.75". `Calibrated` keeps that promise: a
/// monotone, piecewise-linear map with s(c <= 0) = 0, s(t) = 0.75 and s(1) = 1, where t is the
/// pack's operating point (the cosine at false match rate 1e-5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Calibration {
    /// Similarity is the cosine itself.
    Cosine,
    /// Similarity 0.75 is the operating point.
    Calibrated {
        /// The cosine that becomes 0.75; strictly between 0 and 1.
        operating_point: f32,
    },
}

impl Calibration {
    /// The similarity at the operating point, as documented to callers.
    pub const ACCEPT: f64 = 0.75;

    /// A calibrated map through the operating point.
    ///
    /// # Errors
    /// When the operating point is not strictly between 0 and 1.
    pub fn calibrated(operating_point: f32) -> Result<Self, CalibrationError> {
        if operating_point > 0.0 && operating_point < 1.0 {
            Ok(Self::Calibrated { operating_point })
        } else {
            Err(CalibrationError(operating_point))
        }
    }

    /// The cosine that has a similarity; `None` where none, or more than one, has it: at 0 and below when similarities are
    /// calibrated, and outside of -1 to 1.
    pub fn cosine(self, similarity: f64) -> Option<Cosine> {
        let cosine = match self {
            Self::Cosine => similarity,
            Self::Calibrated { .. } if similarity <= 0.0 => return None,
            Self::Calibrated { operating_point } => {
                let t = f64::from(operating_point);
                if similarity < Self::ACCEPT {
                    t * similarity / Self::ACCEPT
                } else {
                    t + (1.0 - t) * (similarity - Self::ACCEPT) / (1.0 - Self::ACCEPT)
                }
            }
        };
        (-1.0..=1.0).contains(&cosine).then(|| Cosine::clamped(cosine as f32))
    }

    /// The cosine from which a threshold is reached: -1, the least one, where every cosine reaches it.
    pub fn threshold_cosine(self, threshold: f64) -> f64 {
        self.cosine(threshold).map_or(-1.0, |cosine| f64::from(cosine.get()))
    }

    /// Turns a cosine into a similarity.
    pub fn similarity(self, cosine: Cosine) -> Similarity {
        let c = f64::from(cosine.get());
        Similarity(match self {
            Self::Cosine => c,
            Self::Calibrated { operating_point } => {
                let t = f64::from(operating_point);
                if c <= 0.0 {
                    0.0
                } else if c < t {
                    Self::ACCEPT * (c / t)
                } else {
                    // c and t are both in [t, 1], so the quotient is in [0, 1].
                    Self::ACCEPT + (1.0 - Self::ACCEPT) * ((c - t) / (1.0 - t))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const T: f32 = 0.499;

    #[test]
    fn the_fixed_points_hold() {
        let c = Calibration::calibrated(T).unwrap();
        assert_eq!(c.similarity(Cosine::clamped(1.0)).get(), 1.0);
        assert_eq!(c.similarity(Cosine::clamped(T)).get(), 0.75);
        assert_eq!(c.similarity(Cosine::clamped(0.0)).get(), 0.0);
        assert_eq!(c.similarity(Cosine::clamped(-0.3)).get(), 0.0);
    }

    #[test]
    fn an_impossible_operating_point_is_refused() {
        for t in [0.0, 1.0, -0.1, f32::NAN] {
            assert!(Calibration::calibrated(t).is_err());
        }
    }

    #[test]
    fn what_no_single_cosine_has_is_no_cosine() {
        let c = Calibration::calibrated(T).unwrap();
        for similarity in [0.0, -0.2, 1.1, f64::NAN] {
            assert_eq!(c.cosine(similarity), None, "{similarity}");
        }
        assert_eq!(Calibration::Cosine.cosine(-0.5), Some(Cosine::clamped(-0.5)));
        assert_eq!(Calibration::Cosine.cosine(f64::NAN), None);
    }

    proptest! {
        #[test]
        fn a_similarity_leads_back_to_its_cosine(cosine in 0.001f32..=1.0, t in 0.01f32..0.99) {
            for map in [Calibration::calibrated(t).unwrap(), Calibration::Cosine] {
                let back = map.cosine(map.similarity(Cosine::clamped(cosine)).get()).unwrap();
                prop_assert!((back.get() - cosine).abs() < 1e-5);
            }
        }

        #[test]
        fn the_map_is_monotone_and_stays_in_range(a in -1.0f32..=1.0, b in -1.0f32..=1.0, t in 0.01f32..0.99) {
            let map = Calibration::calibrated(t).unwrap();
            let (low, high) = if a <= b { (a, b) } else { (b, a) };
            let low = map.similarity(Cosine::clamped(low)).get();
            let high = map.similarity(Cosine::clamped(high)).get();
            prop_assert!(low <= high);
            prop_assert!((0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high));
        }
    }
}
