//! Replies about single samples, and about whose they are.

use schemars::JsonSchema;
use serde::Serialize;

use super::Comparison;
use super::decision::ComparisonDecisionReply;
use super::modern::ModernFace;
use super::number::Number;
use crate::api::schema::{Similarity, TemplateId};
use crate::domain::{Revision, SampleId};
use crate::service::VerifiedTemplate;
use crate::store::Merged;

/// A comparison of a photo with a template.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "VerifiedTemplate")]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct VerifiedTemplateReply {
    #[schemars(with = "Similarity")]
    similarity: Number,
    comparison: Comparison,
    decision: ComparisonDecisionReply,
    /// The sample that is most similar.
    #[schemars(extend("format" = "uuid"))]
    sample_id: String,
    first_face: ModernFace,
}

/// Of a comparison with a template.
pub(in crate::api) fn verified_template(verified: &VerifiedTemplate) -> VerifiedTemplateReply {
    let similarity = verified.similarity.into();
    VerifiedTemplateReply {
        similarity,
        comparison: Comparison { similarity, same: verified.same },
        decision: (&verified.decision).into(),
        sample_id: verified.sample.to_string(),
        first_face: (&verified.analysis).into(),
    }
}

/// A sample that has moved.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SampleMoved")]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct MovedReply<'a> {
    #[schemars(with = "TemplateId")]
    template_id: &'a str,
    #[schemars(extend("format" = "uuid"))]
    sample_id: String,
    /// The number of changes of the gallery.
    revision: u64,
}

/// Of a move.
pub(in crate::api) fn moved(to: &crate::domain::TemplateId, sample: SampleId, revision: Revision) -> MovedReply<'_> {
    MovedReply { template_id: to.as_str(), sample_id: sample.to_string(), revision: revision.0 }
}

/// A template that has absorbed another one.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TemplatesMerged")]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct MergedReply<'a> {
    #[schemars(with = "TemplateId")]
    template_id: &'a str,
    /// How many samples have moved.
    samples_moved: u64,
    /// The number of changes of the gallery.
    revision: u64,
}

/// A template with another id.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TemplateRenamed")]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct RenamedReply<'a> {
    #[schemars(with = "TemplateId")]
    template_id: &'a str,
    /// The number of changes of the gallery.
    revision: u64,
}

/// Of a renaming.
pub(in crate::api) fn renamed(to: &crate::domain::TemplateId, revision: Revision) -> RenamedReply<'_> {
    RenamedReply { template_id: to.as_str(), revision: revision.0 }
}

/// Of a merge.
pub(in crate::api) fn merged(into: &crate::domain::TemplateId, merged: Merged) -> MergedReply<'_> {
    MergedReply { template_id: into.as_str(), samples_moved: merged.samples, revision: merged.revision.0 }
}
