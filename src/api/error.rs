//! Every failure a client can see, and THE table that gives each its status, code and text.
//!
//! Codes 1 to 9 and the text of a missing template are the vendor's, to the letter: official
//! clients compare them. For everything else the code repeats the status, as the vendor's one
//! documented example does.

mod administration;

use std::borrow::Cow;
use std::time::Duration;

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::{Check, DecodeFault, PhotoFault};
use crate::service::{AdminError, Error, SystemError};
use crate::store::ChangeRefusal;
pub(super) use administration::reason;
use administration::{
    administration_body, application_body, conflict_body, key_body, refused_body, review_body, system_body,
};

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
    /// Fields of a body or a query cannot be used.
    #[error("fields cannot be used: {}", names(.0))]
    InvalidFields(Vec<FieldFault>),
    /// The name that confirms a deletion is another one.
    #[error("the name that confirms the deletion is another one")]
    NameDiffers,
    /// The cursor of a page is foreign, altered, expired, or of another filter.
    #[error("the cursor is not valid here")]
    BadCursor,
    /// A series of figures that does not exist.
    #[error("there is no such series")]
    UnknownSeries,
    /// The body is of a media type that the endpoint does not read.
    #[error("the body must be {0}")]
    WrongMediaType(&'static str),
    /// The administrator may not do it, or not in this way.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The `Host` of a request is not a name of the administration.
    #[error("the host name is not allowed")]
    WrongHost,
    /// A change that an administrator asks for is refused.
    #[error(transparent)]
    Refused(ChangeRefusal),
    /// No crop of a sample is kept, or the sample does not exist.
    #[error("no crop is kept")]
    NoCrop,
    /// The state of what is to be changed does not allow it; in the administration API.
    #[error(transparent)]
    Conflict(Error),
    /// None of the photos of a person can be enrolled; with the reason for each.
    #[error("no photo is accepted")]
    NoPhotoAccepted(Value),
    /// The guard refuses a person; with what it found.
    #[error("the guard refuses the person")]
    GuardRefused(Value),
    /// A handler panicked.
    #[error("a handler panicked: {0}")]
    Panicked(String),
}

/// A field that cannot be used, and why. The text does not repeat the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldFault {
    /// The name, with dots between levels: `limits.perSecond`.
    pub field: String,
    /// What it must be.
    pub info: String,
}

/// Why an administrator is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// The role may not.
    #[error("the role of this administrator may not do this")]
    Role,
    /// The administrator only looks and identifies.
    #[error("this administrator may not change anything")]
    Change,
    /// The last sign-in or confirmation is too long ago.
    #[error("sign in again, or confirm the session: the last confirmation is more than 10 minutes ago")]
    NotFresh,
    /// The CSRF token or the origin of a request with a cookie is missing or wrong.
    #[error("the CSRF token or the origin of the request is missing or wrong")]
    Csrf,
    /// The administration is used over plain HTTP from another machine.
    #[error("use HTTPS: without it the administration answers on this machine only")]
    NoTls,
}

impl Forbidden {
    fn reason(self) -> &'static str {
        match self {
            Self::Role => "roleTooLow",
            Self::Change => "mayNotChange",
            Self::NotFresh => "freshSessionRequired",
            Self::Csrf => "csrf",
            Self::NoTls => "tlsRequired",
        }
    }
}

/// The names of fields. A name may be made up, so it is cut.
fn names(faults: &[FieldFault]) -> String {
    faults.iter().map(|fault| fault.field.chars().take(64).collect::<String>()).collect::<Vec<_>>().join(", ")
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
    /// `result.reason`: a word for programs. The public API has one only where [`ApiError::body`] says so.
    pub reason: Option<&'static str>,
    /// `result.details`: an object whose members depend on the reason.
    pub details: Option<Value>,
    /// `result.fields`: the fields at fault.
    pub fields: Vec<FieldFault>,
}

