//! `GET /templates`, `GET` and `DELETE /templates/{templateId}`: what is enrolled.

use axum::extract::State;

use super::Answer;
use crate::api::extract::{Authenticated, Query, TemplatePath};
use crate::api::outcome::Outcome;
use crate::api::{ApiState, reply};

pub(in crate::api) async fn list(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    query: Query,
) -> Answer {
    let config = api.config();
    let limit = query.count("limit", 1..=config.page_max.max(1))?.unwrap_or(config.page_default.max(1));
    let after = query.template_id("after")?;
    let _place = api.admission().enter_store(&caller).await?;
    let page = api.service().templates(&caller, after.as_ref(), limit).await?;
    Ok(audit.succeeded("listed", Outcome::result(&reply::page(&page))))
}

pub(in crate::api) async fn one(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    TemplatePath(template): TemplatePath,
) -> Answer {
    let _place = api.admission().enter_store(&caller).await?;
    let template = api.service().template(&caller, &template).await?;
    Ok(audit.succeeded("read", Outcome::result(&reply::template(&template))))
}

pub(in crate::api) async fn remove(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    TemplatePath(template): TemplatePath,
) -> Answer {
    let _place = api.admission().enter_store(&caller).await?;
    api.service().remove(&caller, &template).await?;
    Ok(audit.succeeded("removed", Outcome::Done))
}
