//! The errors of the use cases. Status codes and error numbers are in `api::error` only.

use std::fmt;

use super::admin_error::AdminError;
use super::review_error::ReviewRefusal;
use super::system_error::SystemError;
use crate::domain::{Check, DetailError, PhotoFault, Scope, Similarity, TemplateId};
use crate::gallery::MatchError;
use crate::store::{
    AppKeyRefusal, AppRefusal, ChangeError, ChangeRefusal, EraseError, InsertError, LimitReached, Refusal, StoreError,
    UpdateError,
};

/// Why a use case has no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The photo is at fault.
    #[error(transparent)]
    Photo(#[from] PhotoFault),
    /// A template of that id exists and `replace` was not requested.
    #[error("a template of that id exists")]
    TemplateExists,
    /// Another template of the application has the external id.
    #[error("another template has the external id")]
    ExternalIdTaken,
    /// A detail of the template is refused.
    #[error(transparent)]
    Detail(#[from] DetailError),
    /// The application requires a reference to a consent, and the enrollment has none.
    #[error("a reference to a consent is missing")]
    ConsentMissing,
    /// The template has another revision than the caller expects.
    #[error("the template was changed meanwhile")]
    TemplateChanged,
    /// The template has another number of samples than the caller confirms.
    #[error("the template has {0} samples")]
    CountDiffers(u64),
    /// Names and metadata of the application are not searched.
    #[error("the search index is off")]
    SearchIndexOff,
    /// The template or the application has as much as it may have.
    #[error(transparent)]
    LimitReached(#[from] LimitReached),
    /// No template of that id exists.
    #[error("there is no template of that id")]
    TemplateNotFound,
    /// A change of a template or a sample is refused.
    #[error(transparent)]
    Change(#[from] ChangeRefusal),
    /// The template has no sample that a photo can be compared with.
    #[error("the template has no sample of the model in use that can be read")]
    NotComparable,
    /// The photo failed a check, and the policy refuses such photos.
    #[error("the photo failed the {0:?} check")]
    Refused(Check),
    /// The photo's quality is below the minimum of the application.
    #[error("the photo's quality (crfiqa) is {measured:.2}, below the minimum of {required:.2}")]
    LowQuality {
        /// The quality of the photo.
        measured: f64,
        /// The minimum of the application.
        required: f64,
    },
    /// The application has a minimum quality, but no model that measures quality is installed.
    #[error("no model for quality (crfiqa) is installed")]
    QualityNotInstalled,
    /// A likely mix-up, which the application's guard refuses.
    #[error(transparent)]
    Suspicious(#[from] Suspicion),
    /// An equal request with the same idempotency key is executed at this moment.
    #[error("an equal request is in progress")]
    RequestInProgress,
    /// Another request had the same idempotency key.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The model for a check is not installed.
    #[error("no model for {0:?} is installed")]
    NotInstalled(Check),
    /// The credentials are wrong or missing.
    #[error("the credentials are wrong")]
    Unauthenticated,
    /// The administration of administrators refuses it.
    #[error(transparent)]
    Administration(#[from] AdminError),
    /// A change of an application is refused.
    #[error(transparent)]
    Application(#[from] AppRefusal),
    /// A change of the keys of an application is refused.
    #[error(transparent)]
    Key(#[from] AppKeyRefusal),
    /// The key does not allow it.
    #[error("the key has no scope '{0}'")]
    MissingScope(Scope),
    /// A decision about a held probe is refused.
    #[error(transparent)]
    Review(#[from] ReviewRefusal),
    /// An operator's request is refused.
    #[error(transparent)]
    System(#[from] SystemError),
    /// Too much work is waiting, or the server is stopping.
    #[error("the server is busy")]
    Busy,
    /// The gallery is still being loaded.
    #[error("the gallery is being loaded")]
    Loading,
    /// Keys and galleries were read from the database longer ago than the operator allows.
    #[error("the database has not been read for longer than database.max_stale_s")]
    Stale,
    /// The database cannot take the write (or the read) now.
    #[error("the database is not available")]
    StoreUnavailable(#[source] StoreError),
    /// Any other failure; the caller is not at fault.
    #[error("internal failure: {0}")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why an enrollment looks like a mix-up. The text is for the caller and contains only data of its own application. A
/// caller that may not identify learns the kind alone.
#[derive(Debug, Clone, PartialEq)]
pub enum Suspicion {
    /// The face is already enrolled under another id.
    EnrolledElsewhere {
        /// The other id, and the similarity of its best sample.
        found: Option<(TemplateId, Similarity)>,
    },
    /// The photo matches no other sample of its template.
    UnlikeSamples {
        /// The similarity of the best of them.
        similarity: Option<Similarity>,
    },
}

impl Suspicion {
    /// The kind alone.
    pub(super) fn kind(&self) -> Self {
        match self {
            Self::EnrolledElsewhere { .. } => Self::EnrolledElsewhere { found: None },
            Self::UnlikeSamples { .. } => Self::UnlikeSamples { similarity: None },
        }
    }
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EnrolledElsewhere { found: Some((template, similarity)) } => {
                write!(f, "the face is enrolled already under templateId {template} (similarity {similarity:.2})")
            }
            Self::EnrolledElsewhere { found: None } => {
                f.write_str("the face is enrolled already under another templateId")
            }
            Self::UnlikeSamples { similarity: Some(similarity) } => {
                write!(f, "the photo matches no other sample of its template (similarity {similarity:.2} at best)")
            }
            Self::UnlikeSamples { similarity: None } => {
                f.write_str("the photo matches no other sample of its template")
            }
        }
    }
}

impl std::error::Error for Suspicion {}

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
            InsertError::Refused(Refusal::Exists) => Self::TemplateExists,
            InsertError::Refused(Refusal::ExternalIdTaken) => Self::ExternalIdTaken,
            InsertError::Refused(Refusal::Limit(limit)) => Self::LimitReached(limit),
            InsertError::Store(error) => error.into(),
        }
    }
}

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Refused(refusal) => Self::Change(refusal),
            ChangeError::Store(error) => error.into(),
        }
    }
}

impl From<UpdateError> for Error {
    fn from(error: UpdateError) -> Self {
        match error {
            UpdateError::NotFound => Self::TemplateNotFound,
            UpdateError::Changed => Self::TemplateChanged,
            UpdateError::ExternalIdTaken => Self::ExternalIdTaken,
            UpdateError::Invalid(error) => Self::Detail(error),
            UpdateError::Store(error) => error.into(),
        }
    }
}

impl From<EraseError> for Error {
    fn from(error: EraseError) -> Self {
        match error {
            EraseError::NotFound => Self::TemplateNotFound,
            EraseError::Changed => Self::TemplateChanged,
            EraseError::CountDiffers(count) => Self::CountDiffers(count),
            EraseError::Store(error) => error.into(),
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
