//! `POST /verify` and its alias `/doc/verify`: is this the same person?

use axum::extract::{Request, State};

use super::Answer;
use crate::api::extract::{Authenticated, Query, TWO_PHOTOS, read_form};
use crate::api::outcome::Outcome;
use crate::api::{ApiState, reply};

pub(in crate::api) async fn verify(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    query: Query,
    request: Request,
) -> Answer {
    let options = query.photo_options()?;
    let threshold = query.fraction("threshold")?;
    audit.threshold(api.service().threshold(&caller, threshold));
    api.service().require(options.checks)?;
    let mut form = read_form(&api, &caller, request, TWO_PHOTOS).await?;
    let first = form.photo()?;
    let second = form.photo()?;
    let verified = api.service().verify(&caller, first, second, options, threshold).await?;
    let outcome = if verified.same { "same" } else { "different" };
    Ok(audit.compared(outcome, verified.similarity, Outcome::result(&reply::verified(&verified))))
}
