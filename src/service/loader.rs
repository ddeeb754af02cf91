//! Reads whole galleries from the database.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::snapshots::Snapshots;
use crate::domain::{AppId, Clock, ModelTag, TemplateId, stopwatch};
use crate::gallery::IndexedTemplate;
use crate::store::{GalleryPosition, KeyId, KeyStore, SampleFault, StoreError, TemplateStore, UnreadableSample};

/// Pause between two log lines about the progress of one load.
const PROGRESS_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Samples that are read from the store at a time: 16 MiB of embeddings with 512 numbers.
const LOAD_PAGE: usize = 8192;

/// Loads of galleries that call the store at once; all other work has the remaining connections.
const MAX_LOAD_CALLS: usize = 4;

/// Pause between two attempts to read a gallery whose sealing key is missing; it ends early when the key arrives.
const MISSING_KEY_RETRY: Duration = Duration::from_secs(60);

/// The most unreadable samples that are logged one by one; of more, only the number is logged.
const MAX_LOGGED_UNREADABLE: usize = 10;

/// The progress of loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loading {
    /// Templates loaded.
    pub loaded: usize,
    /// Templates there are.
    pub templates: usize,
}

/// The templates of a gallery with a stored sample that cannot be read. Searches go on without these samples.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    templates: HashSet<TemplateId>,
    /// A key that is missing for some of them.
    missing_key: Option<MissingKey>,
}

/// A sealing key that was missing, and since when.
#[derive(Debug, Clone, Copy)]
pub(super) struct MissingKey {
    id: KeyId,
    since: Instant,
}

impl MissingKey {
    pub(super) fn new(id: KeyId, clock: &Clock) -> Self {
        Self { id, since: clock.instant() }
    }

    pub(super) fn id(self) -> KeyId {
        self.id
    }

    /// Whether the key has arrived, or so much time has passed that another key may seal the samples by now.
    pub(super) fn is_retry_due(self, keys: &dyn KeyStore, clock: &Clock) -> bool {
        keys.has(self.id) || clock.instant().duration_since(self.since) >= MISSING_KEY_RETRY
    }
}

impl Unreadable {
    /// A missing key that some of the samples need.
    pub(super) fn missing_key(&self) -> Option<MissingKey> {
        self.missing_key
    }

    /// The number of templates with a sample that cannot be read.
    pub(super) fn len(&self) -> usize {
        self.templates.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.templates.is_empty()
    }

    /// Updates the state of the templates in `read`, whose samples in `samples` could not be opened.
    pub(super) fn update<'a>(
        &mut self,
        app: &AppId,
        read: impl Iterator<Item = &'a TemplateId>,
        samples: Vec<UnreadableSample>,
        clock: &Clock,
    ) {
        if self.is_empty() && samples.is_empty() {
            return;
        }
        for template in read {
            self.templates.remove(template);
        }
        self.add(app, samples, clock);
        if self.is_empty() {
            self.missing_key = None;
        }
    }

    fn add(&mut self, app: &AppId, samples: Vec<UnreadableSample>, clock: &Clock) {
        let count = samples.len();
        for (at, UnreadableSample { template, fault }) in samples.into_iter().enumerate() {
            if at < MAX_LOGGED_UNREADABLE {
                tracing::error!(%app, %template, %fault, "a stored sample cannot be read; searches go without it");
            }
            if let SampleFault::KeyMissing(key) = fault {
                self.missing_key = Some(MissingKey::new(key, clock));
            }
            self.templates.insert(template);
        }
        if count > MAX_LOGGED_UNREADABLE {
            tracing::error!(%app, count, "stored samples cannot be read; searches go without them");
        }
    }
}

/// A gallery as read from the database.
pub(super) struct StoredGallery {
    pub(super) position: GalleryPosition,
    pub(super) templates: Vec<IndexedTemplate>,
    pub(super) unreadable: Unreadable,
}

/// Reads galleries; the loads of all galleries share a bounded number of calls.
pub(super) struct Loader {
    store: Arc<dyn TemplateStore>,
    model: ModelTag,
    clock: Clock,
    calls: Semaphore,
}

impl Loader {
    /// A loader of the samples of one model.
    pub(super) fn new(store: Arc<dyn TemplateStore>, model: ModelTag, clock: Clock) -> Self {
        Self { store, model, clock, calls: Semaphore::new(MAX_LOAD_CALLS) }
    }

    /// The gallery's position in the database.
    pub(super) async fn position(&self, app: &AppId) -> Result<GalleryPosition, StoreError> {
        let positions = self.store.revisions().await?;
        positions.into_iter().find(|(id, _)| id == app).map(|(_, position)| position).ok_or(StoreError::NoSuchApp)
    }

    /// Loads a gallery from its snapshot; `false` when it has none that is current.
    pub(super) async fn restore(&self, app: &AppId, snapshots: &Snapshots) -> Result<bool, StoreError> {
        let _permit = self.calls.acquire().await;
        let position = self.position(app).await?;
        snapshots.restore(app, position.revision).await
    }

    /// Reads a whole gallery page by page, so that other calls of the store come in between.
    ///
    /// Rows that are written meanwhile may be among those read; applying their changes afterwards does no harm.
    pub(super) async fn read(
        &self,
        app: &AppId,
        on_progress: impl Fn(Loading) + Send,
    ) -> Result<StoredGallery, StoreError> {
        let position = {
            let _permit = self.calls.acquire().await;
            self.position(app).await?
        };
        let total = {
            let _permit = self.calls.acquire().await;
            self.store.count(app).await?
        };
        let mut templates: Vec<IndexedTemplate> = Vec::with_capacity(total);
        let mut unreadable = Unreadable::default();
        let mut after = None;
        let mut logged = stopwatch();
        loop {
            let page = {
                let _permit = self.calls.acquire().await;
                self.store.load(app, &self.model, after.as_ref(), LOAD_PAGE).await?
            };
            templates.extend(page.templates);
            unreadable.add(app, page.unreadable, &self.clock);
            after = page.next;
            if after.is_none() {
                return Ok(StoredGallery { position, templates, unreadable });
            }
            on_progress(Loading { loaded: templates.len(), templates: total.max(templates.len()) });
            if logged.elapsed() >= PROGRESS_LOG_INTERVAL {
                logged = stopwatch();
                tracing::info!(%app, "loading the gallery: {} of {total} templates", templates.len());
            }
        }
    }
}
