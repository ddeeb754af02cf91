//! `review`: held probes of identifications without a match, and what a person decides about them.

use axum::extract::State;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::new_person::FindingView;
use super::people::{ChangePerson, conflict};
use super::samples::jpeg;
use crate::api::admin::Answer;
use crate::api::admin::extract::{ForApp, JsonBody, Page, Params};
use crate::api::extract::Query;
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState};
use crate::domain::{DetailsPatch, IdError, ProbeId, SampleId, rfc3339};
use crate::service::{Decided, Error, ReviewDecision, ReviewItem, ReviewRefusal};
use crate::store::{HeldFilter, HeldQuery};

/// A held probe.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ReviewItemView {
    item_id: String,
    /// `nearMatch` with `candidate`, or `unknownPerson`.
    kind: &'static str,
    candidate: Option<ReviewCandidate>,
    /// The similarity that was not reached, 0 to 1.
    threshold: f64,
    /// The quality of the photo for recognition (`crfiqa`, 0 to 1), if it was measured.
    quality: Option<f64>,
    /// In how many requests the face was seen.
    times: u64,
    first_seen_at: String,
    last_seen_at: String,
    /// When it is erased.
    ends_at: String,
    /// The request that it came with first.
    transaction_id: String,
    /// Whether there is a crop of the face.
    has_crop: bool,
}

/// The person that a held probe came near.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ReviewCandidate {
    template_id: String,
    name: Option<String>,
    /// Below the threshold.
    similarity: f64,
}

/// A page of held probes, last seen first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ReviewList {
    items: Vec<ReviewItemView>,
    next_cursor: Option<String>,
    /// How many probes the application holds.
    total: u64,
    /// How long probes are held; null: none is held.
    keep_probes_seconds: Option<u64>,
}

impl From<ReviewItem> for ReviewItemView {
    fn from(item: ReviewItem) -> Self {
        let ReviewItem { probe, near, name } = item;
        let candidate = near.map(|near| ReviewCandidate {
            template_id: near.template.as_str().to_owned(),
            name,
            similarity: near.similarity.get(),
        });
        Self {
            item_id: probe.id.to_string(),
            kind: if candidate.is_some() { "nearMatch" } else { "unknownPerson" },
            candidate,
            threshold: probe.threshold,
            quality: probe.quality.map(|quality| quality.score),
            times: probe.times,
            first_seen_at: rfc3339(probe.first_seen_at),
            last_seen_at: rfc3339(probe.last_seen_at),
            ends_at: rfc3339(probe.ends_at),
            transaction_id: probe.transaction.to_string(),
            has_crop: probe.has_crop,
        }
    }
}

/// A decision.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct DecideReview {
    action: ReviewAction,
    /// The person, for `confirmAs`; the id of the new one, for `enrollAs` (without it, a random one).
    #[serde(default)]
    template_id: Option<String>,
    /// The details of the new person, for `enrollAs`.
    #[serde(default)]
    details: Option<ChangePerson>,
}

/// What a person decides. `notThisPerson` is reserved.
#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) enum ReviewAction {
    /// It is the person `templateId`: the probe becomes a sample.
    ConfirmAs,
    /// It is a person who is not enrolled: the probe becomes the first sample.
    EnrollAs,
    /// The probe is erased.
    Dismiss,
}

/// A decision that was made. The probe is gone.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ReviewDecided {
    item_id: String,
    /// The person that got the sample; null: dismissed.
    template_id: Option<String>,
    /// The sample that was made of the probe; null: dismissed.
    sample_id: Option<String>,
    /// The gallery's revision; null: dismissed.
    revision: Option<u64>,
    /// Likely mix-ups, where the guard warns.
    findings: Vec<FindingView>,
}

impl From<&Decided> for ReviewDecided {
    fn from(decided: &Decided) -> Self {
        Self {
            item_id: decided.probe.to_string(),
            template_id: decided.template.as_ref().map(|template| template.as_str().to_owned()),
            sample_id: decided.template.as_ref().map(|_| decided.probe.to_string()),
            revision: decided.revision.map(|revision| revision.0),
            findings: decided.warnings.iter().map(FindingView::from).collect(),
        }
    }
}

