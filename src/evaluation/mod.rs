//! Error rates on labeled photos, in the words of ISO/IEC 19795-1 (recognition) and 30107-3 (presentation attacks).
//! Arithmetic only: it reads no file and runs no model.
//!
//! [`DataSet`] has the templates, [`Evaluation`] all rates of recognition. Every pair of photos is compared once; cosines
//! are counted in steps of 1e-4. Intervals come from drawing people with replacement. [`Detection`] has the rates of the
//! checks for liveness and forgery.

mod bins;
mod data_check;
mod data_set;
mod detection;
mod discard;
mod document;
mod failures;
mod folds;
mod groups;
mod identification;
mod interval;
mod leading;
mod parallel;
mod photo;
mod random;
mod report;
mod sample;
mod scores;
mod verification;

pub use data_check::{DataCheck, LikelyMislabeled, NEAR_DUPLICATE, NamedPair, NamedPhoto};
pub use data_set::{DataSet, FailedPhoto, TemplatePhoto};
pub use detection::{
    BonaFide, CheckThreshold, ClassCounts, ClassPhoto, ClassedPhoto, CurvePoint, Detection, DetectionEqualError,
    DetectionInput, HighestKind, Kind, KindCurve, LabeledClass, NearPair, NotCarried, Overlap, Quantile, RateAt,
    ScoreDistribution, UnansweredPhoto, UnitKind,
};
pub use discard::{Discard, DiscardPoint, DiscardRates};
pub use document::{GroupSource, ModelName, Report, Run};
pub use failures::Failures;
pub use folds::{Folds, Protocol, ProtocolError, ProtocolPair};
pub use groups::{Group, GroupRates, Groups, estimated_groups};
pub use identification::{
    ExtrapolatedGallery, ExtrapolatedPoint, Identification, IdentificationPoint, MeasuredGallery, SearchRates,
    SearchRatesInForce,
};
pub use interval::Estimate;
pub use leading::{Leading, LeadingPeople};
pub use photo::{CheckScore, Estimated, FaceRecord, LabeledPhoto, PhotoOutcome};
pub use report::{Counts, Evaluation, Options};
pub use sample::{Both, Draws, Weighting};
pub use verification::{
    DetPoint, EqualError, NotReported, OperatingPoint, Rates, RatesInForce, Threshold, Verification,
};
