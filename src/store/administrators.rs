//! Administrators, their tokens, sessions and one-time codes, as stored.
//!
//! The whole state is small, and every node keeps it in memory. Every change takes an [`OutboxEvent`], which it inserts
//! in its own transaction, so that a change has its journal line.

use std::time::SystemTime;

use async_trait::async_trait;

use super::error::StoreError;
use super::outbox::OutboxEvent;
use super::record::KeyHash;
use crate::domain::{AdminSessionId, AdminTokenId, AdministratorId, AppId, Role};

/// An administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdministratorRecord {
    /// Its id.
    pub id: AdministratorId,
    /// The name, which no other administrator has, in whatever case.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The applications that it may see; `None`: all of them.
    pub applications: Option<Vec<AppId>>,
    /// Whether it may change people. An owner always may.
    pub may_change: bool,
    /// Whether it may sign in.
    pub is_active: bool,
    /// Whether a first run or a recovery made it, and no person has taken it over yet.
    pub is_bootstrap: bool,
    /// When it was created (whole milliseconds).
    pub created_at: SystemTime,
    /// When it last made a session (whole milliseconds).
    pub last_sign_in_at: Option<SystemTime>,
}

/// A token of an administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminTokenRecord {
    /// Its id, a part of its text.
    pub id: AdminTokenId,
    /// Whose it is.
    pub administrator: AdministratorId,
    /// A name for people.
    pub name: String,
    /// Hash of its secret.
    pub hash: KeyHash,
    /// When it was created (whole milliseconds).
    pub created_at: SystemTime,
    /// When it was last used, to the minute.
    pub last_used_at: Option<SystemTime>,
    /// When it ends (whole milliseconds); `None`: never.
    pub expires_at: Option<SystemTime>,
}

/// A session of the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSessionRecord {
    /// Its id, which is no secret.
    pub id: AdminSessionId,
    /// Hash of the secret in its cookie.
    pub hash: KeyHash,
    /// Whose it is.
    pub administrator: AdministratorId,
    /// The token that it was made with; `None`: a one-time code.
    pub token: Option<AdminTokenId>,
    /// The address that made it.
    pub address: Option<String>,
    /// The program that made it, as it names itself.
    pub client: Option<String>,
    /// When it was made (whole milliseconds).
    pub created_at: SystemTime,
    /// When it was last used, to the minute.
    pub last_seen_at: SystemTime,
    /// When its administrator last presented a token (whole milliseconds).
    pub confirmed_at: SystemTime,
}

/// A one-time code, which makes one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminCodeRecord {
    /// Hash of the code.
    pub hash: KeyHash,
    /// Who may sign in with it.
    pub administrator: AdministratorId,
    /// When it was created (whole milliseconds).
    pub created_at: SystemTime,
    /// When it ends (whole milliseconds).
    pub expires_at: SystemTime,
}

/// What every node keeps in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdminState {
    /// Oldest first.
    pub administrators: Vec<AdministratorRecord>,
    /// Oldest first.
    pub tokens: Vec<AdminTokenRecord>,
    /// Oldest first. Some may be over.
    pub sessions: Vec<AdminSessionRecord>,
}

/// The outcome of a change of an administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminChange {
    /// It is done.
    Done,
    /// The administrator does not exist.
    NotFound,
    /// Another administrator has the name. Nothing has changed.
    NameTaken,
    /// No active owner would be left. Nothing has changed.
    LastOwner,
}

/// The outcome of a new token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenChange {
    /// It is created.
    Done,
    /// The administrator does not exist.
    NotFound,
    /// The administrator has as many as it may have.
    TooMany,
}

/// Sessions and tokens that were used since the last time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LastUse {
    /// When each session was last seen.
    pub sessions: Vec<(AdminSessionId, SystemTime)>,
    /// When each token was last used.
    pub tokens: Vec<(AdminTokenId, SystemTime)>,
}

/// Which sessions are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionsOver {
    /// Those made before this time.
    pub created_before: SystemTime,
    /// Those not seen since this time.
    pub seen_before: SystemTime,
    /// The time now: codes that end before it are over, too.
    pub now: SystemTime,
}

/// Administrators, tokens, sessions and one-time codes.
#[async_trait]
pub trait AdminStore: Send + Sync {
    /// All administrators, tokens and sessions.
    async fn state(&self) -> Result<AdminState, StoreError>;

    /// Creates an administrator; `false` when the name is taken.
    async fn create_administrator(&self, new: &AdministratorRecord, event: &OutboxEvent) -> Result<bool, StoreError>;

    /// Creates an administrator with a token and a code if no administrator exists yet, and returns whether it did. Of
    /// several concurrent calls one succeeds.
    async fn create_first_administrator(
        &self,
        new: &AdministratorRecord,
        token: &AdminTokenRecord,
        code: &AdminCodeRecord,
        event: &OutboxEvent,
    ) -> Result<bool, StoreError>;

    /// Writes everything but the times of an administrator, if an active owner is left. With `ends_sessions` its sessions
    /// end.
    async fn update_administrator(
        &self,
        changed: &AdministratorRecord,
        ends_sessions: bool,
        event: &OutboxEvent,
    ) -> Result<AdminChange, StoreError>;

    /// Deletes an administrator with its tokens, sessions and codes, if an active owner is left.
    async fn delete_administrator(&self, id: &AdministratorId, event: &OutboxEvent) -> Result<AdminChange, StoreError>;

    /// Creates a token, if its administrator has fewer than `max`.
    async fn create_token(
        &self,
        token: &AdminTokenRecord,
        max: usize,
        event: &OutboxEvent,
    ) -> Result<TokenChange, StoreError>;

    /// Deletes a token with the sessions that were made with it; `false` when it does not exist.
    async fn delete_token(&self, id: &AdminTokenId, event: &OutboxEvent) -> Result<bool, StoreError>;

    /// Creates a one-time code; `false` when its administrator does not exist.
    async fn create_code(&self, code: &AdminCodeRecord, event: &OutboxEvent) -> Result<bool, StoreError>;

    /// Uses up a one-time code that has not ended, and returns whose it is.
    async fn redeem_code(&self, hash: KeyHash, now: SystemTime) -> Result<Option<AdministratorId>, StoreError>;

    /// Creates a session, of which its administrator keeps the `max` newest; `false` when the administrator does not
    /// exist. With `ends_bootstrap` all bootstrap administrators are deleted.
    async fn create_session(
        &self,
        session: &AdminSessionRecord,
        max: usize,
        ends_bootstrap: bool,
        event: &OutboxEvent,
    ) -> Result<bool, StoreError>;

    /// Records that the administrator of a session has presented a token; `false` when the session does not exist.
    async fn confirm_session(&self, id: &AdminSessionId, at: SystemTime) -> Result<bool, StoreError>;

    /// Ends a session; `false` when it does not exist.
    async fn end_session(&self, id: &AdminSessionId, event: &OutboxEvent) -> Result<bool, StoreError>;

    /// Ends the sessions of one administrator, or of all, except one. Returns how many.
    async fn end_sessions(
        &self,
        administrator: Option<&AdministratorId>,
        except: Option<&AdminSessionId>,
        event: &OutboxEvent,
    ) -> Result<u64, StoreError>;

    /// Records last uses, which never go back.
    async fn record_use(&self, used: &LastUse) -> Result<(), StoreError>;

    /// Deletes the sessions and codes that are over.
    async fn delete_over(&self, over: SessionsOver) -> Result<u64, StoreError>;
}
