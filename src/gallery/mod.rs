//! The exact 1:N index in memory: a replica of the store with a revision number.
//!
//! Two seams: [`Matcher`] is what a search needs, [`MatcherFeed`] what a writer needs. Search code
//! cannot write by mistake. An answer is exact: the same ids and the same order as brute force in
//! f32, ties broken by template id.

mod axes;
mod best;
mod codes;
mod frames;
mod ids;
mod index;
mod kernel;
mod matcher;
pub mod naive;
mod quantiser;
mod scan;
mod segment;
mod slab;
#[cfg(test)]
mod tests;

use async_trait::async_trait;

pub use frames::{Export, Frames, NotAGallery};
pub use matcher::MemoryMatcher;
pub use scan::Work;

use crate::domain::{AppId, Cosine, Embedding, Revision, SampleId, TemplateId};

/// One sample of a template: an embedding under an id.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its id.
    pub id: SampleId,
    /// Its embedding.
    pub embedding: Embedding,
}

/// A template as the index sees it. Without samples it is absent.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexedTemplate {
    /// Its id.
    pub id: TemplateId,
    /// Its samples as they are now.
    pub samples: Vec<Sample>,
}

/// One change of a gallery: what the template looks like since (at least) this revision. Applying
/// a change twice, or a later state under an earlier revision, does no harm: the state is whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The revision the change made.
    pub revision: Revision,
    /// The template as it is now; no samples when it was removed.
    pub template: IndexedTemplate,
}

/// A template that resembles the probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The template.
    pub template: TemplateId,
    /// Its best sample.
    pub sample: SampleId,
    /// Cosine between the probe and that sample.
    pub cosine: Cosine,
}

/// The outcome of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// The best templates, best first, ties by template id; each template once.
    pub hits: Vec<Hit>,
    /// The revision that was searched.
    pub revision: Revision,
    /// Templates in the gallery that was searched.
    pub gallery_size: usize,
}

/// Why a search has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    /// Too many searches are waiting.
    #[error("too many searches are waiting")]
    Busy,
    /// The gallery is not loaded yet.
    #[error("the gallery is not loaded")]
    NotLoaded,
    /// The search failed; nothing the caller did.
    #[error("the search failed")]
    Failed,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The gallery now shows it (or showed it already).
    Done,
    /// Changes before it are missing; the caller must catch up.
    Gap,
}

/// Searches galleries.
#[async_trait]
pub trait Matcher: Send + Sync {
    /// The `limit` templates of an application that resemble the probe most.
    async fn best(&self, app: &AppId, probe: &Embedding, limit: usize) -> Result<Ranked, MatchError>;
}

/// Keeps galleries equal to the store.
pub trait MatcherFeed: Send + Sync {
    /// The revision a gallery shows; `None` while it is not loaded.
    fn revision(&self, app: &AppId) -> Option<Revision>;

    /// Replaces a whole gallery.
    fn replace(&self, app: &AppId, revision: Revision, templates: Vec<IndexedTemplate>);

    /// A gallery as it is now, to be written down; `None` while it is not loaded.
    fn export(&self, app: &AppId) -> Option<Export>;

    /// Replaces a whole gallery by the frames of an [`Export`] that showed `revision`.
    ///
    /// # Errors
    /// When the frames are not those of an export; nothing is changed then.
    fn import(&self, app: &AppId, revision: Revision, frames: &mut Frames<'_>) -> Result<(), NotAGallery>;

    /// Applies one change. Visible to the next search when this returns [`Applied::Done`].
    fn apply(&self, app: &AppId, change: Change) -> Applied;

    /// Forgets a gallery whose application is gone.
    fn forget(&self, app: &AppId);

    /// The applications whose galleries are loaded.
    fn loaded(&self) -> Vec<AppId>;

    /// Templates, samples and bytes held for one application; zeros when it is not loaded.
    fn size(&self, app: &AppId) -> GallerySize;
}

/// How much a gallery holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GallerySize {
    /// Templates.
    pub templates: usize,
    /// Samples.
    pub samples: usize,
    /// Bytes of memory, everything counted.
    pub bytes: usize,
}
