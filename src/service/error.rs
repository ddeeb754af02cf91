//! What can go wrong in a use case. No status codes, no numbers: `api::error` has the one table.

use crate::domain::{Check, PhotoFault, Similarity, TemplateId};
use crate::gallery::MatchError;
use crate::store::{InsertError, StoreError};

/// Why a use case has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The photo is at fault.
    #[error(transparent)]
    Photo(#[from] PhotoFault),
    /// A template of that id exists and `replace` was not asked for.
    #[error("a template of that id exists")]
    TemplateExists,
    /// There is no template of that id.
    #[error("there is no template of that id")]
    TemplateNotFound,
    /// The photo failed a check, and the operator refuses to enrol such photos.
    #[error("the photo failed the {0:?} check")]
    Refused(Check),
    /// The photo's quality is under the least that the application enrolls.
    #[error("the photo's quality (crfiqa) is {measured:.2}, under the least of {least:.2}")]
    LowQuality {
        /// What was measured.
        measured: f64,
        /// The application's limit.
        least: f64,
    },
    /// The application has a least quality, and there is no model that measures quality.
    #[error("no model for quality (crfiqa) is installed")]
    QualityNotInstalled,
    /// It looks like a mix-up, and the application's guard refuses that.
    #[error(transparent)]
    Suspicious(#[from] Suspicion),
    /// The model for a check is not installed.
    #[error("no model for {0:?} is installed")]
    NotInstalled(Check),
    /// The credentials are wrong or missing.
    #[error("the credentials are wrong")]
    Unauthenticated,
    /// Too much work is waiting, or the server is stopping.
    #[error("the server is busy")]
    Busy,
    /// The gallery is still being loaded.
    #[error("the gallery is being loaded")]
    Loading,
    /// The database cannot take the write (or the read) now.
    #[error("the database is not available")]
    StoreUnavailable(#[source] StoreError),
    /// Anything else: ours, never the caller's.
    #[error("internal failure: {0}")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why an enrollment looks like a mix-up. Its text is for the caller, whose own application all of it is about.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Suspicion {
    /// The face is enrolled already under another id.
    #[error("the face is enrolled already under templateId {template} (similarity {similarity:.2})")]
    EnrolledElsewhere {
        /// That id.
        template: TemplateId,
        /// How similar its best sample is.
        similarity: Similarity,
    },
    /// The photo matches no other sample of its template.
    #[error("the photo matches no other sample of its template (similarity {similarity:.2} at best)")]
    UnlikeSamples {
        /// How similar the best of them is.
        similarity: Similarity,
    },
}

impl Error {
    pub(super) fn internal(text: &'static str) -> Self {
        Self::Internal(text.into())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            // The application was deleted between the credentials check and the write.
            StoreError::NoSuchApp => Self::Unauthenticated,
            StoreError::Unavailable(_) | StoreError::KeyMissing(_) => Self::StoreUnavailable(error),
            StoreError::Corrupt(_) | StoreError::Failed(_) => Self::Internal(Box::new(error)),
        }
    }
}

impl From<InsertError> for Error {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::Exists => Self::TemplateExists,
            InsertError::Store(error) => error.into(),
        }
    }
}

impl From<MatchError> for Error {
    fn from(error: MatchError) -> Self {
        match error {
            MatchError::Busy => Self::Busy,
            MatchError::NotLoaded => Self::Loading,
            MatchError::Failed => Self::Internal(Box::new(error)),
        }
    }
}
