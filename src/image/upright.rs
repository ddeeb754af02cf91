//! Upright pixels.

use std::fmt;

/// A decoded photo, turned upright: RGB, 8 bits a channel, rows packed without gaps.
///
/// Only [`decode`](super::decode()) makes one, so its orientation is always applied. Its `Debug` shows only the size.
#[derive(Clone, PartialEq, Eq)]
pub struct UprightImage {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl UprightImage {
    /// Takes packed RGB pixels. `None` when a side is zero or the buffer does not have exactly `3 * width * height` bytes.
    pub(super) fn new(width: u32, height: u32, rgb: Vec<u8>) -> Option<Self> {
        let bytes = u64::from(width) * u64::from(height) * 3;
        (bytes > 0 && bytes == rgb.len() as u64).then_some(Self { width, height, rgb })
    }

    /// A black square with this many pixels in height and width, at least 1.
    pub fn black(side: u32) -> Self {
        let side = side.max(1);
        Self { width: side, height: side, rgb: vec![0; 3 * side as usize * side as usize] }
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels: `3 * width * height` bytes, red first, top row first.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }
}

impl fmt::Debug for UprightImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UprightImage({} x {})", self.width, self.height)
    }
}
