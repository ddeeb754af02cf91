//! What a place that is reserved for health checks serves.

use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::routes::HEALTH_PATHS;

/// `Connection: close`.
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Whether a request asks whether the server runs or is ready.
pub fn is_health_check<B>(request: &Request<B>) -> bool {
    HEALTH_PATHS.contains(&request.uri().path())
}

/// The response to any other request: all connections are in use.
pub fn no_place() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, HeaderValue::from_static("1"))], Body::empty())
        .into_response()
}

/// Ends an HTTP/1 connection with this response.
pub fn end_connection(response: &mut Response) {
    response.headers_mut().insert(header::CONNECTION, CLOSE);
}
