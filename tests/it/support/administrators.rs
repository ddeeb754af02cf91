//! Administrators in memory.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use semblance::domain::{AdminSessionId, AdminTokenId, AdministratorId, Role};
use semblance::store::{
    AdminChange, AdminCodeRecord, AdminSessionRecord, AdminState, AdminStore, AdminTokenRecord, AdministratorRecord,
    KeyHash, LastUse, OutboxEvent, SessionsOver, StoreError, TokenChange,
};

#[derive(Default)]
struct All {
    state: AdminState,
    codes: HashMap<KeyHash, AdminCodeRecord>,
}

/// A store of administrators, and the events of its changes.
#[derive(Default)]
pub struct MemoryAdministrators {
    all: Mutex<All>,
    /// The database cannot be reached.
    pub down: AtomicBool,
    /// The events of changes, oldest first.
    pub events: Mutex<Vec<OutboxEvent>>,
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

impl All {
    fn has(&self, id: &AdministratorId) -> bool {
        self.state.administrators.iter().any(|one| one.id == *id)
    }

    fn insert(&mut self, new: &AdministratorRecord) -> bool {
        let is_free = !self.state.administrators.iter().any(|one| same(&one.name, &new.name));
        if is_free {
            self.state.administrators.push(new.clone());
        }
        is_free
    }

    /// Deletes what belongs to administrators and tokens that are gone.
    fn cascade(&mut self) {
        let ids: Vec<AdministratorId> = self.state.administrators.iter().map(|one| one.id.clone()).collect();
        self.state.tokens.retain(|token| ids.contains(&token.administrator));
        let tokens: Vec<AdminTokenId> = self.state.tokens.iter().map(|token| token.id.clone()).collect();
        self.state.sessions.retain(|session| {
            ids.contains(&session.administrator) && session.token.as_ref().is_none_or(|token| tokens.contains(token))
        });
        self.codes.retain(|_, code| ids.contains(&code.administrator));
    }

    fn has_owner(&self) -> bool {
        self.state.administrators.iter().any(|one| one.role == Role::Owner && one.is_active)
    }
}

impl MemoryAdministrators {
    fn change<T>(&self, work: impl FnOnce(&mut All) -> T) -> Result<T, StoreError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the secret address refused the connection".into()));
        }
        Ok(work(&mut self.all.lock().unwrap()))
    }

    fn note(&self, event: &OutboxEvent) {
        self.events.lock().unwrap().push(event.clone());
    }

    /// Changes the administrators, unless no active owner would be left.
    fn change_owners(
        &self,
        event: &OutboxEvent,
        work: impl FnOnce(&mut All) -> AdminChange,
    ) -> Result<AdminChange, StoreError> {
        let outcome = self.change(|all| {
            let before = all.state.clone();
            let outcome = work(all);
            if outcome == AdminChange::Done && !all.has_owner() {
                all.state = before;
                return AdminChange::LastOwner;
            }
            all.cascade();
            outcome
        })?;
        if outcome == AdminChange::Done {
            self.note(event);
        }
        Ok(outcome)
    }
}

#[async_trait]
impl AdminStore for MemoryAdministrators {
    async fn state(&self) -> Result<AdminState, StoreError> {
        self.change(|all| all.state.clone())
    }

    async fn create_administrator(&self, new: &AdministratorRecord, event: &OutboxEvent) -> Result<bool, StoreError> {
        let created = self.change(|all| all.insert(new))?;
        if created {
            self.note(event);
        }
        Ok(created)
    }

    async fn create_first_administrator(
        &self,
        new: &AdministratorRecord,
        token: &AdminTokenRecord,
        code: &AdminCodeRecord,
        event: &OutboxEvent,
    ) -> Result<bool, StoreError> {
        let created = self.change(|all| {
            if !all.state.administrators.is_empty() {
                return false;
            }
            all.state.tokens.push(token.clone());
            all.codes.insert(code.hash, code.clone());
            all.insert(new)
        })?;
        if created {
            self.note(event);
        }
        Ok(created)
    }

    async fn update_administrator(
        &self,
        changed: &AdministratorRecord,
        ends_sessions: bool,
        event: &OutboxEvent,
    ) -> Result<AdminChange, StoreError> {
        self.change_owners(event, |all| {
            let others = all.state.administrators.iter().filter(|one| one.id != changed.id);
            if others.clone().any(|one| same(&one.name, &changed.name)) {
                return AdminChange::NameTaken;
            }
            let Some(known) = all.state.administrators.iter_mut().find(|one| one.id == changed.id) else {
                return AdminChange::NotFound;
            };
            *known = changed.clone();
            if ends_sessions {
                all.state.sessions.retain(|session| session.administrator != changed.id);
                all.codes.retain(|_, code| code.administrator != changed.id);
            }
            AdminChange::Done
        })
    }

    async fn delete_administrator(&self, id: &AdministratorId, event: &OutboxEvent) -> Result<AdminChange, StoreError> {
        self.change_owners(event, |all| {
            if !all.has(id) {
                return AdminChange::NotFound;
            }
            all.state.administrators.retain(|one| one.id != *id);
            AdminChange::Done
        })
    }

