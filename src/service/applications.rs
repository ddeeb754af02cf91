//! Applications, their credentials, and the authentication of callers.
//!
//! The list is cached in memory and refreshed by the replicator's poll, so authentication never waits for the database
//! and works while it is away. An application that another process creates, re-keys or deletes is seen within one poll.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Error, StoreClock};
use crate::domain::{Actor, AdministratorId, AppId, Clock, EnrollRules, Guard, TransactionId, fill_random};
use crate::store::{AppRecord, AppStore, ErasureReason, KeyHash, PreviousKey, StoreError, TemplateStore};

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq)]
pub struct Caller {
    /// The application that calls.
    pub app: AppId,
    /// Whether age, gender and race are reported to it.
    pub attributes: bool,
    /// Its rules of enrollment.
    pub rules: EnrollRules,
    /// Whether crops of the faces that it enrolls are kept.
    pub keep_crops: bool,
    /// The transaction of its request.
    pub transaction: TransactionId,
    /// Who calls on its behalf.
    pub actor: Actor,
}

/// The credentials of an application, shown once when they are made.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The `APP-ID` header.
    pub app_id: AppId,
    /// The `APP-KEY` header: 256 random bits as 64 hex digits.
    pub app_key: String,
}

impl Credentials {
    /// Random credentials.
    ///
    /// # Errors
    /// When the system returns no random numbers.
    pub fn random() -> Result<Self, Error> {
        Self::for_app(AppId::random())
    }

    /// A random key for an application.
    ///
    /// # Errors
    /// When the system returns no random numbers.
    pub fn for_app(app_id: AppId) -> Result<Self, Error> {
        Ok(Self { app_id, app_key: random_key()? })
    }

    fn record(&self, name: &str, created_at: SystemTime) -> AppRecord {
        AppRecord {
            id: self.app_id.clone(),
            name: name.to_owned(),
            key_hash: hash(&self.app_key),
            created_at,
            previous_key: None,
            attributes: true,
            retention: None,
            rules: EnrollRules::default(),
            keep_crops: false,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, ..)", self.app_id)
    }
}

/// The cached part of an application.
#[derive(Debug, Clone, Copy)]
struct CachedApp {
    key_hash: KeyHash,
    previous_key: Option<PreviousKey>,
    attributes: bool,
    retention: Option<Duration>,
    rules: EnrollRules,
    keep_crops: bool,
}

impl CachedApp {
    fn caller(&self, app: AppId, transaction: TransactionId, actor: Actor) -> Caller {
        Caller { app, attributes: self.attributes, rules: self.rules, keep_crops: self.keep_crops, transaction, actor }
    }
}

/// Templates of a deleted application that are removed in one transaction.
const DELETE_BATCH: usize = 2000;

/// How far in the future a template of a deleted application may be dated by the clock of another node.
const MAX_CLOCK_LEAD: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The applications of this installation.
pub struct Applications {
    store: Arc<dyn AppStore>,
    clock: Clock,
    store_clock: StoreClock,
    cache: ArcSwap<HashMap<AppId, CachedApp>>,
}

impl Applications {
    /// The applications of a store. The cache is empty until [`Applications::refresh`].
    pub fn new(store: Arc<dyn AppStore>, clock: Clock) -> Self {
        Self { store, store_clock: StoreClock::new(clock.clone()), clock, cache: ArcSwap::default() }
    }

    /// The clock by which keys and templates expire.
    pub fn store_clock(&self) -> &StoreClock {
        &self.store_clock
    }

