//! `POST people/bulk`: one change of up to 1000 people.

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::people::conflict;
use crate::api::admin::Answer;
use crate::api::admin::extract::{Field, ForApp, JsonBody};
use crate::api::admin::schema::Time;
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState, schema};
use crate::domain::{DetailsPatch, Field as Detail, TemplateId};
use crate::service::{Error, PersonChange};

/// The most people of one change.
const MAX_PEOPLE: usize = 1000;

/// How often a change of groups is tried again when the person was changed meanwhile.
const ATTEMPTS: usize = 3;

/// A change of many people. Exactly one of `erase` and the others.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct BulkChange {
    /// 1 to 1000 ids.
    #[schemars(with = "Vec<schema::TemplateId>", length(min = 1, max = 1000))]
    template_ids: Vec<String>,
    /// Erases them. The value is their number, as a confirmation.
    #[serde(default)]
    erase: Option<usize>,
    /// Groups that they are added to.
    #[serde(default)]
    add_groups: Vec<String>,
    /// Groups that they are removed from.
    #[serde(default)]
    remove_groups: Vec<String>,
    /// From when they are erased; null: never.
    #[schemars(with = "Field<Time>")]
    #[serde(default)]
    expires_at: Field<String>,
}

/// What became of a change of many people.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct BulkResult {
    /// How many people were changed, or already are as requested.
    done: usize,
    /// The others, each with the reason.
    failed: Vec<BulkFailure>,
}

/// A person that is not changed.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct BulkFailure {
    template_id: String,
    reason: &'static str,
    info: String,
}

pub(in crate::api) async fn change(
    State(api): State<ApiState>,
    for_app: ForApp,
    JsonBody(body): JsonBody<BulkChange>,
) -> Answer {
    if !(1..=MAX_PEOPLE).contains(&body.template_ids.len()) {
        return Err(ApiError::field("templateIds", format!("must have 1 to {MAX_PEOPLE} entries")));
    }
    let expires_at = body.expires_at.or_null();
    let changes = !body.add_groups.is_empty() || !body.remove_groups.is_empty() || expires_at.is_some();
    if changes == body.erase.is_some() {
        return Err(ApiError::field("erase", "must be there, or else a change of groups or of the expiry"));
    }
    if body.erase.is_some_and(|count| count != body.template_ids.len()) {
        return Err(ApiError::field("erase", "must be the number of templateIds"));
    }
    let mut ids = Vec::with_capacity(body.template_ids.len());
    for (at, id) in body.template_ids.iter().enumerate() {
        let id: TemplateId =
            id.parse().map_err(|error| ApiError::field(format!("templateIds[{at}]"), format!("{error}")))?;
        ids.push(id);
    }
    let mut common = DetailsPatch::default();
    if let Some(at) = expires_at {
        common.set(Detail::ExpiresAt, at.map_or(Value::Null, Value::from)).map_err(Error::from)?;
    }
    common.set(Detail::Groups, json!(body.add_groups)).map_err(Error::from)?;
    let mut result = BulkResult { done: 0, failed: Vec::new() };
    for id in ids {
        let done = if body.erase.is_some() {
            api.service().erase_person(&for_app.caller, &id, None, None).await.map(drop)
        } else {
            change_one(&api, &for_app, &id, &body.add_groups, &body.remove_groups, &common).await
        };
        match done {
            Ok(()) => result.done += 1,
            // The database is away, or the server stops: the rest would fail, too.
            Err(error @ (Error::StoreUnavailable(_) | Error::Internal(_) | Error::Stale)) => return Err(error.into()),
            Err(error) => {
                let body = conflict(error).body();
                result.failed.push(BulkFailure {
                    template_id: id.as_str().to_owned(),
                    reason: body.reason.unwrap_or("refused"),
                    info: body.info.into_owned(),
                });
            }
        }
    }
    let outcome = if body.erase.is_some() { "removed" } else { "changed" };
    let outcome = format!("{outcome} {} of {}", result.done, body.template_ids.len());
    Ok(for_app.audit.succeeded(&outcome, Outcome::result(&result)).into())
}

/// Changes the groups and the expiry of a person. Another change meanwhile is not lost.
async fn change_one(
    api: &ApiState,
    for_app: &ForApp,
    id: &TemplateId,
    add: &[String],
    remove: &[String],
    common: &DetailsPatch,
) -> Result<(), Error> {
    for attempt in 1.. {
        let person = api.service().person(&for_app.caller, id).await?;
        let trimmed = |group: &String| group.trim().to_owned();
        let mut groups = person.details.groups.clone();
        groups.retain(|group| !remove.iter().any(|removed| removed.trim() == group));
        groups.extend(add.iter().map(trimmed));
        let mut patch = common.clone();
        patch.set(Detail::Groups, json!(groups))?;
        let change = PersonChange { patch, expected: Some(person.revision) };
        match api.service().change_details(&for_app.caller, id, &change).await {
            Err(Error::TemplateChanged) if attempt < ATTEMPTS => {}
            changed => return changed.map(drop),
        }
    }
    Ok(())
}
