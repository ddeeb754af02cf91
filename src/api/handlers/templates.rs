//! `GET /templates`, `GET` and `DELETE /templates/{templateId}`: what is enrolled.

use axum::extract::{Path, State};

use super::Answer;
use crate::api::envelope::Outcome;
use crate::api::extract::{Authenticated, Query, parse_template_id, parse_template_id_named};
use crate::api::{ApiState, note, reply};

pub(in crate::api) async fn list(
    State(api): State<ApiState>,
    Authenticated(caller): Authenticated,
    query: Query,
) -> Answer {
    let config = api.config();
    let limit = query.count("limit", 1..=config.page_max.max(1))?.unwrap_or(config.page_default.max(1));
    let after = query.text("after").map(|id| parse_template_id_named("after", id)).transpose()?;
    let _ticket = api.admit_to_store(&caller)?;
    // One more than asked for tells whether there is a next page.
    let templates = api.service().templates(&caller, after.as_ref(), limit.saturating_add(1)).await?;
    note::outcome("listed");
    Ok(Outcome::result(&reply::page(&templates, limit)))
}

pub(in crate::api) async fn one(
    State(api): State<ApiState>,
    Authenticated(caller): Authenticated,
    Path(template): Path<String>,
) -> Answer {
    let template = parse_template_id(&template)?;
    note::template(&template);
    let _ticket = api.admit_to_store(&caller)?;
    let template = api.service().template(&caller, &template).await?;
    note::outcome("read");
    Ok(Outcome::result(&reply::template(&template)))
}

pub(in crate::api) async fn remove(
    State(api): State<ApiState>,
    Authenticated(caller): Authenticated,
    Path(template): Path<String>,
) -> Answer {
    let template = parse_template_id(&template)?;
    note::template(&template);
    let _ticket = api.admit_to_store(&caller)?;
    api.service().remove(&caller, &template).await?;
    note::outcome("removed");
    Ok(Outcome::Done)
}
