//! Sessions: sign in, confirm, end.

use std::fmt;
use std::sync::Arc;

use super::{AdminError, Administrators, Error, MAX_SESSIONS, SignedIn, Via, secret};
use crate::domain::{Actor, AdminSessionId, AdministratorId, Role, TransactionId};
use crate::store::{AdminSessionRecord, OutboxEvent};

/// What an administrator presents to sign in.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// The text of a token.
    Token(&'a str),
    /// A one-time code.
    Code(&'a str),
}

/// Where a sign-in comes from.
#[derive(Debug, Clone, Default)]
pub struct SignInFrom {
    /// The address of the client.
    pub address: Option<String>,
    /// The program, as it names itself.
    pub client: Option<String>,
}

/// A session that was just made.
pub struct NewSession {
    /// The secret for the cookie. It is not stored.
    pub secret: String,
    /// Who is signed in.
    pub signed_in: SignedIn,
}

impl fmt::Debug for NewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewSession({}, ..)", self.signed_in.administrator.id)
    }
}

/// The most characters of the name of a client.
const MAX_CLIENT_CHARS: usize = 200;

impl Administrators {
    /// Makes a session.
    ///
    /// # Errors
    /// [`AdminError::Unauthenticated`], store failures.
    pub async fn sign_in(
        &self,
        credential: Credential<'_>,
        from: SignInFrom,
        transaction: TransactionId,
    ) -> Result<NewSession, Error> {
        let (administrator, token) = match credential {
            Credential::Token(text) => {
                let signed_in = self.authenticate_token(text).await?;
                let Via::Token(token) = signed_in.via else { return Err(AdminError::Unauthenticated.into()) };
                (signed_in.administrator, Some(token))
            }
            Credential::Code(code) => {
                let code = code.trim();
                if !secret::is_secret(code) {
                    return Err(AdminError::Unauthenticated.into());
                }
                let id = self.store.redeem_code(secret::hash(code), self.now()).await?;
                let id = id.ok_or(AdminError::Unauthenticated)?;
                self.refresh().await?;
                (self.get(&id).map_err(|_| AdminError::Unauthenticated)?, None)
            }
        };
        if !administrator.is_active {
            return Err(AdminError::Unauthenticated.into());
        }
        let secret = secret::random()?;
        let now = self.now();
        let session = AdminSessionRecord {
            id: AdminSessionId::random(),
            hash: secret::hash(&secret),
            administrator: administrator.id.clone(),
            token,
            address: from.address,
            client: from
                .client
                .map(|client| client.chars().filter(|c| !c.is_control()).take(MAX_CLIENT_CHARS).collect()),
            created_at: now,
            last_seen_at: now,
            confirmed_at: now,
        };
        let ends_bootstrap = administrator.role == Role::Owner && !administrator.is_bootstrap;
        let event = self
            .event("sign in", "a session begins")
            .by(Actor::Administrator(administrator.id.clone()))
            .within(transaction);
        if !self.store.create_session(&session, MAX_SESSIONS, ends_bootstrap, &event).await? {
            return Err(AdminError::Unauthenticated.into());
        }
        self.refresh_cache().await;
        let signed_in = SignedIn { administrator, via: Via::Session(Arc::new(session)), is_fresh: true };
        Ok(NewSession { secret, signed_in })
    }

    /// The CSRF token of the session with this secret.
    pub fn csrf_token(secret: &str) -> String {
        secret::csrf_token(secret)
    }

    /// Makes a session fresh, by a token of the same administrator.
    ///
    /// # Errors
    /// [`AdminError::Unauthenticated`] when the token is wrong or of another administrator, store failures.
    pub async fn confirm(&self, session: &AdminSessionRecord, token: &str) -> Result<SignedIn, Error> {
        let signed_in = self.authenticate_token(token).await?;
        if signed_in.administrator.id != session.administrator {
            return Err(AdminError::Unauthenticated.into());
        }
        let now = self.now();
        if !self.store.confirm_session(&session.id, now).await? {
            return Err(AdminError::Unauthenticated.into());
        }
        self.refresh_cache().await;
        let session = AdminSessionRecord { confirmed_at: now, last_seen_at: now, ..session.clone() };
        Ok(SignedIn { via: Via::Session(Arc::new(session)), ..signed_in })
    }

    /// Ends a session of one administrator, or, with `None`, of any.
    ///
    /// # Errors
    /// [`AdminError::NotFound`], store failures.
    pub async fn end_session(
        &self,
        id: &AdminSessionId,
        of: Option<&AdministratorId>,
        by: Actor,
        transaction: TransactionId,
    ) -> Result<(), Error> {
        let cache = self.cache.load();
        let known = cache.sessions.values().find(|session| session.id == *id);
        let owner = known.map(|session| session.administrator.clone());
        drop(cache);
        let owner = owner.filter(|owner| of.is_none_or(|of| of == owner)).ok_or(AdminError::NotFound("session"))?;
        let event = self.event("session end", &format!("a session of {owner}")).by(by).within(transaction);
        let ended = self.store.end_session(id, &event).await?;
        self.refresh_cache().await;
        if ended { Ok(()) } else { Err(AdminError::NotFound("session").into()) }
    }

    /// Ends the sessions of one administrator, or of all, except one. Returns how many.
    ///
    /// # Errors
    /// Store failures.
    pub async fn end_sessions(
        &self,
        of: Option<&AdministratorId>,
        except: Option<&AdminSessionId>,
        by: Actor,
        transaction: Option<TransactionId>,
    ) -> Result<u64, Error> {
        let whose = of.map_or_else(|| "of all".to_owned(), |id| format!("of {id}"));
        let mut event = self.event("session end", &format!("all sessions {whose}")).by(by);
        event.transaction = transaction.map(|transaction| transaction.0);
        let ended = self.store.end_sessions(of, except, &event).await?;
        self.refresh_cache().await;
        Ok(ended)
    }

    pub(super) fn event(&self, operation: &str, detail: &str) -> OutboxEvent {
        OutboxEvent::new(self.now(), operation, None, detail)
    }
}
