//! `GET /key`: what the key of the request allows, and how long.

use super::Answer;
use crate::api::ApiError;
use crate::api::extract::Authenticated;
use crate::api::outcome::Outcome;
use crate::api::reply;
use crate::service::Error;

pub(in crate::api) async fn key(Authenticated { caller, audit }: Authenticated) -> Answer {
    let key = caller.key.ok_or_else(|| ApiError::from(Error::Internal("a caller of the API has no key".into())))?;
    Ok(audit.succeeded("read", Outcome::result(&reply::key(key, caller.scopes))))
}
