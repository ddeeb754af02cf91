//! `/templates/{templateId}/verify`, `/merge`, `/rename` and `/samples/{sampleId}`: one stored template, sample by sample.

use axum::extract::{Request, State};
use serde::Deserialize;

use super::Answer;
use crate::api::extract::{
    Authenticated, ONE_PHOTO, Query, SamplePath, TemplatePath, parse_template_id, read_form, read_json,
};
use crate::api::outcome::Outcome;
use crate::api::{ApiState, reply};
use crate::store::{Merge, SampleMove};

/// Compares a photo with the stored samples.
pub(in crate::api) async fn verify(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    TemplatePath(template): TemplatePath,
    query: Query,
    request: Request,
) -> Answer {
    let options = query.photo_options()?;
    let threshold = query.fraction("threshold")?;
    audit.threshold(api.service().threshold(&caller, threshold));
    api.service().require(options.checks)?;
    api.admission().check_store(&caller)?;
    let photo = read_form(&api, &caller, request, ONE_PHOTO).await?.photo()?;
    let probe = api.service().probe(&caller, photo, options).await?;
    let _place = api.admission().enter_store(&caller).await?;
    let verified = api.service().verify_template(&caller, &template, probe, threshold).await?;
    audit.sample(verified.sample);
    let outcome = if verified.same { "same" } else { "different" };
    Ok(audit.compared(outcome, verified.similarity, Outcome::result(&reply::verified_template(&verified))))
}

/// Erases a sample.
pub(in crate::api) async fn remove(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    SamplePath { template, sample }: SamplePath,
) -> Answer {
    let _place = api.admission().enter_store(&caller).await?;
    api.service().remove_sample(&caller, &template, sample).await?;
    Ok(audit.succeeded("sample removed", Outcome::Done))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MoveBody {
    to: String,
    #[serde(default)]
    remove_empty: bool,
}

/// Moves a sample to another template.
pub(in crate::api) async fn move_sample(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    SamplePath { template, sample }: SamplePath,
    request: Request,
) -> Answer {
    api.admission().check_store(&caller)?;
    let body: MoveBody = read_json(request).await?;
    let to = parse_template_id("to", &body.to)?;
    let _place = api.admission().enter_store(&caller).await?;
    let change = SampleMove { from: &template, sample, to: &to, remove_empty: body.remove_empty };
    let revision = api.service().move_sample(&caller, change).await?;
    Ok(audit.succeeded("sample moved", Outcome::result(&reply::moved(&to, sample, revision))))
}

#[derive(Deserialize)]
struct MergeBody {
    from: String,
}

/// Merges another template into this one.
pub(in crate::api) async fn merge(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    TemplatePath(template): TemplatePath,
    request: Request,
) -> Answer {
    api.admission().check_store(&caller)?;
    let body: MergeBody = read_json(request).await?;
    let from = parse_template_id("from", &body.from)?;
    let _place = api.admission().enter_store(&caller).await?;
    let merged = api.service().merge(&caller, Merge { from: &from, into: &template }).await?;
    Ok(audit.succeeded("merged", Outcome::result(&reply::merged(&template, merged))))
}

#[derive(Deserialize)]
struct RenameBody {
    to: String,
}

/// Gives the template another id.
pub(in crate::api) async fn rename(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    TemplatePath(template): TemplatePath,
    request: Request,
) -> Answer {
    api.admission().check_store(&caller)?;
    let body: RenameBody = read_json(request).await?;
    let to = parse_template_id("to", &body.to)?;
    let _place = api.admission().enter_store(&caller).await?;
    let revision = api.service().rename(&caller, &template, &to).await?;
    Ok(audit.succeeded("renamed", Outcome::result(&reply::renamed(&to, revision))))
}
