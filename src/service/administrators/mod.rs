//! Administrators: who may use the administration API, with which token or session.
//!
//! All of them are in memory and refreshed by the replicator's poll, as applications are. So a sign-in never waits for
//! the database to check a token, a session that ends anywhere ends on every node within one poll, and a node that is cut
//! off from its database goes on for `database.max_stale_s` and no longer.
//!
//! Tokens, codes and the secrets of sessions are 256 random bits. Only their SHA-256 is stored. Times of sessions are
//! those of this node's clock.

mod changes;
mod secret;
mod sessions;
mod tokens;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use subtle::ConstantTimeEq;

pub use changes::{AdministratorPatch, NewAdministrator};
pub use sessions::{Credential, NewSession, SignInFrom};
pub use tokens::{Bootstrap, NewToken};

use super::Error;
use super::admin_error::AdminError;
use crate::compute::RateLimiter;
use crate::domain::{Actor, AdminSessionId, AdminTokenId, AdministratorId, AppId, Clock, Role};
use crate::store::{
    AdminSessionRecord, AdminStore, AdminTokenRecord, AdministratorRecord, KeyHash, LastUse, SessionsOver, StoreError,
};

/// A session without a request for this long is over.
pub(super) const SESSION_IDLE: Duration = Duration::from_secs(30 * 60);

/// A session is over after this long, however it is used.
pub(super) const SESSION_MAX: Duration = Duration::from_secs(12 * 3600);

/// How long after a sign-in or a confirmation a session may make changes that need a fresh one.
pub const FRESH: Duration = Duration::from_secs(10 * 60);

/// The most sessions of one administrator; a further one ends the oldest.
pub(super) const MAX_SESSIONS: usize = 20;

/// The most tokens of one administrator.
pub(super) const MAX_TOKENS: usize = 10;

/// How long a one-time code can be used.
pub(super) const CODE_LIFE: Duration = Duration::from_secs(24 * 3600);

/// How long the token of a first run or of a recovery can be used.
pub const BOOTSTRAP_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The most reads of the store per second that unknown sessions and tokens may cause. They may be of another node.
const REFRESHES_PER_SECOND: f64 = 10.0;

/// An administrator whose credentials were right.
#[derive(Debug, Clone, PartialEq)]
pub struct SignedIn {
    /// Who.
    pub administrator: Arc<AdministratorRecord>,
    /// How.
    pub via: Via,
    /// Whether a token was presented recently enough for changes of keys, tokens and administrators.
    pub is_fresh: bool,
}

/// How an administrator is signed in.
#[derive(Debug, Clone, PartialEq)]
pub enum Via {
    /// By a token with the request.
    Token(AdminTokenId),
    /// By a session.
    Session(Arc<AdminSessionRecord>),
}

impl SignedIn {
    /// Who acts.
    pub fn actor(&self) -> Actor {
        Actor::Administrator(self.administrator.id.clone())
    }

    /// What the administrator may do.
    pub fn role(&self) -> Role {
        self.administrator.role
    }

    /// Whether the administrator may know of an application. An owner may know of all.
    pub fn may_see(&self, app: &AppId) -> bool {
        self.role() == Role::Owner
            || self.administrator.applications.as_ref().is_none_or(|applications| applications.contains(app))
    }

    /// Whether the administrator may change people.
    pub fn may_change(&self) -> bool {
        match self.role() {
            Role::Owner => true,
            Role::Operator => self.administrator.may_change,
            Role::Auditor => false,
        }
    }

    /// The session, if the administrator is signed in by one.
    pub fn session(&self) -> Option<&AdminSessionRecord> {
        match &self.via {
            Via::Session(session) => Some(session),
            Via::Token(_) => None,
        }
    }
}

#[derive(Debug, Default)]
struct Cache {
    administrators: HashMap<AdministratorId, Arc<AdministratorRecord>>,
    tokens: HashMap<AdminTokenId, AdminTokenRecord>,
    sessions: HashMap<KeyHash, Arc<AdminSessionRecord>>,
}

/// When this node last saw sessions and tokens.
#[derive(Debug, Default)]
struct Seen {
    sessions: HashMap<AdminSessionId, SystemTime>,
    tokens: HashMap<AdminTokenId, SystemTime>,
}

/// The administrators of this installation.
pub struct Administrators {
    store: Arc<dyn AdminStore>,
    clock: Clock,
    cache: ArcSwap<Cache>,
    seen: Mutex<Seen>,
    refreshes: Option<RateLimiter<()>>,
}

