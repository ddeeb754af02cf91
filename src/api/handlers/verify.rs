//! `POST /verify` and its alias `/doc/verify`: is this the same person?

use axum::extract::{Request, State};

use super::Answer;
use crate::api::ApiState;
use crate::api::envelope::Outcome;
use crate::api::extract::{Authenticated, Query, TWO_PHOTOS, read_form};
use crate::api::{note, reply};

pub(in crate::api) async fn verify(
    State(api): State<ApiState>,
    caller: Authenticated,
    query: Query,
    request: Request,
) -> Answer {
    let (options, threshold) = (query.photo_options()?, query.fraction("threshold")?);
    note::threshold(threshold.unwrap_or(api.service().policy().threshold));
    api.service().require(options.checks)?;
    let _ticket = api.admit(&caller.0, 2)?;
    let mut form = read_form(&api, request, TWO_PHOTOS).await?;
    let (first, second) = (form.photo()?, form.photo()?);
    let verified = api.service().verify(&caller.0, first, second, options, threshold).await?;
    note::outcome(if verified.same { "same" } else { "different" });
    note::similarity(Some(verified.similarity.get()));
    Ok(Outcome::result(&reply::verified(&verified)))
}
