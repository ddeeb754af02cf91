//! Square windows of a photo that are turned about their center.
//!
//! A detector is trained on upright faces. A face that is turned in the photo is upright in a window that is turned by
//! the same angle; detections are mapped back to the photo. The photo itself is never turned, so the cost depends on the
//! window's pixels and not on the photo's.

use std::borrow::Cow;

use super::align::{SimilarityTransform, sampled};
use super::{Scaler, UprightImage, Window};
use crate::domain::{BoundingBox, Point};

/// A square part of a photo, turned about its center.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TurnedWindow {
    /// The square before the turn.
    pub window: Window,
    /// The turn in degrees, clockwise (from the x axis towards the y axis): a face that is turned by this angle in the
    /// photo is upright in the window.
    pub degrees: f64,
}

impl TurnedWindow {
    /// The smallest window turned by `degrees` that holds the whole photo and the margin of [`Window::whole`].
    pub fn whole(image: &UprightImage, margin: f64, degrees: f64) -> Self {
        if degrees == 0.0 {
            return Self { window: Window::whole(image, margin), degrees };
        }
        let (width, height) = (f64::from(image.width()), f64::from(image.height()));
        let (sin, cos) = degrees.to_radians().sin_cos();
        let across = width * cos.abs() + height * sin.abs();
        let down = width * sin.abs() + height * cos.abs();
        let side = across.max(down) * (1.0 + 2.0 * margin);
        Self { window: Window { left: (width - side) / 2.0, top: (height - side) / 2.0, side }, degrees }
    }

    /// A point of the window, resampled to `size` pixels, in photo coordinates.
    pub fn to_photo(&self, point: Point, size: u32) -> Point {
        if self.degrees == 0.0 {
            self.window.to_photo(point, size)
        } else {
            self.photo_to_window(size).inverse().apply(point)
        }
    }

    /// A box of the window in photo coordinates, not turned: the same scaled sides about the mapped center.
    pub fn box_to_photo(&self, face: &BoundingBox, size: u32) -> BoundingBox {
        if self.degrees == 0.0 {
            return self.window.box_to_photo(face, size);
        }
        let pixel = (self.window.side / f64::from(size)) as f32;
        let center = self.to_photo(face.center(), size);
        let (width, height) = (face.width * pixel, face.height * pixel);
        BoundingBox { x: center.x - width / 2.0, y: center.y - height / 2.0, width, height }
    }

    /// From pixels of the photo to those of the window.
    fn photo_to_window(&self, size: u32) -> SimilarityTransform {
        let Window { left, top, side } = self.window;
        // Integer coordinates are centers of pixels, in the photo and in the window.
        let middle = (left + side / 2.0 - 0.5, top + side / 2.0 - 0.5);
        let target = f64::from(size) / 2.0 - 0.5;
        SimilarityTransform::about(middle, (target, target), -self.degrees.to_radians(), f64::from(size) / side)
    }

    fn is_square(&self) -> bool {
        let Window { left, top, side } = self.window;
        side > 0.0 && [left, top, side, self.degrees].iter().all(|v| v.is_finite())
    }
}

impl Scaler {
    /// A turned window of the photo as `size` x `size` packed RGB pixels, black outside the photo.
    ///
    /// All black when the window is not a finite square.
    pub fn turned(&mut self, image: &UprightImage, turned: &TurnedWindow, size: u32) -> Cow<'_, [u8]> {
        if turned.degrees == 0.0 {
            return Cow::Borrowed(self.square(image, &turned.window, size));
        }
        if size == 0 || !turned.is_square() {
            return Cow::Owned(vec![0; 3 * size as usize * size as usize]);
        }
        Cow::Owned(sampled(self, image, &turned.photo_to_window(size), size))
    }

    /// A window of the photo as an image of its own, from which turned squares of `size` pixels are cut about its center,
    /// at the window's scale. It is large enough that their corners are black only outside the photo.
    pub fn patch(&mut self, image: &UprightImage, window: &Window, size: u32) -> Patch {
        let side = window.side * std::f64::consts::SQRT_2;
        let grown = Window {
            left: window.left - (side - window.side) / 2.0,
            top: window.top - (side - window.side) / 2.0,
            side,
        };
        let pixels = (f64::from(size) * std::f64::consts::SQRT_2).ceil() as u32;
        let rgb = self.square(image, &grown, pixels).to_vec();
        let image = UprightImage::new(pixels, pixels, rgb).unwrap_or_else(|| UprightImage::black(pixels));
        Patch { image, size }
    }

    /// The central square of a patch, turned by `degrees`.
    pub fn turned_patch(&mut self, patch: &Patch, degrees: f64) -> Cow<'_, [u8]> {
        let all = f64::from(patch.image.width());
        let side = f64::from(patch.size);
        let window = Window { left: (all - side) / 2.0, top: (all - side) / 2.0, side };
        self.turned(&patch.image, &TurnedWindow { window, degrees }, patch.size)
    }
}

/// See [`Scaler::patch`].
#[derive(Debug)]
pub struct Patch {
    image: UprightImage,
    size: u32,
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
        fn points_round_trip(
            left in -500.0f64..500.0, top in -500.0f64..500.0, side in 10.0f64..4000.0, degrees in -360.0f64..360.0,
            x in -100.0f32..700.0, y in -100.0f32..700.0, size in 32u32..641,
        ) {
            let turned = TurnedWindow { window: Window { left, top, side }, degrees };
            let back = turned.photo_to_window(size).apply(turned.to_photo(Point { x, y }, size));
            prop_assert!((back.x - x).abs() < 0.1 && (back.y - y).abs() < 0.1, "{back:?}");
        }