impl ErrorBody {
    /// The same, with a word for programs.
    fn reason(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), ..self }
    }

    /// The same, with details of the reason.
    fn details(self, details: Value) -> Self {
        Self { details: Some(details), ..self }
    }

    /// The `result` of the reply, as JSON.
    pub(super) fn result(&self) -> String {
        let mut result =
            format!(r#"{{"status":"error","code":{},"info":{}"#, self.code, Value::from(self.info.as_ref()));
        let fields = (!self.fields.is_empty()).then(|| json!(self.fields));
        let members = [("reason", self.reason.map(Value::from)), ("details", self.details.clone()), ("fields", fields)];
        for (name, value) in members {
            if let Some(value) = value {
                result.push_str(&format!(r#","{name}":{value}"#));
            }
        }
        result.push('}');
        result
    }
}

impl ApiError {
    /// A request that cannot be understood.
    pub fn bad_request(info: impl Into<Cow<'static, str>>) -> Self {
        Self::BadRequest(info.into())
    }

    /// A field that cannot be used. `info` is what it must be, and does not repeat its value.
    pub(super) fn field(field: impl Into<String>, info: impl Into<String>) -> Self {
        Self::InvalidFields(vec![FieldFault { field: field.into(), info: info.into() }])
    }

    /// Something that a path names does not exist, or the caller may not know of it.
    pub(super) fn no_such(what: &'static str) -> Self {
        Self::Service(AdminError::NotFound(what).into())
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
            Self::InvalidFields(faults) => {
                let info = format!("fields cannot be used: {}", names(faults));
                ErrorBody { fields: faults.clone(), ..body(S::BAD_REQUEST, 400, info).reason("invalidFields") }
            }
            Self::NameDiffers => {
                body(S::BAD_REQUEST, 400, "confirmName must be the name of the application").reason("nameDiffers")
            }
            Self::BadCursor => body(S::BAD_REQUEST, 400, "cursor is not valid here, begin again").reason("badCursor"),
            Self::UnknownSeries => {
                body(S::BAD_REQUEST, 400, "there is no such series of figures").reason("unknownSeries")
            }
            Self::WrongMediaType(expected) => {
                body(S::UNSUPPORTED_MEDIA_TYPE, 415, format!("request body must be {expected}"))
            }
            Self::Forbidden(forbidden) => body(S::FORBIDDEN, 403, forbidden.to_string()).reason(forbidden.reason()),
            Self::WrongHost => {
                body(S::MISDIRECTED_REQUEST, 421, "this host name is not allowed, see admin.hosts").reason("wrongHost")
            }
            Self::Refused(refusal) => refused_body(refusal),
            Self::NoCrop => body(S::NOT_FOUND, 404, "no crop of this sample is kept").reason("noCrop"),
            Self::Conflict(error) => conflict_body(error),
            Self::NoPhotoAccepted(details) => {
                body(S::BAD_REQUEST, 400, "no photo can be enrolled").reason("noPhotoAccepted").details(details.clone())
            }
            Self::GuardRefused(details) => {
                body(S::CONFLICT, 409, "the person looks like a mix-up").reason("guardRefused").details(details.clone())
            }
            Self::Panicked(_) => body(S::INTERNAL_SERVER_ERROR, 500, INTERNAL),
        }
    }

    /// `Retry-After` in seconds, at least 1: with 0, OkHttp repeats the request at once by itself. `None` when a retry
    /// does not help.
    pub(super) fn retry_after(&self, usual: u64) -> Option<u64> {
        match self {
            Self::TooMany(wait) => Some((wait.as_millis().div_ceil(1000) as u64).max(1)),
            Self::Service(
                Error::Administration(_)
                | Error::Application(_)
                | Error::Key(_)
                | Error::SearchIndexOff
                | Error::CountDiffers(_),
            )
            | Self::Refused(_)
            | Self::Conflict(_)
            | Self::GuardRefused(_) => None,
            Self::Service(Error::System(error)) if *error != SystemError::JournalBusy => None,
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
        Error::ExternalIdTaken => {
            body(S::BAD_REQUEST, 400, "externalId is taken by another template").reason("externalIdTaken")
        }
        Error::Detail(error) => {
            let field = FieldFault { field: error.field.to_string(), info: error.fault.to_string() };
            ErrorBody { fields: vec![field], ..body(S::BAD_REQUEST, 400, error.to_string()).reason("invalidFields") }
        }
        Error::ConsentMissing => {
            body(S::BAD_REQUEST, 400, "consentReference is required by this application").reason("consentMissing")
        }
        Error::TemplateChanged => {
            body(S::PRECONDITION_FAILED, 412, "the template was changed meanwhile, read it again").reason("changed")
        }
        Error::CountDiffers(count) => body(S::CONFLICT, 409, "the template has another number of samples")
            .reason("countDiffers")
            .details(json!({ "count": count })),
        Error::SearchIndexOff => {
            body(S::CONFLICT, 409, "the search index of names is off for this application").reason("searchIndexOff")
        }
        Error::LimitReached(limit) => body(S::BAD_REQUEST, 400, limit.to_string()),
        Error::TemplateNotFound => body(S::BAD_REQUEST, 400, "Template not found"),
        Error::Change(refusal) => change_body(refusal),
        Error::NotComparable => body(S::BAD_REQUEST, 400, "Template has no sample of the model in use, enroll a photo"),
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
        Error::Administration(error) => administration_body(*error),
        Error::Application(refusal) => application_body(*refusal),
        Error::Key(refusal) => key_body(*refusal),
        Error::MissingScope(scope) => body(S::FORBIDDEN, 403, format!("this key has no scope '{scope}'"))
            .reason("missingScope")
            .details(json!({ "scope": scope.as_str() })),
        Error::Review(refusal) => review_body(*refusal),
        Error::System(error) => system_body(error),
        Error::Busy => body(S::SERVICE_UNAVAILABLE, 503, "server is busy, try again later"),
        Error::Loading => body(S::SERVICE_UNAVAILABLE, 503, "server is starting, try again later"),
        Error::Stale => body(S::SERVICE_UNAVAILABLE, 503, "database has not been read for too long, try again later"),
        Error::StoreUnavailable(_) => body(S::SERVICE_UNAVAILABLE, 503, "database is not available, try again later"),
        Error::Internal(_) => body(S::INTERNAL_SERVER_ERROR, 500, INTERNAL),
    }
}

/// The public API answers an unknown template with 400, as the vendor's does.
fn change_body(refusal: &ChangeRefusal) -> ErrorBody {
    use StatusCode as S;
    match refusal {
        ChangeRefusal::NoTemplate => body(S::BAD_REQUEST, 400, "Template not found"),
        ChangeRefusal::NoTarget => body(S::BAD_REQUEST, 400, "The other template is not found"),
        ChangeRefusal::NoSample => body(S::BAD_REQUEST, 400, "Sample not found"),
        ChangeRefusal::TargetExists => body(S::BAD_REQUEST, 400, "Template already exists"),
        ChangeRefusal::SameTemplate => body(S::BAD_REQUEST, 400, "both templates are the same"),
        ChangeRefusal::LastSample => {
            body(S::BAD_REQUEST, 400, "this is the last sample of its template, delete the template instead")
        }
        ChangeRefusal::Limit(limit) => body(S::BAD_REQUEST, 400, limit.to_string()),
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
    ErrorBody { status, code, info: info.into(), reason: None, details: None, fields: Vec::new() }
}

impl From<PhotoFault> for ApiError {
    fn from(fault: PhotoFault) -> Self {
        Self::Service(fault.into())
    }
}
