//! Semblance: a self-hosted face identification server that speaks the OOTO face API.
//!
//! ```text
//! main -> cli -> app                       app alone names concrete types
//! api      -> service, compute, telemetry, domain     HTTP only
//! telemetry -> the seams it measures, domain
//! service  -> traits of engine, gallery, store; compute, domain
//! engine   -> image, compute, domain       gallery -> compute, domain       store -> gallery's records, domain
//! image    -> domain                       compute -> nothing of ours       domain -> nothing of ours
//! ```
//!
//! `ARCHITECTURE.md` says why; `tests/it/architecture.rs` keeps it so.

pub mod api;
pub mod app;
pub mod cli;
pub mod compute;
pub mod domain;
pub mod engine;
pub mod gallery;
pub mod image;
pub mod journal;
pub mod lifecycle;
pub mod service;
pub mod settings;
pub mod store;
pub mod telemetry;
