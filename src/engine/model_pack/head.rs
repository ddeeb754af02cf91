//! The networks that run on a detected face (heads): their inputs and outputs.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::domain::{Check, Measure};
use crate::image::Frame;

/// One network of the pack (`[[network]]`).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadSpec {
    /// Id of the model.
    pub model: String,
    /// What each input receives, by the input's name.
    pub inputs: BTreeMap<String, HeadInput>,
    /// What it computes; the model has an output of each name.
    #[serde(alias = "gives")]
    pub outputs: Vec<Output>,
}

/// What an input receives.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadInput {
    /// The feature map that the embedding is made of.
    #[serde(alias = "trunk")]
    FeatureMap,
    /// The face in a frame: RGB planes of 0 to 255.
    Crop(Frame),
}

/// Something a network computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Output {
    /// Age in years.
    Age,
    /// Probability that the person is a man.
    Male,
    /// Probabilities of white, black, asian, indian and other, in that order.
    Race,
    /// Pitch, yaw and roll in degrees, roll relative to the aligned face.
    Pose,
    /// A quality measure.
    Measure(Measure),
    /// The score of a check: high is live, or genuine.
    Check(Check),
    /// Probability that it is an upright human face.
    Human,
    /// Probability that the embedding distinguishes the face from others.
    Trusted,
}

impl TryFrom<String> for Output {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        [Self::Age, Self::Male, Self::Race, Self::Pose, Self::Human, Self::Trusted]
            .into_iter()
            .chain(Measure::ALL.map(Self::Measure))
            .chain(Check::ALL.map(Self::Check))
            .find(|output| output.name() == name)
            .ok_or_else(|| format!("there is no output {name:?}"))
    }
}

impl Output {
    /// The name of the output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Male => "male",
            Self::Race => "race",
            Self::Pose => "pose",
            Self::Measure(measure) => measure.name(),
            Self::Check(check) => check.name(),
            Self::Human => "human",
            Self::Trusted => "trusted",
        }
    }

    /// How many numbers the output has.
    pub fn len(self) -> usize {
        match self {
            Self::Race => 5,
            Self::Pose => 3,
            _ => 1,
        }
    }
}

impl HeadSpec {
    /// Whether it computes an output from the feature map alone.
    pub(super) fn computes_from_feature_map(&self, output: Output) -> bool {
        self.outputs.contains(&output) && self.inputs.values().all(|input| *input == HeadInput::FeatureMap)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.inputs.is_empty() || self.outputs.is_empty() {
            return Err(format!("the network {:?} needs inputs and outputs", self.model));
        }
        for input in self.inputs.values() {
            if let HeadInput::Crop(frame) = input
                && !(frame.side > 0 && frame.side <= 1024 && frame.field >= 0.1 && frame.field <= 10.0)
            {
                return Err(format!("the network {:?} has an impossible crop", self.model));
            }
        }
        Ok(())
    }
}

/// Which faces are judged for signs of forgery.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeepfakeSpec {
    /// Least distance between the eyes, in pixels of the photo: on smaller faces the traces of a forgery are too small.
    /// Such a face is not judged; its score is the limit itself, which passes.
    pub min_eye_distance: f32,
}
