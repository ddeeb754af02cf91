//! Aligns a face: warps it to a canonical frame.

use super::{Scaler, UprightImage, Window};
use crate::domain::{Landmarks, Point};

/// Side of an aligned face in pixels.
pub const SIDE: u32 = 112;

/// The center of an aligned face: every [`Frame`] is centered there.
const CENTER: f64 = (SIDE - 1) as f64 / 2.0;

/// The five landmarks in an aligned face of 112 x 112 pixels: the common template of ArcFace (Deng et al., CVPR 2019),
/// which the face networks of OpenCV Zoo and others expect.
pub const TEMPLATE: [Point; 5] = [
    Point { x: 38.2946, y: 51.6963 },
    Point { x: 73.5318, y: 51.5014 },
    Point { x: 56.0252, y: 71.7366 },
    Point { x: 41.5493, y: 92.3655 },
    Point { x: 70.7299, y: 92.2041 },
];

/// A face larger than this many times its aligned size is shrunk first, to about this size, because bilinear sampling
/// reads four pixels only and would alias.
const MAX_SAMPLING_SCALE: f64 = 2.0;

/// A detector's input needs less detail: it is shrunk to this many times its size.
const DETECTOR_SAMPLING_SCALE: f64 = 1.25;

/// A square view of an aligned face: its pixels and its field of view.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Height and width in pixels.
    pub side: u32,
    /// Its field of view: 1 is that of [`TEMPLATE`] (3.18 eye distances wide), 2 is twice as wide and high, about the same
    /// center.
    pub field: f64,
}

impl Frame {
    /// The frame of [`TEMPLATE`].
    pub const TEMPLATE: Self = Self { side: SIDE, field: 1.0 };

    /// Pixels of this frame per pixel of the template.
    fn scale(&self) -> f64 {
        f64::from(self.side) / (f64::from(SIDE) * self.field)
    }

    /// The landmarks in this frame.
    fn points(&self) -> [Point; 5] {
        let middle = f64::from(self.side - 1) / 2.0;
        let moved = |v: f32| ((f64::from(v) - CENTER) * self.scale() + middle) as f32;
        TEMPLATE.map(|p| Point { x: moved(p.x), y: moved(p.y) })
    }
}

/// A similarity transform of the plane: rotation, scale and translation, without reflection.
///
/// Maps (x, y) to (a x - b y + tx, b x + a y + ty).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimilarityTransform {
    a: f64,
    b: f64,
    tx: f64,
    ty: f64,
}

impl SimilarityTransform {
    /// The least-squares transform from `from` to `to` (Umeyama, PAMI 13(4), 1991; in the plane, without reflection, it has
    /// this closed form).
    ///
    /// `None` when a number is not finite or all points of either set coincide.
    pub fn between(from: &[Point; 5], to: &[Point; 5]) -> Option<Self> {
        let ((fx, fy), (gx, gy)) = (centroid(from), centroid(to));
        let (mut spread, mut cos, mut sin) = (0.0, 0.0, 0.0);
        for (p, q) in from.iter().zip(to) {
            let (px, py) = (f64::from(p.x) - fx, f64::from(p.y) - fy);
            let (qx, qy) = (f64::from(q.x) - gx, f64::from(q.y) - gy);
            spread += px * px + py * py;
            cos += px * qx + py * qy;
            sin += px * qy - py * qx;
        }
        let (a, b) = (cos / spread, sin / spread);
        let found = Self { a, b, tx: gx - a * fx + b * fy, ty: gy - b * fx - a * fy };
        let finite = [found.a, found.b, found.tx, found.ty].iter().all(|v| v.is_finite());
        (finite && found.scale() > 0.0).then_some(found)
    }

    /// The transform that maps one point, given as (x, y), to another, and rotates and scales about it.
    pub(super) fn about(from: (f64, f64), to: (f64, f64), radians: f64, scale: f64) -> Self {
        let (sin, cos) = radians.sin_cos();
        let (a, b) = (scale * cos, scale * sin);
        Self { a, b, tx: to.0 - a * from.0 + b * from.1, ty: to.1 - b * from.0 - a * from.1 }
    }

