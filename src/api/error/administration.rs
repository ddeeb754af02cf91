//! The rows of the table for the administration API.

use std::borrow::Cow;

use axum::http::StatusCode;
use serde_json::json;

use super::{ErrorBody, body, service_body};
use crate::service::{AdminError, Error, JobRefusal, ReviewRefusal, SystemError};
use crate::store::application::MAX_KEYS;
use crate::store::{AppKeyRefusal, AppRefusal, ChangeRefusal, LimitReached};

pub(super) fn application_body(refusal: AppRefusal) -> ErrorBody {
    use StatusCode as S;
    let info = refusal.to_string();
    match refusal {
        AppRefusal::NoSuchApp => administration_body(AdminError::NotFound("application")),
        AppRefusal::Changed(revision) => {
            body(S::PRECONDITION_FAILED, 412, info).reason("changedSince").details(json!({ "revision": revision }))
        }
        AppRefusal::WouldErase(count) => {
            body(S::CONFLICT, 409, format!("{info}: repeat the request with confirmErases"))
                .reason("wouldErase")
                .details(json!({ "count": count }))
        }
    }
}

pub(super) fn key_body(refusal: AppKeyRefusal) -> ErrorBody {
    use StatusCode as S;
    let (reason, max) = match refusal {
        AppKeyRefusal::NoSuchApp => return administration_body(AdminError::NotFound("application")),
        AppKeyRefusal::NoSuchKey => return administration_body(AdminError::NotFound("key")),
        AppKeyRefusal::Ended => ("keyEnded", None),
        AppKeyRefusal::TooMany => ("tooManyKeys", Some(MAX_KEYS)),
        AppKeyRefusal::NotOne(_) => ("severalKeys", None),
    };
    let answer = body(S::CONFLICT, 409, refusal.to_string()).reason(reason);
    max.map_or(answer.clone(), |max| answer.details(json!({ "max": max })))
}

pub(super) fn administration_body(error: AdminError) -> ErrorBody {
    use StatusCode as S;
    let (status, reason) = match error {
        AdminError::Unauthenticated => (S::UNAUTHORIZED, "signInRequired"),
        AdminError::NotFound(what) => {
            return body(S::NOT_FOUND, 404, error.to_string()).reason("notFound").details(json!({ "what": what }));
        }
        AdminError::NameTaken => (S::CONFLICT, "nameTaken"),
        AdminError::LastOwner => (S::CONFLICT, "lastOwner"),
        AdminError::TooManyTokens(max) => {
            return body(S::CONFLICT, 409, error.to_string()).reason("tooManyTokens").details(json!({ "max": max }));
        }
    };
    body(status, status.as_u16(), error.to_string()).reason(reason)
}

/// The word for a refused change.
pub(in crate::api) fn reason(refusal: &ChangeRefusal) -> &'static str {
    match refusal {
        ChangeRefusal::NoTemplate | ChangeRefusal::NoSample | ChangeRefusal::NoTarget => "notFound",
        ChangeRefusal::TargetExists => "templateExists",
        ChangeRefusal::SameTemplate => "sameTemplate",
        ChangeRefusal::LastSample => "lastSample",
        ChangeRefusal::Limit(_) => "sampleLimit",
    }
}

/// A refused change in the administration API.
pub(super) fn refused_body(refusal: &ChangeRefusal) -> ErrorBody {
    use StatusCode as S;
    let not_found = |info: &'static str, what: &str| {
        body(S::NOT_FOUND, 404, info).reason("notFound").details(json!({ "what": what }))
    };
    let conflict = |info: Cow<'static, str>| body(S::CONFLICT, 409, info).reason(reason(refusal));
    match refusal {
        ChangeRefusal::NoTemplate => not_found("there is no such person", "person"),
        ChangeRefusal::NoTarget => not_found("there is no such other person", "otherPerson"),
        ChangeRefusal::NoSample => not_found("there is no such sample", "sample"),
        ChangeRefusal::SameTemplate => body(S::BAD_REQUEST, 400, "both people are the same").reason(reason(refusal)),
        ChangeRefusal::TargetExists => conflict("a person of this id exists".into()),
        ChangeRefusal::LastSample => {
            conflict("this is the last sample of the person, delete the person instead".into())
        }
        ChangeRefusal::Limit(limit) => conflict(limit.to_string().into()),
    }
}

pub(super) fn review_body(refusal: ReviewRefusal) -> ErrorBody {
    use StatusCode as S;
    match refusal {
        ReviewRefusal::NoProbe => body(S::NOT_FOUND, 404, refusal.to_string()).reason("noProbe"),
        ReviewRefusal::OtherModel => body(S::CONFLICT, 409, refusal.to_string()).reason("otherModel"),
    }
}

pub(super) fn system_body(error: &SystemError) -> ErrorBody {
    use StatusCode as S;
    let conflict = |reason| body(S::CONFLICT, 409, error.to_string()).reason(reason);
    match error {
        SystemError::NotPaused => conflict("notPaused"),
        SystemError::NothingHeld => conflict("nothingHeld"),
        SystemError::CountDiffers(count) => conflict("countDiffers").details(json!({ "count": count })),
        SystemError::Job(JobRefusal::Running(id)) => conflict("running").details(json!({ "jobId": id })),
        SystemError::Job(JobRefusal::TooMany) => conflict("tooManyJobs"),
        SystemError::BackupsOff => conflict("backupsOff"),
        SystemError::SearchTooLong => body(S::SERVICE_UNAVAILABLE, 503, error.to_string()).reason("searchTooLong"),
        SystemError::JournalBusy => body(S::SERVICE_UNAVAILABLE, 503, error.to_string()).reason("journalBusy"),
    }
}

/// A conflict, with the text that the public API has for it.
pub(super) fn conflict_body(error: &Error) -> ErrorBody {
    let reason = match error {
        Error::TemplateExists => "templateExists",
        Error::ExternalIdTaken => "externalIdTaken",
        Error::LimitReached(LimitReached::SamplesPerTemplate(_)) => "sampleLimit",
        Error::LimitReached(_) => "quotaReached",
        Error::Suspicious(_) => "guardRefused",
        _ => "conflict",
    };
    ErrorBody { status: StatusCode::CONFLICT, code: 409, ..service_body(error) }.reason(reason)
}
