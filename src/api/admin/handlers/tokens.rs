//! `tokens`: create and end. Owners do it for everyone, others for themselves.

use std::time::SystemTime;

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::admin::extract::{Admin, JsonBody, Params};
use crate::api::admin::schema::{Name, Time};
use crate::api::admin::{Answer, BASE, Reply};
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState, Forbidden};
use crate::domain::{AdminTokenId, AdministratorId, Clock, Role, administrator_name, parse_rfc3339, rfc3339};
use crate::service::NewToken;
use crate::store::AdminTokenRecord;

/// A token, without its text.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct TokenView {
    token_id: String,
    name: String,
    created_at: String,
    /// To the minute.
    last_used_at: Option<String>,
    /// null: it has no end.
    expires_at: Option<String>,
}

impl TokenView {
    pub(super) fn new(record: &AdminTokenRecord) -> Self {
        Self {
            token_id: record.id.as_str().to_owned(),
            name: record.name.clone(),
            created_at: rfc3339(record.created_at),
            last_used_at: record.last_used_at.map(rfc3339),
            expires_at: record.expires_at.map(rfc3339),
        }
    }
}

/// A token to be created.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct CreateToken {
    #[schemars(with = "Name")]
    name: String,
    /// In the future; null or absent: it has no end.
    #[schemars(with = "Option<Time>")]
    #[serde(default)]
    expires_at: Option<String>,
}

/// A token that was just made.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct CreatedToken {
    /// Shown once.
    token: String,
    #[serde(flatten)]
    view: TokenView,
}

/// Refuses an administrator who is neither an owner nor the one that it is about.
pub(super) fn owner_or_self(admin: &Admin, about: &AdministratorId) -> Result<(), ApiError> {
    let signed_in = &admin.signed_in;
    let may = signed_in.role() == Role::Owner || signed_in.administrator.id == *about;
    if may { Ok(()) } else { Err(Forbidden::Role.into()) }
}

/// The end of a token, which has to be in the future.
fn end(text: Option<String>) -> Result<Option<SystemTime>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let end = parse_rfc3339(&text).filter(|end| *end > Clock::system().now());
    end.map(Some).ok_or_else(|| ApiError::field("expiresAt", "must be a time in the future, in RFC 3339 and UTC"))
}

pub(in crate::api) async fn create(
    State(api): State<ApiState>,
    admin: Admin,
    params: Params,
    JsonBody(body): JsonBody<CreateToken>,
) -> Answer {
    let id: AdministratorId = params.id("adminId")?;
    owner_or_self(&admin, &id)?;
    let name = administrator_name(&body.name).map_err(|error| ApiError::field("name", error.to_string()))?;
    let expires_at = end(body.expires_at)?;
    let administrators = api.service().administrators();
    let made = administrators.create_token(&id, &name, expires_at, admin.actor(), Some(admin.transaction)).await?;
    let NewToken { record, text } = made;
    let location = format!("{BASE}/tokens/{}", record.id);
    let reply = Outcome::result(&CreatedToken { token: text, view: TokenView::new(&record) });
    Ok(Reply::created(admin.audit.succeeded("created", reply), &location))
}

pub(in crate::api) async fn end_token(State(api): State<ApiState>, admin: Admin, params: Params) -> Answer {
    let id: AdminTokenId = params.id("tokenId")?;
    let administrators = api.service().administrators();
    let token = administrators.token(&id)?;
    // The token of another administrator is one that does not exist.
    owner_or_self(&admin, &token.administrator).map_err(|_| ApiError::no_such("token"))?;
    administrators.end_token(&id, admin.actor(), admin.transaction).await?;
    Ok(admin.audit.succeeded("ended", Outcome::Done).into())
}