    /// This transform for pixels of a window of the photo, resampled to `size` pixels.
    fn within_window(&self, window: &Window, size: u32) -> Self {
        let pixel = window.side / f64::from(size);
        let (x, y) = (window.left + pixel / 2.0 - 0.5, window.top + pixel / 2.0 - 0.5);
        Self {
            a: self.a * pixel,
            b: self.b * pixel,
            tx: self.a * x - self.b * y + self.tx,
            ty: self.b * x + self.a * y + self.ty,
        }
    }

    /// The rotation in radians, from the x axis towards the y axis.
    pub fn angle(&self) -> f64 {
        self.b.atan2(self.a)
    }

    /// Target pixels per source pixel.
    pub fn scale(&self) -> f64 {
        self.a.hypot(self.b)
    }

    /// Maps a point.
    pub fn apply(&self, point: Point) -> Point {
        let (x, y) = (f64::from(point.x), f64::from(point.y));
        Point { x: (self.a * x - self.b * y + self.tx) as f32, y: (self.b * x + self.a * y + self.ty) as f32 }
    }

    /// The inverse transform.
    pub fn inverse(&self) -> Self {
        let square = self.a * self.a + self.b * self.b;
        let (a, b) = (self.a / square, -self.b / square);
        Self { a, b, tx: -a * self.tx + b * self.ty, ty: -b * self.tx - a * self.ty }
    }

    /// Root mean square distance, in target pixels, between the mapped points and `to`.
    pub fn residual(&self, from: &[Point; 5], to: &[Point; 5]) -> f32 {
        let squares: f32 = from.iter().zip(to).map(|(p, q)| self.apply(*p).distance(*q).powi(2)).sum();
        (squares / 5.0).sqrt()
    }
}

fn centroid(points: &[Point; 5]) -> (f64, f64) {
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + f64::from(p.x), y + f64::from(p.y)));
    (x / 5.0, y / 5.0)
}

/// An aligned face: 112 x 112 packed RGB pixels, black outside the photo. Only [`align()`] makes one.
#[derive(Clone, PartialEq, Eq)]
pub struct AlignedFace(Vec<u8>);

impl AlignedFace {
    /// The pixels: `3 * 112 * 112` bytes, red first, top row first.
    pub fn rgb(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for AlignedFace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AlignedFace(112 x 112)")
    }
}

/// Warps a face so that its landmarks are as near to [`TEMPLATE`] as a similarity transform allows.
///
/// `None` when the landmarks allow no such transform (see [`SimilarityTransform::between`]).
pub fn align(scaler: &mut Scaler, image: &UprightImage, landmarks: &Landmarks) -> Option<AlignedFace> {
    crop(scaler, image, landmarks, &Frame::TEMPLATE).map(AlignedFace)
}

/// The same for any frame: `3 * side * side` bytes, packed RGB, black outside the photo.
///
/// `None` when the landmarks allow no such transform (see [`SimilarityTransform::between`]).
pub fn crop(scaler: &mut Scaler, image: &UprightImage, landmarks: &Landmarks, frame: &Frame) -> Option<Vec<u8>> {
    let target = frame.points();
    let transform = SimilarityTransform::between(&landmarks.0, &target)?;
    let scale = transform.scale();
    if scale * MAX_SAMPLING_SCALE >= 1.0 {
        let pixels = Pixels { rgb: image.rgb(), width: image.width() as usize, height: image.height() as usize };
        return Some(warp(&pixels, &transform.inverse(), frame.side));
    }
    let window = window_of(&transform, frame.side);
    let size = (window.side * scale * MAX_SAMPLING_SCALE).ceil() as u32;
    let moved = landmarks.0.map(|p| window.to_window(p, size));
    let transform = SimilarityTransform::between(&moved, &target)?;
    let pixels = Pixels { rgb: scaler.square(image, &window, size), width: size as usize, height: size as usize };
    Some(warp(&pixels, &transform.inverse(), frame.side))
}

