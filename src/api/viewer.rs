//! A page that shows an OpenAPI document: the public one at `/docs` of the API's address, that of the administration at
//! `/console/api` of its own. `/docs` there would be the public one, where both are at one address.

use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue};
use axum::routing::{MethodRouter, get};

use super::ApiState;
use super::asset::File;
use super::handlers::ops::other_method;

/// The page asks a person for nothing.
const PERMISSIONS: HeaderValue = HeaderValue::from_static(
    "camera=(), microphone=(), geolocation=(), display-capture=(), payment=(), usb=(), serial=(), hid=()",
);

macro_rules! file {
    ($name:ident, $path:literal) => {
        static $name: LazyLock<File> = LazyLock::new(|| File::new($path, include_bytes!($path)));
    };
}

file!(PUBLIC, "viewer/public.html");
file!(ADMINISTRATION, "viewer/administration.html");
file!(SCRIPT, "viewer/viewer.js");
file!(STYLE, "viewer/viewer.css");
file!(ICON, "../../console/icon.svg");

fn serve(file: &'static LazyLock<File>) -> MethodRouter<ApiState> {
    let handler = move |headers: HeaderMap| async move { file.serve(&headers, PERMISSIONS) };
    get(handler).fallback(other_method)
}

/// The viewer of the public document.
pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/docs", serve(&PUBLIC))
        .route("/docs/viewer.js", serve(&SCRIPT))
        .route("/docs/viewer.css", serve(&STYLE))
        .route("/docs/icon.svg", serve(&ICON))
}

/// The viewer of the document of the administration.
pub(super) fn admin_routes() -> Router<ApiState> {
    Router::new()
        .route("/console/api", serve(&ADMINISTRATION))
        .route("/console/api/viewer.js", serve(&SCRIPT))
        .route("/console/api/viewer.css", serve(&STYLE))
}
