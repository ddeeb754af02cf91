//! The index in its plainest form.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use async_trait::async_trait;
use semblance::domain::{AppId, Cosine, Embedding, Revision, TemplateId, dot};
use semblance::gallery::{
    Applied, Change, Export, Frames, GallerySize, Hit, IndexedTemplate, MatchError, Matcher, MatcherFeed, NotAGallery,
    Ranked, Sample, vectors,
};

#[derive(Default)]
struct Gallery {
    revision: Revision,
    templates: BTreeMap<TemplateId, Vec<Sample>>,
}

#[derive(Default)]
pub struct PlainIndex(Mutex<HashMap<AppId, Gallery>>);

#[async_trait]
impl Matcher for PlainIndex {
    async fn top_k(&self, app: &AppId, probe: &Embedding, limit: usize) -> Result<Ranked, MatchError> {
        let galleries = self.0.lock().unwrap();
        let gallery = galleries.get(app).ok_or(MatchError::NotLoaded)?;
        let mut hits: Vec<Hit> = gallery
            .templates
            .iter()
            .filter_map(|(id, samples)| {
                let hits = vectors(samples).map(|(sample, vector)| Hit {
                    template: id.clone(),
                    sample,
                    cosine: Cosine::clamped(dot(probe.values(), &vector)),
                });
                hits.max_by(|a, b| a.cosine.get().total_cmp(&b.cosine.get()))
            })
            .collect();
        hits.sort_by(|a, b| b.cosine.get().total_cmp(&a.cosine.get()));
        hits.truncate(limit);
        let samples = gallery.templates.values().map(Vec::len).sum();
        let vectors = gallery.templates.values().map(|samples| vectors(samples).count()).sum();
        Ok(Ranked { hits, revision: gallery.revision, gallery_size: gallery.templates.len(), samples, vectors })
    }
}

impl MatcherFeed for PlainIndex {
    fn revision(&self, app: &AppId) -> Option<Revision> {
        self.0.lock().unwrap().get(app).map(|gallery| gallery.revision)
    }

    fn replace(&self, app: &AppId, revision: Revision, templates: Vec<IndexedTemplate>) {
        let templates = templates.into_iter().map(|template| (template.id, template.samples)).collect();
        self.0.lock().unwrap().insert(app.clone(), Gallery { revision, templates });
    }

    fn export(&self, _: &AppId) -> Option<Export> {
        None
    }

    fn import(&self, _: &AppId, _: Revision, _: &mut Frames<'_>) -> Result<(), NotAGallery> {
        Err(NotAGallery)
    }

    fn apply(&self, app: &AppId, change: Change) -> Applied {
        let mut galleries = self.0.lock().unwrap();
        let Some(gallery) = galleries.get_mut(app) else { return Applied::Gap };
        if change.first > gallery.revision.next() {
            return Applied::Gap;
        }
        if change.revision > gallery.revision {
            gallery.revision = change.revision;
            if change.template.samples.is_empty() {
                gallery.templates.remove(&change.template.id);
            } else {
                gallery.templates.insert(change.template.id, change.template.samples);
            }
        }
        Applied::Done
    }

    fn unload(&self, app: &AppId) {
        self.0.lock().unwrap().remove(app);
    }

    fn loaded(&self) -> Vec<AppId> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    fn size(&self, app: &AppId) -> GallerySize {
        let galleries = self.0.lock().unwrap();
        let Some(gallery) = galleries.get(app) else { return GallerySize::default() };
        let samples = gallery.templates.values().map(Vec::len).sum();
        let vectors = gallery.templates.values().map(|samples| vectors(samples).count()).sum();
        GallerySize { templates: gallery.templates.len(), samples, vectors, bytes: 512 * vectors }
    }
}
