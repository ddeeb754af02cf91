//! What both layouts write alike.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::Map;

use super::number::Number;
use crate::domain::{BoundingBox, Landmarks, Measure, Pose, Quality, Reported, Verdict};

/// Pixels of the upright photo: left, top, width, height.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "Box")]
pub(super) struct BoxReply {
    x: i64,
    y: i64,
    w: i64,
    h: i64,
}

impl From<&BoundingBox> for BoxReply {
    fn from(face: &BoundingBox) -> Self {
        Self { x: pixel(face.x), y: pixel(face.y), w: pixel(face.width), h: pixel(face.height) }
    }
}

/// Eye at image left, eye at image right, nose tip, mouth corner at image left, mouth corner at image right; each
/// [x, y] in pixels of the upright photo.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "Landmarks")]
pub(super) struct LandmarksReply([[i64; 2]; 5]);

impl From<&Landmarks> for LandmarksReply {
    fn from(landmarks: &Landmarks) -> Self {
        Self(landmarks.0.map(|point| [pixel(point.x), pixel(point.y)]))
    }
}

fn pixel(value: f32) -> i64 {
    value.round() as i64
}

/// The pose of the upright face. What was not estimated is absent.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub(super) struct PoseReply {
    /// Degrees; above 0: looking down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pitch: Option<Number>,
    /// Degrees; above 0: nose towards the right of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    yaw: Option<Number>,
    /// Degrees; above 0: the eye at the right of the image is higher.
    #[serde(skip_serializing_if = "Option::is_none")]
    roll: Option<Number>,
}

impl From<&Pose> for PoseReply {
    fn from(pose: &Pose) -> Self {
        Self { pitch: Number::finite(pose.pitch), yaw: Number::finite(pose.yaw), roll: Number::finite(pose.roll) }
    }
}

/// The values of `gender`.
pub(super) const GENDERS: [&str; 2] = ["male", "female"];

/// The values of `race`, as the contract lists them.
pub(super) const RACES: [&str; 7] = ["asian", "indian", "black", "white", "middle eastern", "latino hispanic", "other"];

/// A probability. Of a defect, except liveness, deepfake (genuine) and crfiqa (useful), where high is good.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub(super) struct Score {
    #[schemars(range(min = 0, max = 1))]
    score: Number,
    /// Whether the score passes its limit.
    fine: bool,
}

/// A measured property of the picture.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub(super) struct Value {
    #[schemars(range(min = 0, max = 1))]
    value: Number,
    /// Whether the value passes its limit.
    fine: bool,
}

impl Score {
    /// `None` stays `None`: what was not measured is absent.
    pub(super) fn new(verdict: Option<Verdict>) -> Option<Self> {
        let Verdict { score, fine } = verdict?;
        Some(Self { score: Number::finite(score)?, fine })
    }
}

/// A measure as it is reported.
#[derive(Serialize)]
#[serde(untagged)]
enum Measured {
    Score(Score),
    Value(Value),
}

/// The measures in the order and under the names of a layout.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measures<const NEWER: bool>(pub(super) Quality);

/// The measures in the older layout.
pub(super) type OlderMeasures = Measures<false>;

/// The measures in the newer layout.
pub(super) type NewerMeasures = Measures<true>;

impl<const NEWER: bool> Measures<NEWER> {
    /// Each measure and its name.
    pub(super) fn names() -> impl Iterator<Item = (Measure, &'static str)> {
        let order = if NEWER { Measure::NEWER_LAYOUT } else { Measure::ALL };
        let name = |measure: Measure| if NEWER { measure.row().newer_name } else { measure.name() };
        order.into_iter().map(move |measure| (measure, name(measure)))
    }
}

impl<const NEWER: bool> Serialize for Measures<NEWER> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Self::names().filter_map(|(measure, name)| {
            let score = Score::new(self.0[measure])?;
            let measured = match measure.row().reported {
                Reported::Score => Measured::Score(score),
                Reported::Value => Measured::Value(Value { value: score.score, fine: score.fine }),
            };
            Some((name, measured))
        }))
    }
}

impl<const NEWER: bool> JsonSchema for Measures<NEWER> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Measures".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let properties: Map<String, serde_json::Value> = Self::names()
            .map(|(measure, name)| {
                let schema = match measure.row().reported {
                    Reported::Score => generator.subschema_for::<Score>(),
                    Reported::Value => generator.subschema_for::<Value>(),
                };
                (name.to_owned(), schema.to_value())
            })
            .collect();
        json_schema!({ "type": "object", "properties": properties })
    }
}
