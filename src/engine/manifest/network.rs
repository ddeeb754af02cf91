//! The networks that look at a face once it is found: what each is fed, and what it finds.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::image::Frame;

/// One network and what it is for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// Id of the model.
    pub model: String,
    /// What each of its inputs is fed, by the input's name.
    pub inputs: BTreeMap<String, NetworkInput>,
    /// What it finds; each is an output of that name.
    pub gives: Vec<Finding>,
}

/// What an input is fed.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkInput {
    /// The map that the embedding is made of.
    Trunk,
    /// The face in a frame: RGB planes of 0 to 255.
    Crop(Frame),
}

/// Something a network finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Age in years.
    Age,
    /// Probability that the person is a man.
    Male,
    /// Probabilities of white, black, asian, indian and other, in that order.
    Race,
    /// Pitch, yaw and roll in degrees, roll as it is left after alignment.
    Pose,
    /// Utility of the face for recognition.
    Crfiqa,
    /// Probability that the subject's right eye is closed.
    RightEyeClosed,
    /// Probability that the subject's left eye is closed.
    LeftEyeClosed,
    /// Probability that a part of the face is covered.
    Occlusion,
    /// Probability of an expression that is not neutral.
    Emotion,
    /// Probability of flare.
    Flare,
    /// Strength of geometric distortion.
    Distortion,
    /// Probability of a live capture.
    Liveness,
    /// Probability that the face is genuine.
    Deepfake,
    /// Probability that it is a human face at all, seen upright.
    Human,
    /// Probability that the embedding of the face can be trusted to tell it from others.
    Trusted,
}

impl Finding {
    /// The name of the output.
    pub fn output(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Male => "male",
            Self::Race => "race",
            Self::Pose => "pose",
            Self::Crfiqa => "crfiqa",
            Self::RightEyeClosed => "right_eye_closed",
            Self::LeftEyeClosed => "left_eye_closed",
            Self::Occlusion => "occlusion",
            Self::Emotion => "emotion",
            Self::Flare => "flare",
            Self::Distortion => "distortion",
            Self::Liveness => "liveness",
            Self::Deepfake => "deepfake",
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

impl NetworkSpec {
    /// Whether it gives a finding and needs nothing but the map of the embedding for it.
    pub(super) fn gives_from_trunk(&self, finding: Finding) -> bool {
        self.gives.contains(&finding) && self.inputs.values().all(|input| *input == NetworkInput::Trunk)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.inputs.is_empty() || self.gives.is_empty() {
            return Err(format!("the network {:?} needs inputs and something it gives", self.model));
        }
        for input in self.inputs.values() {
            if let NetworkInput::Crop(frame) = input
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
    /// Eyes closer than this, in pixels of the photo: the traces of a forgery are too small to be
    /// seen. Such a face is not judged; its score is the limit itself, which counts as fine.
    pub min_eye_distance: f32,
}