/// A square of `side` pixels sampled by a transform: packed RGB, black outside the photo.
pub(super) fn sampled(
    scaler: &mut Scaler,
    image: &UprightImage,
    transform: &SimilarityTransform,
    side: u32,
) -> Vec<u8> {
    let scale = transform.scale();
    if scale * MAX_SAMPLING_SCALE >= 1.0 {
        let pixels = Pixels { rgb: image.rgb(), width: image.width() as usize, height: image.height() as usize };
        return warp(&pixels, &transform.inverse(), side);
    }
    let window = window_of(transform, side);
    let size = (window.side * scale * DETECTOR_SAMPLING_SCALE).ceil() as u32;
    let pixels = Pixels { rgb: scaler.square(image, &window, size), width: size as usize, height: size as usize };
    let out = warp(&pixels, &transform.within_window(&window, size).inverse(), side);
    scaler.release();
    out
}

/// The part of the photo that a square of `side` pixels is sampled from, with a small margin.
fn window_of(transform: &SimilarityTransform, side: u32) -> Window {
    let back = transform.inverse();
    let middle = (side - 1) as f32 / 2.0;
    let center = back.apply(Point { x: middle, y: middle });
    // A turned square fits into an upright one that is |cos| + |sin| times as large.
    let turned = (transform.a.abs() + transform.b.abs()) / transform.scale();
    let side = (f64::from(side) * turned + 4.0) / transform.scale();
    Window { left: f64::from(center.x) + 0.5 - side / 2.0, top: f64::from(center.y) + 0.5 - side / 2.0, side }
}

struct Pixels<'a> {
    rgb: &'a [u8],
    width: usize,
    height: usize,
}

impl Pixels<'_> {
    /// A pixel; black outside.
    fn at(&self, x: i64, y: i64) -> [f32; 3] {
        let inside = (0..self.width as i64).contains(&x) && (0..self.height as i64).contains(&y);
        let pixel = inside.then(|| self.rgb.as_chunks::<3>().0.get(y as usize * self.width + x as usize)).flatten();
        pixel.map_or([0.0; 3], |p| p.map(f32::from))
    }

    /// Two neighbors in a row and the two below them, in the interior of the image.
    fn square(&self, x: usize, y: usize) -> Option<[[f32; 3]; 4]> {
        let row = |y: usize| self.rgb.get(3 * (y * self.width + x)..)?.first_chunk::<6>();
        let (a, b) = (row(y)?, row(y + 1)?);
        let pixel = |p: &[u8; 6], i: usize| [f32::from(p[i]), f32::from(p[i + 1]), f32::from(p[i + 2])];
        Some([pixel(a, 0), pixel(a, 3), pixel(b, 0), pixel(b, 3)])
    }
}

