//! The older layout: everything about the face inside `face`, snake case, demography in `quality`.

use serde::Serialize;

use super::face::{BoxReply, Judged, LandmarksReply, Measures, OlderMeasures};
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
    liveness: Option<Judged>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deepfake: Option<Judged>,
    quality: Quality,
}

#[derive(Serialize)]
struct Quality {
    #[serde(flatten)]
    measures: OlderMeasures,
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

impl From<&Analysis> for SeedFace {
    fn from(analysis: &Analysis) -> Self {
        let demography = &analysis.demography;
        let pose = &analysis.pose;
        Self {
            r#box: (&analysis.face).into(),
            landmarks: (&analysis.landmarks).into(),
            liveness: Judged::check(analysis.liveness),
            deepfake: Judged::check(analysis.deepfake),
            quality: Quality {
                measures: Measures(analysis.quality),
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
