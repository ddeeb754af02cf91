//! `sessions`: list and end. Owners see all, others their own.

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tokens::owner_or_self;
use crate::api::ApiState;
use crate::api::admin::Answer;
use crate::api::admin::extract::{Admin, JsonBody, Params};
use crate::api::outcome::Outcome;
use crate::domain::{AdminSessionId, AdministratorId, Role, rfc3339};
use crate::service::{idle_end, session_end};
use crate::store::AdminSessionRecord;

/// A session of the console.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct SessionItem {
    session_id: String,
    admin_id: String,
    /// The address that made it.
    address: Option<String>,
    /// The program that made it, as it names itself.
    client: Option<String>,
    created_at: String,
    /// To the minute.
    last_seen_at: String,
    idle_ends_at: String,
    ends_at: String,
    /// Whether it is the one of this request.
    current: bool,
}

/// Sessions, oldest first.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct SessionList {
    sessions: Vec<SessionItem>,
}

/// Whose sessions end.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::api) struct EndSessions {
    /// Absent: of the administrator who calls.
    #[schemars(length(min = 1, max = 64))]
    #[serde(default)]
    admin_id: Option<String>,
    /// Whether the session of this request stays.
    #[serde(default)]
    keep_current: bool,
}

/// How many sessions have ended.
#[derive(Serialize, JsonSchema)]
pub(in crate::api) struct Ended {
    ended: u64,
}

pub(in crate::api) async fn list(State(api): State<ApiState>, admin: Admin) -> Answer {
    let own = &admin.signed_in.administrator.id;
    let of = (admin.signed_in.role() != Role::Owner).then_some(own);
    let current = admin.signed_in.session().map(|session| &session.id);
    let item = |session: &AdminSessionRecord| SessionItem {
        session_id: session.id.as_str().to_owned(),
        admin_id: session.administrator.as_str().to_owned(),
        address: session.address.clone(),
        client: session.client.clone(),
        created_at: rfc3339(session.created_at),
        last_seen_at: rfc3339(session.last_seen_at),
        idle_ends_at: rfc3339(idle_end(session)),
        ends_at: rfc3339(session_end(session)),
        current: current == Some(&session.id),
    };
    let sessions = api.service().administrators().sessions(of).iter().map(item).collect();
    Ok(admin.audit.succeeded("listed", Outcome::result(&SessionList { sessions })).into())
}

pub(in crate::api) async fn end(State(api): State<ApiState>, admin: Admin, params: Params) -> Answer {
    let id: AdminSessionId = params.id("sessionId")?;
    let own = &admin.signed_in.administrator.id;
    let of = (admin.signed_in.role() != Role::Owner).then_some(own);
    api.service().administrators().end_session(&id, of, admin.actor(), admin.transaction).await?;
    Ok(admin.audit.succeeded("ended", Outcome::Done).into())
}

pub(in crate::api) async fn end_all(
    State(api): State<ApiState>,
    admin: Admin,
    JsonBody(body): JsonBody<EndSessions>,
) -> Answer {
    let own = &admin.signed_in.administrator.id;
    let of: AdministratorId = match body.admin_id {
        None => own.clone(),
        Some(id) => id
            .parse()
            .map_err(|error: crate::domain::IdError| crate::api::ApiError::field("adminId", error.to_string()))?,
    };
    owner_or_self(&admin, &of)?;
    let administrators = api.service().administrators();
    administrators.get(&of)?;
    let except = admin.signed_in.session().filter(|_| body.keep_current).map(|session| &session.id);
    let ended = administrators.end_sessions(Some(&of), except, admin.actor(), Some(admin.transaction)).await?;
    Ok(admin.audit.succeeded("ended", Outcome::result(&Ended { ended })).into())
}