/// Samples the source bilinearly at the positions that `back` gives for the target pixels.
fn warp(source: &Pixels<'_>, back: &SimilarityTransform, side: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(3 * (side * side) as usize);
    for row in 0..side {
        for column in 0..side {
            let (u, v) = (f64::from(column), f64::from(row));
            let x = back.a * u - back.b * v + back.tx;
            let y = back.b * u + back.a * v + back.ty;
            let (left, top) = (x.floor(), y.floor());
            let (fx, fy) = ((x - left) as f32, (y - top) as f32);
            let (left, top) = (left as i64, top as i64);
            let inner = left >= 0 && top >= 0 && left + 1 < source.width as i64 && top + 1 < source.height as i64;
            let four = inner.then(|| source.square(left as usize, top as usize)).flatten().unwrap_or_else(|| {
                [(0, 0), (1, 0), (0, 1), (1, 1)]
                    .map(|(dx, dy)| source.at(left.saturating_add(dx), top.saturating_add(dy)))
            });
            let weights = [(1.0 - fx) * (1.0 - fy), fx * (1.0 - fy), (1.0 - fx) * fy, fx * fy];
            for channel in 0..3 {
                let value: f32 = four.iter().zip(weights).map(|(pixel, weight)| pixel[channel] * weight).sum();
                out.push((value + 0.5) as u8);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn turned(degrees: f32, scale: f32, x: f32, y: f32) -> [Point; 5] {
        let (sin, cos) = degrees.to_radians().sin_cos();
        TEMPLATE.map(|p| Point { x: scale * (cos * p.x - sin * p.y) + x, y: scale * (sin * p.x + cos * p.y) + y })
    }

    proptest! {
        #[test]
        fn a_known_transform_is_found(
            degrees in -180.0f32..180.0, scale in 0.05f32..20.0, x in -900.0f32..900.0, y in -900.0f32..900.0,
        ) {
            let points = turned(degrees, scale, x, y);
            let found = SimilarityTransform::between(&points, &TEMPLATE).unwrap();
            prop_assert!((found.scale() * f64::from(scale) - 1.0).abs() < 1e-3);
            prop_assert!(found.residual(&points, &TEMPLATE) < 0.05);
            let there = found.apply(points[2]);
            prop_assert!(found.inverse().apply(there).distance(points[2]) < 0.01 * scale.max(1.0));
        }

        /// A painted template comes back to its place from any turn, size and position.
        #[test]
        fn a_turned_face_is_turned_back(degrees in -180.0f32..180.0, scale in 0.8f32..6.0) {
            let middle = turned(degrees, scale, 0.0, 0.0)[2];
            let points = turned(degrees, scale, 400.0 - middle.x, 400.0 - middle.y);
            let mut rgb = vec![60u8; 3 * 800 * 800];
            for (i, pixel) in rgb.chunks_exact_mut(3).enumerate() {
                let at = Point { x: (i % 800) as f32, y: (i / 800) as f32 };
                if points.iter().any(|p| p.distance(at) < 5.0 * scale) {
                    pixel.fill(220);
                }
            }
            let image = UprightImage::new(800, 800, rgb).unwrap();
            let face = align(&mut Scaler::default(), &image, &Landmarks(points)).unwrap();
            for (i, pixel) in face.rgb().chunks_exact(3).enumerate() {
                let at = Point { x: (i % 112) as f32, y: (i / 112) as f32 };
                let nearest = TEMPLATE.iter().map(|p| p.distance(at)).fold(f32::MAX, f32::min);
                if nearest < 3.0 {
                    prop_assert!(pixel[0] > 200, "{at:?} {pixel:?}");
                } else if nearest > 7.0 {
                    prop_assert!(pixel[0] < 80, "{at:?} {pixel:?}");
                }
            }
        }
    }

    #[test]
    fn coinciding_points_have_no_transform() {
        let together = [Point { x: 5.0, y: 5.0 }; 5];
        assert!(SimilarityTransform::between(&together, &TEMPLATE).is_none());
        let mut broken = TEMPLATE;
        broken[3].x = f32::NAN;
        assert!(SimilarityTransform::between(&broken, &TEMPLATE).is_none());
    }

    /// Twice the field at the same size shows every point half as far from the middle.
    #[test]
    fn a_wider_field_has_the_same_center() {
        assert_eq!(Frame::TEMPLATE.points(), TEMPLATE);
        let middle = CENTER as f32;
        for (wide, near) in (Frame { side: SIDE, field: 2.0 }).points().iter().zip(&TEMPLATE) {
            assert!((2.0 * (wide.x - middle) - (near.x - middle)).abs() < 1e-4);
            assert!((2.0 * (wide.y - middle) - (near.y - middle)).abs() < 1e-4);
        }
        let image = UprightImage::new(400, 400, (0..3 * 400 * 400).map(|i| (i / 2400) as u8).collect()).unwrap();
        let landmarks = Landmarks(TEMPLATE.map(|p| Point { x: p.x + 144.0, y: p.y + 144.0 }));
        let wide = crop(&mut Scaler::default(), &image, &landmarks, &Frame { side: 56, field: 2.0 }).unwrap();
        // Row r of the crop is row 199.5 + 4 (r - 27.5) of the photo, which is half as bright as that.
        for row in [0, 20, 55] {
            let shown = f64::from(wide[3 * (56 * row + 28)]);
            let expected = (199.5 + 4.0 * (row as f64 - 27.5)) / 2.0;
            assert!((shown - expected).abs() < 1.5, "{row}: {shown} {expected}");
        }
    }

    #[test]
    fn a_face_beyond_the_edge_is_filled_with_black() {
        let image = UprightImage::new(40, 40, vec![200; 3 * 40 * 40]).unwrap();
        let face = align(&mut Scaler::default(), &image, &Landmarks(TEMPLATE)).unwrap();
        assert_eq!(&face.rgb()[..3], [200; 3]);
        assert_eq!(&face.rgb()[3 * 112 * 112 - 3..], [0; 3]);
    }
}
