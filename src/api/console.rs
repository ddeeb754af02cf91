//! The console: static files, embedded in the binary, and the headers that bind their pages.
//!
//! The files are public: they hold no data and no secret. What a page shows comes from the administration API, which asks
//! for credentials. Each address below `/console` that is not a file is a page; the script in it reads the address.

mod files;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::asset::File;
use super::{ApiError, ApiState};
use files::FILES;

/// The document that every page begins with.
const INDEX: &str = "index.html";

/// The camera, on these pages alone; nothing else that a page could ask a person for.
const PERMISSIONS: HeaderValue = HeaderValue::from_static(
    "camera=(self), microphone=(), geolocation=(), display-capture=(), payment=(), usb=(), serial=(), hid=()",
);

/// The files by their path below `/console/assets`.
static BY_PATH: LazyLock<BTreeMap<&'static str, File>> =
    LazyLock::new(|| FILES.iter().map(|(path, content)| (*path, File::new(path, content))).collect());

/// The routes of the console.
pub(super) fn routes() -> Router<ApiState> {
    let other = super::handlers::ops::other_method;
    Router::new()
        .route("/console", get(page).fallback(other))
        .route("/console/{*page}", get(page).fallback(other))
        .route("/console/assets/{*file}", get(asset).fallback(other))
}

/// Any page: a reload at any address works.
async fn page(headers: HeaderMap) -> Response {
    serve(INDEX, &headers)
}

async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    serve(&path, &headers)
}

fn serve(path: &str, request: &HeaderMap) -> Response {
    match BY_PATH.get(path) {
        Some(file) => file.serve(request, PERMISSIONS),
        None => ApiError::NoSuchEndpoint.into_response(),
    }
}
