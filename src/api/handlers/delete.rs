//! `POST /delete`: remove a template for good.

use axum::extract::{Request, State};

use super::Answer;
use crate::api::ApiState;
use crate::api::extract::{Authenticated, read_template_id};
use crate::api::outcome::Outcome;

pub(in crate::api) async fn delete(
    State(api): State<ApiState>,
    Authenticated { caller, audit }: Authenticated,
    request: Request,
) -> Answer {
    api.admission().check_store(&caller)?;
    let template = read_template_id(&api, &audit, request).await?;
    let _place = api.admission().enter_store(&caller).await?;
    api.service().remove(&caller, &template).await?;
    Ok(audit.succeeded("removed", Outcome::Done))
}
