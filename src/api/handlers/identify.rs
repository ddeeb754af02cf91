//! `POST /identify`: who is this?

use axum::extract::{Request, State};

use super::Answer;
use crate::api::ApiState;
use crate::api::envelope::Outcome;
use crate::api::extract::{Authenticated, ONE_PHOTO, Query, read_form};
use crate::api::{note, reply};
use crate::service::IdentifyOptions;

pub(in crate::api) async fn identify(
    State(api): State<ApiState>,
    Authenticated(caller): Authenticated,
    query: Query,
    request: Request,
) -> Answer {
    let options = IdentifyOptions {
        photo_options: query.photo_options()?,
        threshold: query.fraction("threshold")?,
        candidates: query.count("candidates", 1..=api.service().policy().max_candidates.max(1))?,
    };
    note::threshold(options.threshold.unwrap_or(api.service().policy().threshold));
    api.service().require(options.photo_options.checks)?;
    let _ticket = api.admit(&caller, 1)?;
    let photo = read_form(&api, request, ONE_PHOTO).await?.photo()?;
    let found = api.service().identify(&caller, photo, options).await?;
    note::outcome(if found.best.is_some() { "found" } else { "nobody" });
    note::similarity(found.best.as_ref().map(|best| best.similarity.get()));
    if let Some(best) = &found.best {
        note::template(&best.template);
    }
    Ok(Outcome::result(&reply::identified(&found, api.config().shape)))
}
