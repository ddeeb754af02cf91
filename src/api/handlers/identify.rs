//! `POST /identify`: who is this?

use axum::extract::{Request, State};

use super::Answer;
use crate::api::extract::{Authenticated, ONE_PHOTO, Query, read_form};
use crate::api::outcome::Outcome;
use crate::api::reply::Explained;
use crate::api::{ApiState, reply};
use crate::domain::Scope;
use crate::service::IdentifyOptions;

pub(in crate::api) async fn identify(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    query: Query,
    request: Request,
) -> Answer {
    let options = IdentifyOptions {
        photo_options: query.photo_options()?,
        threshold: query.fraction("threshold")?,
        candidates: query.count("candidates", 1..=api.service().policy().max_candidates.max(1))?,
    };
    let trace = query.flag("trace")?;
    audit.threshold(api.service().threshold(&caller, options.threshold));
    api.service().require(options.photo_options.checks)?;
    let photo = read_form(&api, &caller, request, ONE_PHOTO).await?.photo()?;
    let found = api.service().identify(&caller, photo, options).await?;
    let limits = api.service().policy().limits;
    let explained = Explained { may_read: caller.require(Scope::Read).is_ok(), trace: trace.then_some(&limits) };
    let reply = Outcome::result(&reply::identified(&found, api.config().shape, explained));
    Ok(match &found.best {
        Some(best) => {
            audit.template(&best.template);
            audit.compared("found", best.similarity, reply)
        }
        None => {
            if let Some(near) = &found.near {
                audit.near(&near.template, near.similarity);
            }
            audit.succeeded("nobody", reply)
        }
    })
}
