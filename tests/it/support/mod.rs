//! A server on a port of its own, with doubles behind its three seams.

pub mod engine;
pub mod form;
pub mod index;
pub mod json;
pub mod schema;
pub mod server;
pub mod store;
pub mod wire;

pub use engine::{ScriptedEngine, photo};
pub use form::Form;
pub use json::Json;
pub use server::{Server, Setup};
pub use wire::{Answer, Call};
