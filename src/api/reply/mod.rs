//! Replies. Both documented layouts from one outcome, each complete in its own place: the older one
//! ([`seed`]) inside `result.face`, the newer one ([`modern`]) directly under `result`.

mod decision;
mod examined;
mod face;
mod key;
mod modern;
mod number;
mod readiness;
mod samples;
mod seed;
mod templates;
mod trace;

use schemars::JsonSchema;
use serde::Serialize;

use super::Shape;
use super::schema::{Similarity, TemplateId};
use crate::domain::{Analysis, FineLimits};
use crate::service::{Enrolled, Identified, Match, Suspicion, Verified};
use decision::{ComparisonDecisionReply, DecisionReply};
use face::{BoxReply, LandmarksReply, Score};
use number::Number;
use seed::SeedFace;
use trace::TraceStep;

pub(super) use examined::{
    ExaminedReply, HealthReply, MergePreviewReply, PersonExportReply, examined, face, health, merge_preview,
    person_export,
};
pub(super) use key::{KeyReply, key};
pub(super) use modern::ModernFace;
pub(super) use readiness::Readiness;
pub(super) use samples::{
    MergedReply, MovedReply, RenamedReply, VerifiedTemplateReply, merged, moved, renamed, verified_template,
};
pub(super) use templates::{Listing, PageReply, TemplateReply, found, page, person};

/// The outcome of a search. Both layouts are sent unless the server is set to one of them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Identified")]
pub(super) struct IdentifiedReply<'a> {
    #[serde(flatten)]
    seed: Option<seed::Identified<'a>>,
    #[serde(flatten)]
    modern: Option<modern::Identified<'a>>,
    /// Best first; only when `candidates` was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates: Option<Vec<Found<'a>>>,
    decision: DecisionReply,
    /// What happened, step by step; only when `trace` was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<Vec<TraceStep>>,
}

/// A template that reaches the threshold.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Found")]
#[serde(rename_all = "camelCase")]
struct Found<'a> {
    #[schemars(with = "TemplateId")]
    template_id: &'a str,
    #[schemars(with = "Similarity")]
    similarity: Number,
}

impl<'a> From<&'a Match> for Found<'a> {
    fn from(found: &'a Match) -> Self {
        Self { template_id: found.template.as_str(), similarity: found.similarity.into() }
    }
}

/// What a reply to an identification has beside the outcome.
#[derive(Debug, Clone, Copy)]
pub(super) struct Explained<'a> {
    /// Whether the caller may read the gallery.
    pub(super) may_read: bool,
    /// The limits of the measures, if a trace was requested.
    pub(super) trace: Option<&'a FineLimits>,
}

/// Of an identification. Without a match the ids are null, never an empty text: one of the official clients would
/// show that as a match.
pub(super) fn identified<'a>(found: &'a Identified, shape: Shape, explained: Explained<'_>) -> IdentifiedReply<'a> {
    let best = found.best.as_ref();
    IdentifiedReply {
        seed: shape.has_seed().then(|| seed::Identified {
            template_id: best.map(|best| best.template.as_str()),
            similarity: best.map(|best| best.similarity.into()),
            face: (&found.analysis).into(),
        }),
        modern: shape
            .has_modern()
            .then(|| modern::Identified { search: best.map(Found::from), face: (&found.analysis).into() }),
        candidates: found.candidates.as_ref().map(|found| found.iter().map(Found::from).collect()),
        decision: match explained.may_read {
            true => DecisionReply::full(&found.decision),
            false => DecisionReply::own(&found.decision),
        },
        trace: explained.trace.map(|limits| TraceStep::all(&found.analysis, &found.decision, limits)),
    }
}

/// An analysis alone, as the command line prints it.
#[derive(Serialize)]
pub(super) struct AnalyzedReply {
    #[serde(skip_serializing_if = "Option::is_none")]
    face: Option<SeedFace>,
    #[serde(flatten)]
    modern: Option<ModernFace>,
}

/// Of an analysis.
pub(super) fn analyzed(analysis: &Analysis, shape: Shape) -> AnalyzedReply {
    AnalyzedReply {
        face: shape.has_seed().then(|| analysis.into()),
        modern: shape.has_modern().then(|| analysis.into()),
    }
}

