//! An encoded photo.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// The bytes of a photo, not yet decoded. Cheap to clone; its `Debug` shows only the length.
#[derive(Clone)]
pub struct Photo {
    bytes: Arc<Vec<u8>>,
    kept: Option<Arc<dyn Any + Send + Sync>>,
}

impl Photo {
    /// Takes the bytes of an encoded photo.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: Arc::new(bytes.into()), kept: None }
    }

    /// The encoded bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Keeps a value, such as a place in a limit, until the photo and its clones are dropped. One value at a time.
    pub fn keep(&mut self, value: Arc<dyn Any + Send + Sync>) {
        self.kept = Some(value);
    }
}

impl fmt::Debug for Photo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Photo({} bytes)", self.bytes.len())
    }
}
