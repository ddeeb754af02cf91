//! `POST /liveness` and `POST /deepfake`: one photo, no gallery.

use axum::extract::{Request, State};

use super::Answer;
use crate::api::extract::{Authenticated, ONE_PHOTO, Query, read_form};
use crate::api::outcome::Outcome;
use crate::api::{ApiState, reply};
use crate::domain::{Checks, PhotoOptions, Verdict};

/// Makes the check that the endpoint is named after, and the other one on request.
pub(in crate::api) async fn liveness(
    State(api): State<ApiState>,
    caller: Authenticated,
    query: Query,
    request: Request,
) -> Answer {
    let checks = Checks { liveness: true, deepfake: query.flag("check_deepfake")? };
    inspect(&api, caller, PhotoOptions { subject: query.subject()?, checks }, request).await
}

/// See [`liveness`].
pub(in crate::api) async fn deepfake(
    State(api): State<ApiState>,
    caller: Authenticated,
    query: Query,
    request: Request,
) -> Answer {
    let checks = Checks { liveness: query.flag("check_liveness")?, deepfake: true };
    inspect(&api, caller, PhotoOptions { subject: query.subject()?, checks }, request).await
}

async fn inspect(api: &ApiState, caller: Authenticated, options: PhotoOptions, request: Request) -> Answer {
    let Authenticated { caller, audit } = caller;
    api.service().require(options.checks)?;
    let photo = read_form(api, &caller, request, ONE_PHOTO).await?.photo()?;
    let analysis = api.service().inspect(&caller, photo, options).await?;
    let passed = |verdict: Option<Verdict>| verdict.is_none_or(|verdict| verdict.fine);
    let outcome = if passed(analysis.liveness) && passed(analysis.deepfake) { "passed" } else { "not passed" };
    Ok(audit.succeeded(outcome, Outcome::result(&reply::inspected(&analysis, api.config().shape))))
}
