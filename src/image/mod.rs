//! Bytes to upright pixels to tensors. Synchronous.

mod photo;

pub use photo::Photo;
