//! Blur: Crete, Dolmiere, Ladret and Nicolas, "The Blur Effect", SPIE 2007.

use super::luma;
use crate::image::AlignedFace;
use crate::image::align::SIDE;

/// The face is measured at this many pixels: in a larger image strong blur looks sharp, because both the image and its
/// blurred copy are flat.
const SIZE: usize = 96;

/// Half of the 9-tap box that blurs the copy.
const REACH: usize = 4;

/// The rows and columns of the face.
const ROWS: std::ops::Range<usize> = 14..91;
const COLUMNS: std::ops::Range<usize> = 12..84;

/// How much of the difference between neighboring pixels survives a further blur, from 0 (none: the face is sharp) to 1
/// (all: it is blurred already). The larger of both axes; 1 for a flat image.
pub fn crete_roffet(aligned: &AlignedFace) -> f64 {
    let gray = shrunk(aligned);
    let down = remaining(|line, i| gray[i * SIZE + line], COLUMNS, ROWS);
    let across = remaining(|line, i| gray[line * SIZE + i], ROWS, COLUMNS);
    down.max(across)
}

/// Brightness of the aligned face at [`SIZE`] pixels, bilinear.
fn shrunk(aligned: &AlignedFace) -> Vec<f32> {
    let side = SIDE as usize;
    let gray: Vec<f32> = aligned.rgb().as_chunks::<3>().0.iter().map(|p| luma(*p)).collect();
    // The position of each pixel of the smaller image: the pixel before it, and the fraction.
    let places: Vec<(usize, f32)> = (0..SIZE)
        .map(|i| {
            let at = (i as f32 + 0.5) * side as f32 / SIZE as f32 - 0.5;
            (at as usize, at.fract())
        })
        .collect();
    let mut out = Vec::with_capacity(SIZE * SIZE);
    for &(y, fy) in &places {
        for &(x, fx) in &places {
            let row = |y: usize| {
                let (a, b) = (gray[y * side + x], gray[y * side + x + 1]);
                a + (b - a) * fx
            };
            let (top, bottom) = (row(y), row(y + 1));
            out.push(top + (bottom - top) * fy);
        }
    }
    out
}

/// Along one axis: the share of the differences between neighbors that survives blurring.
/// `pixel(line, i)` is the i-th pixel of a line along that axis.
fn remaining(pixel: impl Fn(usize, usize) -> f32, lines: std::ops::Range<usize>, along: std::ops::Range<usize>) -> f64 {
    let mut total = 0.0;
    let mut lost = 0.0;
    for line in lines {
        let box_sum = |i: usize| (i - REACH..=i + REACH).map(|j| pixel(line, j)).sum::<f32>();
        let mut before = box_sum(along.start - 1);
        for i in along.clone() {
            let blurred = before + pixel(line, i + REACH) - pixel(line, i - 1 - REACH);
            let sharp_step = (pixel(line, i) - pixel(line, i - 1)).abs();
            let blurred_step = (blurred - before).abs() / (2 * REACH + 1) as f32;
            total += f64::from(sharp_step);
            lost += f64::from((sharp_step - blurred_step).max(0.0));
            before = blurred;
        }
    }
    if total > 0.0 { (total - lost) / total } else { 1.0 }
}
