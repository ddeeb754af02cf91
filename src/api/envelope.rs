//! The envelope: what every response has in common.
//!
//! One layer gives each request its transaction id, opens its span, catches panics, renders the
//! outcome (a handler's result, a failure, or a failure of the framework's own) as
//! `{"transactionId": ..., "result": ...}`, and ends with one log line. Handlers know nothing of
//! transaction ids; they leave an [`Outcome`] in the response's extensions.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::Instrument;

use super::audit::Audit;
use super::outcome::Outcome;
use super::peer::Client;
use super::request_log::RequestLog;
use super::{ApiError, ApiState, body};
use crate::domain::{TransactionId, rfc3339};

/// The header that repeats the transaction id.
pub(super) const TRANSACTION_ID: HeaderName = HeaderName::from_static("x-transaction-id");

/// Marks the reply of an equal request before. Its body and [`TRANSACTION_ID`] are those of that request.
pub(super) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// When the key of the request ends, if it is in its overlap with the key that replaces it: RFC 3339, UTC.
pub(super) const KEY_ENDS_AT: HeaderName = HeaderName::from_static("x-key-ends-at");

/// `Connection: close`: the request was not read to its end, so the connection cannot serve another one.
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// The layer.
pub(super) async fn wrap(State(api): State<ApiState>, request: Request, next: Next) -> Response {
    let id = TransactionId::random();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let client = request.extensions().get().map(|peer| Client::new(*peer, request.headers(), api.config()));
    let address = client.map(|client| client.address);
    let audit = Audit::new(address);
    let log = RequestLog::start(api.clone(), id, audit.clone(), request.method(), route);
    // At the highest level, so that no filter removes the transaction id from a line.
    let client_text = address.map(tracing::field::display);
    let span = tracing::error_span!("request", transaction.id = %id, client = client_text, app = tracing::field::Empty);
    let handled = async {
        let (mut parts, incoming) = request.into_parts();
        parts.extensions.insert(id);
        parts.extensions.insert(audit.clone());
        if let Some(client) = client {
            parts.extensions.insert(client);
        }
        let version = parts.version;
        let (incoming, remainder) = body::guard(incoming, &parts.headers, api.config());
        let mut response = match api.admit_client(client) {
            Ok(_place) => {
                let handled = AssertUnwindSafe(next.run(Request::from_parts(parts, incoming))).catch_unwind().await;
                handled.unwrap_or_else(|panic| ApiError::Panicked(panic_text(panic.as_ref())).into_response())
            }
            Err(error) => {
                drop(incoming);
                error.into_response()
            }
        };
        let failure = render(&mut response, id, api.config().retry_after_s);
        if let Some(ends_at) = audit.key_ends_at()
            && let Ok(value) = HeaderValue::from_str(&rfc3339(ends_at))
        {
            response.headers_mut().insert(KEY_ENDS_AT, value);
        }
        log.finish(response.status(), failure.as_deref());
        let drain = remainder.settle(version, || api.drain(audit.is_authenticated(), address)).await;
        // HTTP/2 has no such header: there, a request is a stream of its own.
        if let Some(drain) = drain
            && version < Version::HTTP_2
        {
            response.headers_mut().insert(header::CONNECTION, CLOSE);
            response.extensions_mut().insert(drain);
        }
        response
    };
    handled.instrument(span).await
}

/// Writes the outcome into the response and returns the failure, if any.
fn render(response: &mut Response, mut id: TransactionId, retry_after_s: u64) -> Option<Arc<ApiError>> {
    let status = response.status();
    let outcome = response.extensions_mut().remove::<Outcome>();
    let failed = status.is_client_error() || status.is_server_error();
    let failure = match outcome {
        Some(Outcome::Result(result)) => {
            set_json(response, format!(r#"{{"transactionId":"{id}","result":{result}}}"#));
            None
        }
        Some(Outcome::Repeated(original, result)) => {
            id = original;
            set_json(response, format!(r#"{{"transactionId":"{id}","result":{result}}}"#));
            response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
            None
        }
        Some(Outcome::Done) => {
            set_json(response, format!(r#"{{"transactionId":"{id}"}}"#));
            None
        }
        Some(Outcome::Failure(error)) => Some(error),
        None if failed => Some(Arc::new(ApiError::from_status(status))),
        Some(Outcome::Plain) | None => None,
    };
    if let Some(error) = &failure {
        let body = error.body();
        let result = body.result();
        set_json(response, format!(r#"{{"transactionId":"{id}","result":{result}}}"#));
        *response.status_mut() = body.status;
        if let Some(seconds) = error.retry_after(retry_after_s) {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(TRANSACTION_ID, value);
    }
    failure
}

/// The outermost layer: security headers for browsers, on every response including CORS preflights.
pub(super) async fn security_headers(State(api): State<ApiState>, mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.entry(name).or_insert(value);
    }
    if let Some(seconds) = api.config().hsts_s
        && let Ok(value) = HeaderValue::from_str(&format!("max-age={seconds}"))
    {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    response
}

/// No response is a page, a frame or a script, and none may be cached.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
];

fn set_json(response: &mut Response, json: String) {
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *response.body_mut() = Body::from(json);
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
