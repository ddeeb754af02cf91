//! Reads a body under a cap.

use std::error::Error as _;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use futures_util::{Stream, StreamExt};

use crate::api::ApiError;
use crate::api::body::BodyError;

/// Why a capped body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the body is too large")]
    TooLarge,
    #[error(transparent)]
    Body(axum::Error),
}

/// The headers of a request, and its body under a cap. A body that announces a length over the cap
/// is refused before any of it is read.
pub(super) fn capped(
    request: Request,
    cap: usize,
) -> Result<(HeaderMap, impl Stream<Item = Result<Bytes, ReadError>> + Send + Unpin), ApiError> {
    let (parts, body) = request.into_parts();
    let announced =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| usize::try_from(length).is_ok_and(|length| length > cap)) {
        return Err(ApiError::BodyTooLarge);
    }
    let mut left = cap;
    let stream = body.into_data_stream().map(move |piece| {
        let piece = piece.map_err(ReadError::Body)?;
        left = left.checked_sub(piece.len()).ok_or(ReadError::TooLarge)?;
        Ok(piece)
    });
    Ok((parts.headers, stream))
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
