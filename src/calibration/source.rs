//! Where a false match rate comes from: the gallery itself, or the model pack.

use super::estimate::{Estimate, Figure};
use super::fit::{Fit, MIN_EXPECTED_PAIRS};
use crate::domain::{Cosine, FalseMatchCurve, fmr, fpir};

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
            Self::Pack(curve) => Figure::alone(fpir(curve.rate(Cosine::clamped(cosine as f32)), gallery)),
        }
    }

    /// The cosine at a target FPIR; `None` if no cosine has it.
    pub fn threshold(&self, target: f64, gallery: f64) -> Option<Figure> {
        let figure = match self {
            Self::Gallery(fit) => {
                let Estimate { value, low, high } = fit.threshold(target, gallery);
                Estimate { value, low: low.min(1.0), high: high.min(1.0) }.into()
            }
            Self::Pack(curve) => Figure::alone(curve.cutoff(fmr(target, gallery)).get().into()),
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
        assert!((figure.value - (1.0 - 0.9999f64.powi(100))).abs() < 1e-6 && (figure.low, figure.high) == (None, None));
        let threshold = pack.threshold(figure.value, 100.0).unwrap();
        assert!((threshold.value - f64::midpoint(0.365, 0.474)).abs() < 1e-4);
        assert!(!pack.is_extrapolated(0.4) && pack.is_extrapolated(0.6));
        assert_eq!(pack.threshold(1e-12, 1e9), None);
    }
}
