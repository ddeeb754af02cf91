//! `POST /liveness` and `POST /deepfake`: one photo, no gallery.

use axum::extract::{Request, State};

use super::Answer;
use crate::api::envelope::Outcome;
use crate::api::extract::{Authenticated, ONE_PHOTO, Query, read_form};
use crate::api::{ApiState, note, reply};
use crate::domain::{Checks, PhotoOptions, Verdict};

/// The check that the endpoint is named after is made; the other one when it is asked for.
pub(in crate::api) async fn liveness(
    State(api): State<ApiState>,
    caller: Authenticated,
    query: Query,
    request: Request,
) -> Answer {
    let checks = Checks { liveness: true, deepfake: query.flag("check_deepfake")? };
    inspect(&api, &caller, PhotoOptions { subject: query.subject()?, checks }, request).await
}

/// See [`liveness`].
pub(in crate::api) async fn deepfake(
    State(api): State<ApiState>,
    caller: Authenticated,
    query: Query,
    request: Request,
) -> Answer {
    let checks = Checks { liveness: query.flag("check_liveness")?, deepfake: true };
    inspect(&api, &caller, PhotoOptions { subject: query.subject()?, checks }, request).await
}

async fn inspect(api: &ApiState, caller: &Authenticated, options: PhotoOptions, request: Request) -> Answer {
    api.service().require(options.checks)?;
    let _ticket = api.admit(&caller.0, 1)?;
    let photo = read_form(api, request, ONE_PHOTO).await?.photo()?;
    let analysis = api.service().inspect(&caller.0, photo, options).await?;
    let passed = |verdict: Option<Verdict>| verdict.is_none_or(|verdict| verdict.fine);
    note::outcome(if passed(analysis.liveness) && passed(analysis.deepfake) { "passed" } else { "not passed" });
    Ok(Outcome::result(&reply::inspected(&analysis, api.config().shape)))
}
