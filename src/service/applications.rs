//! Applications, their keys, and the authentication of callers.
//!
//! The list is cached in memory and refreshed by the replicator's poll, so authentication never waits for the database
//! and works while it is away. What another process changes is seen within one poll.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

use super::credentials::{Credentials, NewKey, hash_key};
use super::key_uses::KeyUses;
use super::{Error, StoreClock};
use crate::domain::{
    Actor, AdministratorId, AppId, AppKeyId, AppState, Clock, EnrollRules, Guard, RequestLimits, Scope, Scopes,
    TransactionId, Verdict,
};
use crate::store::application::MAX_KEPT_KEYS;
use crate::store::{
    AppChange, AppKeyChange, AppKeyRecord, AppKeyRefusal, AppKeyStore, AppRecord, AppRefusal, AppStore, ErasureReason,
    KeyFault, KeyHash, OutboxEvent, Replaced, Rotated, Store, StoreError, TemplateStore,
};

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
    /// How long its probes without a match are held for review; `None`: none is held.
    pub keep_probes: Option<Duration>,
    /// Its own threshold (similarity, 0 to 1), instead of the server's.
    pub threshold: Option<f64>,
    /// How much of the server it may use.
    pub limits: RequestLimits,
    /// What it may do. An administrator may do everything here: what they may do is checked before.
    pub scopes: Scopes,
    /// Its key; `None`: an administrator acts for it.
    pub key: Option<CallerKey>,
    /// The transaction of its request.
    pub transaction: TransactionId,
    /// Who calls on its behalf.
    pub actor: Actor,
}

/// The key of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerKey {
    /// Its public id.
    pub id: AppKeyId,
    /// The end of its overlap with the key that replaces it.
    pub ends_at: Option<SystemTime>,
    /// Until when it is accepted; `None`: without limit.
    pub expires_at: Option<SystemTime>,
}

impl Caller {
    /// Refuses a caller without a scope.
    ///
    /// # Errors
    /// [`Error::MissingScope`].
    pub fn require(&self, scope: Scope) -> Result<(), Error> {
        if self.scopes.contains(scope) { Ok(()) } else { Err(Error::MissingScope(scope)) }
    }

    /// Refuses a photo below the application's least quality (crfiqa).
    ///
    /// # Errors
    /// [`Error::LowQuality`]; [`Error::QualityNotInstalled`] where it was not measured.
    pub(super) fn require_quality(&self, quality: Option<Verdict>) -> Result<(), Error> {
        let Some(required) = self.rules.min_quality else { return Ok(()) };
        let measured = quality.ok_or(Error::QualityNotInstalled)?.score;
        if measured >= required { Ok(()) } else { Err(Error::LowQuality { measured, required }) }
    }

    /// Refuses a caller that has none of several scopes.
    ///
    /// # Errors
    /// [`Error::MissingScope`] with the first of them.
    pub fn require_any(&self, scopes: &[Scope]) -> Result<(), Error> {
        match scopes.first() {
            Some(first) if !scopes.iter().any(|scope| self.scopes.contains(*scope)) => Err(Error::MissingScope(*first)),
            _ => Ok(()),
        }
    }
}

/// Credentials that are refused. The client gets one answer for every cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The key, if the secret is right, and why it is refused. For the journal only.
    pub key: Option<(AppId, AppKeyId, KeyFault)>,
}

impl From<Refused> for Error {
    fn from(_: Refused) -> Self {
        Self::Unauthenticated
    }
}

/// The applications of this installation.
pub struct Applications {
    store: Arc<dyn AppStore>,
    keys: Arc<dyn AppKeyStore>,
    clock: Clock,
    store_clock: StoreClock,
    cache: ArcSwap<HashMap<AppId, AppRecord>>,
    uses: KeyUses,
}

/// Templates of a deleted application that are removed in one transaction.
const DELETE_BATCH: usize = 2000;

/// How far in the future a template of a deleted application may be dated by the clock of another node.
const MAX_CLOCK_LEAD: Duration = Duration::from_secs(10 * 365 * 86_400);

impl Applications {
    /// The applications of a store. The cache is empty until [`Applications::refresh`].
    pub fn new(store: &Store, clock: Clock) -> Self {
        Self {
            store: Arc::clone(&store.apps),
            keys: Arc::clone(&store.app_keys),
            store_clock: StoreClock::new(clock.clone()),
            clock,
            cache: ArcSwap::default(),
            uses: KeyUses::default(),
        }
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
        let apps = self.store.list().await?;
        self.cache.store(Arc::new(apps.into_iter().map(|app| (app.id.clone(), app)).collect()));
        Ok(())
    }

