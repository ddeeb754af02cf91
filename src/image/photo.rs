//! An encoded photo.

use std::fmt;
use std::sync::Arc;

/// The bytes of a photo, not yet decoded. Cheap to clone; its `Debug` shows only the length.
#[derive(Clone, PartialEq, Eq)]
pub struct Photo(Arc<[u8]>);

impl Photo {
    /// Takes the bytes of an encoded photo.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The encoded bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Photo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Photo({} bytes)", self.0.len())
    }
}
