//! Administrators.

use std::time::SystemTime;

use async_trait::async_trait;

use super::administrator_rows::{
    administrator, applications_text, insert_administrator, insert_code, insert_session, insert_token,
    lock_administrator, name_key, session, token,
};
use super::executor::{Deadline, Executor, Limit, Tx, Value, values};
use super::sql_store::SqlStore;
use crate::domain::{AdminSessionId, AdminTokenId, AdministratorId};
use crate::store::administrators::{
    AdminChange, AdminCodeRecord, AdminSessionRecord, AdminState, AdminStore, AdminTokenRecord, AdministratorRecord,
    LastUse, SessionsOver, TokenChange,
};
use crate::store::error::StoreError;
use crate::store::outbox::OutboxEvent;
use crate::store::record::KeyHash;

#[async_trait]
impl AdminStore for SqlStore {
    async fn state(&self) -> Result<AdminState, StoreError> {
        let mut db = self.db.reader(Limit::Request).await?;
        let administrators = db
            .fetch_all(
                "SELECT admin_id, name, role, applications, may_change, active, bootstrap, created_at, last_sign_in_at
                 FROM administrators ORDER BY created_at, admin_id",
                &[],
            )
            .await?;
        let tokens = db
            .fetch_all(
                "SELECT token_id, admin_id, name, hash, created_at, last_used_at, expires_at
                 FROM admin_tokens ORDER BY created_at, token_id",
                &[],
            )
            .await?;
        let sessions = db
            .fetch_all(
                "SELECT session_id, hash, admin_id, token_id, address, client, created_at, last_seen_at, confirmed_at
                 FROM admin_sessions ORDER BY created_at, session_id",
                &[],
            )
            .await?;
        Ok(AdminState {
            administrators: administrators.iter().map(administrator).collect::<Result<_, _>>()?,
            tokens: tokens.iter().map(token).collect::<Result<_, _>>()?,
            sessions: sessions.iter().map(session).collect::<Result<_, _>>()?,
        })
    }

