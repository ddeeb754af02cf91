//! One resource, or one family of resources, per file: its bodies, its replies and its handlers.

pub(super) mod administrators;
pub(super) mod application_body;
pub(super) mod applications;
pub(super) mod bulk_people;
mod changes;
pub(super) mod examine;
mod faults;
pub(super) mod keys;
pub(super) mod new_person;
pub(super) mod people;
pub(super) mod review;
pub(super) mod samples;
pub(super) mod session;
pub(super) mod sessions;
pub(super) mod tokens;

// The server itself.
pub(super) mod backups;
pub(super) mod jobs;
pub(super) mod journal;
pub(super) mod journal_export;
mod journal_lines;
pub(super) mod openapi;
pub(super) mod overview;
pub(super) mod receipts;
pub(super) mod system;