impl DecideReview {
    fn decision(self) -> Result<ReviewDecision, ApiError> {
        let template = self.template_id.map(|id| id.parse()).transpose();
        let template = template.map_err(|error: IdError| ApiError::field("templateId", error.to_string()))?;
        if self.action != ReviewAction::EnrollAs && self.details.is_some() {
            return Err(ApiError::field("details", "is for enrollAs only"));
        }
        match (self.action, template) {
            (ReviewAction::ConfirmAs, Some(template)) => Ok(ReviewDecision::ConfirmAs(template)),
            (ReviewAction::ConfirmAs, None) => Err(ApiError::field("templateId", "is missing")),
            (ReviewAction::EnrollAs, template) => {
                let patch = self.details.map_or(Ok(DetailsPatch::default()), ChangePerson::patch)?;
                Ok(ReviewDecision::EnrollAs(template, patch))
            }
            (ReviewAction::Dismiss, None) => Ok(ReviewDecision::Dismiss),
            (ReviewAction::Dismiss, Some(_)) => Err(ApiError::field("templateId", "is not for dismiss")),
        }
    }
}

/// The item that the path names. An id that cannot exist is treated as one that does not. The sample that is made of an
/// item has its number, so the journal names it as a sample.
fn item(app: &ForApp, params: &Params) -> Result<ProbeId, ApiError> {
    let id = params.id::<Uuid>("itemId").map_err(|_| Error::from(ReviewRefusal::NoProbe))?;
    app.audit.sample(SampleId(id));
    Ok(ProbeId(id))
}

/// The held probes.
pub(in crate::api) async fn list(State(api): State<ApiState>, app: ForApp, query: Query, page: Page) -> Answer {
    let kind = query.text("kind");
    let filter = match kind {
        None => HeldFilter::All,
        Some("nearMatch") => HeldFilter::Near,
        Some("unknownPerson") => HeldFilter::Unknown,
        Some(_) => return Err(ApiError::field("kind", "must be nearMatch or unknownPerson")),
    };
    let bound = (app.caller.app.as_str(), kind);
    let after = page.after::<(i64, Uuid)>(&api, &bound)?.map(|(at, id)| (at, ProbeId(id)));
    let _place = api.admission().enter_store(&app.caller).await?;
    let query = HeldQuery { filter, after, limit: page.limit };
    let found = api.service().review(&app.caller, &query).await?;
    let next_cursor = found.next.map(|(at, id)| page.next(&api, &bound, (at, id.0))).transpose()?;
    let list = ReviewList {
        items: found.items.into_iter().map(ReviewItemView::from).collect(),
        next_cursor,
        total: found.total,
        keep_probes_seconds: app.caller.keep_probes.map(|keep| keep.as_secs()),
    };
    Ok(app.audit.succeeded("listed", Outcome::result(&list)).into())
}

/// The crop of a held probe, as a JPEG.
pub(in crate::api) async fn crop(
    State(api): State<ApiState>,
    app: ForApp,
    params: Params,
) -> Result<Response, ApiError> {
    let item = item(&app, &params)?;
    let _place = api.admission().enter_store(&app.caller).await?;
    let crop = api.service().probe_crop(&app.caller, item).await?.ok_or(ApiError::NoCrop)?;
    Ok(jpeg(&app, &crop))
}

/// Decides about a held probe.
pub(in crate::api) async fn decide(
    State(api): State<ApiState>,
    app: ForApp,
    params: Params,
    JsonBody(body): JsonBody<DecideReview>,
) -> Answer {
    let item = item(&app, &params)?;
    let decision = body.decision()?;
    let outcome = match &decision {
        ReviewDecision::ConfirmAs(template) => {
            app.audit.template(template);
            "confirmed"
        }
        ReviewDecision::EnrollAs(..) => "enrolled",
        ReviewDecision::Dismiss => "dismissed",
    };
    let _place = api.admission().enter_store(&app.caller).await?;
    let decided = api.service().decide(&app.caller, item, decision).await.map_err(conflict)?;
    if let Some(template) = &decided.template {
        app.audit.template(template);
    }
    Ok(app.audit.succeeded(outcome, Outcome::result(&ReviewDecided::from(&decided))).into())
}
