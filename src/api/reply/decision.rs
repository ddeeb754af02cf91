//! What explains an identification.

use schemars::JsonSchema;
use serde::Serialize;

use crate::api::schema::nullable;
use crate::service::{ComparisonDecision, Decision};

/// Why the outcome is what it is. What says how large the gallery is or who else is in it (`expectedFpir`, `margin`, `samples`)
/// is absent for a key without the scope `read`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Decision")]
#[serde(rename_all = "camelCase")]
pub(super) struct DecisionReply {
    /// The similarity from which a template matches.
    threshold: f64,
    /// Whose threshold that is.
    #[schemars(extend("enum" = ["request", "application", "server"]))]
    threshold_source: &'static str,
    /// The sample that matches. Null without a match, and if the mean of the template's samples matches best.
    #[schemars(extend("format" = "uuid"))]
    sample_id: Option<String>,
    /// The probability that a person who is not enrolled reaches the threshold, in a gallery of this size. Null: the
    /// false match rate at this threshold was not measured.
    #[schemars(schema_with = "nullable::<f64>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_fpir: Option<Option<f64>>,
    /// By how much the best template is more similar than the next one; null with fewer than two.
    #[schemars(schema_with = "nullable::<f64>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    margin: Option<Option<f64>>,
    /// Samples in the gallery.
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<u64>,
}

impl DecisionReply {
    /// For those who may know how large the gallery is.
    pub(super) fn full(decision: &Decision) -> Self {
        Self {
            expected_fpir: Some(decision.expected_fpir),
            margin: Some(decision.margin),
            samples: Some(decision.samples as u64),
            ..Self::own(decision)
        }
    }

    /// For those who may not.
    pub(super) fn own(decision: &Decision) -> Self {
        Self {
            threshold: decision.threshold,
            threshold_source: decision.source.as_str(),
            sample_id: decision.matched.and_then(|(sample, _)| Some(sample?.to_string())),
            expected_fpir: None,
            margin: None,
            samples: None,
        }
    }
}

/// Why two faces count as one person, or not.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ComparisonDecision")]
#[serde(rename_all = "camelCase")]
pub(super) struct ComparisonDecisionReply {
    /// The similarity from which both are one person.
    threshold: f64,
    /// Whose threshold that is.
    #[schemars(extend("enum" = ["request", "application", "server"]))]
    threshold_source: &'static str,
    /// The probability that two different people reach the threshold: of a template, any of its samples or their mean. Null:
    /// the false match rate at this threshold was not measured.
    #[schemars(schema_with = "nullable::<f64>")]
    expected_fmr: Option<f64>,
}

impl From<&ComparisonDecision> for ComparisonDecisionReply {
    fn from(decision: &ComparisonDecision) -> Self {
        Self {
            threshold: decision.threshold,
            threshold_source: decision.source.as_str(),
            expected_fmr: decision.expected_fmr,
        }
    }
}
