//! The header `Idempotency-Key`.

use axum::extract::FromRequestParts;
use axum::http::HeaderName;
use axum::http::request::Parts;

use crate::api::ApiError;
use crate::domain::IdempotencyKey;

/// The header.
pub(in crate::api) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The key of a request, if its client sends one.
pub(in crate::api) struct RequestKey(pub(in crate::api) Option<IdempotencyKey>);

impl<S: Sync> FromRequestParts<S> for RequestKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut values = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        if values.next().is_some() {
            return Err(ApiError::bad_request("Idempotency-Key must be sent once"));
        }
        let key = String::from_utf8_lossy(value.as_bytes()).parse::<IdempotencyKey>();
        key.map(|key| Self(Some(key))).map_err(|error| ApiError::bad_request(format!("Idempotency-Key {error}")))
    }
}
