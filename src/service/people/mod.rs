//! People: templates with their details, and how they are found.
//!
//! Ids are searched in the database. Names, external ids, groups and metadata are sealed there, so an application that
//! opts in has an index of them in memory. It is kept equal to the database by the changes that the gallery follows: a
//! change is applied to the index before it is visible in the gallery. While an index is loaded, the templates that
//! change are noted, and read again at the end.

mod enroll;
mod fold;
mod index;
mod person;
mod search;
mod update;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

pub use enroll::{AcceptedPhoto, EnrolledPerson, NewPerson, RefusedPhoto};
pub use index::{IndexFilter, IndexHits, IndexOrder, IndexQuery, PeopleIndex, Place};
pub use search::{Matched, PeoplePage, PeopleQuery, PeopleSort, PlaceAfter, Searched};
pub use update::PersonChange;

use super::Error;
use crate::compute::{Pool, PoolConfig, WorkError};
use crate::domain::{AppId, TemplateId, TenantKey};
use crate::store::{NotedPage, PeopleStore, StoreError};

/// People that are read from the store at a time while an index is loaded.
const LOAD_PAGE: usize = 5000;

/// Threads that search indexes.
const THREADS: usize = 2;

/// The most searches that wait.
const MAX_WAITING: usize = 512;

/// The longest wait for a thread, and for an index that is being loaded.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// An index, or the templates that changed while it is loaded.
enum State {
    Loading { generation: u64, changed: HashSet<TemplateId> },
    Ready(Arc<RwLock<PeopleIndex>>),
}

#[derive(Default)]
struct States {
    generation: u64,
    by_app: HashMap<AppId, State>,
}

/// The indexes of all applications that have one.
pub(super) struct PeopleIndexes {
    store: Arc<dyn PeopleStore>,
    states: Mutex<States>,
    loaded: Notify,
    pool: Pool<()>,
}

impl Drop for PeopleIndexes {
    fn drop(&mut self) {
        self.pool.stop();
    }
}

impl PeopleIndexes {
    pub(super) fn new(store: Arc<dyn PeopleStore>) -> Self {
        let config = PoolConfig { name: "people", threads: THREADS, queue: MAX_WAITING, deadline: MAX_WAIT };
        let pool = match Pool::start(config, |_| Ok::<_, std::convert::Infallible>(())) {
            Ok(pool) => pool,
            Err(never) => match never {},
        };
        Self { store, states: Mutex::default(), loaded: Notify::new(), pool }
    }

    /// Begins to load an index; `None` when it is there or being loaded.
    pub(super) fn begin(&self, app: &AppId) -> Option<u64> {
        let mut states = self.states.lock();
        if states.by_app.contains_key(app) {
            return None;
        }
        states.generation += 1;
        let generation = states.generation;
        states.by_app.insert(app.clone(), State::Loading { generation, changed: HashSet::new() });
        Some(generation)
    }

    /// Reads all people of an application.
    pub(super) async fn read(&self, app: &AppId) -> Result<PeopleIndex, StoreError> {
        let mut people = Vec::new();
        let mut unreadable = 0;
        let mut after = None;
        loop {
            let page = self.store.noted_page(app, after.as_ref(), LOAD_PAGE).await?;
            people.extend(page.people);
            unreadable += page.unreadable;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if unreadable > 0 {
            tracing::error!(%app, count = unreadable, "details cannot be read; searches by name go without them");
        }
        self.run(app, move || PeopleIndex::new(people)).await.map_err(|error| StoreError::Failed(Box::new(error)))
    }

    /// Publishes an index after a load: reads what changed since it began. The caller applies no change meanwhile.
    pub(super) async fn finish(&self, app: &AppId, generation: u64, mut index: PeopleIndex) -> Result<(), StoreError> {
        let changed: Vec<TemplateId> = {
            let mut states = self.states.lock();
            match states.by_app.get_mut(app) {
                Some(State::Loading { generation: current, changed }) if *current == generation => {
                    changed.drain().collect()
                }
                _ => return Ok(()), // the gallery was reloaded or dropped meanwhile
            }
        };
        let page = self.store.noted(app, &changed).await?;
        apply(&mut index, &changed, page);
        let (people, bytes) = (index.len(), index.bytes());
        if people > 0 {
            tracing::info!(%app, people, bytes, "the index of people is loaded");
        }
        let mut states = self.states.lock();
        if let Some(state @ State::Loading { .. }) = states.by_app.get_mut(app) {
            *state = State::Ready(Arc::new(RwLock::new(index)));
        }
        drop(states);
        self.loaded.notify_waiters();
        Ok(())
    }

    /// Drops an index, or gives up loading it.
    pub(super) fn drop_index(&self, app: &AppId) {
        self.states.lock().by_app.remove(app);
    }

    /// Drops the index of a load that failed.
    pub(super) fn fail(&self, app: &AppId, failed: u64) {
        let mut states = self.states.lock();
        if let Some(State::Loading { generation, .. }) = states.by_app.get(app)
            && *generation == failed
        {
            states.by_app.remove(app);
        }
    }

    /// Brings an index up to date with templates that changed.
    pub(super) async fn update(&self, app: &AppId, changed: &[TemplateId]) -> Result<(), StoreError> {
        let index = {
            let mut states = self.states.lock();
            match states.by_app.get_mut(app) {
                None => return Ok(()),
                Some(State::Loading { changed: noted, .. }) => {
                    noted.extend(changed.iter().cloned());
                    return Ok(());
                }
                Some(State::Ready(index)) => Arc::clone(index),
            }
        };
        let page = self.store.noted(app, changed).await?;
        if let Ok(mut index) = index.write() {
            apply(&mut index, changed, page);
        }
        Ok(())
    }

    /// The index of an application, if it is loaded.
    fn ready(&self, app: &AppId) -> Option<Arc<RwLock<PeopleIndex>>> {
        match self.states.lock().by_app.get(app) {
            Some(State::Ready(index)) => Some(Arc::clone(index)),
            Some(State::Loading { .. }) | None => None,
        }
    }

    /// The index of an application. Waits a moment for one that is being loaded.
    async fn wait(&self, app: &AppId) -> Result<Arc<RwLock<PeopleIndex>>, Error> {
        let loaded = async {
            loop {
                let notified = self.loaded.notified();
                if let Some(index) = self.ready(app) {
                    return index;
                }
                notified.await;
            }
        };
        tokio::time::timeout(MAX_WAIT, loaded).await.map_err(|_| Error::Loading)
    }

    /// Bytes of an index in memory; zero where there is none.
    pub(super) fn bytes(&self, app: &AppId) -> usize {
        self.ready(app).and_then(|index| index.read().ok().map(|index| index.bytes())).unwrap_or(0)
    }

    /// Reads an index on a thread of its own.
    async fn with<T: Send + 'static>(
        &self,
        app: &AppId,
        read: impl FnOnce(&PeopleIndex) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let index = self.wait(app).await?;
        let found = self.run(app, move || index.read().ok().map(|index| read(&index))).await;
        match found {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(Error::internal("a change of the index of people panicked")),
            Err(WorkError::Busy | WorkError::Expired | WorkError::Stopped) => Err(Error::Busy),
            Err(error @ WorkError::Panicked) => Err(Error::Internal(Box::new(error))),
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        app: &AppId,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkError> {
        self.pool.submit_for(TenantKey::new(app).number(), move |(): &mut (), _: Duration| work()).result().await
    }
}

fn apply(index: &mut PeopleIndex, changed: &[TemplateId], page: NotedPage) {
    for id in changed {
        index.remove(id);
    }
    for person in &page.people {
        index.put(person);
    }
}
