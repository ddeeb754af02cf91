//! The newer layout: everything directly under `result`, camel case, `demography` apart.

use schemars::JsonSchema;
use serde::Serialize;

use super::Found;
use super::face::{BoxReply, GENDERS, LandmarksReply, Measures, NewerMeasures, PoseReply, RACES, Score};
use crate::api::schema::{TemplateId, nullable};
use crate::domain::{self, Analysis};

/// `/identify`. Null without a match.
#[derive(Serialize, JsonSchema)]
pub(super) struct Identified<'a> {
    /// Newer layout. Null when no template reaches the threshold.
    #[schemars(schema_with = "nullable::<Found<'_>>")]
    pub(super) search: Option<Found<'a>>,
    #[serde(flatten)]
    pub(super) face: ModernFace,
}

/// `/add`.
#[derive(Serialize, JsonSchema)]
pub(super) struct Enrolled<'a> {
    pub(super) enroll: Enroll<'a>,
    #[serde(flatten)]
    pub(super) face: ModernFace,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
pub(super) struct Enroll<'a> {
    #[schemars(with = "TemplateId")]
    pub(super) template_id: &'a str,
}

/// The face in the newer layout.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct ModernFace {
    /// Only on request. High is live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) liveness: Option<Score>,
    /// Only on request. High is genuine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deepfake: Option<Score>,
    pub(super) quality: Quality,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) demography: Option<Demography>,
    pub(super) r#box: BoxReply,
    pub(super) landmarks: LandmarksReply,
}

/// Quality in the newer layout. What no installed model measures is absent.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ModernQuality")]
pub(super) struct Quality {
    #[serde(flatten)]
    pose: PoseReply,
    #[serde(flatten)]
    measures: NewerMeasures,
}

/// Estimates. Absent as a whole if no model is installed.
#[derive(Serialize, JsonSchema)]
pub(super) struct Demography {
    /// Age in years, estimated.
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u32>,
    /// Estimated.
    #[schemars(extend("enum" = GENDERS))]
    #[serde(skip_serializing_if = "Option::is_none")]
    gender: Option<&'static str>,
    /// Estimated.
    #[schemars(extend("enum" = RACES))]
    #[serde(skip_serializing_if = "Option::is_none")]
    race: Option<&'static str>,
}

impl Demography {
    /// `None` without a single estimate.
    fn new(found: &domain::Demography) -> Option<Self> {
        let domain::Demography { age, gender, race } = *found;
        (age.is_some() || gender.is_some() || race.is_some()).then_some(Self { age, gender, race })
    }
}

impl From<&Analysis> for ModernFace {
    fn from(analysis: &Analysis) -> Self {
        Self {
            liveness: Score::new(analysis.liveness),
            deepfake: Score::new(analysis.deepfake),
            quality: Quality { pose: (&analysis.pose).into(), measures: Measures(analysis.quality) },
            demography: Demography::new(&analysis.demography),
            r#box: (&analysis.face).into(),
            landmarks: (&analysis.landmarks).into(),
        }
    }
}
