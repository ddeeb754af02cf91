//! What several tests need: a server on a port of its own with doubles behind its three seams, a
//! Postgres database, cryptography for the HTTP client.

pub mod admin;
pub mod administrators;
pub mod engine;
pub mod figure;
pub mod form;
pub mod index;
pub mod json;
pub mod postgres;
mod report;
mod review;
pub mod schema;
pub mod server;
pub mod skip;
pub mod store;
pub mod wait;
pub mod wire;

pub use engine::{ScriptedEngine, photo};
pub use figure::figure;
pub use form::Form;
pub use json::Json;
pub use server::{Parts, Server, Setup};
pub use skip::skipped;
pub use store::{enrolled, open_options};
pub use wait::{eventually, eventually_blocking, eventually_some};
pub use wire::{Answer, Call};

/// Chooses the cryptography of the tests' HTTP client, once per process.
pub fn crypto() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// The limits of the shipped pack.
pub fn shipped_limits() -> semblance::domain::FineLimits {
    let pack: toml::Table = include_str!("../../../models/pack.toml").parse().unwrap();
    pack["fine"].clone().try_into().unwrap()
}
