//! Changes of single samples, and of whose they are: one sample is erased or moves, a template is merged into another or
//! gets another id.
//!
//! Each is one transaction that raises the revision of its gallery. The associated data of what is sealed names the
//! template, so what moves is opened and sealed again, under new data keys; the old ones are destroyed. Kept replies of
//! enrollments move along: a request that is repeated afterwards is still not executed twice.

use async_trait::async_trait;

use super::error::{LimitReached, StoreError, TransactionError};
use super::outbox::ErasureReason;
use crate::domain::{Actor, AppId, FaceCrop, Revision, SampleId, TemplateId, TransactionId};

/// A sample that moves to another template.
#[derive(Debug, Clone, Copy)]
pub struct SampleMove<'a> {
    /// The template that has it.
    pub from: &'a TemplateId,
    /// The sample.
    pub sample: SampleId,
    /// The template that gets it.
    pub to: &'a TemplateId,
    /// Whether the first template is removed if this was its last sample. Otherwise that is refused.
    pub remove_empty: bool,
}

/// A template that is merged into another.
#[derive(Debug, Clone, Copy)]
pub struct Merge<'a> {
    /// The template that is absorbed: it does not exist afterwards.
    pub from: &'a TemplateId,
    /// The template that gets its samples.
    pub into: &'a TemplateId,
}

/// Who asks for a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedBy {
    /// Who.
    pub actor: Actor,
    /// The request that it is a part of.
    pub transaction: Option<TransactionId>,
}

/// The outcome of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// The revision that it made.
    pub revision: Revision,
    /// How many samples moved.
    pub samples: u64,
}

/// Why a change is refused. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefusal {
    /// No template of that id exists.
    #[error("there is no template of that id")]
    NoTemplate,
    /// The template has no sample of that id.
    #[error("the template has no sample of that id")]
    NoSample,
    /// The other template does not exist.
    #[error("there is no other template of that id")]
    NoTarget,
    /// A template of the new id exists.
    #[error("a template of the new id exists")]
    TargetExists,
    /// Both ids are the same.
    #[error("both ids are the same")]
    SameTemplate,
    /// It is the last sample of its template.
    #[error("it is the last sample of its template")]
    LastSample,
    /// The template that gets samples would have too many.
    #[error(transparent)]
    Limit(#[from] LimitReached),
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It is refused.
    #[error(transparent)]
    Refused(#[from] ChangeRefusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TransactionError for ChangeError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_conflict())
    }
}

/// Changes of single samples, and of whose they are. Each but an erasure is recorded by an outbox event that names both
/// templates.
#[async_trait]
pub trait SampleStore: Send + Sync {
    /// Erases a sample with its crop and the reply of its enrollment; an outbox event records it. The last sample of a
    /// template is refused: remove the template.
    async fn remove_sample(
        &self,
        app: &AppId,
        template: &TemplateId,
        sample: SampleId,
        reason: ErasureReason,
    ) -> Result<Revision, ChangeError>;

    /// Moves a sample with its crop to another template that exists. The sample keeps its id and its times.
    async fn move_sample(&self, app: &AppId, change: SampleMove<'_>, by: &ChangedBy) -> Result<Revision, ChangeError>;

    /// Moves all samples of a template to another one, and removes it. The other one counts as enrolled when the earlier
    /// of the two was, so retention keeps no sample for longer than before.
    async fn merge(&self, app: &AppId, merge: Merge<'_>, by: &ChangedBy) -> Result<Merged, ChangeError>;

    /// Gives a template another id, which must be free.
    async fn rename(
        &self,
        app: &AppId,
        from: &TemplateId,
        to: &TemplateId,
        by: &ChangedBy,
    ) -> Result<Revision, ChangeError>;

    /// Checks whether a template may have so many samples.
    fn admit(&self, samples: u64) -> Result<(), LimitReached>;

    /// The crop of a sample; `None` when the sample does not exist, or no crop is kept.
    async fn crop(&self, app: &AppId, template: &TemplateId, sample: SampleId) -> Result<Option<FaceCrop>, StoreError>;

    /// How many bytes the crops of an application take, sealed.
    async fn crop_bytes(&self, app: &AppId) -> Result<u64, StoreError>;

    /// Erases up to `limit` crops of applications that no longer keep them, and returns how many there were.
    async fn erase_unkept_crops(&self, limit: usize) -> Result<u64, StoreError>;
}
