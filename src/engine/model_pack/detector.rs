//! How faces are found: the search steps, the refinement, and turns.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{InputSpec, Output};

/// How a detector's output is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DetectorFamily {
    /// YuNet: `cls`, `obj`, `bbox` and `kps` at strides 8, 16 and 32.
    Yunet,
}

/// How faces are found: a search of the whole photo, then a refinement of the main face.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorSpec {
    /// How the outputs are read.
    pub family: DetectorFamily,
    /// The models, one per input size, by the names that the steps below use.
    pub inputs: BTreeMap<String, DetectorInput>,
    /// A search step keeps candidates of at least this score.
    pub score: f32,
    /// Boxes that overlap a better one by more than this (intersection over union) are dropped.
    pub nms_iou: f32,
    /// Boxes that overlap a kept one by more than this, with more than half its score, are averaged
    /// into it.
    pub vote_iou: f32,
    /// The search steps, in order.
    pub search: Vec<SearchStep>,
    /// What makes the main face of a search doubtful.
    pub unsure: Unsure,
    /// The refinement.
    pub refine: Refine,
    /// How turned faces are found; without it only upright faces are.
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

/// When a search step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Always.
    Always,
    /// When nothing was found yet or the main face is doubtful, and the photo has more detail than the input of the
    /// step before.
    Unsure,
    /// When nothing was found yet.
    Nothing,
}

/// One search of the whole photo.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchStep {
    /// Which of the detector's inputs.
    pub input: String,
    /// Black margin on every side, as a share of the photo's longer side. Faces that fill the photo
    /// are found only with one.
    pub margin: f64,
    /// When this step runs.
    pub when: When,
}

/// What makes the main face doubtful.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unsure {
    /// Its height in the detector's input is less than this, in pixels.
    pub height: f32,
    /// Its score is below this.
    pub score: f32,
}

/// The refinement: the network on a square around the face at a canonical scale, and on its mirror image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refine {
    /// Which of the detector's inputs.
    pub input: String,
    /// Side of the square in longer sides of the box.
    pub factor: f64,
    /// Least score of a candidate.
    pub score: f32,
    /// The better of both scores must reach this, or the face was a false alarm.
    pub confirm: f32,
    /// A face that the refinement does not find must have had this score in the search.
    pub trust: f32,
}

/// How turned faces are found.
///
/// A tilted face is refined again, turned upright by the line of its eyes. If the face is then doubtful, or there is no
/// face, the network runs under turns of the full circle, and the photo is searched again under the best one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Which of the detector's inputs runs under turns.
    pub input: String,
    /// A face whose line of the eyes is turned by more degrees than this is turned upright, ...
    pub tilt: f64,
    /// ... at most so many times.
    pub rounds: usize,
    /// When a face is doubtful.
    pub doubt: Doubt,
    /// How many turns of the full circle, evenly spaced.
    pub looks: u32,
    /// Side of the square around the face, in longer sides of the face's box.
    pub factor: f64,
    /// Black margin around the whole photo, when there is no face, as in a search step.
    pub margin: f64,
    /// A turn must score higher than no further turn by this.
    pub gain: f32,
}

/// When a face is doubtful: an output is too low.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Doubt {
    /// Which output; high must be good, and its head must read the feature map only.
    #[serde(alias = "finding")]
    pub output: Output,
    /// A face with a lower value is doubtful.
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
