//! The principal axes of a gallery: the directions in which it varies most.
//!
//! They need not be exact. Any orthogonal axes give exact answers, since the deviation of the rotation from
//! orthogonality is measured and added to every bound; better axes only make searches faster.

use crate::gallery::kernel::{ROTATE_WIDTH, rotate};

/// Rounds of orthogonal iteration, each with two multiplications. They separate axes whose variances differ by a
/// third a thousand to one.
const ROUNDS: usize = 12;

/// Learns orthogonal axes of rows whose mean is zero: most variance first.
pub(super) fn learn(rows: &[f32], dimension: usize) -> Vec<Vec<f64>> {
    let width = dimension.next_multiple_of(ROTATE_WIDTH);
    let covariance = covariance(rows, dimension, width);
    let mut directions: Vec<Vec<f64>> =
        (0..dimension).map(|at| (0..dimension).map(|i| f64::from(u8::from(i == at))).collect()).collect();
    for _ in 0..ROUNDS {
        let before: Vec<f32> = directions.iter().flatten().map(|&v| v as f32).collect();
        let mut once = vec![0.0; dimension * width];
        rotate(&covariance, width, &before, &mut once);
        let once: Vec<f32> = once.chunks(width).flat_map(|line| &line[..dimension]).copied().collect();
        let mut twice = vec![0.0; dimension * width];
        rotate(&covariance, width, &once, &mut twice);
        for (direction, line) in directions.iter_mut().zip(twice.chunks(width)) {
            direction.iter_mut().zip(line).for_each(|(to, from)| *to = f64::from(*from));
        }
        orthogonalize(&mut directions);
    }
    orthogonalize(&mut directions);
    let mut order: Vec<(f64, Vec<f64>)> =
        directions.into_iter().map(|direction| (variance(&direction, &covariance, width), direction)).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    order.into_iter().map(|(_, direction)| direction).collect()
}

/// The covariance in lines of `width`, scaled to a trace of the dimension, with a little added
/// along every axis so that no direction is lost.
fn covariance(rows: &[f32], dimension: usize, width: usize) -> Vec<f32> {
    let mut sums = vec![0.0f32; dimension * width];
    // Row by row into sums that stay in the cache: a matrix times its transpose.
    for row in rows.chunks_exact(dimension) {
        for (line, x) in sums.chunks_exact_mut(width).zip(row) {
            for (sum, y) in line.iter_mut().zip(row) {
                *sum += x * y;
            }
        }
    }
    let trace: f64 = (0..dimension).map(|at| f64::from(sums[at * width + at])).sum();
    let scale = if trace > 0.0 { dimension as f64 / trace } else { 0.0 };
    for (at, line) in sums.chunks_exact_mut(width).enumerate() {
        line.iter_mut().for_each(|sum| *sum = (f64::from(*sum) * scale) as f32);
        line[at] += 1e-3;
    }
    sums
}

fn variance(direction: &[f64], covariance: &[f32], width: usize) -> f64 {
    let along = |line: &[f32]| direction.iter().zip(line).map(|(a, b)| a * f64::from(*b)).sum::<f64>();
    covariance.chunks_exact(width).zip(direction).map(|(line, d)| along(line) * d).sum()
}

/// Gram and Schmidt's method, in the modified order. Each direction keeps its place.
fn orthogonalize(directions: &mut [Vec<f64>]) {
    for at in 0..directions.len() {
        let (done, rest) = directions.split_at_mut(at + 1);
        let Some(this) = done.last_mut() else { return };
        let length = this.iter().map(|v| v * v).sum::<f64>().sqrt();
        if length > 0.0 {
            this.iter_mut().for_each(|v| *v /= length);
        }
        for other in rest {
            let share = dot(this, other);
            other.iter_mut().zip(this.iter()).for_each(|(to, from)| *to -= share * from);
        }
    }
}

/// In four parts, so that the compiler can use vector registers.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let a_chunks = a.chunks_exact(4);
    let b_chunks = b.chunks_exact(4);
    let tail: f64 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f64>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axes_are_orthogonal_and_sorted_and_find_the_variance() {
        for dimension in [1, 5, 19, 64] {
            // Variance along (1, 1, 1, ...) and, less, along the first coordinate.
            let rows: Vec<f32> = (0..500 * dimension)
                .map(|i| {
                    let row = i / dimension;
                    let column = i % dimension;
                    let wave = |n: usize| ((row * n) as f32 * 0.7).sin();
                    wave(3) + if column == 0 { wave(11) } else { 0.0 } + 0.05 * ((i * i) as f32).sin()
                })
                .collect();
            let axes = learn(&rows, dimension);
            for (a, left) in axes.iter().enumerate() {
                for (b, right) in axes.iter().enumerate() {
                    assert!((dot(left, right) - f64::from(u8::from(a == b))).abs() < 1e-9, "{dimension}: {a} {b}");
                }
            }
            let along = |direction: &Vec<f64>| {
                let products = rows
                    .chunks(dimension)
                    .map(|row| row.iter().zip(direction).map(|(v, d)| f64::from(*v) * d).sum::<f64>().powi(2));
                products.sum::<f64>()
            };
            let variances: Vec<f64> = axes.iter().map(along).collect();
            assert!(variances.windows(2).all(|pair| pair[0] >= pair[1] * 0.999), "{dimension}: {variances:?}");
            let total: f64 = variances.iter().sum();
            assert!(variances.iter().take(2).sum::<f64>() > 0.9 * total, "{dimension}: {variances:?}");
        }
    }

    #[test]
    fn rows_without_variance_have_axes_too() {
        let axes = learn(&[0.0; 30], 3);
        assert_eq!(axes, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
    }
}
