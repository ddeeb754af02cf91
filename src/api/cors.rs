//! Cross-origin calls from browsers: off unless an operator lists origins.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::envelope::{IDEMPOTENCY_REPLAYED, KEY_ENDS_AT, TRANSACTION_ID};
use super::extract::IDEMPOTENCY_KEY;

/// The layer for an operator's origins; `None` when there are none.
pub(super) fn layer(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| {
            let value = HeaderValue::from_str(origin.trim().trim_end_matches('/'));
            value.inspect_err(|_| tracing::warn!(origin, "ignored in server.cors_origins: not an origin")).ok()
        }))
    };
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
            .allow_headers([
                HeaderName::from_static("app-id"),
                HeaderName::from_static("app-key"),
                IDEMPOTENCY_KEY,
                header::CONTENT_TYPE,
                header::IF_MATCH,
            ])
            .expose_headers([TRANSACTION_ID, IDEMPOTENCY_REPLAYED, KEY_ENDS_AT, header::RETRY_AFTER])
            .max_age(Duration::from_secs(3600)),
    )
}
