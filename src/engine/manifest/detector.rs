//! How faces are found: the steps of the search, the second look, and turns.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Finding, InputSpec};

/// How a detector's output is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DetectorFamily {
    /// YuNet: `cls`, `obj`, `bbox` and `kps` at strides 8, 16 and 32.
    Yunet,
}

/// How faces are found: a search over the whole photo, then a second look at the main face.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorSpec {
    /// How the outputs are read.
    pub family: DetectorFamily,
    /// The models, one per input size, by what the steps below call them.
    pub inputs: BTreeMap<String, DetectorInput>,
    /// A search step keeps candidates of at least this score.
    pub score: f32,
    /// Boxes that overlap a better one by more than this (intersection over union) are dropped.
    pub nms_iou: f32,
    /// Boxes that overlap a kept one by more than this, with more than half its score, are averaged
    /// into it.
    pub vote_iou: f32,
    /// The steps of the search, in order.
    pub search: Vec<SearchStep>,
    /// What makes the main face of a search doubtful.
    pub unsure: Unsure,
    /// The second look.
    pub refine: Refine,
    /// How faces are found that are not upright; without it the photo is looked at as it is.
    pub turn: Option<Turn>,
}

/// A detector model at one input size.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorInput {
    /// Id of the model.
    pub model: String,
    /// How the input is laid out.
    pub input: InputSpec,
}

/// When a search step is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Always.
    Always,
    /// When nothing was found yet, or the main face is doubtful, and the photo has more detail than
    /// the step before could see.
    Unsure,
    /// When nothing was found yet.
    Nothing,
}

/// One look at the whole photo.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchStep {
    /// Which of the detector's inputs.
    pub input: String,
    /// Black margin on every side, as a share of the photo's longer side. Faces that fill the photo
    /// are found only with one.
    pub margin: f64,
    /// When this step is taken.
    pub when: When,
}

/// What makes the main face doubtful.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unsure {
    /// Its height in the detector's input is below so many pixels.
    pub height: f32,
    /// Its score is below this.
    pub score: f32,
}

/// The second look: a square around the face at a canonical scale, and its mirror image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refine {
    /// Which of the detector's inputs.
    pub input: String,
    /// Side of the square in longer sides of the box.
    pub factor: f64,
    /// Candidates of at least this score are looked at.
    pub score: f32,
    /// The better of both scores must reach this, or the face was a false alarm.
    pub confirm: f32,
    /// A face the second look does not see at all must have had this score in the search.
    pub trust: f32,
}

/// How a face is found that is turned in the photo.
///
/// A face that is tilted only is looked at again, turned upright by the line of its eyes. Where the face is doubtful
/// after that, or there is none, the photo is looked at under turns all round, and once more as usual under the
/// one with the best score.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Which of the detector's inputs looks under turns.
    pub input: String,
    /// A line of the eyes that is turned by more degrees than this is turned upright, ...
    pub tilt: f64,
    /// ... at most so many times.
    pub rounds: usize,
    /// When a face is doubtful.
    pub doubt: Doubt,
    /// Looks all round, evenly spaced.
    pub looks: u32,
    /// Side of the square that is looked at, in longer sides of the face's box.
    pub factor: f64,
    /// Black margin where there is no face to look at but the whole photo, as in a search step.
    pub margin: f64,
    /// A turn must have a score that is higher by this than the look that is not turned.
    pub gain: f32,
}

/// When a face is doubtful: a network finds too little of something.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Doubt {
    /// What; high must be good, and the network must need the map of the embedding only.
    pub finding: Finding,
    /// A face with less of it is doubtful.
    pub below: f64,
}

impl Turn {
    pub(super) fn check(&self) -> Result<(), String> {
        if !(1..=36).contains(&self.looks) || self.rounds > 4 {
            return Err("detector.turn needs 1 to 36 looks and at most 4 rounds".to_owned());
        }
        if !(self.tilt > 0.0 && self.factor >= 1.0 && self.margin >= 0.0 && self.gain >= 0.0) {
            return Err(
                "detector.turn needs a tilt above 0, a factor of at least 1, a margin and a gain of at least 0"
                    .to_owned(),
            );
        }
        Ok(())
    }
}