impl Administrators {
    /// The administrators of a store. The cache is empty until [`Administrators::refresh`].
    pub fn new(store: Arc<dyn AdminStore>, clock: Clock) -> Self {
        let refreshes = RateLimiter::new(REFRESHES_PER_SECOND, REFRESHES_PER_SECOND as u32);
        Self { store, clock, cache: ArcSwap::default(), seen: Mutex::default(), refreshes }
    }

    /// Refreshes the cache.
    ///
    /// # Errors
    /// When the store cannot be read; the cache stays as it was.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let state = self.store.state().await?;
        let cache = Cache {
            administrators: state.administrators.into_iter().map(|one| (one.id.clone(), Arc::new(one))).collect(),
            tokens: state.tokens.into_iter().map(|token| (token.id.clone(), token)).collect(),
            sessions: state.sessions.into_iter().map(|session| (session.hash, Arc::new(session))).collect(),
        };
        self.cache.store(Arc::new(cache));
        Ok(())
    }

    /// Refreshes the cache after a durable change. An error is logged only: the change succeeded, and the next poll
    /// refreshes the cache.
    async fn refresh_cache(&self) {
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "a change of an administrator is not in force on this node yet");
        }
    }

    /// Refreshes the cache because something is unknown, which another node may have made a moment ago. Not too often.
    async fn refresh_unknown(&self) {
        let passed = self.refreshes.as_ref().is_none_or(|limit| limit.check(&(), self.clock.instant()).is_ok());
        if passed && let Err(error) = self.refresh().await {
            tracing::debug!(%error, "an unknown session cannot be looked for");
        }
    }

    /// Checks a token. The answer is the same for an unknown token and for a wrong secret.
    ///
    /// # Errors
    /// [`AdminError::Unauthenticated`].
    pub async fn authenticate_token(&self, text: &str) -> Result<SignedIn, Error> {
        let (id, secret) = secret::parse_token(text).ok_or(AdminError::Unauthenticated)?;
        if !self.cache.load().tokens.contains_key(&id) {
            self.refresh_unknown().await;
        }
        let cache = self.cache.load();
        let presented = secret::hash(secret);
        let found = cache.tokens.get(&id);
        let expected = found.map_or(KeyHash([0; 32]), |token| token.hash);
        let is_right = bool::from(presented.0.ct_eq(&expected.0));
        let now = self.now();
        let token = found.filter(|token| is_right && token.expires_at.is_none_or(|end| now < end));
        let token = token.ok_or(AdminError::Unauthenticated)?;
        let administrator = cache.administrators.get(&token.administrator).filter(|one| one.is_active);
        let administrator = Arc::clone(administrator.ok_or(AdminError::Unauthenticated)?);
        self.seen.lock().tokens.insert(id.clone(), now);
        Ok(SignedIn { administrator, via: Via::Token(id), is_fresh: true })
    }

    /// Checks the secret of a session, and notes that it was used.
    ///
    /// # Errors
    /// [`AdminError::Unauthenticated`].
    pub async fn authenticate_session(&self, secret: &str) -> Result<SignedIn, Error> {
        if !secret::is_secret(secret) {
            return Err(AdminError::Unauthenticated.into());
        }
        let hash = secret::hash(secret);
        if !self.cache.load().sessions.contains_key(&hash) {
            self.refresh_unknown().await;
        }
        let cache = self.cache.load();
        let session = cache.sessions.get(&hash).ok_or(AdminError::Unauthenticated)?;
        let now = self.now();
        let session = self.with_last_use(session);
        if !is_live(&session, now) {
            return Err(AdminError::Unauthenticated.into());
        }
        // The end of a token is that of its sessions.
        let has_token = session
            .token
            .as_ref()
            .is_none_or(|id| cache.tokens.get(id).is_some_and(|token| token.expires_at.is_none_or(|end| now < end)));
        let administrator = cache.administrators.get(&session.administrator).filter(|one| one.is_active && has_token);
        let administrator = Arc::clone(administrator.ok_or(AdminError::Unauthenticated)?);
        self.seen.lock().sessions.insert(session.id.clone(), now);
        let is_fresh = now < session.confirmed_at + FRESH;
        Ok(SignedIn { administrator, via: Via::Session(Arc::new(session)), is_fresh })
    }

    /// A session with its last use on this node.
    fn with_last_use(&self, session: &AdminSessionRecord) -> AdminSessionRecord {
        let mut session = session.clone();
        if let Some(seen) = self.seen.lock().sessions.get(&session.id) {
            session.last_seen_at = session.last_seen_at.max(*seen);
        }
        session
    }

    /// All administrators, oldest first.
    pub fn list(&self) -> Vec<Arc<AdministratorRecord>> {
        let mut all: Vec<_> = self.cache.load().administrators.values().cloned().collect();
        all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        all
    }

    /// One administrator.
    ///
    /// # Errors
    /// [`AdminError::NotFound`].
    pub fn get(&self, id: &AdministratorId) -> Result<Arc<AdministratorRecord>, Error> {
        let found = self.cache.load().administrators.get(id).cloned();
        found.ok_or(AdminError::NotFound("administrator").into())
    }

    /// The tokens of an administrator, oldest first.
    pub fn tokens(&self, administrator: &AdministratorId) -> Vec<AdminTokenRecord> {
        let cache = self.cache.load();
        let mut all: Vec<_> =
            cache.tokens.values().filter(|token| token.administrator == *administrator).cloned().collect();
        let seen = self.seen.lock();
        for token in &mut all {
            token.last_used_at = token.last_used_at.max(seen.tokens.get(&token.id).copied());
        }
        drop(seen);
        all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        all
    }

    /// One token.
    ///
    /// # Errors
    /// [`AdminError::NotFound`].
    pub fn token(&self, id: &AdminTokenId) -> Result<AdminTokenRecord, Error> {
        self.cache.load().tokens.get(id).cloned().ok_or(AdminError::NotFound("token").into())
    }

    /// The sessions of an administrator, or of all, that are not over, oldest first.
    pub fn sessions(&self, administrator: Option<&AdministratorId>) -> Vec<AdminSessionRecord> {
        let now = self.now();
        let cache = self.cache.load();
        let mut all: Vec<_> = cache
            .sessions
            .values()
            .filter(|session| administrator.is_none_or(|id| session.administrator == *id))
            .map(|session| self.with_last_use(session))
            .filter(|session| is_live(session, now))
            .collect();
        all.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        all
    }

    /// Whether a bootstrap administrator exists: a console shows that a named owner is still to be made.
    pub fn has_bootstrap(&self) -> bool {
        self.cache.load().administrators.values().any(|one| one.is_bootstrap)
    }

    /// Stores the last uses that the store does not know, and deletes sessions and codes that are over.
    ///
    /// # Errors
    /// When the store cannot be written. The next call repeats it.
    pub async fn maintain(&self) -> Result<(), StoreError> {
        let cache = self.cache.load_full();
        let stored: HashMap<&AdminSessionId, SystemTime> =
            cache.sessions.values().map(|session| (&session.id, session.last_seen_at)).collect();
        let used = {
            let mut seen = self.seen.lock();
            seen.sessions.retain(|id, at| stored.get(id).is_some_and(|stored| stored < at));
            seen.tokens.retain(|id, at| cache.tokens.get(id).is_some_and(|token| token.last_used_at < Some(*at)));
            LastUse {
                sessions: seen.sessions.iter().map(|(id, at)| (id.clone(), *at)).collect(),
                tokens: seen.tokens.iter().map(|(id, at)| (id.clone(), *at)).collect(),
            }
        };
        if used != LastUse::default() {
            self.store.record_use(&used).await?;
        }
        let now = self.now();
        let before = |life: Duration| now.checked_sub(life).unwrap_or(UNIX_EPOCH);
        let over = SessionsOver { created_before: before(SESSION_MAX), seen_before: before(SESSION_IDLE), now };
        self.store.delete_over(over).await.map(drop)
    }

    /// The time in whole milliseconds, as stores keep it.
    fn now(&self) -> SystemTime {
        let since = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UNIX_EPOCH + Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// When a session ends, if it is not used again: the earlier of the two limits.
pub fn idle_end(session: &AdminSessionRecord) -> SystemTime {
    (session.last_seen_at + SESSION_IDLE).min(session_end(session))
}

/// When a session ends, however it is used.
pub fn session_end(session: &AdminSessionRecord) -> SystemTime {
    session.created_at + SESSION_MAX
}

fn is_live(session: &AdminSessionRecord, now: SystemTime) -> bool {
    now < idle_end(session)
}
