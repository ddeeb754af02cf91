//! The part of a photo around a face.

use std::fmt;
use std::sync::Arc;

/// A small JPEG around one face, kept where an application opts in. `image::face_crop` documents its geometry. Cheap to
/// clone; its `Debug` shows only the length.
#[derive(Clone, PartialEq, Eq)]
pub struct FaceCrop(Arc<[u8]>);

impl FaceCrop {
    /// Takes the bytes of a JPEG.
    pub fn new(jpeg: impl Into<Arc<[u8]>>) -> Self {
        Self(jpeg.into())
    }

    /// The JPEG.
    pub fn jpeg(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for FaceCrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaceCrop({} bytes)", self.0.len())
    }
}
