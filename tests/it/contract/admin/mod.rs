//! The administration API, on the wire.

mod administrators;
mod applications;
mod people;
mod review;
mod samples;
mod sessions;
