//! Replies. Both documented layouts from one outcome, each pure in its own place: the older one
//! ([`seed`]) inside `result.face`, the newer one ([`modern`]) directly under `result`.

mod face;
mod modern;
mod number;
mod seed;
mod templates;

use serde::Serialize;

use super::Shape;
use crate::domain::Analysis;
use crate::service::{Enrolled, Identified, Match, Suspicion, Verified};
use modern::ModernFace;
use number::Number;
use seed::SeedFace;

pub(super) use templates::{page, template};

/// The reply of `/identify`.
#[derive(Serialize)]
pub(super) struct IdentifiedReply<'a> {
    #[serde(flatten)]
    seed: Option<seed::Identified<'a>>,
    #[serde(flatten)]
    modern: Option<modern::Identified<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates: Option<Vec<Found<'a>>>,
}

/// A template that was found.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found<'a> {
    template_id: &'a str,
    similarity: Number,
}

impl<'a> From<&'a Match> for Found<'a> {
    fn from(found: &'a Match) -> Self {
        Self { template_id: found.template.as_str(), similarity: found.similarity.into() }
    }
}

/// Of an identification. Without a match the ids are null, never an empty text: one of the official clients would
/// show that as a match.
pub(super) fn identified(found: &Identified, shape: Shape) -> IdentifiedReply<'_> {
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

/// The reply of `/add`, and of adding a sample.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EnrolledReply<'a> {
    #[serde(flatten)]
    seed: Option<seed::Enrolled<'a>>,
    #[serde(flatten)]
    modern: Option<modern::Enrolled<'a>>,
    sample_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<WarningReply<'a>>,
}

/// Something about an enrollment that looks like a mix-up.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WarningReply<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_id: Option<&'a str>,
    similarity: Number,
    message: String,
}

impl<'a> From<&'a Suspicion> for WarningReply<'a> {
    fn from(suspicion: &'a Suspicion) -> Self {
        let (code, template_id, similarity) = match suspicion {
            Suspicion::EnrolledElsewhere { template, similarity } => {
                ("enrolled_elsewhere", Some(template.as_str()), *similarity)
            }
            Suspicion::UnlikeSamples { similarity } => ("unlike_samples", None, *similarity),
        };
        Self { code, template_id, similarity: similarity.into(), message: suspicion.to_string() }
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

/// The reply of `/liveness` and `/deepfake`. Both layouts have the same fields at the same level
/// here; the newer one has more of them.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum InspectedReply {
    Seed(face::Checked),
    Modern(Box<ModernFace>),
}

/// Of an inspection.
pub(super) fn inspected(analysis: &Analysis, shape: Shape) -> InspectedReply {
    if shape.has_modern() {
        InspectedReply::Modern(Box::new(analysis.into()))
    } else {
        InspectedReply::Seed(analysis.into())
    }
}

/// The reply of `/verify`, which only the newer layout has. Where the vendor puts `similarity` is
/// not known; it stands at both likely places.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VerifiedReply {
    similarity: Number,
    comparison: Comparison,
    first_face: ModernFace,
    second_face: ModernFace,
}

#[derive(Serialize)]
struct Comparison {
    similarity: Number,
    same: bool,
}

/// Of a comparison.
pub(super) fn verified(verified: &Verified) -> VerifiedReply {
    let similarity = verified.similarity.into();
    VerifiedReply {
        similarity,
        comparison: Comparison { similarity, same: verified.same },
        first_face: (&verified.first).into(),
        second_face: (&verified.second).into(),
    }
}
