//! Square windows of a photo, resampled to a fixed size.
//!
//! A detector's input is a square of fixed size (fixed shapes keep ONNX Runtime's memory constant). It is a square window
//! in photo coordinates, of the whole photo (a letterbox) or of the surroundings of a face, black outside the photo.

use fast_image_resize::images::{TypedCroppedImageMut, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use super::UprightImage;
use crate::domain::{BoundingBox, Point};

/// A square part of a photo in pixels; it may extend outside.
///
/// Its sides are measured along pixel *edges* (the photo spans 0 to width), while [`Point`]s name
/// pixel *centers* by integers, as detectors do: point (0, 0) is the center of the first pixel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Left edge.
    pub left: f64,
    /// Top edge.
    pub top: f64,
    /// Length of a side, positive.
    pub side: f64,
}

impl Window {
    /// The smallest square that holds the whole photo and a margin of `margin` times its longer side on every side.
    /// Without a margin the photo is at the top left, with one in the center.
    pub fn whole(image: &UprightImage, margin: f64) -> Self {
        let (w, h) = (f64::from(image.width()), f64::from(image.height()));
        let side = w.max(h) * (1.0 + 2.0 * margin);
        if margin > 0.0 {
            Self { left: (w - side) / 2.0, top: (h - side) / 2.0, side }
        } else {
            Self { left: 0.0, top: 0.0, side }
        }
    }

    /// A square around the center of a box, with a side of `factor` times the box's longer side.
    pub fn around(face: &BoundingBox, factor: f64) -> Self {
        let center = face.center();
        let side = f64::from(face.width.max(face.height)) * factor;
        // A box is measured between pixel centers, a window between edges.
        let (x, y) = (f64::from(center.x) + 0.5, f64::from(center.y) + 0.5);
        Self { left: x - side / 2.0, top: y - side / 2.0, side }
    }

    /// A point of the window, resampled to `size` pixels, in photo coordinates.
    pub fn to_photo(&self, point: Point, size: u32) -> Point {
        let pixel = self.side / f64::from(size);
        let back = |p: f32, edge: f64| ((f64::from(p) + 0.5) * pixel + edge - 0.5) as f32;
        Point { x: back(point.x, self.left), y: back(point.y, self.top) }
    }

    /// A point of the photo in the coordinates of the window resampled to `size` pixels.
    pub fn to_window(&self, point: Point, size: u32) -> Point {
        let pixel = self.side / f64::from(size);
        let there = |p: f32, edge: f64| ((f64::from(p) + 0.5 - edge) / pixel - 0.5) as f32;
        Point { x: there(point.x, self.left), y: there(point.y, self.top) }
    }

    /// A box of the window in photo coordinates.
    pub fn box_to_photo(&self, face: &BoundingBox, size: u32) -> BoundingBox {
        let pixel = (self.side / f64::from(size)) as f32;
        let Point { x, y } = self.to_photo(Point { x: face.x, y: face.y }, size);
        BoundingBox { x, y, width: face.width * pixel, height: face.height * pixel }
    }
}

/// The overlap of a window and the photo along one axis: whole target pixels, and the part of the photo that fills them
/// exactly.
struct Span {
    target: u32,
    target_length: u32,
    source: f64,
    source_length: f64,
}

impl Span {
    /// `None` when the overlap has no whole pixel.
    fn new(edge: f64, side: f64, size: u32, photo: u32) -> Option<Self> {
        let scale = f64::from(size) / side;
        let photo = f64::from(photo);
        let limit = f64::from(size);
        // The small number keeps a boundary on a pixel's edge there in spite of rounding.
        let first = ((-edge * scale) - 1e-6).ceil().clamp(0.0, limit);
        let last = ((photo - edge) * scale + 1e-6).floor().clamp(0.0, limit);
        if last < first + 1.0 {
            return None;
        }
        let source = (edge + first / scale).clamp(0.0, photo);
        let source_length = ((last - first) / scale).min(photo - source);
        (source_length > 0.0).then_some(Self {
            target: first as u32,
            target_length: (last - first) as u32,
            source,
            source_length,
        })
    }
}

/// Largest buffer kept for the next window, in bytes: enough for a photo of 2 000 rows in a window of 640 pixels. The
/// largest photo allowed would keep ten times as much in each worker.
const KEPT_BUFFER_BYTES: usize = 4 << 20;

/// Resamples windows, reusing its buffers.
#[derive(Debug, Default)]
pub struct Scaler {
    resizer: Resizer,
    canvas: Vec<u8>,
}

impl Scaler {
    /// A window of the photo as `size` x `size` packed RGB pixels, black outside the photo.
    ///
    /// Shrinking averages (a triangle filter as wide as the scale factor), so that fine structure does not alias;
    /// enlarging is bilinear. All black when the window is outside the photo or is not a finite square.
    pub fn square(&mut self, image: &UprightImage, window: &Window, size: u32) -> &[u8] {
        self.canvas.clear();
        self.canvas.resize(3 * size as usize * size as usize, 0);
        if let Err(error) = self.fill(image, window, size) {
            tracing::error!(%error, "a window could not be resampled");
        }
        &self.canvas
    }

