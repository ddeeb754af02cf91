//! The administration API, on the wire.

mod administrators;
mod sessions;
