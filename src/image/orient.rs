//! Turning pixels upright.

use image::metadata::Orientation;

/// Side of the square tiles of a transposition: 32 x 32 RGB pixels are 3 kB read and 3 kB written, so that a column walk
/// stays in the first-level cache.
const TILE: usize = 32;

/// Applies an Exif orientation to packed RGB pixels. Returns the new width, height and pixels.
///
/// `rgb` must have `3 * width * height` bytes.
pub(super) fn upright(width: u32, height: u32, mut rgb: Vec<u8>, orientation: Orientation) -> (u32, u32, Vec<u8>) {
    use Orientation as O;
    let w = width as usize;
    match orientation {
        O::NoTransforms => (width, height, rgb),
        O::FlipHorizontal => {
            rgb.chunks_exact_mut(3 * w).for_each(mirror);
            (width, height, rgb)
        }
        // Half a turn is both mirrors at once, which is the reversed order of all pixels.
        O::Rotate180 => {
            mirror(&mut rgb);
            (width, height, rgb)
        }
        O::FlipVertical => {
            flip(&mut rgb, 3 * w);
            (width, height, rgb)
        }
        // A quarter turn is a transposition and a mirror.
        O::Rotate90FlipH | O::Rotate90 | O::Rotate270FlipH | O::Rotate270 => {
            let mut turned = transposed(&rgb, w, height as usize);
            let row = 3 * height as usize;
            if matches!(orientation, O::Rotate90 | O::Rotate270FlipH) {
                turned.chunks_exact_mut(row).for_each(mirror);
            }
            if matches!(orientation, O::Rotate270 | O::Rotate270FlipH) {
                flip(&mut turned, row);
            }
            (height, width, turned)
        }
    }
}

/// Reverses the order of pixels in a row.
fn mirror(row: &mut [u8]) {
    row.reverse();
    row.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| pixel.swap(0, 2));
}

/// Reverses the order of rows of `row` bytes.
fn flip(rgb: &mut [u8], row: usize) {
    let half = rgb.len() / row / 2 * row;
    let (top, rest) = rgb.split_at_mut(half);
    for (a, b) in top.chunks_exact_mut(row).zip(rest.rchunks_exact_mut(row)) {
        a.swap_with_slice(b);
    }
}

/// Pixel (x, y) goes to (y, x).
fn transposed(rgb: &[u8], width: usize, height: usize) -> Vec<u8> {
    let mut out = vec![0; rgb.len()];
    let (from, _) = rgb.as_chunks::<3>();
    let (to, _) = out.as_chunks_mut::<3>();
    for top in (0..height).step_by(TILE) {
        let rows = top..height.min(top + TILE);
        for left in (0..width).step_by(TILE) {
            for x in left..width.min(left + TILE) {
                let column = &mut to[x * height..(x + 1) * height];
                for y in rows.clone() {
                    column[y] = from[y * width + x];
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, RgbImage};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The `image` crate's own (slower) transformation is the reference.
        #[test]
        fn all_eight_agree_with_the_reference(w in 1u32..70, h in 1u32..70, exif in 1u8..=8) {
            let pixels: Vec<u8> = (0..3 * w * h).map(|i| (i * 31 % 251) as u8).collect();
            let orientation = Orientation::from_exif(exif).unwrap();
            let mut reference = DynamicImage::ImageRgb8(RgbImage::from_raw(w, h, pixels.clone()).unwrap());
            reference.apply_orientation(orientation);
            let (width, height, rgb) = upright(w, h, pixels, orientation);
            prop_assert_eq!((width, height), (reference.width(), reference.height()));
            prop_assert!(rgb == reference.into_rgb8().into_raw());
        }
    }
}
