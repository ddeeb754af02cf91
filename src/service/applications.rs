//! Who may call: applications, their credentials, and the check of a caller's.
//!
//! The list is kept in memory and refreshed by the replicator's poll, so a check of credentials
//! never waits for the database, and a node that lost its database still knows its callers. An
//! application made, re-keyed or deleted by another process is seen within one poll.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Error;
use crate::domain::{AppId, EnrollRules, Guard, TransactionId};
use crate::store::{AppRecord, AppStore, ErasureReason, KeyHash, PreviousKey, StoreError, TemplateStore};

/// A caller whose credentials were right.
#[derive(Debug, Clone, PartialEq)]
pub struct Caller {
    /// The application that calls.
    pub app: AppId,
    /// Whether age, gender and race are reported to it.
    pub attributes: bool,
    /// What it enrolls, and what is refused.
    pub rules: EnrollRules,
    /// The request that it calls with.
    pub transaction: TransactionId,
}

/// The credentials of an application, as shown once when they are made.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The `APP-ID` header.
    pub app_id: AppId,
    /// The `APP-KEY` header: 256 random bits as 64 hex digits.
    pub app_key: String,
}

impl Credentials {
    /// Random ones.
    ///
    /// # Errors
    /// When the machine has no random numbers.
    pub fn random() -> Result<Self, Error> {
        Ok(Self { app_id: AppId::random(), app_key: random_key()? })
    }

    fn record(&self, name: &str) -> AppRecord {
        AppRecord {
            id: self.app_id.clone(),
            name: name.to_owned(),
            key_hash: hash(&self.app_key),
            created_at: now(),
            previous_key: None,
            attributes: true,
            retention: None,
            rules: EnrollRules::default(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, ..)", self.app_id)
    }
}

/// What is kept in memory of an application.
#[derive(Debug, Clone, Copy)]
struct Known {
    key_hash: KeyHash,
    previous_key: Option<PreviousKey>,
    attributes: bool,
    retention: Option<Duration>,
    rules: EnrollRules,
}

/// Templates of an application that is deleted that go in one transaction.
const PART: usize = 2000;

/// The applications of this installation.
pub struct Applications {
    store: Arc<dyn AppStore>,
    known: ArcSwap<HashMap<AppId, Known>>,
}

impl Applications {
    /// A directory over a store. Empty until [`Applications::refresh`].
    pub fn new(store: Arc<dyn AppStore>) -> Self {
        Self { store, known: ArcSwap::default() }
    }

    /// Reads the list anew.
    ///
    /// # Errors
    /// When the store cannot be read; the list stays as it was.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let known = self.store.list().await?.into_iter();
        let known = known.map(|app| {
            let AppRecord { id, key_hash, previous_key, attributes, retention, rules, .. } = app;
            (id, Known { key_hash, previous_key, attributes, retention, rules })
        });
        self.known.store(Arc::new(known.collect()));
        Ok(())
    }

    /// Checks credentials. Takes the same time, and gives the same answer, for an unknown
    /// application and for a wrong key.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`].
    pub fn authenticate(&self, app_id: &str, app_key: &str, transaction: TransactionId) -> Result<Caller, Error> {
        const NO_KEY: KeyHash = KeyHash([0; 32]);
        let unknown = Known {
            key_hash: NO_KEY,
            previous_key: None,
            attributes: false,
            retention: None,
            rules: EnrollRules::default(),
        };
        let presented = hash(app_key);
        let app = app_id.parse::<AppId>().ok();
        let known = self.known.load();
        let found = app.as_ref().and_then(|app| known.get(app));
        let expected = found.unwrap_or(&unknown);
        let former = expected.previous_key.filter(|former| SystemTime::now() < former.until);
        let present = presented.0.ct_eq(&expected.key_hash.0);
        let same = bool::from(present | presented.0.ct_eq(&former.map_or(NO_KEY, |former| former.hash).0));
        match app {
            Some(app) if same && found.is_some() => {
                Ok(Caller { app, attributes: expected.attributes, rules: expected.rules, transaction })
            }
            Some(_) | None => Err(Error::Unauthenticated),
        }
    }