    async fn create_administrator(&self, new: &AdministratorRecord, event: &OutboxEvent) -> Result<bool, StoreError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut tx = self.db.begin(deadline).await?;
                if !insert_administrator(&mut tx, new).await? {
                    tx.rollback().await?;
                    return Ok(false);
                }
                self.commit_with(tx, event).await?;
                Ok(true)
            })
            .await
    }

    async fn create_first_administrator(
        &self,
        new: &AdministratorRecord,
        token: &AdminTokenRecord,
        code: &AdminCodeRecord,
        event: &OutboxEvent,
    ) -> Result<bool, StoreError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut tx = self.begin_administration(deadline).await?;
                let exists = tx.fetch_optional("SELECT admin_id FROM administrators LIMIT 1", &[]).await?.is_some();
                if exists || !insert_administrator(&mut tx, new).await? {
                    tx.rollback().await?;
                    return Ok(false);
                }
                insert_token(&mut tx, token).await?;
                insert_code(&mut tx, code).await?;
                self.commit_with(tx, event).await?;
                Ok(true)
            })
            .await
    }

    async fn update_administrator(
        &self,
        changed: &AdministratorRecord,
        ends_sessions: bool,
        event: &OutboxEvent,
    ) -> Result<AdminChange, StoreError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut tx = self.begin_administration(deadline).await?;
                let key = name_key(&changed.name);
                let sql = "SELECT admin_id FROM administrators WHERE name_key = $1 AND admin_id <> $2";
                if tx.fetch_optional(sql, values![key.as_str(), &changed.id]).await?.is_some() {
                    tx.rollback().await?;
                    return Ok(AdminChange::NameTaken);
                }
                let applications = applications_text(changed)?;
                let updated = tx
                    .execute(
                        "UPDATE administrators
                         SET name = $2, name_key = $3, role = $4, applications = $5, may_change = $6, active = $7,
                             bootstrap = $8
                         WHERE admin_id = $1",
                        values![
                            &changed.id,
                            changed.name.as_str(),
                            key.as_str(),
                            changed.role.as_str(),
                            applications.as_deref(),
                            changed.may_change,
                            changed.is_active,
                            changed.is_bootstrap,
                        ],
                    )
                    .await?;
                if ends_sessions {
                    tx.execute("DELETE FROM admin_sessions WHERE admin_id = $1", values![&changed.id]).await?;
                    tx.execute("DELETE FROM admin_codes WHERE admin_id = $1", values![&changed.id]).await?;
                }
                self.commit_with_owner(tx, updated, event).await
            })
            .await
    }

    async fn delete_administrator(&self, id: &AdministratorId, event: &OutboxEvent) -> Result<AdminChange, StoreError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut tx = self.begin_administration(deadline).await?;
                let deleted = tx.execute("DELETE FROM administrators WHERE admin_id = $1", values![id]).await?;
                self.commit_with_owner(tx, deleted, event).await
            })
            .await
    }

    async fn create_token(
        &self,
        token: &AdminTokenRecord,
        max: usize,
        event: &OutboxEvent,
    ) -> Result<TokenChange, StoreError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut tx = self.db.begin(deadline).await?;
                if !lock_administrator(&mut tx, &token.administrator).await? {
                    tx.rollback().await?;
                    return Ok(TokenChange::NotFound);
                }
                let sql = "SELECT count(*) AS count FROM admin_tokens WHERE admin_id = $1";
                let count: i64 = tx.fetch_one(sql, values![&token.administrator]).await?.get("count")?;
                if usize::try_from(count).is_ok_and(|count| count >= max) {
                    tx.rollback().await?;
                    return Ok(TokenChange::TooMany);
                }
                insert_token(&mut tx, token).await?;
                self.commit_with(tx, event).await?;
                Ok(TokenChange::Done)
            })
            .await
    }

    async fn delete_token(&self, id: &AdminTokenId, event: &OutboxEvent) -> Result<bool, StoreError> {
        let sql = "DELETE FROM admin_tokens WHERE token_id = $1";
        Ok(self.execute_with(sql, values![id], event).await? > 0)
    }

    async fn create_code(&self, code: &AdminCodeRecord, event: &OutboxEvent) -> Result<bool, StoreError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut tx = self.db.begin(deadline).await?;
                if !lock_administrator(&mut tx, &code.administrator).await? {
                    tx.rollback().await?;
                    return Ok(false);
                }
                insert_code(&mut tx, code).await?;
                self.commit_with(tx, event).await?;
                Ok(true)
            })
            .await
    }

    async fn redeem_code(&self, hash: KeyHash, now: SystemTime) -> Result<Option<AdministratorId>, StoreError> {
        let mut db = self.db.writer(Limit::Request).await?;
        let sql = "DELETE FROM admin_codes WHERE hash = $1 AND expires_at > $2 RETURNING admin_id";
        let row = db.fetch_optional(sql, values![&hash.0, now]).await?;
        row.map(|row| row.administrator_id("admin_id")).transpose()
    }

    async fn create_session(
        &self,
        session: &AdminSessionRecord,
        max: usize,
        ends_bootstrap: bool,
        event: &OutboxEvent,
    ) -> Result<bool, StoreError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut tx = self.begin_administration(deadline).await?;
                let sql = "UPDATE administrators SET last_sign_in_at = $2 WHERE admin_id = $1";
                if tx.execute(sql, values![&session.administrator, session.created_at]).await? == 0 {
                    tx.rollback().await?;
                    return Ok(false);
                }
                insert_session(&mut tx, session).await?;
                tx.execute(
                    "DELETE FROM admin_sessions WHERE admin_id = $1 AND session_id NOT IN (
                         SELECT session_id FROM admin_sessions WHERE admin_id = $1
                         ORDER BY created_at DESC, session_id LIMIT $2)",
                    values![&session.administrator, max],
                )
                .await?;
                if ends_bootstrap {
                    let sql = "DELETE FROM administrators WHERE bootstrap = $1 AND admin_id <> $2";
                    tx.execute(sql, values![true, &session.administrator]).await?;
                }
                self.commit_with(tx, event).await?;
                Ok(true)
            })
            .await
    }

    async fn confirm_session(&self, id: &AdminSessionId, at: SystemTime) -> Result<bool, StoreError> {
        let sql = "UPDATE admin_sessions SET confirmed_at = $2, last_seen_at = $2 WHERE session_id = $1";
        self.update(sql, values![id, at]).await
    }

    async fn end_session(&self, id: &AdminSessionId, event: &OutboxEvent) -> Result<bool, StoreError> {
        let sql = "DELETE FROM admin_sessions WHERE session_id = $1";
        Ok(self.execute_with(sql, values![id], event).await? > 0)
    }

    async fn end_sessions(
        &self,
        administrator: Option<&AdministratorId>,
        except: Option<&AdminSessionId>,
        event: &OutboxEvent,
    ) -> Result<u64, StoreError> {
        let except = except.map_or("", AdminSessionId::as_str);
        match administrator {
            Some(id) => {
                let sql = "DELETE FROM admin_sessions WHERE admin_id = $1 AND session_id <> $2";
                self.execute_with(sql, values![id, except], event).await
            }
            None => {
                let sql = "DELETE FROM admin_sessions WHERE session_id <> $1";
                self.execute_with(sql, values![except], event).await
            }
        }
    }

    async fn record_use(&self, used: &LastUse) -> Result<(), StoreError> {
        let mut db = self.db.writer(Limit::Request).await?;
        for (id, at) in &used.sessions {
            let sql = "UPDATE admin_sessions SET last_seen_at = $2 WHERE session_id = $1 AND last_seen_at < $2";
            db.execute(sql, values![id, *at]).await?;
        }
        for (id, at) in &used.tokens {
            let sql = "UPDATE admin_tokens SET last_used_at = $2
                       WHERE token_id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
            db.execute(sql, values![id, *at]).await?;
        }
        Ok(())
    }

    async fn delete_over(&self, over: SessionsOver) -> Result<u64, StoreError> {
        let mut db = self.db.writer(Limit::Request).await?;
        let sql = "DELETE FROM admin_sessions WHERE created_at < $1 OR last_seen_at < $2";
        let sessions = db.execute(sql, values![over.created_before, over.seen_before]).await?;
        let codes = db.execute("DELETE FROM admin_codes WHERE expires_at <= $1", values![over.now]).await?;
        Ok(sessions + codes)
    }
}

