//! `session`: sign in, who am I, confirm, sign out.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::administrators::Me;
use crate::api::admin::extract::{Admin, Guest, JsonBody};
use crate::api::admin::{Answer, BASE, Reply};
use crate::api::outcome::Outcome;
use crate::api::{ApiError, ApiState};
use crate::domain::rfc3339;
use crate::service::{
    AdminError, Administrators, Credential, Error, FRESH, NewSession, SignedIn, idle_end, session_end,
};

/// A token or a one-time code.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct SignIn {
    /// The text of a token: `sba_...`.
    #[serde(default)]
    token: Option<String>,
    /// A one-time code.
    #[serde(default)]
    code: Option<String>,
}

/// A token, presented again.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Confirmation {
    /// The text of a token of the same administrator.
    token: String,
}

/// Who is signed in, and for how long.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct SessionView {
    administrator: Me,
    /// To be sent as `X-CSRF-Token` with every request that changes something; null with a token.
    csrf_token: Option<String>,
    /// When the session ends if it is not used; null with a token.
    idle_ends_at: Option<String>,
    /// When the session ends however it is used; null with a token.
    ends_at: Option<String>,
    /// Until when changes of keys, tokens and administrators need no confirmation; null with a token.
    fresh_until: Option<String>,
    /// Whether the first owner of this installation has no name yet.
    bootstrap: bool,
}

fn view(api: &ApiState, signed_in: &SignedIn, secret: Option<&str>) -> SessionView {
    let session = signed_in.session();
    SessionView {
        administrator: Me::new(&signed_in.administrator),
        csrf_token: secret.map(Administrators::csrf_token),
        idle_ends_at: session.map(|session| rfc3339(idle_end(session))),
        ends_at: session.map(|session| rfc3339(session_end(session))),
        fresh_until: session.map(|session| rfc3339(session.confirmed_at + FRESH)),
        bootstrap: api.service().administrators().has_bootstrap(),
    }
}

fn cookie(text: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::from_str(text).map_err(|error| Error::Internal(error.into()).into())
}

pub(in crate::api) async fn sign_in(
    State(api): State<ApiState>,
    guest: Guest,
    JsonBody(body): JsonBody<SignIn>,
) -> Answer {
    api.sign_ins().check_attempt(guest.client)?;
    let credential = match (&body.token, &body.code) {
        (Some(token), None) => Credential::Token(token),
        (None, Some(code)) => Credential::Code(code),
        _ => return Err(ApiError::bad_request("request body must have either token or code")),
    };
    let service = api.service();
    service.require_fresh_keys()?;
    let made = service.administrators().sign_in(credential, guest.from, guest.transaction).await;
    let NewSession { secret, signed_in } = match made {
        Err(Error::Administration(AdminError::Unauthenticated)) if !service.replicator().is_loaded() => {
            return Err(Error::Loading.into());
        }
        made => made?,
    };
    guest.audit.administrator(&signed_in.administrator.id);
    let outcome = Outcome::result(&view(&api, &signed_in, Some(&secret)));
    let reply = Reply::created(guest.audit.succeeded("signed in", outcome), &format!("{BASE}/session"));
    Ok(reply.header(header::SET_COOKIE, cookie(&guest.transport.cookie(&secret))?))
}

pub(in crate::api) async fn read(State(api): State<ApiState>, admin: Admin) -> Answer {
    let view = view(&api, &admin.signed_in, admin.secret.as_deref());
    Ok(admin.audit.succeeded("read", Outcome::result(&view)).into())
}

pub(in crate::api) async fn confirm(
    State(api): State<ApiState>,
    admin: Admin,
    JsonBody(body): JsonBody<Confirmation>,
) -> Answer {
    let administrators = api.service().administrators();
    let Some(session) = admin.signed_in.session() else {
        // A token with the request is fresh by itself.
        let view = view(&api, &admin.signed_in, None);
        return Ok(admin.audit.succeeded("confirmed", Outcome::result(&view)).into());
    };
    let confirmed = administrators.confirm(session, &body.token).await;
    if let Err(Error::Administration(AdminError::Unauthenticated)) = &confirmed {
        api.sign_ins().check_attempt(admin.client)?;
    }
    let view = view(&api, &confirmed?, admin.secret.as_deref());
    Ok(admin.audit.succeeded("confirmed", Outcome::result(&view)).into())
}

pub(in crate::api) async fn sign_out(State(api): State<ApiState>, admin: Admin) -> Answer {
    let session = admin.signed_in.session().ok_or_else(|| ApiError::no_such("session"))?;
    let administrators = api.service().administrators();
    let own = &admin.signed_in.administrator.id;
    administrators.end_session(&session.id, Some(own), admin.actor(), admin.transaction).await?;
    let end = cookie(&admin.transport.cookie(""))?;
    let reply = Reply::from(admin.audit.succeeded("signed out", Outcome::Done));
    Ok(reply.header(header::SET_COOKIE, end))
}
