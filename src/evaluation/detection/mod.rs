//! Error rates of a check that separates photos of two sides: liveness (live people and presentation attacks, ISO/IEC
//! 30107-3) or deepfake (genuine and forged photos).
//!
//! The words here are those of both checks: the side that should pass is *bona fide*, the other one has *kinds* of attack.
//! An attack that passes is *missed* (APCER), a bona fide photo that does not pass is *flagged* (BPCER).

mod classes;
mod curve;
mod intervals;
mod overlap;
mod rates;
mod report;

pub use classes::{ClassPhoto, LabeledClass};
pub(super) use curve::RATES;
pub use curve::{CurvePoint, DetectionEqualError, KindCurve, RateAt};
pub use overlap::{ClassedPhoto, NearPair, Overlap};
pub(super) use rates::QUANTILES;
pub use rates::{BonaFide, ClassCounts, Kind, Quantile, ScoreDistribution, UnansweredPhoto, UnitKind};
#[cfg(test)]
pub(super) use report::tests;
pub use report::{CheckThreshold, Detection, DetectionInput, HighestKind, NotCarried};
