//! Error rates of recognition on labeled photos, in the words of ISO/IEC 19795-1. Arithmetic only: it reads no file and
//! runs no model.
//!
//! [`DataSet`] has the templates, [`Evaluation`] all rates. Every pair of photos is compared once; cosines are counted in
//! steps of 1e-4. Intervals come from drawing people with replacement.

mod bins;
mod data_check;
mod data_set;
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
pub use photo::{Estimated, FaceRecord, LabeledPhoto, PhotoOutcome};
pub use report::{Counts, Evaluation, Options};
pub use sample::{Both, Draws, Weighting};
pub use verification::{
    DetPoint, EqualError, NotReported, OperatingPoint, Rates, RatesInForce, Threshold, Verification,
};
