//! Where a false match rate comes from: the gallery itself, or the model pack.

use super::fit::{Estimate, Fit, MIN_EXPECTED_PAIRS, fmr, fpir};
use crate::domain::{Cosine, FalseMatchCurve};

/// A value, with a 95 % interval where one is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// The value.
    pub value: f64,
    /// The lower and the upper end.
    pub interval: Option<(f64, f64)>,
}

impl From<Estimate> for Figure {
    fn from(estimate: Estimate) -> Self {
        Self { value: estimate.value, interval: Some((estimate.low, estimate.high)) }
    }
}

/// The false match rates of a calibration.
#[derive(Debug, Clone)]
pub enum Source {
    /// The tail of the gallery.
    Gallery(Box<Fit>),
    /// The curve that was measured for the model pack, on photos of other people.
    Pack(FalseMatchCurve),
}

impl Source {
    /// FPIR at a cosine: the threshold in force, or one that the fit covers.
    pub fn fpir(&self, cosine: f64, gallery: f64) -> Figure {
        match self {
            Self::Gallery(fit) => fit.fpir(cosine, gallery).into(),
            Self::Pack(curve) => {
                Figure { value: fpir(curve.rate(Cosine::clamped(cosine as f32)), gallery), interval: None }
            }
        }
    }

    /// The cosine at a target FPIR; `None` if no cosine has it.
    pub fn threshold(&self, target: f64, gallery: f64) -> Option<Figure> {
        let figure = match self {
            Self::Gallery(fit) => {
                let Estimate { value, low, high } = fit.threshold(target, gallery);
                Figure { value, interval: Some((low.min(1.0), high.min(1.0))) }
            }
            Self::Pack(curve) => Figure { value: f64::from(curve.cutoff(fmr(target, gallery)).get()), interval: None },
        };
        let highest = match self {
            Self::Gallery(_) => 1.0,
            Self::Pack(_) => f64::from(FalseMatchCurve::MAX_CUTOFF as f32),
        };
        (figure.value < highest).then_some(figure)
    }

    /// Whether a threshold is far beyond the measured scores.
    pub fn is_extrapolated(&self, cosine: f64) -> bool {
        match self {
            Self::Gallery(fit) => fit.expected_pairs(cosine) < MIN_EXPECTED_PAIRS,
            Self::Pack(curve) => curve.measured_rate(Cosine::clamped(cosine as f32)).is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_of_the_pack_answers_without_an_interval() {
        let curve = FalseMatchCurve::new(&[(1e-3, 0.365), (1e-5, 0.474)]).unwrap();
        let pack = Source::Pack(curve);
        // 1 - (1 - 1e-4)^100: the rate of 1e-4 is half way between the points.
        let figure = pack.fpir(f64::midpoint(0.365, 0.474), 100.0);
        assert!((figure.value - (1.0 - 0.9999f64.powi(100))).abs() < 1e-6 && figure.interval.is_none());
        let threshold = pack.threshold(figure.value, 100.0).unwrap();
        assert!((threshold.value - f64::midpoint(0.365, 0.474)).abs() < 1e-4);
        assert!(!pack.is_extrapolated(0.4) && pack.is_extrapolated(0.6));
        assert_eq!(pack.threshold(1e-12, 1e9), None);
    }
}
