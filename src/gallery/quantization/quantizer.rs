//! How rows and queries become codes.

use super::levels::{LEVELS_4, LEVELS_16, LEVELS_128, LONGEST, Levels, Spread, UNITS, WIDE, row_bytes, shape};
use super::pca;
use crate::gallery::kernel::{Shape, WIDTH, Weights, rotate};

/// Residual norms of sketches are stored in this part of 1, so that 16 bits hold up to 8.
const SKETCH_NORMS: f64 = 8192.0;

/// How rows become codes.
#[derive(Debug)]
pub(in crate::gallery) struct Quantizer {
    dimension: usize,
    /// Number of axes: the dimension, rounded up to what the kernels compute at once.
    width: usize,
    /// The first axes, whose sketches have four bits.
    fine: usize,
    mean: Vec<f32>,
    /// For each coordinate a line of `width` outputs.
    rotation: Vec<f32>,
    sketch: Levels,
    codes: Levels,
    /// The most by which rounding, and a rotation that is not exactly orthogonal, can raise a dot product.
    slack: f64,
}

/// A query, encoded for one quantizer.
pub(in crate::gallery) struct EncodedQuery {
    pub(in crate::gallery) sketch: Weights,
    /// For each axis, to be multiplied with fine codes.
    pub(in crate::gallery) weights: Vec<i8>,
    scale: f32,
    offset: f32,
    /// The most that one unit of a residual norm can add.
    residual: f32,
}

impl EncodedQuery {
    /// The bound that follows from a sum of products with fine codes, when these leave at most `residual` of a row.
    pub(in crate::gallery) fn bound(&self, sum: i32, residual: f32) -> f32 {
        sum as f32 * self.scale + (self.offset + self.residual * residual)
    }
}

/// A row in codes.
#[derive(Default)]
pub(super) struct EncodedRow {
    /// Per axis, of 16 or of 4 levels.
    pub(super) sketch: Vec<u8>,
    /// The residual norm of the sketch, as it is stored.
    pub(super) sketch_norm: u16,
    /// Per axis, of 16 or of 128 levels.
    pub(super) codes: Vec<u8>,
    /// The residual norm of the fine codes.
    pub(super) residual_norm: f32,
}

