//! What a handler decided, before the envelope renders it.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::ApiError;
use crate::domain::TransactionId;
use crate::service::Error;

/// What a handler decided, before it is put into the envelope.
#[derive(Clone)]
pub(super) enum Outcome {
    /// Success with a `result`, as JSON.
    Result(Arc<str>),
    /// The success of an equal request before, with its transaction.
    Repeated(TransactionId, Arc<str>),
    /// Success without one.
    Done,
    /// A failure.
    Failure(Arc<ApiError>),
    /// A response without an envelope; it is sent unchanged, whatever its status.
    Plain,
}

impl Outcome {
    /// Success with a `result`.
    pub(super) fn result(result: &impl Serialize) -> Self {
        match serde_json::to_string(result) {
            Ok(json) => Self::Result(json.into()),
            Err(error) => Self::failure(Error::Internal(error.into()).into()),
        }
    }

    /// A failure.
    pub(super) fn failure(error: ApiError) -> Self {
        Self::Failure(Arc::new(error))
    }

    /// The outcome alone: the envelope writes status, headers and body.
    ///
    /// Not [`IntoResponse`]: the handler of an operation returns an [`Audited`](super::audit::Audited) outcome.
    pub(super) fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(self);
        response
    }

    /// Marks a response without an envelope.
    pub(super) fn plain(response: impl IntoResponse) -> Response {
        let mut response = response.into_response();
        response.extensions_mut().insert(Self::Plain);
        response
    }
}

/// The envelope renders the failure, because it knows the transaction id.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        Outcome::failure(self).into_response()
    }
}
