//! How a whole gallery is loaded, and what becomes of what cannot be read.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::Replicator;
use super::replicate::lock;
use crate::domain::{AppId, TemplateId};
use crate::gallery::IndexedTemplate;
use crate::store::{GalleryPosition, KeyId, KeyStore, SampleFault, StoreError, UnreadableSample};

/// How often a load that takes its time says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// Templates read from the store at a time while a gallery is loaded.
const LOAD_PAGE: usize = 32_768;

/// A gallery for which a key is missing is read again so seldom, unless the key is there.
const TRY_WITHOUT_KEY: Duration = Duration::from_secs(60);

/// So many samples that cannot be read are said one by one; of more, the number is.
const SAID_ONE_BY_ONE: usize = 10;

/// How far the loading of galleries is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loading {
    /// Templates loaded.
    pub loaded: usize,
    /// Templates there are.
    pub templates: usize,
}

/// The templates of a gallery of which a sample is stored that cannot be read. Searches go on without these samples.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    templates: HashSet<TemplateId>,
    /// A key that is missing for some of them.
    key: Option<MissingKey>,
}

/// A sealing key that was missing, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct MissingKey(KeyId, Instant);

impl MissingKey {
    pub(super) fn new(key: KeyId) -> Self {
        Self(key, Instant::now())
    }

    /// Whether it is there now, or what was sealed with it may be sealed with another by now.
    pub(super) fn is_worth_a_try(self, keys: &dyn KeyStore) -> bool {
        keys.has(self.0) || self.1.elapsed() >= TRY_WITHOUT_KEY
    }
}

impl Unreadable {
    /// A key that is missing.
    pub(super) fn key(&self) -> Option<MissingKey> {
        self.key
    }

    fn add(&mut self, app: &AppId, samples: Vec<UnreadableSample>) {
        let count = samples.len();
        for (at, UnreadableSample { template, fault }) in samples.into_iter().enumerate() {
            if at < SAID_ONE_BY_ONE {
                tracing::error!(%app, %template, %fault, "a stored sample cannot be read; searches go without it");
            }
            if let SampleFault::KeyMissing(key) = fault {
                self.key = Some(MissingKey::new(key));
            }
            self.templates.insert(template);
        }
        if count > SAID_ONE_BY_ONE {
            tracing::error!(%app, count, "stored samples cannot be read; searches go without them");
        }
    }
}

impl Replicator {
    /// How far the galleries that are being read are, all together.
    pub fn loading(&self) -> Loading {
        lock(&self.loading).values().fold(Loading::default(), |sum, one| Loading {
            loaded: sum.loaded + one.loaded,
            templates: sum.templates + one.templates,
        })
    }

    /// Of each gallery where there are any: templates with a stored sample that cannot be read.
    pub fn unreadable(&self) -> Vec<(AppId, usize)> {
        lock(&self.unreadable).iter().map(|(app, unreadable)| (app.clone(), unreadable.templates.len())).collect()
    }

    pub(super) fn has_unreadable(&self, app: &AppId) -> bool {
        lock(&self.unreadable).contains_key(app)
    }

    /// Whether a gallery that could not be read for want of a key may be read now.
    pub(super) fn wants_its_key(&self, app: &AppId) -> bool {
        let missing = lock(&self.unreadable).get(app).and_then(Unreadable::key);
        missing.is_some_and(|key| key.is_worth_a_try(&*self.store.keys))
    }

    /// Notes what could not be read of templates that were read.
    pub(super) fn note_unreadable<'a>(
        &self,
        app: &AppId,
        read: impl Iterator<Item = &'a TemplateId>,
        samples: Vec<UnreadableSample>,
    ) {
        let mut all = lock(&self.unreadable);
        if samples.is_empty() && !all.contains_key(app) {
            return;
        }
        let unreadable = all.entry(app.clone()).or_default();
        read.for_each(|template| {
            unreadable.templates.remove(template);
        });
        unreadable.add(app, samples);
        if unreadable.templates.is_empty() {
            all.remove(app);
        }
    }

    /// What the store shows.
    pub(super) async fn stored(&self, app: &AppId) -> Result<GalleryPosition, StoreError> {
        let heads = self.store.templates.revisions().await?;
        heads.into_iter().find(|(id, _)| id == app).map(|(_, head)| head).ok_or(StoreError::NoSuchApp)
    }

    /// Loads a whole gallery, from its snapshot where there is one that counts.
    pub(super) async fn load(&self, app: &AppId) -> Result<(), StoreError> {
        let start = Instant::now();
        if let Some(snapshots) = &self.snapshots {
            let _permit = self.loads.acquire().await;
            let stored = self.stored(app).await?;
            if snapshots.restore(app, stored.revision).await? {
                lock(&self.unreadable).remove(app);
                let (templates, seconds) = (self.feed.size(app).templates, start.elapsed().as_secs_f64());
                tracing::info!(%app, templates, seconds, "gallery loaded from its snapshot");
                return Ok(());
            }
        }
        self.load_rows(app).await
    }

    /// Loads a whole gallery from the rows of the database. Rows written while the pages are read may be among them
    /// already; the changes that are applied afterwards repeat them without harm.
    ///
    /// A sample that is damaged is left out. One whose sealing key is missing is, too, where a gallery is searched
    /// already: what was removed must not be found for want of a key. One that is not there yet is not shown by half.
    pub(super) async fn load_rows(&self, app: &AppId) -> Result<(), StoreError> {
        let start = Instant::now();
        let head = {
            let _permit = self.loads.acquire().await;
            self.stored(app).await?
        };
        let read = self.read(app).await;
        self.say(app, None);
        let (templates, unreadable) = read?;
        if let (Some(MissingKey(key, _)), None) = (unreadable.key, self.feed.revision(app)) {
            return Err(StoreError::KeyMissing(key));
        }
        let count = templates.len();
        let revision = head.revision;
        self.feed.replace(app, revision, templates);
        self.note_head(app, head);
        let mut all = lock(&self.unreadable);
        if unreadable.templates.is_empty() {
            all.remove(app);
        } else {
            all.insert(app.clone(), unreadable);
        }
        tracing::info!(%app, %revision, templates = count, seconds = start.elapsed().as_secs_f64(), "gallery loaded");
        Ok(())
    }

    /// Reads all templates of a gallery from the store, page by page, so that others come in between.
    async fn read(&self, app: &AppId) -> Result<(Vec<IndexedTemplate>, Unreadable), StoreError> {
        let total = {
            let _permit = self.loads.acquire().await;
            self.store.templates.count(app).await?
        };
        let mut templates: Vec<IndexedTemplate> = Vec::with_capacity(total);
        let (mut said, mut after, mut unreadable) = (Instant::now(), None, Unreadable::default());
        loop {
            let page = {
                let _permit = self.loads.acquire().await;
                self.store.templates.load(app, &self.model, after.as_ref(), LOAD_PAGE).await?
            };
            templates.extend(page.templates);
            unreadable.add(app, page.unreadable);
            after = page.next;
            if after.is_none() {
                return Ok((templates, unreadable));
            }
            self.say(app, Some(Loading { loaded: templates.len(), templates: total.max(templates.len()) }));
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                tracing::info!(%app, "loading the gallery: {} of {total} templates", templates.len());
            }
        }
    }

    fn say(&self, app: &AppId, progress: Option<Loading>) {
        let mut all = lock(&self.loading);
        match progress {
            Some(progress) => all.insert(app.clone(), progress),
            None => all.remove(app),
        };
    }
}
