//! What a handler of the administration API returns.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::ApiError;
use crate::api::audit::Audited;

/// A success with its entry in the journal, or a failure.
pub(in crate::api) type Answer = Result<Reply, ApiError>;

/// A success: its outcome, its status and its headers.
pub(in crate::api) struct Reply {
    audited: Audited,
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl From<Audited> for Reply {
    fn from(audited: Audited) -> Self {
        Self { audited, status: StatusCode::OK, headers: Vec::new() }
    }
}

impl Reply {
    /// 201, with the path of what was created.
    pub(in crate::api) fn created(audited: Audited, path: &str) -> Self {
        let reply = Self { status: StatusCode::CREATED, ..audited.into() };
        match HeaderValue::from_str(path) {
            Ok(location) => reply.header(header::LOCATION, location),
            Err(_) => reply,
        }
    }

    /// 202, with the path of the job that does it.
    pub(in crate::api) fn accepted(audited: Audited, path: &str) -> Self {
        Self { status: StatusCode::ACCEPTED, ..Self::created(audited, path) }
    }

    /// The same, with a header.
    pub(in crate::api) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = self.audited.into_response();
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response
    }
}
