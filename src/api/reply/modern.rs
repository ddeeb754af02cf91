//! The newer layout: everything directly under `result`, camel case, `demography` apart.

use serde::Serialize;

use super::Found;
use super::face::{BoxReply, Judged, LandmarksReply, Measures, NewerMeasures};
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
    liveness: Option<Judged>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deepfake: Option<Judged>,
    quality: Quality,
    #[serde(skip_serializing_if = "Demography::is_empty")]
    demography: Demography,
    r#box: BoxReply,
    landmarks: LandmarksReply,
}

#[derive(Serialize)]
struct Quality {
    #[serde(skip_serializing_if = "Option::is_none")]
    pitch: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    yaw: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roll: Option<Number>,
    #[serde(flatten)]
    measures: NewerMeasures,
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

impl From<&Analysis> for ModernFace {
    fn from(analysis: &Analysis) -> Self {
        let demography = &analysis.demography;
        let pose = &analysis.pose;
        Self {
            liveness: Judged::check(analysis.liveness),
            deepfake: Judged::check(analysis.deepfake),
            quality: Quality {
                pitch: Number::finite(pose.pitch),
                yaw: Number::finite(pose.yaw),
                roll: Number::finite(pose.roll),
                measures: Measures(analysis.quality),
            },
            demography: Demography { age: demography.age, gender: demography.gender, race: demography.race },
            r#box: (&analysis.face).into(),
            landmarks: (&analysis.landmarks).into(),
        }
    }
}