        /// A point has the same color in the window and in the photo, for every window.
        #[test]
        fn pixels_match_points(
            left in -150.0f64..200.0, top in -150.0f64..200.0, side in 40.0f64..900.0, degrees in -360.0f64..360.0,
        ) {
            let image = gradient(300, 200);
            let turned = TurnedWindow { window: Window { left, top, side }, degrees };
            let size = 96;
            let mut scaler = Scaler::default();
            let canvas = scaler.turned(&image, &turned, size);
            let pixel = (side / f64::from(size)) as f32;
            for (row, column) in [(10u32, 10u32), (48, 48), (80, 20), (20, 80)] {
                let p = turned.to_photo(Point { x: column as f32, y: row as f32 }, size);
                let inside = |v: f32, length: f32| v > 3.0 * pixel && v < length - 3.0 * pixel - 1.0;
                if inside(p.x, 300.0) && inside(p.y, 200.0) {
                    let at = 3 * (row * size + column) as usize;
                    let expected = [p.x * 255.0 / 300.0, p.y * 255.0 / 200.0, 77.0];
                    for (got, want) in canvas[at..at + 3].iter().zip(expected) {
                        prop_assert!((f32::from(*got) - want).abs() < 3.5, "{:?} at {p:?}", &canvas[at..at + 3]);
                    }
                }
            }
        }

        /// A turn by as much and back is the box again where the box is square to the turn.
        #[test]
        fn a_turned_box_holds_its_corners(x in -50.0f32..50.0, w in 1.0f32..90.0, h in 1.0f32..90.0, degrees in -360.0f64..360.0) {
            let face = BoundingBox { x, y: 3.0, width: w, height: h };
            let outer = face.turned(degrees);
            let (sin, cos) = degrees.to_radians().sin_cos();
            let center = face.center();
            let corners = [(-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0)].map(|(u, v)| {
                let (u, v) = (u * w / 2.0, v * h / 2.0);
                (cos as f32 * u - sin as f32 * v + center.x, sin as f32 * u + cos as f32 * v + center.y)
            });
            let edges = [
                corners.iter().map(|c| c.0).fold(f32::MAX, f32::min) - outer.x,
                corners.iter().map(|c| c.1).fold(f32::MAX, f32::min) - outer.y,
                corners.iter().map(|c| c.0).fold(f32::MIN, f32::max) - outer.x - outer.width,
                corners.iter().map(|c| c.1).fold(f32::MIN, f32::max) - outer.y - outer.height,
            ];
            prop_assert!(edges.iter().all(|edge| edge.abs() < 1e-2), "{edges:?}");
        }
    }

    /// The whole photo is in the window, whatever the turn.
    #[test]
    fn the_whole_photo_is_in_the_turned_window() {
        let image = gradient(300, 200);
        for step in 0..24 {
            let turned = TurnedWindow::whole(&image, 0.0, f64::from(step) * 15.0);
            for (x, y) in [(0.0, 0.0), (299.0, 0.0), (0.0, 199.0), (299.0, 199.0)] {
                let Point { x, y } = turned.photo_to_window(320).apply(Point { x, y });
                let inside = |v: f32| v > -1.0 && v < 320.0;
                assert!(inside(x) && inside(y), "{step}: {x} {y}");
            }
        }
    }

    /// A quarter turn of the window shows the photo's rows as columns.
    #[test]
    fn a_quarter_turn_shows_rows_as_columns() {
        let image = gradient(96, 96);
        let turned = TurnedWindow::whole(&image, 0.0, 90.0);
        let mut scaler = Scaler::default();
        let canvas = scaler.turned(&image, &turned, 96);
        for (row, column) in [(0usize, 0usize), (5, 90), (95, 1)] {
            // What is at the right in the photo is at the top of a window that is turned clockwise ...
            let photo = 3 * (column * 96 + (95 - row));
            let shown = 3 * (row * 96 + column);
            assert_eq!(canvas[shown..shown + 3], image.rgb()[photo..photo + 3], "{row} {column}");
        }
    }

    /// A patch shows what the photo shows.
    #[test]
    fn a_patch_matches_the_photo() {
        let image = gradient(300, 200);
        let window = Window { left: 60.0, top: 40.0, side: 100.0 };
        let mut scaler = Scaler::default();
        let patch = scaler.patch(&image, &window, 64);
        for degrees in [0.0, 30.0, 90.0, 210.0] {
            let there = scaler.turned(&image, &TurnedWindow { window, degrees }, 64).into_owned();
            let from_patch = scaler.turned_patch(&patch, degrees);
            let worst = there.iter().zip(from_patch.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(worst <= 4, "{degrees}: {worst}");
        }
    }

    #[test]
    fn a_window_without_size_is_black() {
        let image = gradient(100, 50);
        for (left, side, degrees) in
            [(0.0, 0.0, 10.0), (f64::NAN, 10.0, 10.0), (0.0, f64::INFINITY, 10.0), (0.0, 9.0, f64::NAN)]
        {
            let turned = TurnedWindow { window: Window { left, top: 0.0, side }, degrees };
            assert!(Scaler::default().turned(&image, &turned, 8).iter().all(|&v| v == 0), "{turned:?}");
        }
    }
}
