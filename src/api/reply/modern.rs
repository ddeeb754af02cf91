//! The newer layout: everything directly under `result`, camel case, `demography` apart.

use serde::Serialize;

use super::Found;
use super::face::{BoxReply, LandmarksReply, Score, Value};
use super::number::Number;
use crate::domain::Analysis;

/// `/identify`. Null when nobody was found.
#[derive(Serialize)]
pub(super) struct Identified<'a> {
    pub(super) search: Option<Found<'a>>,
    #[serde(flatten)]
    pub(super) face: ModernFace,
}

/// `/add`.
#[derive(Serialize)]
pub(super) struct Enrolled<'a> {
    pub(super) enroll: Enroll<'a>,
    #[serde(flatten)]
    pub(super) face: ModernFace,
}

/// What was enrolled.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Enroll<'a> {
    pub(super) template_id: &'a str,
}

/// The face.
#[derive(Serialize)]
pub(in crate::api) struct ModernFace {
    #[serde(skip_serializing_if = "Option::is_none")]
    liveness: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deepfake: Option<Score>,
    quality: Quality,
    #[serde(skip_serializing_if = "Demography::is_empty")]
    demography: Demography,
    r#box: BoxReply,
    landmarks: LandmarksReply,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Quality {
    #[serde(skip_serializing_if = "Option::is_none")]
    pitch: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    yaw: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roll: Option<Number>,
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
    macroblocks: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    distortion: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    occlusion: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    emotion: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_eye_closed: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    right_eye_closed: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crfiqa: Option<Score>,
}

#[derive(Serialize)]
struct Demography {
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gender: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    race: Option<&'static str>,
}

impl Demography {
    fn is_empty(&self) -> bool {
        self.age.is_none() && self.gender.is_none() && self.race.is_none()
    }
}

impl ModernFace {
    /// Of an analysis.
    pub(in crate::api) fn of(analysis: &Analysis) -> Self {
        let (quality, demography, pose) = (&analysis.quality, &analysis.demography, &analysis.pose);
        Self {
            liveness: Score::of(analysis.liveness),
            deepfake: Score::of(analysis.deepfake),
            quality: Quality {
                pitch: Number::finite(pose.pitch),
                yaw: Number::finite(pose.yaw),
                roll: Number::finite(pose.roll),
                uniformity: Value::of(quality.uniformity),
                exposure: Value::of(quality.exposure),
                contrast: Value::of(quality.contrast),
                flare: Score::of(quality.flare),
                blur: Score::of(quality.blur),
                macroblocks: Score::of(quality.macroblocks),
                distortion: Score::of(quality.distortion),
                occlusion: Score::of(quality.occlusion),
                emotion: Score::of(quality.emotion),
                left_eye_closed: Score::of(quality.left_eye_closed),
                right_eye_closed: Score::of(quality.right_eye_closed),
                crfiqa: Score::of(quality.crfiqa),
            },
            demography: Demography { age: demography.age, gender: demography.gender, race: demography.race },
            r#box: (&analysis.face).into(),
            landmarks: (&analysis.landmarks).into(),
        }
    }
}
