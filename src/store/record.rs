//! The values that the traits of the store take and return.

use std::time::SystemTime;

use super::error::StoreError;
use super::key::KeyId;
use super::outbox::ErasureReason;
use crate::domain::{Actor, Details, FaceCrop, ModelTag, Revision, SampleId, TemplateId, Verdict};
use crate::gallery::{Change, IndexedTemplate, Sample};

/// SHA-256 of a secret: an APP-KEY, a token, a one-time code, a session. The secret itself is never stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl std::fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

/// A template as listed: no embeddings.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateRecord {
    /// Its id.
    pub id: TemplateId,
    /// When it was enrolled (whole milliseconds).
    pub created_at: SystemTime,
    /// Its samples, oldest first.
    pub samples: Vec<SampleRecord>,
}

/// A sample as listed: no embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleRecord {
    /// Its id.
    pub id: SampleId,
    /// The model that made its embedding.
    pub model: ModelTag,
    /// When it was added (whole milliseconds).
    pub created_at: SystemTime,
    /// Who enrolled it, in the text form of [`Actor`]; `None`: a version before did not record it.
    pub enrolled_by: Option<String>,
    /// The quality (`crfiqa`) of its photo, with the verdict of that moment; `None`: it was not measured.
    pub quality: Option<Verdict>,
    /// Whether a crop is kept.
    pub has_crop: bool,
}

/// A sample that is enrolled, with what is stored beside its embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct EnrolledSample {
    /// The sample.
    pub sample: Sample,
    /// Who enrolls it.
    pub enrolled_by: Actor,
    /// The quality (`crfiqa`) of its photo, if it was measured.
    pub quality: Option<Verdict>,
    /// The part of its photo around the face, if it is kept.
    pub crop: Option<FaceCrop>,
}

impl EnrolledSample {
    /// A sample that a command enrolls, without a photo.
    pub fn by_command(sample: Sample) -> Self {
        Self { sample, enrolled_by: Actor::Command, quality: None, crop: None }
    }
}

/// A template with the times of an earlier enrollment, as an export holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct DatedTemplate {
    /// The template.
    pub template: IndexedTemplate,
    /// When it was enrolled (whole milliseconds); `None`: now. A time in the future counts as now.
    pub created_at: Option<SystemTime>,
    /// When each of its samples was added, likewise. As many as samples.
    pub samples_at: Vec<Option<SystemTime>>,
    /// Its details. Where samples are added to a template that has details, that one's stay.
    pub details: Details,
}

/// What to do when a template with the same id exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnConflict {
    /// Refuse: a biometric is never overwritten silently.
    Refuse,
    /// Replace it with all its samples, for this reason.
    Replace(ErasureReason),
    /// Add the samples to its own.
    Extend,
}

/// Templates as listed.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateList {
    /// In byte order of their ids.
    pub templates: Vec<TemplateRecord>,
    /// The id after which the next page begins; `None` on the last page.
    pub next: Option<TemplateId>,
}

/// A part of a gallery.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplatePage {
    /// In byte order of their ids.
    pub templates: Vec<IndexedTemplate>,
    /// The id after which the next page begins; `None` on the last page.
    pub next: Option<TemplateId>,
    /// Samples that are left out because they cannot be opened.
    pub unreadable: Vec<UnreadableSample>,
}

/// A stored sample that cannot be opened. It does not prevent others from being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableSample {
    /// Its template.
    pub template: TemplateId,
    /// Why.
    pub fault: SampleFault,
}

/// Why a sample cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SampleFault {
    /// It is sealed with a key that this process does not have.
    #[error("the sealing key {0} is not among those given")]
    KeyMissing(KeyId),
    /// It is damaged, was moved to another row, or is of a newer version.
    #[error("{0}")]
    Damaged(String),
}

impl From<UnreadableSample> for StoreError {
    fn from(sample: UnreadableSample) -> Self {
        match sample.fault {
            SampleFault::KeyMissing(key) => Self::KeyMissing(key),
            SampleFault::Damaged(what) => Self::Corrupt(format!("template {}: {what}", sample.template)),
        }
    }
}

/// A point in the history of a gallery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GalleryPosition {
    /// The number of changes up to here.
    pub revision: Revision,
    /// The random tag of the last change; `None` when it is unknown. One revision has two tags only if the database was
    /// restored from a backup and then changed again.
    pub tag: Option<i64>,
}

impl GalleryPosition {
    /// Whether this position is not in the history of the stored one: it is ahead, or has another tag at the same
    /// revision.
    pub fn has_diverged(self, stored: Self) -> bool {
        let other_tag = self.tag.zip(stored.tag).is_some_and(|(own, stored)| own != stored);
        self.revision > stored.revision || (self.revision == stored.revision && other_tag)
    }
}

impl From<Revision> for GalleryPosition {
    fn from(revision: Revision) -> Self {
        Self { revision, tag: None }
    }
}

/// The changes of a gallery after a revision.
#[derive(Debug, Clone, PartialEq)]
pub enum Changes {
    /// The changes, in order and without gaps. Each template once: a change covers those of other templates whose
    /// changes come before and after it.
    List {
        /// Empty when the revision is the newest.
        changes: Vec<Change>,
        /// Samples that are left out because they cannot be opened.
        unreadable: Vec<UnreadableSample>,
        /// The tag of the last change.
        tag: Option<i64>,
    },
    /// The log does not reach back to the revision, has another history, or the application is deleted: load the whole
    /// gallery.
    TooOld,
}

impl Changes {
    /// The revision is the newest.
    pub fn none() -> Self {
        Self::List { changes: Vec::new(), unreadable: Vec::new(), tag: None }
    }
}

/// The id of a snapshot file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotId(pub uuid::Uuid);

/// The sealing keys of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStatus {
    /// The key that seals what is written.
    pub active: KeyId,
    /// The keys that this process was given, oldest first.
    pub given: Vec<KeyId>,
    /// How many data keys are sealed under each key. A sample of the version before data keys counts as one.
    pub in_use: Vec<(KeyId, u64)>,
}

/// How far a reseal has come: every sample up to this one is sealed under the active key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleCursor {
    pub(super) app: String,
    pub(super) template: String,
    pub(super) created_at: i64,
    pub(super) sample: Vec<u8>,
}

impl SampleCursor {
    /// Before every sample.
    pub(super) fn first() -> Self {
        Self { app: String::new(), template: String::new(), created_at: 0, sample: Vec::new() }
    }
}

/// One batch of a reseal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resealed {
    /// How many data keys were resealed.
    pub count: u64,
    /// Where the next batch begins; `None` at the end.
    pub next: Option<SampleCursor>,
}
