//! The layer around every route of the administration: name and encryption, credentials, CSRF, rates and access.

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::Access;
use super::transport::Transport;
use crate::api::audit::{Audit, Lines};
use crate::api::{ApiError, ApiState, Forbidden};
use crate::service::{AdminError, Administrators, Error, SignedIn};

/// The header with the CSRF token of a session.
const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");

/// What the layer of one route knows.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) api: ApiState,
    pub(super) access: Access,
    pub(super) lines: Lines,
}

/// Who has passed the layer, for the extractors.
#[derive(Clone)]
pub(super) struct Passed {
    pub(super) signed_in: SignedIn,
    /// The secret in the cookie of a session.
    pub(super) secret: Option<String>,
}

/// The layer.
pub(super) async fn gate(State(gate): State<Gate>, request: Request, next: Next) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let transport = Transport::check(&parts, gate.api.config())?;
    if gate.access.is_public() {
        // A page of another origin must not sign its visitor in as another administrator.
        if !is_safe(&parts.method) && !transport.is_same_origin(&parts, false) {
            return Err(Forbidden::Csrf.into());
        }
    } else {
        let passed = authenticate(&gate, &parts, &transport).await?;
        parts.extensions.insert(passed);
    }
    if let Some(audit) = parts.extensions.get::<Audit>() {
        audit.set_lines(gate.lines);
    }
    parts.extensions.insert(transport);
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// No change is made with these methods.
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

async fn authenticate(gate: &Gate, parts: &Parts, transport: &Transport) -> Result<Passed, ApiError> {
    let service = gate.api.service();
    let passed = match (parts.headers.get(header::AUTHORIZATION), transport.secret_of(parts)) {
        // Where a token is sent, the cookie is not read.
        (Some(value), _) => {
            service.require_fresh_keys()?;
            let token = value.to_str().ok().and_then(bearer).unwrap_or_default();
            let signed_in = service.administrators().authenticate_token(token).await;
            let counted = |error| {
                gate.api
                    .sign_ins()
                    .check_attempt(parts.extensions.get().copied())
                    .map_or_else(|too_many| too_many, |()| error)
            };
            let signed_in = signed_in.map_err(|error| counted(known_error(&gate.api, error)))?;
            Passed { signed_in, secret: None }
        }
        (None, Some(secret)) => {
            service.require_fresh_keys()?;
            let signed_in = service.administrators().authenticate_session(secret).await;
            // Not counted: a console with many calls whose session has ended must be able to sign in again.
            let signed_in = signed_in.map_err(|error| known_error(&gate.api, error))?;
            let is_own = || transport.is_same_origin(parts, true) && has_csrf_token(parts, secret);
            if !is_safe(&parts.method) && !is_own() {
                return Err(Forbidden::Csrf.into());
            }
            Passed { signed_in, secret: Some(secret.to_owned()) }
        }
        (None, None) => return Err(Error::from(AdminError::Unauthenticated).into()),
    };
    let id = &passed.signed_in.administrator.id;
    if let Some(audit) = parts.extensions.get::<Audit>() {
        audit.administrator(id);
    }
    gate.api.sign_ins().check_call(id)?;
    gate.access.admit(&passed.signed_in)?;
    Ok(passed)
}

/// The answer to wrong credentials. Before the first read of the store no administrator is known: the client is to try
/// again, not to give up.
fn known_error(api: &ApiState, error: Error) -> ApiError {
    if api.service().replicator().is_loaded() { error.into() } else { Error::Loading.into() }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn has_csrf_token(parts: &Parts, secret: &str) -> bool {
    let presented = parts.headers.get(CSRF).map(|value| value.as_bytes()).unwrap_or_default();
    Administrators::csrf_token(secret).as_bytes().ct_eq(presented).into()
}
