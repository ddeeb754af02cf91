//! The older layout: everything about the face inside `face`, snake case, demography in `quality`.

use serde::Serialize;

use super::face::{BoxReply, LandmarksReply, Score, Value};
use super::number::Number;
use crate::domain::Analysis;

/// `/identify`. Nulls when nobody was found.
#[derive(Serialize)]
pub(super) struct Identified<'a> {
    #[serde(rename = "templateId")]
    pub(super) template_id: Option<&'a str>,
    pub(super) similarity: Option<Number>,
    pub(super) face: SeedFace,
}

/// `/add`.
#[derive(Serialize)]
pub(super) struct Enrolled<'a> {
    #[serde(rename = "templateId")]
    pub(super) template_id: &'a str,
    pub(super) face: SeedFace,
}

/// The face.
#[derive(Serialize)]
pub(super) struct SeedFace {
    r#box: BoxReply,
    landmarks: LandmarksReply,
    #[serde(skip_serializing_if = "Option::is_none")]
    liveness: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deepfake: Option<Score>,
    quality: Quality,
}

#[derive(Serialize)]
struct Quality {
    #[serde(skip_serializing_if = "Option::is_none")]
    uniformity: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exposure: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contrast: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flare: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blur: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    occlusion: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    macroblocks: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    emotion: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    right_eye_closed: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_eye_closed: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crfiqa: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    distortion: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gender: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    race: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pitch: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    yaw: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roll: Option<Number>,
}

impl SeedFace {
    /// Of an analysis.
    pub(super) fn of(analysis: &Analysis) -> Self {
        let (quality, demography, pose) = (&analysis.quality, &analysis.demography, &analysis.pose);
        Self {
            r#box: (&analysis.face).into(),
            landmarks: (&analysis.landmarks).into(),
            liveness: Score::of(analysis.liveness),
            deepfake: Score::of(analysis.deepfake),
            quality: Quality {
                uniformity: Value::of(quality.uniformity),
                exposure: Value::of(quality.exposure),
                contrast: Value::of(quality.contrast),
                flare: Score::of(quality.flare),
                blur: Score::of(quality.blur),
                occlusion: Score::of(quality.occlusion),
                macroblocks: Score::of(quality.macroblocks),
                emotion: Score::of(quality.emotion),
                right_eye_closed: Score::of(quality.right_eye_closed),
                left_eye_closed: Score::of(quality.left_eye_closed),
                crfiqa: Score::of(quality.crfiqa),
                distortion: Score::of(quality.distortion),
                gender: demography.gender,
                age: demography.age,
                race: demography.race,
                pitch: Number::finite(pose.pitch),
                yaw: Number::finite(pose.yaw),
                roll: Number::finite(pose.roll),
            },
        }
    }
}
