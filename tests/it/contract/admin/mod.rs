//! The administration API, on the wire.

mod administrators;
mod applications;
mod samples;
mod sessions;
