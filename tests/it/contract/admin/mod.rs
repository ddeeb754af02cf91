//! The administration API, on the wire.

mod administrators;
mod samples;
mod sessions;
