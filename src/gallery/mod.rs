//! The exact 1:N index in memory: a replica of the store with a revision number.
//!
//! Two seams: searches use [`Matcher`], writers use [`MatcherFeed`], so search code cannot write by mistake. Answers are
//! exact: the same ids in the same order as brute force in f32, ties ordered by template id.
//!
//! Layers, each importing only those above it: `kernel` (dot products), `quantization` (codes and bounds), `segment`
//! (rows), `frames` (their codec), `search` (one pass over a view), `index` (a gallery that changes), `matcher` (all
//! galleries and their threads).

pub mod brute_force;
mod frames;
mod ids;
mod index;
mod kernel;
mod matcher;
mod quantization;
mod search;
mod segment;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use async_trait::async_trait;

pub use frames::{Export, Frames, NotAGallery};
pub(crate) use ids::{CompactId, Directory};
pub use matcher::MemoryMatcher;
pub use search::SearchStats;

use crate::domain::{AppId, Cosine, Embedding, Revision, SampleId, TemplateId, mean_direction};

/// One sample of a template: an embedding under an id.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its id.
    pub id: SampleId,
    /// Its embedding.
    pub embedding: Embedding,
}

/// A template in the index. Without samples it is removed.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexedTemplate {
    /// Its id.
    pub id: TemplateId,
    /// Its samples as they are now.
    pub samples: Vec<Sample>,
}

/// What a probe is compared with, of a template with these samples: the samples and, of two or more, also their mean, which has
/// no id. The highest cosine counts (docs/accuracy.md, "Several photos of a person").
pub fn vectors(samples: &[Sample]) -> impl Iterator<Item = (Option<SampleId>, Cow<'_, [f32]>)> {
    // Most templates of a gallery have one sample: a load does nothing more for them.
    let mean = if samples.len() > 1 { mean(samples) } else { None };
    let samples = samples.iter().map(|sample| (Some(sample.id), Cow::Borrowed(sample.embedding.values())));
    samples.chain(mean.map(|mean| (None, Cow::Owned(mean))))
}

/// The mean of samples: the same, to the bit, in whatever order they come.
fn mean(samples: &[Sample]) -> Option<Vec<f32>> {
    let mut in_order: Vec<&Sample> = samples.iter().collect();
    in_order.sort_unstable_by_key(|sample| sample.id);
    mean_direction(in_order.into_iter().map(|sample| sample.embedding.values()))
}

/// The order of vectors of one template that are equally similar: samples by id, the mean last.
fn order(sample: Option<SampleId>) -> (bool, Option<SampleId>) {
    (sample.is_none(), sample)
}

/// One or more changes of a gallery that follow each other: the state of a template at this revision or later. The
/// state is complete, so applying a change twice, or a later state under an earlier revision, is safe.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The first revision that it covers. Revisions up to the last one changed this template, or others whose changes
    /// have been applied before.
    pub first: Revision,
    /// The last revision that it covers.
    pub revision: Revision,
    /// The current template; no samples when it was removed.
    pub template: IndexedTemplate,
}

impl Change {
    /// A change that made one revision.
    pub fn new(revision: Revision, template: IndexedTemplate) -> Self {
        Self { first: revision, revision, template }
    }
}

/// A template similar to the probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The template.
    pub template: TemplateId,
    /// Its best sample; `None` if the mean of its samples is more similar than each of them.
    pub sample: Option<SampleId>,
    /// Cosine between the probe and that sample, or the mean.
    pub cosine: Cosine,
}

/// The outcome of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// The best templates, best first, ties by template id; each template once.
    pub hits: Vec<Hit>,
    /// The revision that was searched.
    pub revision: Revision,
    /// Templates in the gallery.
    pub gallery_size: usize,
    /// Samples in the gallery.
    pub samples: usize,
    /// Vectors that the probe was compared with: the samples, and the means of templates with several.
    pub vectors: usize,
}

/// Why a search failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    /// Too many searches are waiting.
    #[error("too many searches are waiting")]
    Busy,
    /// The gallery is not loaded yet.
    #[error("the gallery is not loaded")]
    NotLoaded,
    /// The search failed; the caller is not at fault.
    #[error("the search failed")]
    Failed,
}

/// The result of applying a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The gallery contains it now, or did already.
    Done,
    /// Changes before it are missing; the caller must catch up.
    Gap,
}

/// Searches galleries.
#[async_trait]
pub trait Matcher: Send + Sync {
    /// The `limit` templates of an application that are most similar to the probe.
    async fn top_k(&self, app: &AppId, probe: &Embedding, limit: usize) -> Result<Ranked, MatchError>;
}

/// Keeps galleries equal to the store.
pub trait MatcherFeed: Send + Sync {
    /// The revision of a gallery; `None` while it is not loaded.
    fn revision(&self, app: &AppId) -> Option<Revision>;

    /// Replaces a whole gallery.
    fn replace(&self, app: &AppId, revision: Revision, templates: Vec<IndexedTemplate>);

    /// The current state of a gallery, for a snapshot file; `None` while it is not loaded.
    fn export(&self, app: &AppId) -> Option<Export>;

    /// Replaces a whole gallery with the frames of an [`Export`] at `revision`.
    ///
    /// # Errors
    /// When the frames are not those of an export. The gallery is unchanged then.
    fn import(&self, app: &AppId, revision: Revision, frames: &mut Frames<'_>) -> Result<(), NotAGallery>;

    /// Applies one change. Visible to the next search when this returns [`Applied::Done`].
    fn apply(&self, app: &AppId, change: Change) -> Applied;

    /// Drops the gallery of a deleted application.
    fn unload(&self, app: &AppId);

    /// The applications whose galleries are loaded.
    fn loaded(&self) -> Vec<AppId>;

    /// Templates, samples and bytes held for one application; zeros when it is not loaded.
    fn size(&self, app: &AppId) -> GallerySize;
}

/// The size of a gallery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GallerySize {
    /// Templates.
    pub templates: usize,
    /// Samples.
    pub samples: usize,
    /// Vectors that a probe is compared with: the samples, and the means of templates with several.
    pub vectors: usize,
    /// Bytes of memory in total.
    pub bytes: usize,
}
