//! The quality block of one face.

use super::Verdict;

/// The twelve quality measures of the contract. `None`: no model or method for it is installed, so
/// it is absent from the reply; a number is never made up.
///
/// Probabilities name a *defect* (low is good), except `crfiqa` (utility, high is good) and the
/// three `value` measures `uniformity`, `exposure` and `contrast`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Quality {
    /// Evenness of the light on both halves of the face.
    pub uniformity: Option<Verdict>,
    /// Brightness of the face.
    pub exposure: Option<Verdict>,
    /// Dynamic range of the face.
    pub contrast: Option<Verdict>,
    /// Probability of flare.
    pub flare: Option<Verdict>,
    /// Strength of blur.
    pub blur: Option<Verdict>,
    /// Probability of occlusion.
    pub occlusion: Option<Verdict>,
    /// Strength of compression blocks.
    pub macroblocks: Option<Verdict>,
    /// Probability of a non-neutral expression.
    pub emotion: Option<Verdict>,
    /// Probability that the subject's right eye is closed.
    pub right_eye_closed: Option<Verdict>,
    /// Probability that the subject's left eye is closed.
    pub left_eye_closed: Option<Verdict>,
    /// Utility of the face for recognition.
    pub crfiqa: Option<Verdict>,
    /// Strength of geometric distortion.
    pub distortion: Option<Verdict>,
}

/// Age, gender and race as estimated by a model. `None`: no model is installed, or the application
/// has switched attributes off.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Demography {
    /// Age in whole years.
    pub age: Option<u32>,
    /// `male` or `female`.
    pub gender: Option<&'static str>,
    /// One of the contract's vocabulary.
    pub race: Option<&'static str>,
}
