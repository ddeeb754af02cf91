//! Light on the face: uniformity, exposure, contrast (ISO/IEC 29794-5, as OFIQ computes them).

use std::sync::LazyLock;

use crate::domain::{Landmarks, Point};
use crate::image::align::{SIDE, SimilarityTransform};
use crate::image::{AlignedFace, UprightImage};

/// Counts of luminances 0 to 255.
pub(super) type Histogram = [u32; 256];

/// The eyes, the nose and the mouth corners in OFIQ's aligned image of 616 x 616 pixels.
const OFIQ_TEMPLATE: [Point; 5] = [
    Point { x: 251.0, y: 272.0 },
    Point { x: 364.0, y: 272.0 },
    Point { x: 308.0, y: 336.0 },
    Point { x: 262.0, y: 402.0 },
    Point { x: 355.0, y: 402.0 },
];

/// The share of the eye distance that is the side of OFIQ's cheek squares.
const CHEEK: f64 = 0.3;

/// The exponent of ISO/IEC 29794-5's quality mapping for illumination uniformity.
const UNIFORMITY_EXPONENT: f64 = 0.3;

/// Decodes gamma-encoded sRGB (IEC 61966-2-1): byte to light, 0 to 1.
static LINEAR: LazyLock<[f32; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| {
        let v = byte as f64 / 255.0;
        (if v > 0.04045 { ((v + 0.055) / 1.055).powf(2.4) } else { v / 12.92 }) as f32
    })
});

/// Luminance of a gamma-encoded pixel (ITU-R BT.709 weights of linear light), 0 to 255, rounded.
fn luminance([r, g, b]: [u8; 3]) -> u8 {
    let light = |byte: u8| LINEAR[usize::from(byte)];
    let y = 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
    (y * 255.0 + 0.5) as u8
}

/// Luminances of the face's own skin, brows to chin.
///
/// OFIQ uses the hull of its jaw and brow landmarks. Without such landmarks this is an ellipse in the aligned
/// face: the largest of which 95 % lies within the hull on average, fitted on 733 LFW
/// faces with a 478-point mesh; on 733 others 95.4 % of it lies within, and it covers 77 % of the hull.
pub(super) fn face_histogram(aligned: &AlignedFace) -> Histogram {
    let mut histogram = [0; 256];
    let side = SIDE as usize;
    for (i, pixel) in aligned.rgb().as_chunks::<3>().0.iter().enumerate() {
        if in_face((i % side) as f32, (i / side) as f32) {
            histogram[usize::from(luminance(*pixel))] += 1;
        }
    }
    histogram
}

/// Whether a point of the aligned face (112 x 112) is on the face.
fn in_face(x: f32, y: f32) -> bool {
    const CENTER: Point = Point { x: 56.0, y: 76.0 };
    const RADII: (f32, f32) = (36.0, 38.0);
    ((x - CENTER.x) / RADII.0).powi(2) + ((y - CENTER.y) / RADII.1).powi(2) <= 1.0
}

/// Brightness of the face, 0 to 1: the mean luminance (OFIQ's luminance mean), gamma-encoded
/// again as sRGB, so that middle grey is near 0.5 and the documented samples (0.57 to 0.64) are
/// ordinary faces. The encoding is monotone: bands of either value are bands of the other.
pub(super) fn exposure(histogram: &Histogram) -> f64 {
    let count: f64 = histogram.iter().map(|&n| f64::from(n)).sum();
    if count == 0.0 {
        return 0.0;
    }
    let mean = histogram.iter().enumerate().map(|(y, &n)| y as f64 * f64::from(n)).sum::<f64>() / count / 255.0;
    if mean > 0.003_130_8 { 1.055 * mean.powf(1.0 / 2.4) - 0.055 } else { 12.92 * mean }
}

/// Dynamic range of the face, 0 to 1: the entropy of its luminance histogram (OFIQ's dynamic range)
/// as a share of the 8 bits it can have at most.
pub(super) fn contrast(histogram: &Histogram) -> f64 {
    let count: f64 = histogram.iter().map(|&n| f64::from(n)).sum();
    let bits: f64 = histogram.iter().filter(|&&n| n > 0).map(|&n| f64::from(n) / count).map(|p| -p * p.log2()).sum();
    bits / 8.0
}

/// Evenness of the light, 0 to 1: how much the luminance histograms of both cheeks overlap (OFIQ's
/// illumination uniformity D, the sum of the smaller share in each of 256 bins), mapped to D^0.3 as
/// ISO/IEC 29794-5 maps it to its 0 to 100.
///
/// The cheeks are OFIQ's squares: 0.3 eye distances wide, beginning half way between eyes and mouth,
/// reaching inwards from below each eye, sampled bilinearly at OFIQ's scale. `None` when they have
/// no pixel in the photo.
pub(super) fn uniformity(image: &UprightImage, landmarks: &Landmarks) -> Option<f64> {
    let to_ofiq = SimilarityTransform::between(&landmarks.0, &OFIQ_TEMPLATE)?;
    let back = to_ofiq.inverse();
    let [left, right, _, mouth_left, mouth_right] = landmarks.0.map(|p| to_ofiq.apply(p));
    let eyes = middle(left, right);
    let half = (eyes.distance(middle(mouth_left, mouth_right)) / 2.0).floor();
    let side = (f64::from(left.distance(right)) * CHEEK) as i32;
    let cheek = |x: f32, y: f32| {
        let mut histogram = [0; 256];
        for row in 0..side {
            for column in 0..side {
                let at = back.apply(Point { x: x + column as f32, y: y + row as f32 });
                if let Some(pixel) = bilinear(image, at) {
                    histogram[usize::from(luminance(pixel))] += 1;
                }
            }
        }
        histogram
    };
    let a = cheek(left.x.floor(), left.y.floor() + half);
    let b = cheek(right.x.floor() - side as f32, right.y.floor() + half);
    let count = |h: &Histogram| h.iter().map(|&n| f64::from(n)).sum::<f64>();
    let (m, n) = (count(&a), count(&b));
    if m == 0.0 || n == 0.0 {
        return None;
    }
    let overlap: f64 = a.iter().zip(&b).map(|(&p, &q)| (f64::from(p) / m).min(f64::from(q) / n)).sum();
    Some(overlap.powf(UNIFORMITY_EXPONENT))
}

fn middle(a: Point, b: Point) -> Point {
    Point { x: (a.x + b.x) / 2.0, y: (a.y + b.y) / 2.0 }
}

/// The color between four pixels; `None` outside the photo.
fn bilinear(image: &UprightImage, at: Point) -> Option<[u8; 3]> {
    let (w, h) = (image.width() as usize, image.height() as usize);
    let inside = at.x >= 0.0 && at.y >= 0.0 && at.x <= (w - 1) as f32 && at.y <= (h - 1) as f32;
    if !inside {
        return None;
    }
    let (x, y) = (at.x as usize, at.y as usize);
    let (fx, fy) = (at.x - x as f32, at.y - y as f32);
    let pixels = image.rgb().as_chunks::<3>().0;
    let pixel = |x: usize, y: usize| pixels.get(y.min(h - 1) * w + x.min(w - 1));
    let (a, b, c, d) = (pixel(x, y)?, pixel(x + 1, y)?, pixel(x, y + 1)?, pixel(x + 1, y + 1)?);
    Some(std::array::from_fn(|i| {
        let [a, b, c, d] = [a[i], b[i], c[i], d[i]].map(f32::from);
        let (top, bottom) = (a + (b - a) * fx, c + (d - c) * fx);
        (top + (bottom - top) * fy + 0.5) as u8
    }))
}