/// An enrolled template. Both layouts are sent unless the server is set to one of them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Enrolled")]
#[serde(rename_all = "camelCase")]
pub(super) struct EnrolledReply<'a> {
    #[serde(flatten)]
    seed: Option<seed::Enrolled<'a>>,
    #[serde(flatten)]
    modern: Option<modern::Enrolled<'a>>,
    /// The sample that was added.
    #[schemars(extend("format" = "uuid"))]
    sample_id: String,
    /// Signs of a mix-up. Present only if the application's guard is `warn` and there is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<WarningReply<'a>>,
}

/// A sign of a mix-up. The photo is enrolled nevertheless.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EnrollmentWarning")]
#[serde(rename_all = "camelCase")]
struct WarningReply<'a> {
    /// `enrolled_elsewhere`: the face is already enrolled under another id. `unlike_samples`: the photo matches no
    /// other sample of its template.
    #[schemars(extend("enum" = ["enrolled_elsewhere", "unlike_samples"]))]
    code: &'static str,
    #[schemars(with = "TemplateId")]
    #[serde(skip_serializing_if = "Option::is_none")]
    template_id: Option<&'a str>,
    /// To that template, or to the best of the samples. A key without the scope `identify` gets neither this nor
    /// `templateId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity: Option<Number>,
    /// For people.
    message: String,
}

impl<'a> From<&'a Suspicion> for WarningReply<'a> {
    fn from(suspicion: &'a Suspicion) -> Self {
        let (code, template_id, similarity) = match suspicion {
            Suspicion::EnrolledElsewhere { found } => {
                let found = found.as_ref();
                (
                    "enrolled_elsewhere",
                    found.map(|(template, _)| template.as_str()),
                    found.map(|(_, similarity)| *similarity),
                )
            }
            Suspicion::UnlikeSamples { similarity } => ("unlike_samples", None, *similarity),
        };
        Self { code, template_id, similarity: similarity.map(Number::from), message: suspicion.to_string() }
    }
}

/// Of an enrolment.
pub(super) fn enrolled(enrolled: &Enrolled, shape: Shape) -> EnrolledReply<'_> {
    let template_id = enrolled.template.as_str();
    EnrolledReply {
        seed: shape.has_seed().then(|| seed::Enrolled { template_id, face: (&enrolled.analysis).into() }),
        modern: shape
            .has_modern()
            .then(|| modern::Enrolled { enroll: modern::Enroll { template_id }, face: (&enrolled.analysis).into() }),
        sample_id: enrolled.sample.to_string(),
        warnings: enrolled.warnings.iter().map(WarningReply::from).collect(),
    }
}

/// The checks of one photo.
// Both layouts have the same keys at the same level here; the newer one has more of them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Inspected")]
pub(super) struct InspectedReply {
    /// Only on request. High is live.
    #[serde(skip_serializing_if = "Option::is_none")]
    liveness: Option<Score>,
    /// Only on request. High is genuine.
    #[serde(skip_serializing_if = "Option::is_none")]
    deepfake: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<modern::Quality>,
    #[serde(skip_serializing_if = "Option::is_none")]
    demography: Option<modern::Demography>,
    r#box: BoxReply,
    landmarks: LandmarksReply,
}

/// Of an inspection.
pub(super) fn inspected(analysis: &Analysis, shape: Shape) -> InspectedReply {
    let face = ModernFace::from(analysis);
    InspectedReply {
        liveness: face.liveness,
        deepfake: face.deepfake,
        quality: shape.has_modern().then_some(face.quality),
        demography: face.demography.filter(|_| shape.has_modern()),
        r#box: face.r#box,
        landmarks: face.landmarks,
    }
}

/// A comparison of two photos.
// Only the newer layout has it. The vendor does not document where `similarity` is; it is at both likely places.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Verified")]
#[serde(rename_all = "camelCase")]
pub(super) struct VerifiedReply {
    #[schemars(with = "Similarity")]
    similarity: Number,
    comparison: Comparison,
    decision: ComparisonDecisionReply,
    first_face: ModernFace,
    second_face: ModernFace,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Comparison {
    #[schemars(with = "Similarity")]
    similarity: Number,
    /// Whether the similarity reaches the threshold in force.
    same: bool,
}

/// Of a comparison.
pub(super) fn verified(verified: &Verified) -> VerifiedReply {
    let similarity = verified.similarity.into();
    VerifiedReply {
        similarity,
        comparison: Comparison { similarity, same: verified.same },
        decision: (&verified.decision).into(),
        first_face: (&verified.first).into(),
        second_face: (&verified.second).into(),
    }
}
