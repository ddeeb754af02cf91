//! Retention: which templates expire, by the period of their application or by an expiry of their own, what keeps a wrong
//! clock or a wrong period from erasing a gallery, and what an operator confirms.
//!
//! The budget of an application: within a day, at most [`MIN_BUDGET`] templates or a share of its gallery are erased by
//! retention, whichever is more. Where more are due, none of them is erased. They are *held* until an operator confirms.
//! The budget is counted in the database, so all nodes share it, and several rounds cannot exceed it.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::error::StoreError;
use crate::domain::{AppId, Revision};

/// So many templates of a gallery may expire within a day, however small it is.
pub const MIN_BUDGET: u64 = 100;

/// The share of a gallery that may expire within a day, in percent, unless the operator sets another one.
pub const DEFAULT_SHARE: u64 = 20;

/// The clock by which templates and keys expire, and what is known about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// The time of the database; with SQLite that of this process (whole milliseconds).
    pub now: SystemTime,
    /// Whether it is the clock of a database server, so that it can differ from this process's.
    pub is_servers: bool,
    /// The latest time that a server has recorded; `None` before the first.
    pub seen: Option<SystemTime>,
    /// The time at which an operator confirmed the clock last.
    pub confirmed: Option<SystemTime>,
}

/// Templates that are due, but not erased until an operator confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// How many.
    pub templates: u64,
    /// Those that the retention period concerns were enrolled before this time.
    pub enrolled_before: SystemTime,
    /// Those with an expiry of their own expire before this time.
    pub expire_before: SystemTime,
    /// Since when templates are held.
    pub since: SystemTime,
}

/// The retention of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRecord {
    /// The application.
    pub app: AppId,
    /// How long its templates are kept; `None`: only templates with an expiry of their own expire.
    pub period: Option<Duration>,
    /// The share of the gallery that may expire within a day, in percent.
    pub share: u64,
    /// Templates that wait for a confirmation.
    pub hold: Option<Hold>,
}

/// What one call of [`RetentionStore::expire`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expired {
    /// Templates that were erased.
    pub erased: usize,
    /// The revision of the last of them.
    pub revision: Option<Revision>,
}

/// The retention of all applications, and the clock that it goes by.
#[async_trait]
pub trait RetentionStore: Send + Sync {
    /// Reads the clock.
    async fn read_clock(&self) -> Result<ClockReading, StoreError>;

    /// Records that a server has seen this time and trusts it.
    async fn record_clock(&self, now: SystemTime) -> Result<(), StoreError>;

    /// An operator confirms the clock as it is; an event records it. Returns the reading before.
    async fn confirm_clock(&self) -> Result<ClockReading, StoreError>;

    /// Erases up to `limit` templates of an application that are due by the time of the database, oldest first, in one
    /// transaction, if they are within the budget or confirmed. Records what is held.
    async fn expire(&self, app: &AppId, limit: usize) -> Result<Expired, StoreError>;

    /// The applications with templates that expire by themselves, before the time of the database.
    async fn due_by_expiry(&self) -> Result<Vec<AppId>, StoreError>;

    /// The applications with a retention period, or with templates that are held, by id.
    async fn retentions(&self) -> Result<Vec<RetentionRecord>, StoreError>;

    /// An operator confirms what is held; an event records it. The confirmation holds for exactly these templates.
    /// `None` when nothing is held.
    async fn confirm_expiry(&self, app: &AppId) -> Result<Option<Hold>, StoreError>;

    /// Sets the share of the gallery that may expire within a day, in percent; `None`: the default. `false` when the
    /// application does not exist.
    async fn set_expiry_share(&self, app: &AppId, percent: Option<u64>) -> Result<bool, StoreError>;
}
