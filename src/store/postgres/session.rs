//! What every connection is set to, and the proof that it holds.
//!
//! The settings are statements, not parameters of the start-up: a pooler such as PgBouncer refuses such parameters, or
//! drops them unseen.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::hosts::TargetSession;

/// The shortest and the longest time that a transaction may wait for its next statement. A node that is cut off in the
/// middle of one holds its locks for so long.
const IDLE_IN_TRANSACTION: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));

/// Settings of a connection.
#[derive(Debug, Clone)]
pub(super) struct SessionSettings {
    /// The longest time of one statement; zero: no limit.
    pub(super) statement_timeout: Duration,
    /// The longest wait for a lock; zero: the one of the statement.
    pub(super) lock_timeout: Duration,
    /// The longest pause between two statements of a transaction.
    pub(super) idle_in_transaction: Duration,
    /// Whether the session may only read.
    pub(super) read_only: bool,
}

/// Why a connection was refused after it was made.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// The server may not be written to.
    #[error("it is read-only (target_session_attrs=read-write)")]
    ReadOnly,
    /// The server follows another.
    #[error("it is a standby (target_session_attrs=primary)")]
    Standby,
    /// Another session answers.
    #[error(
        "statement_timeout, idle_in_transaction_session_timeout or synchronous_commit does not hold: a connection pooler \
         must give each client a session of its own (PgBouncer: pool_mode = session)"
    )]
    NotKept,
    /// The connection failed.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

impl SessionSettings {
    /// Those of a call whose statements take at most `timeout`.
    pub(super) fn new(timeout: Duration, read_only: bool) -> Self {
        let (shortest, longest) = IDLE_IN_TRANSACTION;
        Self {
            statement_timeout: timeout,
            lock_timeout: Duration::ZERO,
            idle_in_transaction: timeout.clamp(shortest, longest),
            read_only,
        }
    }

    /// Sets a new connection and checks the server.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub(super) async fn apply(&self, connection: &mut PgConnection, target: TargetSession) -> Result<(), SessionError> {
        let statement = self.statement_timeout.as_millis();
        let lock = self.lock_timeout.as_millis();
        let idle = self.idle_in_transaction.as_millis();
        let read_only = if self.read_only { "SET default_transaction_read_only = on;" } else { "" };
        // A commit is on disk before it is acknowledged, whatever the default of the server is. The server finds a peer
        // that is gone after a minute.
        let set = format!(
            "SELECT current_setting('transaction_read_only')::bool AS read_only, pg_is_in_recovery() AS standby;
             SET statement_timeout = {statement};
             SET lock_timeout = {lock};
             SET idle_in_transaction_session_timeout = {idle};
             SELECT set_config('synchronous_commit', 'on', false)
             WHERE current_setting('synchronous_commit') <> 'remote_apply';
             SET tcp_keepalives_idle = 30;
             SET tcp_keepalives_interval = 10;
             SET tcp_keepalives_count = 3;
             {read_only}"
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(set)).fetch_all(&mut *connection).await?;
        let state = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        match target {
            TargetSession::Primary if state.try_get("standby")? => return Err(SessionError::Standby),
            TargetSession::ReadWrite if state.try_get("read_only")? => return Err(SessionError::ReadOnly),
            _ => {}
        }
        // Asked for apart, because a pooler may answer from another session.
        let check = format!(
            "SELECT current_setting('statement_timeout')::interval = interval '{statement} ms'
                AND current_setting('idle_in_transaction_session_timeout')::interval = interval '{idle} ms'
                AND current_setting('synchronous_commit') IN ('on', 'remote_apply') AS holds"
        );
        let row = sqlx::raw_sql(AssertSqlSafe(check)).fetch_one(connection).await?;
        if row.try_get("holds")? { Ok(()) } else { Err(SessionError::NotKept) }
    }
}
