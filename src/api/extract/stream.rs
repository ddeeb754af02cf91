//! Reads a body under a cap.

use std::error::Error as _;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use futures_util::{Stream, StreamExt};

use crate::api::ApiError;
use crate::api::admission::{Admission, Upload};
use crate::api::body::BodyError;

/// Why a capped body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the body is too large")]
    TooLarge,
    #[error(transparent)]
    Body(axum::Error),
    /// There is no memory for more of it.
    #[error(transparent)]
    Refused(ApiError),
}

/// A request whose body is read under a cap.
pub(super) struct Capped<S> {
    pub(super) headers: HeaderMap,
    /// The length that the head announces, in bytes.
    pub(super) announced: Option<usize>,
    pub(super) body: S,
}

/// Puts the body of a request under a cap. A body that announces a length over the cap is refused before any of it is
/// read.
pub(super) fn capped(
    request: Request,
    cap: usize,
) -> Result<Capped<impl Stream<Item = Result<Bytes, ReadError>> + Send + Unpin>, ApiError> {
    let (parts, body) = request.into_parts();
    let announced =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > cap) {
        return Err(ApiError::BodyTooLarge);
    }
    let mut left = cap;
    let body = body.into_data_stream().map(move |piece| {
        let piece = piece.map_err(ReadError::Body)?;
        left = left.checked_sub(piece.len()).ok_or(ReadError::TooLarge)?;
        Ok(piece)
    });
    Ok(Capped { headers: parts.headers, announced, body })
}

/// The pieces of a body, each within the memory of its upload, which grows with them.
pub(super) fn within(
    admission: Arc<Admission>,
    upload: Upload,
    body: impl Stream<Item = Result<Bytes, ReadError>> + Send + Unpin,
) -> impl Stream<Item = Result<Bytes, ReadError>> + Send + Unpin {
    let mut received: usize = 0;
    body.map(move |piece| {
        let piece = piece?;
        received = received.saturating_add(piece.len());
        admission.grow(&upload, received).map_err(ReadError::Refused)?;
        Ok(piece)
    })
}

/// Reads a small body to its end.
pub(in crate::api) async fn read_capped(request: Request, cap: usize) -> Result<Vec<u8>, ApiError> {
    let Capped { body, .. } = capped(request, cap)?;
    collect(body, Vec::new()).await
}

/// Reads a stream to its end.
pub(super) async fn collect(
    mut stream: impl Stream<Item = Result<Bytes, ReadError>> + Unpin,
    mut bytes: Vec<u8>,
) -> Result<Vec<u8>, ApiError> {
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::TooLarge => Self::BodyTooLarge,
            ReadError::Refused(error) => error,
            ReadError::Body(error) => {
                // Behind the framework's wrapping: is it the guard that gave up?
                let mut cause = error.source();
                while let Some(inner) = cause {
                    if matches!(inner.downcast_ref(), Some(BodyError::TimedOut)) {
                        return Self::BodyTimeout;
                    }
                    cause = inner.source();
                }
                Self::bad_request("request body was cut short")
            }
        }
    }
}