    /// Frees the buffers of an unusually large window.
    pub(super) fn release(&mut self) {
        if self.canvas.capacity() > KEPT_BUFFER_BYTES {
            self.canvas = Vec::new();
        }
    }

    fn fill(&mut self, image: &UprightImage, window: &Window, size: u32) -> Result<(), Box<dyn std::error::Error>> {
        let finite = [window.left, window.top, window.side].iter().all(|v| v.is_finite());
        if !finite || window.side <= 0.0 || size == 0 {
            return Ok(());
        }
        let (Some(x), Some(y)) = (
            Span::new(window.left, window.side, size, image.width()),
            Span::new(window.top, window.side, size, image.height()),
        ) else {
            return Ok(());
        };
        // Typed, because the untyped call would compile every kind of pixel into this crate.
        let source = TypedImageRef::<U8x3>::from_buffer(image.width(), image.height(), image.rgb())?;
        let canvas = TypedImage::<U8x3>::from_buffer(size, size, &mut self.canvas)?;
        let mut target = TypedCroppedImageMut::new(canvas, x.target, y.target, x.target_length, y.target_length)?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).crop(
            x.source,
            y.source,
            x.source_length,
            y.source_length,
        );
        let done = self.resizer.resize_typed(&source, &mut target, &options);
        if self.resizer.size_of_internal_buffers() > KEPT_BUFFER_BYTES {
            self.resizer.reset_internal_buffers();
        }
        Ok(done?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gradient(width: u32, height: u32) -> UprightImage {
        let pixel = |x: u32, y: u32| [(x * 255 / width) as u8, (y * 255 / height) as u8, 77];
        let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect();
        UprightImage::new(width, height, rgb).unwrap()
    }

    proptest! {
        #[test]
        fn coordinates_round_trip(
            left in -500.0f64..500.0, top in -500.0f64..500.0, side in 10.0f64..4000.0,
            x in -100.0f32..700.0, y in -100.0f32..700.0, size in 32u32..641,
        ) {
            let window = Window { left, top, side };
            let back = window.to_window(window.to_photo(Point { x, y }, size), size);
            prop_assert!((back.x - x).abs() < 0.05 && (back.y - y).abs() < 0.05, "{back:?}");
        }

        /// A point has the same color in the window and in the photo, for every window.
        #[test]
        fn pixels_match_coordinates(left in -150.0f64..200.0, top in -150.0f64..200.0, side in 40.0f64..600.0) {
            let image = gradient(300, 200);
            let window = Window { left, top, side };
            let size = 96;
            let canvas = Scaler::default().square(&image, &window, size).to_vec();
            let pixel = (side / f64::from(size)) as f32;
            for (row, column) in [(10u32, 10u32), (48, 48), (80, 20), (20, 80)] {
                let p = window.to_photo(Point { x: column as f32, y: row as f32 }, size);
                let inside = |v: f32, length: f32| v > 2.0 * pixel && v < length - 2.0 * pixel - 1.0;
                if inside(p.x, 300.0) && inside(p.y, 200.0) {
                    let at = 3 * (row * size + column) as usize;
                    let expected = [p.x * 255.0 / 300.0, p.y * 255.0 / 200.0, 77.0];
                    for (got, want) in canvas[at..at + 3].iter().zip(expected) {
                        prop_assert!((f32::from(*got) - want).abs() < 3.0, "{:?} at {p:?}", &canvas[at..at + 3]);
                    }
                }
            }
        }
    }

    #[test]
    fn outside_the_photo_is_black() {
        let image = gradient(100, 50);
        let canvas = Scaler::default().square(&image, &Window::whole(&image, 0.0), 40).to_vec();
        assert_eq!(&canvas[3 * 39 * 40..], vec![0; 120]);
        assert_eq!(canvas[2], 77);
    }

    #[test]
    fn a_window_outside_the_photo_or_without_size_is_black() {
        let image = gradient(100, 50);
        for (left, side) in [(500.0, 10.0), (0.0, 0.0), (f64::NAN, 10.0), (0.0, f64::INFINITY), (99.9, 1000.0)] {
            let window = Window { left, top: 0.0, side };
            assert!(Scaler::default().square(&image, &window, 8).iter().all(|&v| v == 0), "{window:?}");
        }
    }

    #[test]
    fn fine_structure_does_not_alias() {
        let rgb = (0..512 * 512).flat_map(|i| [if (i % 512 + i / 512) % 2 == 0 { 255 } else { 0 }; 3]).collect();
        let board = UprightImage::new(512, 512, rgb).unwrap();
        let canvas = Scaler::default().square(&board, &Window::whole(&board, 0.0), 96).to_vec();
        let inner = canvas.chunks_exact(3).skip(97 * 2).take(96 * 90).all(|p| (126..=129).contains(&p[0]) || p[0] == 0);
        assert!(inner, "a checkerboard shrinks to grey");
    }
}
