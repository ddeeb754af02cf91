//! Replies of the administration about photos and samples: what explains a decision, a merge, or the state of a person.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Serialize;

use super::decision::DecisionReply;
use super::face::Score;
use super::modern::ModernFace;
use super::number::Number;
use super::trace::TraceStep;
use crate::api::error::reason;
use crate::domain::{Analysis, FineLimits, SampleId, Similarity, rfc3339};
use crate::service::{Candidate, Examined, Health, HealthFinding, HealthState, MergePreview, NearProbe, PersonExport};

/// A face as the console shows it.
pub(in crate::api) fn face(analysis: &Analysis) -> ModernFace {
    analysis.into()
}

/// An identification, with what explains it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Examined")]
pub(in crate::api) struct ExaminedReply {
    /// The match; null when no person reaches the threshold.
    search: Option<CandidateReply>,
    /// The best people, best first, also below the threshold.
    candidates: Vec<CandidateReply>,
    decision: DecisionReply,
    /// What happened, step by step; only when `trace` was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<Vec<TraceStep>>,
    #[serde(flatten)]
    face: ModernFace,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Candidate")]
#[serde(rename_all = "camelCase")]
struct CandidateReply {
    template_id: String,
    /// The sample that is most similar; null if the mean of the template's samples is more similar than each.
    sample_id: Option<String>,
    similarity: Number,
}

impl From<&Candidate> for CandidateReply {
    fn from(candidate: &Candidate) -> Self {
        Self {
            template_id: candidate.template.as_str().to_owned(),
            sample_id: candidate.sample.map(|sample| sample.to_string()),
            similarity: candidate.similarity.into(),
        }
    }
}

/// Of an identification, with up to `limit` candidates, and with a trace where the limits of the measures are given.
pub(in crate::api) fn examined(examined: &Examined, limit: usize, trace: Option<&FineLimits>) -> ExaminedReply {
    ExaminedReply {
        search: examined.best().map(CandidateReply::from),
        candidates: examined.candidates.iter().take(limit).map(CandidateReply::from).collect(),
        decision: DecisionReply::full(&examined.decision),
        trace: trace.map(|limits| TraceStep::all(&examined.analysis, &examined.decision, limits)),
        face: (&examined.analysis).into(),
    }
}

/// What a merge would do.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MergePreview")]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct MergePreviewReply {
    dry_run: bool,
    /// How many samples would move.
    samples: u64,
    /// How many samples the person would have.
    total: u64,
    /// The similarity of the two samples that are least alike, one of each person; null without samples to compare.
    lowest_cross_similarity: Option<Number>,
    /// The similarity below which two samples are unlikely to be of one person.
    same_person: Number,
    /// Why the merge would be refused: `sampleLimit`.
    conflicts: Vec<&'static str>,
}

/// Of the preview of a merge.
pub(in crate::api) fn merge_preview(preview: &MergePreview) -> MergePreviewReply {
    MergePreviewReply {
        dry_run: true,
        samples: preview.samples as u64,
        total: preview.total as u64,
        lowest_cross_similarity: preview.lowest_cross_similarity.map(Number::from),
        same_person: preview.same_person.into(),
        conflicts: preview.conflicts.iter().map(reason).collect(),
    }
}

/// How well the samples of a person fit together.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Health")]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct HealthReply {
    /// `good`, `weak` (it may be found less reliably) or `mixed` (a sample matches no other one).
    state: &'static str,
    /// The similarity of the two samples that are least alike; null with fewer than two.
    lowest_pair: Option<Number>,
    /// The similarity below which two samples count as unlike.
    same_person: Number,
    findings: Vec<FindingReply>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HealthFinding")]
#[serde(rename_all = "camelCase")]
struct FindingReply {
    /// `unlikeOwnSamples`, `lowQuality`, `otherModel` or `unreadable`.
    kind: &'static str,
    sample_id: String,
    /// To the most similar other sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity: Option<Number>,
    /// The quality at enrollment.
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<Score>,
}

