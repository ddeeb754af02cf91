//! `openapi.json`: the document of this API.

use axum::Extension;
use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use axum::response::Response;

use crate::api::outcome::Outcome;

/// The document as it is served.
#[derive(Clone)]
pub(in crate::api::admin) struct AdminDocument(pub(in crate::api::admin) Bytes);

pub(in crate::api) async fn read(Extension(AdminDocument(document)): Extension<AdminDocument>) -> Response {
    let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Outcome::plain(([json], document))
}
