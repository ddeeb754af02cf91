//! Every failure a client can see, and THE table that gives each its status, code and text.
//!
//! Codes 1 to 9 and the text of a missing template are the vendor's, to the letter: official
//! clients compare them. For everything else the code repeats the status, as the vendor's one
//! documented example does.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::StatusCode;

use crate::domain::{Check, DecodeFault, PhotoFault};
use crate::service::Error;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// A use case failed.
    #[error(transparent)]
    Service(#[from] Error),
    /// The request cannot be understood; the text is the reason, for the caller.
    #[error("bad request: {0}")]
    BadRequest(Cow<'static, str>),
    /// The body, or the next piece of it, took too long to arrive.
    #[error("the body was not received in time")]
    BodyTimeout,
    /// The body is larger than allowed.
    #[error("the body is too large")]
    BodyTooLarge,
    /// There is no such endpoint.
    #[error("there is no such endpoint")]
    NoSuchEndpoint,
    /// The endpoint exists, but not with this method.
    #[error("the endpoint has no such method")]
    NoSuchMethod,
    /// The vendor's API has this endpoint; this server does not.
    #[error("the endpoint is not built")]
    NotBuilt,
    /// The server is stopping and accepts no more photos.
    #[error("the server is stopping")]
    Stopping,
    /// Rate limit or concurrency share of the application exceeded.
    #[error("too many requests; try again in {0:?}")]
    TooMany(Duration),
    /// A handler panicked.
    #[error("a handler panicked: {0}")]
    Panicked(String),
}

/// What a client sees of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorBody {
    /// The HTTP status.
    pub status: StatusCode,
    /// `result.code`.
    pub code: u16,
    /// `result.info`.
    pub info: Cow<'static, str>,
}

impl ApiError {
    /// A request that cannot be understood.
    pub fn bad_request(info: impl Into<Cow<'static, str>>) -> Self {
        Self::BadRequest(info.into())
    }

    /// Why a photo was not decoded, if that is the failure. Clients get the fixed text of code 4.
    pub(super) fn decode_fault(&self) -> Option<DecodeFault> {
        match self {
            Self::Service(Error::Photo(PhotoFault::Undecodable(fault))) => Some(*fault),
            _ => None,
        }
    }

    /// The table. No wildcard: a new failure does not compile until it has its body.
    pub fn body(&self) -> ErrorBody {
        use StatusCode as S;
        match self {
            Self::Service(error) => service_body(error),
            Self::BadRequest(info) => body(S::BAD_REQUEST, 400, info.clone()),
            Self::BodyTimeout => body(S::BAD_REQUEST, 400, "request body was not received in time"),
            Self::BodyTooLarge => body(S::PAYLOAD_TOO_LARGE, 413, "request body is too large"),
            Self::NoSuchEndpoint => body(S::NOT_FOUND, 404, "no such endpoint"),
            Self::NoSuchMethod => body(S::METHOD_NOT_ALLOWED, 405, "method not allowed"),
            Self::NotBuilt => body(S::NOT_IMPLEMENTED, 501, "this endpoint is not supported by this server"),
            Self::Stopping => body(S::SERVICE_UNAVAILABLE, 503, "server is stopping, try again later"),
            Self::TooMany(_) => body(S::TOO_MANY_REQUESTS, 429, "too many requests, try again later"),
            Self::Panicked(_) => body(S::INTERNAL_SERVER_ERROR, 500, INTERNAL),
        }
    }

    /// `Retry-After` in seconds, at least 1: with 0, OkHttp repeats the request at once by itself. `None` when a retry
    /// does not help.
    pub(super) fn retry_after(&self, usual: u64) -> Option<u64> {
        match self {
            Self::TooMany(wait) => Some((wait.as_millis().div_ceil(1000) as u64).max(1)),
            error => match error.body().status {
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::CONFLICT => Some(usual.max(1)),
                _ => None,
            },
        }
    }