    /// Refreshes the cache.
    ///
    /// # Errors
    /// When the store cannot be read; the cache stays as it was.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let apps = self.store.list().await?.into_iter().map(|app| {
            let AppRecord { id, key_hash, previous_key, attributes, retention, rules, keep_crops, .. } = app;
            (id, CachedApp { key_hash, previous_key, attributes, retention, rules, keep_crops })
        });
        self.cache.store(Arc::new(apps.collect()));
        Ok(())
    }

    /// Checks credentials. The time and the answer are the same for an unknown application and for a wrong key.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`].
    pub fn authenticate(&self, app_id: &str, app_key: &str, transaction: TransactionId) -> Result<Caller, Error> {
        const NO_KEY: KeyHash = KeyHash([0; 32]);
        let unknown = CachedApp {
            key_hash: NO_KEY,
            previous_key: None,
            attributes: false,
            retention: None,
            rules: EnrollRules::default(),
            keep_crops: false,
        };
        let presented = hash(app_key);
        let app = app_id.parse::<AppId>().ok();
        let cache = self.cache.load();
        let found = app.as_ref().and_then(|app| cache.get(app));
        let expected = found.unwrap_or(&unknown);
        let previous = expected.previous_key.filter(|previous| self.store_clock.now() < previous.until);
        let is_current = presented.0.ct_eq(&expected.key_hash.0);
        let is_previous = presented.0.ct_eq(&previous.map_or(NO_KEY, |previous| previous.hash).0);
        match app {
            Some(app) if bool::from(is_current | is_previous) && found.is_some() => {
                Ok(expected.caller(app, transaction, Actor::Application))
            }
            Some(_) | None => Err(Error::Unauthenticated),
        }
    }

    /// Whether an application exists, as of the last poll.
    pub fn exists(&self, app: &AppId) -> bool {
        self.cache.load().contains_key(app)
    }

    /// An administrator who acts for an application; `None` when the application does not exist. What the administrator
    /// may do is checked before.
    pub fn act_for(&self, app: &AppId, administrator: AdministratorId, transaction: TransactionId) -> Option<Caller> {
        let cache = self.cache.load();
        Some(cache.get(app)?.caller(app.clone(), transaction, Actor::Administrator(administrator)))
    }

    /// The outcome of a change of an application, which is in force on this node when this returns.
    async fn changed(&self, found: Result<bool, StoreError>) -> Result<bool, Error> {
        let found = found?;
        self.refresh_cache().await;
        Ok(found)
    }

    /// Refreshes the cache after a durable change. An error is logged only: the change succeeded, and the next poll
    /// refreshes the cache.
    async fn refresh_cache(&self) {
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "a change of an application is not in force on this node yet");
        }
    }

    /// Creates an application with random credentials.
    ///
    /// # Errors
    /// When the store fails, or the system returns no random numbers.
    pub async fn create(&self, name: &str) -> Result<Credentials, Error> {
        let credentials = Credentials::random()?;
        self.create_with(name, &credentials).await?;
        Ok(credentials)
    }

    /// Creates an application with these credentials.
    ///
    /// # Errors
    /// When the store fails, or the id is taken.
    pub async fn create_with(&self, name: &str, credentials: &Credentials) -> Result<(), Error> {
        if !self.store.create(&credentials.record(name, self.now())).await? {
            return Err(Error::internal("the random application id exists already"));
        }
        self.refresh_cache().await;
        Ok(())
    }

    /// Creates the first application; `false`, without effect, when any node has created one already.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_first(&self, name: &str, credentials: &Credentials) -> Result<bool, Error> {
        let created = self.store.create_first(&credentials.record(name, self.now())).await?;
        self.refresh_cache().await;
        Ok(created)
    }

    /// All applications, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self) -> Result<Vec<AppRecord>, Error> {
        Ok(self.store.list().await?)
    }

    /// Gives an application a new random key; the previous one stays valid for `overlap`. `None` when the application
    /// does not exist.
    ///
    /// # Errors
    /// When the store fails, or the system returns no random numbers.
    pub async fn rotate_key(&self, app: &AppId, overlap: Duration) -> Result<Option<Credentials>, Error> {
        let credentials = Credentials::for_app(app.clone())?;
        Ok(self.set_key(&credentials, overlap).await?.then_some(credentials))
    }

    /// Gives an application the key of these credentials; the previous one stays valid for `overlap`. `false` when the
    /// application does not exist.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_key(&self, credentials: &Credentials, overlap: Duration) -> Result<bool, Error> {
        self.changed(self.store.set_key(&credentials.app_id, hash(&credentials.app_key), overlap).await).await
    }

    /// Sets whether age, gender and race are reported to an application; `false` when the application does not exist.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_attributes(&self, app: &AppId, reported: bool) -> Result<bool, Error> {
        self.changed(self.store.set_attributes(app, reported).await).await
    }

    /// Sets how long templates are kept after their enrollment (whole seconds); `None`: without limit. `false` when the
    /// application does not exist.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_retention(&self, app: &AppId, retention: Option<Duration>) -> Result<bool, Error> {
        self.changed(self.store.set_retention(app, retention).await).await
    }

    /// Sets what happens to a likely mix-up; `false` when the application does not exist.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_guard(&self, app: &AppId, guard: Guard) -> Result<bool, Error> {
        self.changed(self.store.set_guard(app, guard).await).await
    }

    /// Sets the minimum quality of a photo that is enrolled; `None`: no limit. `false` when the application does not
    /// exist.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_min_quality(&self, app: &AppId, min_quality: Option<f64>) -> Result<bool, Error> {
        self.changed(self.store.set_min_quality(app, min_quality).await).await
    }

    /// Sets the most templates of an application; `None`: no limit. `false` when the application does not exist.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_max_templates(&self, app: &AppId, max: Option<u64>) -> Result<bool, Error> {
        self.changed(self.store.set_max_templates(app, max).await).await
    }

    /// Sets the most samples of an application; `None`: no limit. `false` when the application does not exist.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_max_samples(&self, app: &AppId, max: Option<u64>) -> Result<bool, Error> {
        self.changed(self.store.set_max_samples(app, max).await).await
    }

    /// Sets whether crops of the faces that an application enrolls are kept; `false` when the application does not exist.
    /// Crops that were kept before are erased when it is switched off, within a minute.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_keep_crops(&self, app: &AppId, keep: bool) -> Result<bool, Error> {
        self.changed(self.store.set_keep_crops(app, keep).await).await
    }

    /// The applications with a retention period, and the period.
    pub fn retentions(&self) -> Vec<(AppId, Duration)> {
        self.cache.load().iter().filter_map(|(app, cached)| Some((app.clone(), cached.retention?))).collect()
    }

    /// Deletes an application with its gallery; returns the number of removed templates, `None` when the application
    /// does not exist. First its key is replaced by an unknown one, then its templates are removed in batches, so that no
    /// statement takes long, and last the application with the templates that were enrolled meanwhile.
    ///
    /// # Errors
    /// When the store fails. What is removed by then stays removed; the call can be repeated.
    pub async fn delete(&self, app: &AppId, templates: &dyn TemplateStore) -> Result<Option<usize>, Error> {
        if !self.store.set_key(app, hash(&random_key()?), Duration::ZERO).await? {
            return Ok(None);
        }
        let all = self.clock.now() + MAX_CLOCK_LEAD;
        let mut count = 0;
        loop {
            match templates.remove_older(app, all, DELETE_BATCH, ErasureReason::APPLICATION).await {
                Ok(batch) if batch.is_empty() => break,
                Ok(batch) => count += batch.len(),
                Err(StoreError::NoSuchApp) => break, // another process has deleted it
                Err(error) => return Err(error.into()),
            }
        }
        let found = self.store.delete(app).await?;
        self.refresh_cache().await;
        Ok(found.then_some(count))
    }

    /// The time in whole milliseconds, as stores keep it.
    fn now(&self) -> SystemTime {
        let since = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UNIX_EPOCH + Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

fn hash(key: &str) -> KeyHash {
    KeyHash(Sha256::digest(key.trim().as_bytes()).into())
}

fn random_key() -> Result<String, Error> {
    let mut bytes = [0u8; 32];
    fill_random(&mut bytes).map_err(|error| Error::Internal(Box::new(error)))?;
    Ok(hex::encode(bytes))
}
