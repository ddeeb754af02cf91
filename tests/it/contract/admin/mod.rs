//! The administration API, on the wire.

mod administrators;
mod applications;
mod people;
mod samples;
mod sessions;
