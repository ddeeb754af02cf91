//! The traits of the store over SQL, once for both databases.

pub(super) mod apps;
pub(super) mod executor;
pub(super) mod gather;
pub(super) mod keys;
pub(super) mod outbox;
mod retry;
mod row;
pub(super) mod scrubber;
pub(super) mod snapshots;
pub(super) mod sql_store;
pub(super) mod templates;
