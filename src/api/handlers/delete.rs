//! `POST /delete`: remove a template for good.

use axum::extract::{Request, State};

use super::Answer;
use crate::api::envelope::Outcome;
use crate::api::extract::{Authenticated, read_template_id};
use crate::api::{ApiState, note};

pub(in crate::api) async fn delete(
    State(api): State<ApiState>,
    Authenticated(caller): Authenticated,
    request: Request,
) -> Answer {
    let _ticket = api.admit_to_store(&caller)?;
    let template = read_template_id(&api, request).await?;
    note::template(&template);
    api.service().remove(&caller, &template).await?;
    note::outcome("removed");
    Ok(Outcome::Done)
}
