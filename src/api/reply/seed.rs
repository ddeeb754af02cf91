//! The older layout: everything about the face inside `face`, snake case, demography in `quality`.

use schemars::JsonSchema;
use serde::Serialize;

use super::face::{BoxReply, GENDERS, LandmarksReply, Measures, OlderMeasures, PoseReply, RACES, Score};
use super::number::Number;
use crate::api::schema::{Similarity, TemplateId, nullable};
use crate::domain::Analysis;

/// `/identify`. Nulls without a match.
#[derive(Serialize, JsonSchema)]
pub(super) struct Identified<'a> {
    /// Older layout. Null when no template reaches the threshold.
    #[schemars(schema_with = "nullable::<TemplateId>")]
    #[serde(rename = "templateId")]
    pub(super) template_id: Option<&'a str>,
    /// Older layout.
    #[schemars(schema_with = "nullable::<Similarity>")]
    pub(super) similarity: Option<Number>,
    pub(super) face: SeedFace,
}

/// `/add`.
#[derive(Serialize, JsonSchema)]
pub(super) struct Enrolled<'a> {
    #[schemars(with = "TemplateId")]
    #[serde(rename = "templateId")]
    pub(super) template_id: &'a str,
    pub(super) face: SeedFace,
}

/// The face in the older layout.
#[derive(Serialize, JsonSchema)]
pub(super) struct SeedFace {
    r#box: BoxReply,
    landmarks: LandmarksReply,
    /// Only on request. High is live.
    #[serde(skip_serializing_if = "Option::is_none")]
    liveness: Option<Score>,
    /// Only on request. High is genuine.
    #[serde(skip_serializing_if = "Option::is_none")]
    deepfake: Option<Score>,
    quality: Quality,
}

/// Quality in the older layout, demography included. What no installed model measures is absent.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SeedQuality")]
struct Quality {
    #[serde(flatten)]
    measures: OlderMeasures,
    /// Estimated.
    #[schemars(extend("enum" = GENDERS))]
    #[serde(skip_serializing_if = "Option::is_none")]
    gender: Option<&'static str>,
    /// Age in years, estimated.
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u32>,
    /// Estimated.
    #[schemars(extend("enum" = RACES))]
    #[serde(skip_serializing_if = "Option::is_none")]
    race: Option<&'static str>,
    #[serde(flatten)]
    pose: PoseReply,
}

impl From<&Analysis> for SeedFace {
    fn from(analysis: &Analysis) -> Self {
        let demography = &analysis.demography;
        Self {
            r#box: (&analysis.face).into(),
            landmarks: (&analysis.landmarks).into(),
            liveness: Score::new(analysis.liveness),
            deepfake: Score::new(analysis.deepfake),
            quality: Quality {
                measures: Measures(analysis.quality),
                gender: demography.gender,
                age: demography.age,
                race: demography.race,
                pose: (&analysis.pose).into(),
            },
        }
    }
}
