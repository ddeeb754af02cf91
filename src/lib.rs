//! Semblance: a self-hosted face identification server that speaks the OOTO face API.
//!
//! `ARCHITECTURE.md` describes the rooms; `tests/it/imports.toml` lists which rooms each of them may import.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic where the output cannot be written")]

pub mod api;
pub mod app;
pub mod calibration;
pub mod cli;
pub mod compute;
pub mod domain;
pub mod engine;
pub mod evaluation;
pub mod gallery;
pub mod image;
pub mod journal;
pub mod lifecycle;
pub mod service;
pub mod settings;
pub mod store;
pub mod telemetry;
