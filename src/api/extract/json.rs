//! A small JSON body.

use axum::extract::Request;
use serde::de::DeserializeOwned;

use super::stream::{Capped, capped, collect};
use crate::api::ApiError;

/// Largest JSON body.
const MAX_JSON_BODY_BYTES: usize = 64 * 1024;

/// Reads a JSON object, whatever its declared media type. The error names the field, and repeats nothing of the body.
pub(in crate::api) async fn read_json<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    let Capped { body, .. } = capped(request, MAX_JSON_BODY_BYTES)?;
    let body = collect(body, Vec::new()).await?;
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&body);
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => ApiError::bad_request("request body has a missing field or a wrong type"),
        _ => ApiError::bad_request("request body is not valid JSON"),
    })
}
