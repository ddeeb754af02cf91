//! Compression blocks, after Wang, Sheikh and Bovik, "No-reference perceptual quality assessment of
//! JPEG compressed images", ICIP 2002.

use super::luma;
use crate::domain::BoundingBox;
use crate::image::UprightImage;

/// Side of a coding block in pixels.
const PERIOD: usize = 8;

/// Largest excess of a step that counts: a larger one is an edge of the scene, not of a block.
const CLIP: f32 = 20.0;

/// The margin around the face box that is also measured, as a share of its sides.
const MARGIN: f32 = 0.1;

/// Least number of blocks along an axis for a meaningful result.
const MIN_BLOCKS: usize = 4;

/// Excess of the steps between pixels at every eighth column and row of the face: 0 without blocks, about 0.5 at JPEG
/// quality 30, above 1 at quality 10.
///
/// For each axis, every step is compared with the two beside it, clipped, averaged per column and
/// folded modulo 8; the largest phase above the median of the others, over the mean step (plus one
/// half, so that noise-free flat pictures do not divide by nothing), is the axis' blockiness. Both
/// axes must show it: half of the smaller and a quarter of each are summed. The pixels must not have
/// been rescaled; the phase of the grid does not matter. Faces smaller than 4 blocks give 0.
pub fn blockiness(image: &UprightImage, face: &BoundingBox) -> f64 {
    let Some((gray, width)) = patch(image, face) else { return 0.0 };
    let height = gray.len() / width;
    if width < MIN_BLOCKS * PERIOD || height < MIN_BLOCKS * PERIOD {
        return 0.0;
    }
    let across = axis(&gray, width, height, 1, width);
    let down = axis(&gray, height, width, width, 1);
    0.5 * across.min(down) + 0.25 * (across + down)
}

/// Brightness of the face box and its margin, and the width of that part.
fn patch(image: &UprightImage, face: &BoundingBox) -> Option<(Vec<f32>, usize)> {
    let clamp = |v: f32, most: u32| (v.max(0.0) as usize).min(most as usize);
    let (mx, my) = (MARGIN * face.width, MARGIN * face.height);
    let (left, right) = (clamp(face.x - mx, image.width()), clamp(face.x + face.width + mx, image.width()));
    let (top, bottom) = (clamp(face.y - my, image.height()), clamp(face.y + face.height + my, image.height()));
    if left >= right || top >= bottom {
        return None;
    }
    let rows = image.rgb().chunks_exact(3 * image.width() as usize).take(bottom).skip(top);
    let gray = rows.flat_map(|row| row.as_chunks::<3>().0[left..right].iter().map(|p| luma(*p))).collect();
    Some((gray, right - left))
}

/// Blockiness along one axis: lines of `length` pixels, `step` apart; `lines` of them, `stride` apart.
fn axis(gray: &[f32], length: usize, lines: usize, step: usize, stride: usize) -> f64 {
    let mut excess = vec![0.0f32; length - 1];
    let mut total = 0.0f64;
    let mut edges = vec![0.0f32; length - 1];
    for line in 0..lines {
        let start = line * stride;
        for (i, edge) in edges.iter_mut().enumerate() {
            *edge = (gray[start + (i + 1) * step] - gray[start + i * step]).abs();
        }
        total += f64::from(edges.iter().sum::<f32>());
        for (i, three) in edges.windows(3).enumerate() {
            excess[i + 1] += (three[1] - (three[0] + three[2]) / 2.0).clamp(-CLIP, CLIP);
        }
    }
    let mut phases = [(0.0f64, 0u32); PERIOD];
    for (i, sum) in excess.iter().enumerate().skip(1).take(length - 3) {
        let (value, count) = &mut phases[i % PERIOD];
        *value += f64::from(*sum) / lines as f64;
        *count += 1;
    }
    let mut means = phases.map(|(value, count)| value / f64::from(count.max(1)));
    means.sort_by(f64::total_cmp);
    let [.., largest] = means;
    let median = means[(PERIOD - 1) / 2];
    let mean_edge = total / (edges.len() * lines) as f64;
    ((largest - median) / (mean_edge + 0.5)).max(0.0)
}
