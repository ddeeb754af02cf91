//! A labeled photo, and what the engine found on it.

use serde::{Deserialize, Serialize};

use crate::domain::Check;

/// A photo of a data set, its label, and the outcome of its analysis.
#[derive(Debug, Clone)]
pub struct LabeledPhoto {
    /// Whose photo it is.
    pub person: String,
    /// Its path below the folder of the data set.
    pub file: String,
    /// SHA-256 of its bytes, in hexadecimal digits.
    pub digest: String,
    /// A face, or the reason why there is no template.
    pub outcome: PhotoOutcome,
}

/// The outcome of the analysis of one photo.
#[derive(Debug, Clone, PartialEq)]
pub enum PhotoOutcome {
    /// A template was made.
    Face(FaceRecord),
    /// No template was made, for the fault of this kind.
    Fault(String),
}

/// What the evaluation needs of a face.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FaceRecord {
    /// The embedding, of unit length.
    pub embedding: Vec<f32>,
    /// Utility for recognition, where the pack has a network for it.
    pub crfiqa: Option<f64>,
    /// Age, gender and race by the pack's networks; `None` when they were not requested.
    pub estimated: Option<Estimated>,
    /// The score of the liveness check; `None` when it was not requested.
    pub liveness: Option<CheckScore>,
    /// The score of the deepfake check; `None` when it was not requested.
    pub deepfake: Option<CheckScore>,
}

impl FaceRecord {
    /// The score of a check.
    pub fn check(&self, check: Check) -> Option<CheckScore> {
        match check {
            Check::Liveness => self.liveness,
            Check::Deepfake => self.deepfake,
        }
    }
}

/// What a check found on a face.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckScore {
    /// From 0 to 1; high is live, or genuine.
    Score(f64),
    /// The face is too small for the check, so it passes at every threshold.
    NotJudged,
}

/// Age, gender and race as networks estimate them. They err, and more for some groups than for others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Estimated {
    /// In whole years.
    pub age: Option<u32>,
    /// `male` or `female`.
    pub gender: Option<String>,
    /// One of the vocabulary of the API.
    pub race: Option<String>,
}