impl SqlStore {
    /// Begins a transaction that waits for other changes of administrators: which owner is the last one is decided
    /// under this lock. SQLite has one writer at a time.
    async fn begin_administration(&self, deadline: Deadline) -> Result<Tx, StoreError> {
        let mut tx = self.db.begin(deadline).await?;
        tx.lock_administrators().await?;
        // SQLite does not let a transaction write that has begun by reading.
        tx.execute("UPDATE administrators SET created_at = created_at WHERE admin_id = $1", values![""]).await?;
        Ok(tx)
    }

    /// Commits a change with its event.
    async fn commit_with(&self, mut tx: Tx, event: &OutboxEvent) -> Result<(), StoreError> {
        let at = self.now(&mut tx).await?;
        self.insert_event(&mut tx, &OutboxEvent { at, ..event.clone() }).await?;
        tx.commit_and_notify().await
    }

    /// Commits a change of an administrator, unless it changed none or no active owner is left.
    async fn commit_with_owner(&self, mut tx: Tx, rows: u64, event: &OutboxEvent) -> Result<AdminChange, StoreError> {
        if rows == 0 {
            tx.rollback().await?;
            return Ok(AdminChange::NotFound);
        }
        let sql = "SELECT admin_id FROM administrators WHERE role = 'owner' AND active = $1 LIMIT 1";
        if tx.fetch_optional(sql, values![true]).await?.is_none() {
            tx.rollback().await?;
            return Ok(AdminChange::LastOwner);
        }
        self.commit_with(tx, event).await?;
        Ok(AdminChange::Done)
    }

    /// Runs a statement in a transaction with its event. Without a change there is no event.
    async fn execute_with(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
        event: &OutboxEvent,
    ) -> Result<u64, StoreError> {
        self.db
            .transact(Limit::Request, |deadline| async move {
                let mut tx = self.db.begin(deadline).await?;
                let rows = tx.execute(sql, values).await?;
                if rows == 0 {
                    tx.rollback().await?;
                } else {
                    self.commit_with(tx, event).await?;
                }
                Ok(rows)
            })
            .await
    }
}
