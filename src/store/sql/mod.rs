//! The traits of the store over SQL, once for both databases.

mod administrator_rows;
pub(super) mod administrators;
pub(super) mod app_keys;
pub(super) mod apps;
pub(super) mod backup;
pub(super) mod executor;
mod gallery_write;
mod idempotency;
pub(super) mod keys;
pub(super) mod opener;
pub(super) mod outbox;
mod pages;
mod quota;
pub(super) mod retention;
mod retry;
mod row;
mod sample_row;
mod samples;
pub(super) mod scrubber;
pub(super) mod snapshots;
pub(super) mod sql_store;
pub(super) mod templates;
mod time;
mod value;
mod write_probe;