    async fn create_token(
        &self,
        token: &AdminTokenRecord,
        max: usize,
        event: &OutboxEvent,
    ) -> Result<TokenChange, StoreError> {
        let outcome = self.change(|all| {
            if !all.has(&token.administrator) {
                return TokenChange::NotFound;
            }
            let count = all.state.tokens.iter().filter(|known| known.administrator == token.administrator).count();
            if count >= max {
                return TokenChange::TooMany;
            }
            all.state.tokens.push(token.clone());
            TokenChange::Done
        })?;
        if outcome == TokenChange::Done {
            self.note(event);
        }
        Ok(outcome)
    }

    async fn delete_token(&self, id: &AdminTokenId, event: &OutboxEvent) -> Result<bool, StoreError> {
        let deleted = self.change(|all| {
            let before = all.state.tokens.len();
            all.state.tokens.retain(|token| token.id != *id);
            all.cascade();
            all.state.tokens.len() < before
        })?;
        if deleted {
            self.note(event);
        }
        Ok(deleted)
    }

    async fn create_code(&self, code: &AdminCodeRecord, event: &OutboxEvent) -> Result<bool, StoreError> {
        let created = self.change(|all| {
            let exists = all.has(&code.administrator);
            if exists {
                all.codes.insert(code.hash, code.clone());
            }
            exists
        })?;
        if created {
            self.note(event);
        }
        Ok(created)
    }

    async fn redeem_code(&self, hash: KeyHash, now: SystemTime) -> Result<Option<AdministratorId>, StoreError> {
        self.change(|all| all.codes.remove(&hash).filter(|code| code.expires_at > now).map(|code| code.administrator))
    }

    async fn create_session(
        &self,
        session: &AdminSessionRecord,
        max: usize,
        ends_bootstrap: bool,
        event: &OutboxEvent,
    ) -> Result<bool, StoreError> {
        let created = self.change(|all| {
            let own = all.state.administrators.iter_mut().find(|one| one.id == session.administrator);
            let Some(own) = own else { return false };
            own.last_sign_in_at = Some(session.created_at);
            all.state.sessions.push(session.clone());
            let own = all.state.sessions.iter().filter(|known| known.administrator == session.administrator);
            let over: Vec<AdminSessionId> =
                own.clone().take(own.count().saturating_sub(max)).map(|known| known.id.clone()).collect();
            all.state.sessions.retain(|known| !over.contains(&known.id));
            if ends_bootstrap {
                all.state.administrators.retain(|one| !one.is_bootstrap || one.id == session.administrator);
                all.cascade();
            }
            true
        })?;
        if created {
            self.note(event);
        }
        Ok(created)
    }

    async fn confirm_session(&self, id: &AdminSessionId, at: SystemTime) -> Result<bool, StoreError> {
        self.change(|all| {
            let session = all.state.sessions.iter_mut().find(|session| session.id == *id);
            session.map(|session| (session.confirmed_at, session.last_seen_at) = (at, at)).is_some()
        })
    }

    async fn end_session(&self, id: &AdminSessionId, event: &OutboxEvent) -> Result<bool, StoreError> {
        let ended = self.change(|all| {
            let before = all.state.sessions.len();
            all.state.sessions.retain(|session| session.id != *id);
            all.state.sessions.len() < before
        })?;
        if ended {
            self.note(event);
        }
        Ok(ended)
    }

    async fn end_sessions(
        &self,
        administrator: Option<&AdministratorId>,
        except: Option<&AdminSessionId>,
        event: &OutboxEvent,
    ) -> Result<u64, StoreError> {
        let ended = self.change(|all| {
            let before = all.state.sessions.len();
            all.state.sessions.retain(|session| {
                administrator.is_some_and(|id| session.administrator != *id) || except == Some(&session.id)
            });
            before - all.state.sessions.len()
        })?;
        if ended > 0 {
            self.note(event);
        }
        Ok(ended as u64)
    }

    async fn record_use(&self, used: &LastUse) -> Result<(), StoreError> {
        self.change(|all| {
            for (id, at) in &used.sessions {
                let session = all.state.sessions.iter_mut().find(|session| session.id == *id);
                session.into_iter().for_each(|session| session.last_seen_at = session.last_seen_at.max(*at));
            }
            for (id, at) in &used.tokens {
                let token = all.state.tokens.iter_mut().find(|token| token.id == *id);
                token.into_iter().for_each(|token| token.last_used_at = token.last_used_at.max(Some(*at)));
            }
        })
    }

    async fn delete_over(&self, over: SessionsOver) -> Result<u64, StoreError> {
        self.change(|all| {
            let before = all.state.sessions.len() + all.codes.len();
            all.state.sessions.retain(|session| {
                session.created_at >= over.created_before && session.last_seen_at >= over.seen_before
            });
            all.codes.retain(|_, code| code.expires_at > over.now);
            (before - all.state.sessions.len() - all.codes.len()) as u64
        })
    }
}