impl From<&HealthFinding> for FindingReply {
    fn from(finding: &HealthFinding) -> Self {
        let new = |kind, sample: SampleId, similarity: Option<Similarity>, quality| Self {
            kind,
            sample_id: sample.to_string(),
            similarity: similarity.map(Number::from),
            quality: Score::new(quality),
        };
        match *finding {
            HealthFinding::UnlikeOwnSamples(sample, best) => new("unlikeOwnSamples", sample, Some(best), None),
            HealthFinding::LowQuality(sample, quality) => new("lowQuality", sample, None, Some(quality)),
            HealthFinding::OtherModel(sample) => new("otherModel", sample, None, None),
            HealthFinding::Unreadable(sample) => new("unreadable", sample, None, None),
        }
    }
}

/// Of the state of a person.
pub(in crate::api) fn health(health: &Health) -> HealthReply {
    HealthReply {
        state: match health.state {
            HealthState::Good => "good",
            HealthState::Weak => "weak",
            HealthState::Mixed => "mixed",
        },
        lowest_pair: health.lowest_pair.map(Number::from),
        same_person: health.same_person.into(),
        findings: health.findings.iter().map(FindingReply::from).collect(),
    }
}

/// Everything that is held of a person.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PersonExport")]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct PersonExportReply {
    template_id: String,
    created_at: String,
    updated_at: String,
    /// Name, external id, groups, metadata, reference to a consent and expiry, as far as there are any.
    details: serde_json::Value,
    samples: Vec<ExportedSample>,
    /// Held probes of identifications without a match that came near, without their crops: whether they show this person
    /// is not decided yet.
    near_probes: Vec<ExportedProbe>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ExportedProbe {
    /// The id in the review.
    item_id: String,
    similarity: Number,
    threshold: f64,
    /// In how many requests the face was seen.
    times: u64,
    first_seen_at: String,
    last_seen_at: String,
    /// When it is erased.
    ends_at: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ExportedSample {
    sample_id: String,
    model: String,
    created_at: String,
    enrolled_by: Option<String>,
    quality: Option<Score>,
    /// SHA-256 of the embedding, in hex; null where it is of another model than the one in use, or cannot be read.
    embedding_sha256: Option<String>,
    /// The crop as a JPEG in base64; null where none is kept.
    crop: Option<String>,
}

/// Of everything that is held of a person.
pub(in crate::api) fn person_export(export: &PersonExport) -> PersonExportReply {
    let samples = export.samples.iter().map(|exported| ExportedSample {
        sample_id: exported.record.id.to_string(),
        model: exported.record.model.as_str().to_owned(),
        created_at: rfc3339(exported.record.created_at),
        enrolled_by: exported.record.enrolled_by.clone(),
        quality: Score::new(exported.record.quality),
        embedding_sha256: exported.embedding_sha256.map(hex::encode),
        crop: exported.crop.as_ref().map(|crop| STANDARD.encode(crop.jpeg())),
    });
    PersonExportReply {
        template_id: export.id.as_str().to_owned(),
        created_at: rfc3339(export.created_at),
        updated_at: rfc3339(export.updated_at),
        details: export.details.to_full_json(),
        samples: samples.collect(),
        near_probes: export.near_probes.iter().map(ExportedProbe::from).collect(),
    }
}

impl From<&NearProbe> for ExportedProbe {
    fn from(near: &NearProbe) -> Self {
        Self {
            item_id: near.probe.id.to_string(),
            similarity: near.similarity.into(),
            threshold: near.probe.threshold,
            times: near.probe.times,
            first_seen_at: rfc3339(near.probe.first_seen_at),
            last_seen_at: rfc3339(near.probe.last_seen_at),
            ends_at: rfc3339(near.probe.ends_at),
        }
    }
}
