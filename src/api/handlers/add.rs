//! `POST /add` enrols a template; `POST /templates/{templateId}/samples` adds a sample to one.

use axum::extract::{Request, State};

use super::Answer;
use crate::api::extract::{Authenticated, ONE_PHOTO, Query, TemplatePath, read_form};
use crate::api::outcome::Outcome;
use crate::api::{ApiState, reply};
use crate::service::EnrollOptions;

pub(in crate::api) async fn add(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    query: Query,
    request: Request,
) -> Answer {
    let photo_options = query.photo_options()?;
    let replace = query.flag("replace")?;
    api.service().require(photo_options.checks)?;
    api.admission().check_store(&caller)?;
    let mut form = read_form(&api, &caller, request, ONE_PHOTO).await?;
    let template = form.template_id(&audit)?;
    let photo = form.photo()?;
    let new = api.service().new_sample(&caller, photo, photo_options).await?;
    let _place = api.admission().enter_store(&caller).await?;
    let enrolled = api.service().enroll(&caller, new, EnrollOptions { template, replace }).await?;
    audit.template(&enrolled.template);
    let outcome = if enrolled.warnings.is_empty() { "enrolled" } else { "enrolled with a warning" };
    Ok(audit.succeeded(outcome, Outcome::result(&reply::enrolled(&enrolled, api.config().shape))))
}

pub(in crate::api) async fn add_sample(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    TemplatePath(template): TemplatePath,
    query: Query,
    request: Request,
) -> Answer {
    let photo_options = query.photo_options()?;
    api.service().require(photo_options.checks)?;
    api.admission().check_store(&caller)?;
    let photo = read_form(&api, &caller, request, ONE_PHOTO).await?.photo()?;
    let new = api.service().new_sample(&caller, photo, photo_options).await?;
    let _place = api.admission().enter_store(&caller).await?;
    let enrolled = api.service().add_sample(&caller, template, new).await?;
    let outcome = if enrolled.warnings.is_empty() { "sample added" } else { "sample added with a warning" };
    Ok(audit.succeeded(outcome, Outcome::result(&reply::enrolled(&enrolled, api.config().shape))))
}