    /// The failure behind a response of the framework rather than of a handler.
    pub(super) fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NoSuchEndpoint,
            StatusCode::METHOD_NOT_ALLOWED => Self::NoSuchMethod,
            StatusCode::PAYLOAD_TOO_LARGE => Self::BodyTooLarge,
            status if status.is_client_error() => Self::bad_request("request was not understood"),
            status => Self::Service(Error::Internal(format!("the framework answered {status}").into())),
        }
    }
}

const INTERNAL: &str = "internal error";

fn service_body(error: &Error) -> ErrorBody {
    use StatusCode as S;
    match error {
        Error::Photo(fault) => photo_body(*fault),
        Error::TemplateExists => body(S::BAD_REQUEST, 400, "Template already exists"),
        Error::LimitReached(limit) => body(S::BAD_REQUEST, 400, limit.to_string()),
        Error::TemplateNotFound => body(S::BAD_REQUEST, 400, "Template not found"),
        Error::Refused(Check::Liveness) => body(S::BAD_REQUEST, 400, "photo did not pass the liveness check"),
        Error::Refused(Check::Deepfake) => body(S::BAD_REQUEST, 400, "photo did not pass the deepfake check"),
        Error::LowQuality { measured, required } => body(
            S::BAD_REQUEST,
            400,
            format!("photo quality (crfiqa) {measured:.2} is below the least of {required:.2}, take a better photo"),
        ),
        Error::QualityNotInstalled => body(S::NOT_IMPLEMENTED, 501, "no quality model (crfiqa) is installed"),
        Error::Suspicious(suspicion) => body(S::BAD_REQUEST, 400, suspicion.to_string()),
        Error::RequestInProgress => {
            body(S::CONFLICT, 409, "a request with this Idempotency-Key is in progress, try again later")
        }
        Error::KeyReused => {
            body(S::UNPROCESSABLE_ENTITY, 422, "this Idempotency-Key was used for another request, use a new one")
        }
        Error::NotInstalled(Check::Liveness) => body(S::NOT_IMPLEMENTED, 501, "no liveness model is installed"),
        Error::NotInstalled(Check::Deepfake) => body(S::NOT_IMPLEMENTED, 501, "no deepfake model is installed"),
        Error::Unauthenticated => body(S::UNAUTHORIZED, 401, "APP-ID or APP-KEY is missing or wrong"),
        Error::Busy => body(S::SERVICE_UNAVAILABLE, 503, "server is busy, try again later"),
        Error::Loading => body(S::SERVICE_UNAVAILABLE, 503, "server is starting, try again later"),
        Error::Stale => body(S::SERVICE_UNAVAILABLE, 503, "database has not been read for too long, try again later"),
        Error::StoreUnavailable(_) => body(S::SERVICE_UNAVAILABLE, 503, "database is not available, try again later"),
        Error::Internal(_) => body(S::INTERNAL_SERVER_ERROR, 500, INTERNAL),
    }
}

fn photo_body(fault: PhotoFault) -> ErrorBody {
    let (code, info) = match fault {
        PhotoFault::Missing => (1, "photo should not be empty"),
        PhotoFault::WrongType => (2, "wrong mime-type in input data"),
        PhotoFault::Empty => (3, "photo size is 0 bytes"),
        PhotoFault::Undecodable(_) => (4, "can not decode image, check it is valid jpeg or png file"),
        PhotoFault::NoFace | PhotoFault::NotHuman(_) => (5, "can not detect face"),
        PhotoFault::ManyFaces => (6, "more than one face detected on photo"),
        PhotoFault::TooSmall | PhotoFault::Profile | PhotoFault::Untrusted(_) => {
            (9, "can not extract features from sample, probably it is too small")
        }
    };
    body(StatusCode::BAD_REQUEST, code, info)
}

fn body(status: StatusCode, code: u16, info: impl Into<Cow<'static, str>>) -> ErrorBody {
    ErrorBody { status, code, info: info.into() }
}

impl From<PhotoFault> for ApiError {
    fn from(fault: PhotoFault) -> Self {
        Self::Service(fault.into())
    }
}
