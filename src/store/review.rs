//! Review: probes of identifications without a match, which an application holds for a while so that a person can decide
//! whose face they show.
//!
//! A held probe is biometric data of a person who may not be enrolled, so an application has to opt in, each probe ends
//! after the time that the application has set, and there are at most [`MAX_HELD`] of them. The embedding and the crop are
//! sealed under a data key of their own. A probe that came near a template is erased with that template. Backups hold none.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::error::{InsertError, StoreError};
use super::people::NewTemplate;
use super::record::EnrolledSample;
use crate::domain::{
    AppId, Cosine, Embedding, FaceCrop, ProbeId, Revision, SampleId, TemplateId, TransactionId, Verdict,
};

/// The most probes that one application holds. Of more, the one that tells least is dropped: without a near template,
/// seen the fewest times, longest ago.
pub const MAX_HELD: usize = 1000;

/// A probe to hold.
#[derive(Debug, Clone)]
pub struct NewProbe {
    /// Its embedding.
    pub embedding: Embedding,
    /// A crop of its face.
    pub crop: Option<FaceCrop>,
    /// The quality of its photo (crfiqa).
    pub quality: Option<Verdict>,
    /// The most similar template with the cosine, if it came near the threshold.
    pub near: Option<(TemplateId, Cosine)>,
    /// The threshold (similarity) that was not reached.
    pub threshold: f64,
    /// The request that it came with.
    pub transaction: TransactionId,
    /// How long it is held (whole milliseconds).
    pub keep: Duration,
}

/// A probe that is held, without its biometric data.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldProbe {
    /// Its id.
    pub id: ProbeId,
    /// The most similar template with the cosine, if it came near the threshold.
    pub near: Option<(TemplateId, Cosine)>,
    /// The threshold (similarity) that was not reached.
    pub threshold: f64,
    /// The quality of its photo (crfiqa).
    pub quality: Option<Verdict>,
    /// In how many requests the face was seen.
    pub times: u64,
    /// When it was first seen (whole milliseconds).
    pub first_seen_at: SystemTime,
    /// When it was last seen (whole milliseconds).
    pub last_seen_at: SystemTime,
    /// When it is erased (whole milliseconds).
    pub ends_at: SystemTime,
    /// The request that it came with first.
    pub transaction: TransactionId,
    /// Whether there is a crop.
    pub has_crop: bool,
}

/// The biometric data of a held probe.
#[derive(Debug, Clone)]
pub struct ProbeContent {
    /// Its embedding.
    pub embedding: Embedding,
    /// A crop of its face.
    pub crop: Option<FaceCrop>,
}

/// What became of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It is held.
    New(ProbeId),
    /// A probe of the same face was held already, and is now seen once more.
    Again(ProbeId),
}

/// Which held probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeldFilter {
    /// All.
    #[default]
    All,
    /// Those that came near a template.
    Near,
    /// Those that came near none.
    Unknown,
}

/// A list of held probes, last seen first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldQuery {
    /// Which.
    pub filter: HeldFilter,
    /// The list begins after this one: when it was last seen, in milliseconds since 1970, and its id.
    pub after: Option<(i64, ProbeId)>,
    /// At most so many.
    pub limit: usize,
}

/// Probes that are held for review.
#[async_trait]
pub trait ReviewStore: Send + Sync {
    /// Holds a probe. If one is held whose cosine with it is at least `same`, that one is seen once more instead.
    async fn hold(&self, app: &AppId, probe: &NewProbe, same: Cosine) -> Result<Held, StoreError>;

    /// The probes of a list that have not ended.
    async fn held(&self, app: &AppId, query: &HeldQuery) -> Result<Vec<HeldProbe>, StoreError>;

    /// The held probes that came near a template, last seen first.
    async fn held_near(&self, app: &AppId, template: &TemplateId) -> Result<Vec<HeldProbe>, StoreError>;

    /// How many probes are held.
    async fn count_held(&self, app: &AppId) -> Result<u64, StoreError>;

    /// A held probe with its biometric data; `None` when it does not exist or has ended.
    async fn probe(&self, app: &AppId, id: ProbeId) -> Result<Option<(HeldProbe, ProbeContent)>, StoreError>;

    /// Adds a sample to a template and ends the probe that it was made of; `None` when the template does not exist, or the
    /// probe does not.
    async fn confirm_probe(
        &self,
        app: &AppId,
        probe: ProbeId,
        template: &TemplateId,
        sample: &EnrolledSample,
    ) -> Result<Option<Revision>, InsertError>;

    /// Enrolls a template and ends the probe that its sample was made of; `None` when the probe does not exist.
    async fn enroll_probe(
        &self,
        app: &AppId,
        probe: ProbeId,
        new: &NewTemplate<'_>,
    ) -> Result<Option<Revision>, InsertError>;

    /// Erases a probe; `false` when it does not exist.
    async fn dismiss_probe(&self, app: &AppId, probe: ProbeId) -> Result<bool, StoreError>;

    /// Erases up to `limit` probes that have ended, or whose application holds none any more. Returns how many there were.
    async fn expire_probes(&self, limit: usize) -> Result<u64, StoreError>;
}

impl HeldProbe {
    /// Its place in a list.
    pub fn place(&self) -> (i64, ProbeId) {
        let since = self.last_seen_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (i64::try_from(since.as_millis()).unwrap_or(i64::MAX), self.id)
    }

    /// The id of the sample that it becomes. So a line of the journal that names the sample names the probe.
    pub fn sample_id(&self) -> SampleId {
        SampleId(self.id.0)
    }
}
