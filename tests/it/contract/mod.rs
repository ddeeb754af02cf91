//! The wire contract: whole answers, and every corner that the documents leave open.

mod add;
mod admin;
mod credentials;
mod delete;
mod errors;
mod idempotency;
mod identify;
mod inspect;
mod logs;
mod openapi;
mod ops;
mod people;
mod query;
mod routes;
mod samples;
mod scopes;
mod stale;
mod templates;
mod upload;
mod verify;
