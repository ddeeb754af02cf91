//! Bytes to upright pixels to tensors. Synchronous.
//!
//! [`decode()`] makes the only kind of picture the engine looks at, an [`UprightImage`]; [`Scaler`]
//! cuts a square [`Window`] out of it at a detector's size, a [`TurnedWindow`] where the face is turned; [`align()`] turns a face into its
//! canonical place, [`crop()`] does so for any [`Frame`]; [`tensor`] lays pixels out for a model; [`measure`] judges a face by formulas.

pub mod align;
mod decode;
mod orient;
mod photo;
mod resize;
mod turn;
mod upright;

pub mod measure;
pub mod tensor;

pub use align::{AlignedFace, Frame, SimilarityTransform, align, crop};
pub use decode::{DecodeLimits, decode};
pub use photo::Photo;
pub use resize::{Scaler, Window};
pub use turn::{Patch, TurnedWindow};
pub use upright::UprightImage;
