//! `POST /add` enrols a template; `POST /templates/{templateId}/samples` adds a sample to one.

use axum::extract::{Path, Request, State};

use super::Answer;
use crate::api::ApiState;
use crate::api::envelope::Outcome;
use crate::api::extract::{Authenticated, ONE_PHOTO, Query, parse_template_id, read_form};
use crate::api::{note, reply};
use crate::service::EnrollOptions;

pub(in crate::api) async fn add(
    State(api): State<ApiState>,
    Authenticated(caller): Authenticated,
    query: Query,
    request: Request,
) -> Answer {
    let (photo_options, replace) = (query.photo_options()?, query.flag("replace")?);
    api.service().require(photo_options.checks)?;
    let _ticket = api.admit(&caller, 1)?;
    let mut form = read_form(&api, request, ONE_PHOTO).await?;
    let template = form.template_id()?;
    template.iter().for_each(note::template);
    let photo = form.photo()?;
    let options = EnrollOptions { template, replace, photo_options };
    let enrolled = api.service().enroll(&caller, photo, options).await?;
    note::outcome(if enrolled.warnings.is_empty() { "enrolled" } else { "enrolled with a warning" });
    note::template(&enrolled.template);
    Ok(Outcome::result(&reply::enrolled(&enrolled, api.config().shape)))
}

pub(in crate::api) async fn add_sample(
    State(api): State<ApiState>,
    Authenticated(caller): Authenticated,
    Path(template): Path<String>,
    query: Query,
    request: Request,
) -> Answer {
    let template = parse_template_id(&template)?;
    note::template(&template);
    let photo_options = query.photo_options()?;
    api.service().require(photo_options.checks)?;
    let _ticket = api.admit(&caller, 1)?;
    let photo = read_form(&api, request, ONE_PHOTO).await?.photo()?;
    let enrolled = api.service().add_sample(&caller, template, photo, photo_options).await?;
    note::outcome(if enrolled.warnings.is_empty() { "sample added" } else { "sample added with a warning" });
    Ok(Outcome::result(&reply::enrolled(&enrolled, api.config().shape)))
}