impl Quantizer {
    /// Learns from unit vectors, one after the other.
    pub(in crate::gallery) fn learn(rows: &[f32], dimension: usize) -> Self {
        let width = dimension.next_multiple_of(WIDTH);
        let count = (rows.len() / dimension).max(1) as f64;
        let mut sums = vec![0.0f64; dimension];
        for row in rows.chunks_exact(dimension) {
            sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(*v));
        }
        let mean: Vec<f32> = sums.iter().map(|sum| (sum / count) as f32).collect();
        let centered: Vec<f32> =
            rows.chunks_exact(dimension).flat_map(|row| row.iter().zip(&mean).map(|(v, mean)| v - mean)).collect();
        let axes = pca::learn(&centered, dimension);
        let mut rotation = vec![0.0f32; dimension * width];
        for (column, direction) in axes.iter().enumerate() {
            for (line, value) in rotation.chunks_exact_mut(width).zip(direction) {
                line[column] = *value as f32;
            }
        }
        Self::new(dimension, width, mean, rotation, &centered)
    }

    fn new(dimension: usize, width: usize, mean: Vec<f32>, mut rotation: Vec<f32>, centered: &[f32]) -> Self {
        let mut defect = defect(&rotation, width);
        if !(defect < 1e-3) {
            rotation.fill(0.0);
            for at in 0..dimension {
                rotation[at * width + at] = 1.0;
            }
            defect = 0.0;
        }
        // Gamma bounds (Higham): a sum of n products is off by at most n u / (1 - n u) times the
        // product of the norms; coordinates off by g each are a vector off by g sqrt(width).
        let half = f64::from(f32::EPSILON) / 2.0;
        let gamma = (dimension + 20) as f64 * half * 1.01;
        let far = 2.1 * LONGEST; // |row - mean|, rounded
        let rotated = (width as f64).sqrt() * gamma * 1.01;
        let slack = defect * LONGEST * far          // the rotation
            + 2.0 * rotated * LONGEST * far * 1.01  // computing rotated rows and queries
            + gamma * LONGEST * LONGEST             // the f32 dot product itself
            + half * far * LONGEST                  // subtracting the mean
            + 1e-6;
        let spread = Spread::measure(centered, &mean, &rotation, width);
        let fine = spread.fine_axes();
        let best = |axis: usize| if axis < fine { LEVELS_16 } else { LEVELS_4 };
        let middles = (0..width).map(|axis| if axis < fine { 7.5 } else { 1.5 });
        let sketch = Levels::new(&spread, |axis| best(axis).0, |axis| best(axis).1, middles.collect());
        let (levels, middle) = if width < WIDE { (LEVELS_16, 7.5) } else { (LEVELS_128, 63.5) };
        let codes = Levels::new(&spread, |_| levels.0, |_| levels.1, vec![middle; width]);
        Self { dimension, width, fine, mean, rotation, sketch, codes, slack }
    }

    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    /// Bytes of a row's fine codes; 0 where there are none.
    pub(in crate::gallery) fn row_bytes(&self) -> usize {
        row_bytes(self.width, self.fine)
    }

    pub(in crate::gallery) fn shape(&self) -> Shape {
        shape(self.width, self.fine)
    }

    /// Bytes of memory.
    pub(in crate::gallery) fn bytes(&self) -> usize {
        let numbers = self.mean.len() + self.rotation.len() + 6 * self.width;
        size_of::<Self>() + numbers * size_of::<f32>()
    }

    /// Encodes a query.
    pub(in crate::gallery) fn prepare(&self, probe: &[f32]) -> EncodedQuery {
        let mut rotated = vec![0.0f32; self.width];
        rotate(&self.rotation, self.width, probe, &mut rotated);
        let along: f64 = probe.iter().zip(&self.mean).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        let sketch = self.sketch.weigh(&rotated, along + self.slack);
        let codes = self.codes.weigh(&rotated, along + self.slack);
        EncodedQuery {
            sketch: Weights {
                quads: sketch.weights.as_chunks().0.to_vec(),
                scale: (sketch.scale * UNITS) as f32,
                // Rounded to the nearest whole number of units: a half is added, a little for f32, and one for
                // the product with the norm, which is rounded down.
                offset: (sketch.offset * UNITS + 1.52) as f32,
                norm: ((sketch.norm * UNITS / SKETCH_NORMS * 65536.0).ceil() as u16 + 1).min(i16::MAX as u16),
            },
            weights: codes.weights,
            scale: codes.scale as f32,
            // A little for f32: sums are below 8.
            offset: (codes.offset + 8e-6) as f32,
            residual: (codes.norm * (1.0 + 1e-6)) as f32,
        }
    }

    /// Encodes rows, one after the other, and hands each to `put`.
    pub(super) fn encode(&self, rows: &[f32], mut put: impl FnMut(usize, &EncodedRow)) {
        let centered: Vec<f32> = rows
            .chunks_exact(self.dimension)
            .flat_map(|row| row.iter().zip(&self.mean).map(|(v, mean)| v - mean))
            .collect();
        let mut rotated = vec![0.0f32; centered.len() / self.dimension * self.width];
        rotate(&self.rotation, self.width, &centered, &mut rotated);
        let mut encoded =
            EncodedRow { sketch: vec![0; self.width], codes: vec![0; self.width], ..EncodedRow::default() };
        for (at, row) in rotated.chunks_exact(self.width).enumerate() {
            self.sketch.round(row, &mut encoded.sketch);
            self.codes.round(row, &mut encoded.codes);
            let left = self.sketch.residual_norm(row, &encoded.sketch);
            encoded.sketch_norm = (left * SKETCH_NORMS).ceil() as u16 + 1;
            let left = self.codes.residual_norm(row, &encoded.codes);
            encoded.residual_norm = (left * (1.0 + 1e-6)) as f32;
            put(at, &encoded);
        }
    }
}

/// The largest factor by which a rotation changes dot products: |R'R - I|.
fn defect(rotation: &[f32], width: usize) -> f64 {
    let lines: Vec<&[f32]> = rotation.chunks_exact(width).collect();
    let mut squares = 0.0;
    for (at, a) in lines.iter().enumerate() {
        for (other, b) in lines.iter().enumerate().skip(at) {
            let mut sums = [0.0f64; 4];
            for (a, b) in a.chunks_exact(4).zip(b.chunks_exact(4)) {
                for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                    *sum += f64::from(*a) * f64::from(*b);
                }
            }
            let product: f64 = sums.iter().sum();
            squares += if at == other { (product - 1.0).powi(2) } else { 2.0 * product * product };
        }
    }
    squares.sqrt() + 1e-12
}