    /// Checks credentials. The time and the answer are the same for an unknown application, a wrong key, and a key that is
    /// not in force: a presented key is always compared with as many keys as an application may have.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn authenticate(&self, app_id: &str, app_key: &str, transaction: TransactionId) -> Result<Caller, Refused> {
        const NO_KEY: KeyHash = KeyHash([0; 32]);
        let presented = hash_key(app_key);
        let id = app_id.parse::<AppId>().ok();
        let cache = self.cache.load();
        let app = id.as_ref().and_then(|id| cache.get(id));
        let keys = app.map(|app| app.keys.as_slice()).unwrap_or_default();
        let mut matching = u32::MAX;
        for at in 0..MAX_KEPT_KEYS as u32 {
            let expected = keys.get(at as usize).map_or(NO_KEY, |key| key.hash);
            matching.conditional_assign(&at, presented.0.ct_eq(&expected.0));
        }
        let (Some(app), Some(key)) = (app, keys.get(matching as usize)) else { return Err(Refused { key: None }) };
        let now = self.store_clock.now();
        let suspended = (app.state == AppState::Suspended).then_some(KeyFault::ApplicationSuspended);
        if let Some(fault) = suspended.or_else(|| key.fault(now)) {
            return Err(Refused { key: Some((app.id.clone(), key.id, fault)) });
        }
        self.uses.note(&app.id, key.id, now);
        let AppKeyRecord { id, ends_at, expires_at, scopes, .. } = *key;
        let caller = caller(app, transaction, Actor::Key(id), scopes);
        Ok(Caller { key: Some(CallerKey { id, ends_at, expires_at }), ..caller })
    }

    /// Whether an application exists, as of the last poll.
    pub fn exists(&self, app: &AppId) -> bool {
        self.cache.load().contains_key(app)
    }

    /// An administrator who acts for an application; `None` when the application does not exist. What the administrator
    /// may do is checked before.
    pub fn act_for(&self, app: &AppId, administrator: AdministratorId, transaction: TransactionId) -> Option<Caller> {
        let cache = self.cache.load();
        Some(caller(cache.get(app)?, transaction, Actor::Administrator(administrator), Scopes::ALL))
    }

    /// An application, as this node knows it.
    pub fn known(&self, app: &AppId) -> Option<AppRecord> {
        self.cache.load().get(app).cloned()
    }

    /// All applications, as this node knows them.
    pub fn all_known(&self) -> Vec<AppRecord> {
        self.cache.load().values().cloned().collect()
    }

    /// The keys of an application, as this node knows them, with their last uses.
    pub fn keys(&self, app: &AppId) -> Option<Vec<AppKeyRecord>> {
        let mut apps = [self.known(app)?];
        self.uses.complete(&mut apps);
        let [app] = apps;
        Some(app.keys)
    }

    /// Writes when keys were last used, if that is not written yet. Called at most once a minute, and at the end.
    ///
    /// # Errors
    /// When the store fails; the next call writes it.
    pub async fn write_key_uses(&self) -> Result<(), StoreError> {
        let cache = self.cache.load_full();
        self.uses.retain(|app, key| cache.get(app).is_some_and(|app| app.keys.iter().any(|known| known.id == key)));
        self.uses.write(&*self.keys).await
    }

    /// The outcome of a change, which is in force on this node when this returns.
    async fn changed<T>(&self, outcome: Result<T, StoreError>) -> Result<T, Error> {
        let outcome = outcome?;
        self.refresh_cache().await;
        Ok(outcome)
    }

    /// Refreshes the cache after a durable change. An error is logged only: the change succeeded, and the next poll
    /// refreshes the cache.
    async fn refresh_cache(&self) {
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "a change of an application is not in force on this node yet");
        }
    }

    /// Creates an application with random credentials, by a command.
    ///
    /// # Errors
    /// When the store fails, or the system returns no random numbers.
    pub async fn create(&self, name: &str) -> Result<Credentials, Error> {
        let credentials = Credentials::random()?;
        self.create_with(name, &credentials).await?;
        Ok(credentials)
    }

    /// Creates an application with these credentials, by a command.
    ///
    /// # Errors
    /// When the store fails, or the id is taken.
    pub async fn create_with(&self, name: &str, credentials: &Credentials) -> Result<(), Error> {
        let app = AppRecord::new(credentials.app_id.clone(), name, self.now());
        self.create_record(app, credentials, &Actor::Command, None).await.map(drop)
    }

    /// Creates an application as described, with one key of these credentials.
    ///
    /// # Errors
    /// When the store fails, or the id is taken.
    pub async fn create_record(
        &self,
        app: AppRecord,
        credentials: &Credentials,
        by: &Actor,
        event: Option<&OutboxEvent>,
    ) -> Result<AppRecord, Error> {
        let now = self.now();
        let app = AppRecord { keys: vec![credentials.record(&NewKey::first(), now, by)], created_at: now, ..app };
        if !self.store.create_recorded(&app, event).await? {
            return Err(Error::internal("the random application id exists already"));
        }
        self.refresh_cache().await;
        Ok(app)
    }

    /// Creates the first application; `false`, without effect, when any node has created one already.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_first(&self, name: &str, credentials: &Credentials) -> Result<bool, Error> {
        let now = self.now();
        let mut app = AppRecord::new(credentials.app_id.clone(), name, now);
        app.keys.push(credentials.record(&NewKey::first(), now, &Actor::Server));
        let created = self.store.create_first(&app).await?;
        self.refresh_cache().await;
        Ok(created)
    }

    /// All applications, oldest first, with the last uses of their keys as far as this node and the database know.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self) -> Result<Vec<AppRecord>, Error> {
        let mut apps = self.store.list().await?;
        self.uses.complete(&mut apps);
        Ok(apps)
    }

    /// Replaces the only key of an application by a random one, by a command; the previous one stays valid for `overlap`.
    /// `None` when the application does not exist or has several keys.
    ///
    /// # Errors
    /// When the store fails, or the system returns no random numbers.
    pub async fn rotate_key(&self, app: &AppId, overlap: Duration) -> Result<Option<Credentials>, Error> {
        let credentials = Credentials::for_app(app.clone())?;
        let rotated = self.replace_key(&credentials, Replaced::Only, overlap, &Actor::Command, None).await?;
        Ok(rotated.is_ok().then_some(credentials))
    }

    /// Gives an application the key of these credentials beside its others.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn add_key(
        &self,
        credentials: &Credentials,
        new: &NewKey,
        by: &Actor,
        event: Option<&OutboxEvent>,
    ) -> Result<Result<AppKeyRecord, AppKeyRefusal>, Error> {
        let key = credentials.record(new, self.now(), by);
        self.changed(self.keys.add_key(&credentials.app_id, &key, event).await).await
    }

    /// Replaces a key by that of these credentials; the previous one stays valid for `overlap`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn replace_key(
        &self,
        credentials: &Credentials,
        replaced: Replaced,
        overlap: Duration,
        by: &Actor,
        event: Option<&OutboxEvent>,
    ) -> Result<Result<Rotated, AppKeyRefusal>, Error> {
        let replacement = credentials.replacement(by);
        let rotated = self.keys.replace_key(&credentials.app_id, replaced, &replacement, overlap, event);
        self.changed(rotated.await).await
    }

    /// Changes a key.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn change_key(
        &self,
        app: &AppId,
        key: AppKeyId,
        change: &AppKeyChange,
        event: Option<&OutboxEvent>,
    ) -> Result<Result<AppKeyRecord, AppKeyRefusal>, Error> {
        self.changed(self.keys.change_key(app, key, change, event).await).await
    }

    /// Changes an application. Returns its new `settings_revision`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn change(
        &self,
        app: &AppId,
        change: &AppChange,
        event: Option<&OutboxEvent>,
    ) -> Result<Result<u64, AppRefusal>, Error> {
        self.changed(self.store.change(app, change, event).await).await
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

    /// Sets whether names, external ids and metadata are searched in memory; `false` when the application does not exist.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_name_search(&self, app: &AppId, searched: bool) -> Result<bool, Error> {
        self.changed(self.store.set_name_search(app, searched).await).await
    }

    /// Sets whether an enrollment needs a reference to a consent; `false` when the application does not exist.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_require_consent(&self, app: &AppId, required: bool) -> Result<bool, Error> {
        self.changed(self.store.set_require_consent(app, required).await).await
    }

    /// Whether names, external ids and metadata of an application are searched in memory.
    pub fn has_name_search(&self, app: &AppId) -> bool {
        self.cache.load().get(app).is_some_and(|app| app.name_search)
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
    /// does not exist. First its keys end, then its templates are removed in batches, so that no statement takes long, and
    /// last the application with the templates that were enrolled meanwhile.
    ///
    /// # Errors
    /// When the store fails. What is removed by then stays removed; the call can be repeated.
    pub async fn delete(&self, app: &AppId, templates: &dyn TemplateStore) -> Result<Option<usize>, Error> {
        self.delete_for(app, templates, &ErasureReason::APPLICATION, None).await
    }

    /// As [`Applications::delete`], for this reason.
    ///
    /// # Errors
    /// As [`Applications::delete`].
    pub async fn delete_for(
        &self,
        app: &AppId,
        templates: &dyn TemplateStore,
        reason: &ErasureReason,
        event: Option<&OutboxEvent>,
    ) -> Result<Option<usize>, Error> {
        if !self.changed(self.keys.end_keys(app, event).await).await? {
            return Ok(None);
        }
        let all = self.clock.now() + MAX_CLOCK_LEAD;
        let mut count = 0;
        loop {
            match templates.remove_older(app, all, DELETE_BATCH, reason.clone()).await {
                Ok(batch) if batch.is_empty() => break,
                Ok(batch) => count += batch.len(),
                Err(StoreError::NoSuchApp) => break, // another process has deleted it
                Err(error) => return Err(error.into()),
            }
        }
        let found = self.changed(self.store.delete(app).await).await?;
        Ok(found.then_some(count))
    }

    /// The time in whole milliseconds, as stores keep it.
    fn now(&self) -> SystemTime {
        let since = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UNIX_EPOCH + Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

fn caller(app: &AppRecord, transaction: TransactionId, actor: Actor, scopes: Scopes) -> Caller {
    Caller {
        app: app.id.clone(),
        attributes: app.attributes,
        rules: app.rules,
        threshold: app.threshold,
        limits: app.limits,
        keep_crops: app.keep_crops,
        keep_probes: app.keep_probes,
        scopes,
        key: None,
        transaction,
        actor,
    }
}