    /// Reads the list anew after a change that is durable: whoever made it must hear of it in any case, and if the
    /// store fails just now, the next poll reads the list.
    async fn refresh_cache(&self) {
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "a change of an application is not in force here yet");
        }
    }

    /// Creates an application with random credentials.
    ///
    /// # Errors
    /// When the store fails, or the machine has no random numbers.
    pub async fn create(&self, name: &str) -> Result<Credentials, Error> {
        let credentials = Credentials::random()?;
        if !self.store.create(&credentials.record(name)).await? {
            return Err(Error::internal("a random application id was taken"));
        }
        self.refresh_cache().await;
        Ok(credentials)
    }

    /// Creates the first application; `false`, and nothing is created, when there is one, whichever node made it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_first(&self, name: &str, credentials: &Credentials) -> Result<bool, Error> {
        let created = self.store.create_first(&credentials.record(name)).await?;
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

    /// Gives an application a new random key; the one before stays in force for `overlap`. `None` when there
    /// is no such application.
    ///
    /// # Errors
    /// When the store fails, or the machine has no random numbers.
    pub async fn rotate_key(&self, app: &AppId, overlap: Duration) -> Result<Option<Credentials>, Error> {
        let credentials = Credentials { app_id: app.clone(), app_key: random_key()? };
        let until = now().checked_add(overlap).filter(|_| !overlap.is_zero());
        let found = self.store.set_key(app, hash(&credentials.app_key), until).await?;
        self.refresh_cache().await;
        Ok(found.then_some(credentials))
    }

    /// Says whether age, gender and race are reported to an application; `false` when there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_attributes(&self, app: &AppId, reported: bool) -> Result<bool, Error> {
        let found = self.store.set_attributes(app, reported).await?;
        self.refresh_cache().await;
        Ok(found)
    }

    /// Says how long templates are kept after their enrolment (whole seconds); `None`: for ever. `false` when
    /// there is no such application.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_retention(&self, app: &AppId, retention: Option<Duration>) -> Result<bool, Error> {
        let found = self.store.set_retention(app, retention).await?;
        self.refresh_cache().await;
        Ok(found)
    }

    /// Sets what happens to a likely mix-up; `false` when there is no such application.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_guard(&self, app: &AppId, guard: Guard) -> Result<bool, Error> {
        let found = self.store.set_guard(app, guard).await?;
        self.refresh_cache().await;
        Ok(found)
    }

    /// Sets the least quality of a photo that is enrolled; `None` for no limit. `false` when the application does not
    /// exist.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_min_quality(&self, app: &AppId, least: Option<f64>) -> Result<bool, Error> {
        let found = self.store.set_min_quality(app, least).await?;
        self.refresh_cache().await;
        Ok(found)
    }

    /// The applications whose templates are kept for some time only, and for how long.
    pub fn retentions(&self) -> Vec<(AppId, Duration)> {
        self.known.load().iter().filter_map(|(app, known)| Some((app.clone(), known.retention?))).collect()
    }

    /// Deletes an application with its gallery; how many templates went, `None` when there is no such application.
    /// Its credentials end first; then its templates go part by part, so that no statement is the longer for a large
    /// gallery, and last the application, with what was enrolled meanwhile.
    ///
    /// # Errors
    /// When the store fails. What is gone by then stays so, and it may be asked for again.
    pub async fn delete(&self, app: &AppId, templates: &dyn TemplateStore) -> Result<Option<usize>, Error> {
        if !self.store.set_key(app, hash(&random_key()?), None).await? {
            return Ok(None);
        }
        // Whatever the clocks of the nodes that enrolled them say.
        let all = SystemTime::now() + Duration::from_secs(10 * 365 * 86_400);
        let mut count = 0;
        loop {
            match templates.remove_older(app, all, PART, ErasureReason::APPLICATION).await {
                Ok(part) if part.is_empty() => break,
                Ok(part) => count += part.len(),
                Err(StoreError::NoSuchApp) => break, // somebody else was faster
                Err(error) => return Err(error.into()),
            }
        }
        let found = self.store.delete(app).await?;
        self.refresh_cache().await;
        Ok(found.then_some(count))
    }
}

fn hash(key: &str) -> KeyHash {
    KeyHash(Sha256::digest(key.trim().as_bytes()).into())
}

fn random_key() -> Result<String, Error> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|_| Error::internal("the system gives no random numbers"))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// The time in whole milliseconds, as stores keep it.
fn now() -> SystemTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
