//! Bytes to upright pixels to tensors. Synchronous.
//!
//! [`decode()`] makes the only kind of image that the engine reads, an [`UprightImage`]. [`Scaler`] resamples a square
//! [`Window`] of it to a detector's size, or a [`TurnedWindow`]. [`align()`] warps a face to the canonical frame,
//! [`crop()`] to any [`Frame`], and [`face_crop()`] cuts it out to be kept. [`tensor`] lays pixels out for a model. [`measure`] computes quality measures by formulas.

pub mod align;
mod crop;
mod decode;
mod orient;
mod photo;
mod resize;
mod turn;
mod upright;

pub mod measure;
pub mod tensor;

pub use align::{AlignedFace, Frame, SimilarityTransform, align, crop};
pub use crop::{FACE_CROP, face_crop};
pub use decode::{DecodeLimits, decode};
pub use photo::Photo;
pub use resize::{Scaler, Window};
pub use turn::{Patch, TurnedWindow};
pub use upright::UprightImage;
