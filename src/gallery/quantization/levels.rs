//! Rounding of coordinates to levels, and the statistics that choose the levels.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::gallery::kernel::{COARSE, FINE, GROUP, Shape, UNITS_PER_BOUND, rotate};

/// Sums are whole numbers of this part of 1; chosen so that the weights of residual norms fit into 15 bits.
pub(super) const UNITS: f64 = 4080.0;
/// Bounds are bytes, in this part of 1.
pub(in crate::gallery) const BOUNDS: f32 = UNITS as f32 / UNITS_PER_BOUND as f32;
/// No embedding is longer than this; embeddings are unit vectors up to rounding.
pub(super) const LONGEST: f64 = 1.001;
/// The smallest weight of an axis; the largest is 1. So what levels leave of a row (2.1 at most) has a weighted norm
/// below 8.
const LEAST_WEIGHT: f64 = 0.28;
/// The levels of all axes together are never longer than this, so that sums fit into 16 bits.
const LONGEST_LEVELS: f64 = 3.9;
/// A quantizer for a normal distribution with variance 1: the distance between levels, and the mean square of what
/// rounding leaves.
pub(super) type StepAndError = (f64, f64);
/// The best 4 and 16 equidistant levels (Max, "Quantizing for minimum distortion", 1960).
pub(super) const LEVELS_4: StepAndError = (0.995_7, 0.118_8);
pub(super) const LEVELS_16: StepAndError = (0.335_2, 0.011_54);
/// 128 levels that reach 4 standard deviations to each side: a twelfth of the squared step is left.
pub(super) const LEVELS_128: StepAndError = (0.062_5, 0.000_325_5);
/// The best score among a million non-mated rows lies this many standard deviations above their mean (measured with
/// SFace's embeddings of LFW; for a normal distribution it would be 4.8).
const BEST_NON_MATED: f64 = 4.1;

/// From this width on, fine codes have 128 levels, because a row in f32 is long.
pub(super) const WIDE: usize = 256;

/// One way of rounding: codes, and what they stand for.
#[derive(Debug)]
pub(super) struct Levels {
    /// A code c of an axis stands for (c - middle) * unit.
    units: Vec<f32>,
    middles: Vec<f32>,
    /// W of the module's documentation, per axis.
    weights: Vec<f32>,
    /// The longest codes of any row encoded so far, each as a share of the middle, counted from the middle; the bits of
    /// an f32.
    longest: AtomicU32,
}

/// A query in whole numbers.
pub(super) struct WeightedQuery {
    pub(super) weights: Vec<i8>,
    /// A sum of products with codes times this, plus `offset`, is a dot product except for what codes leave.
    pub(super) scale: f64,
    pub(super) offset: f64,
    /// The weighted norm of the query.
    pub(super) norm: f64,
}

impl Levels {
    /// `step` and `error` give [`StepAndError`] of an axis with deviation 1.
    pub(super) fn new(
        spread: &Spread,
        step: impl Fn(usize) -> f64,
        error: impl Fn(usize) -> f64,
        middles: Vec<f32>,
    ) -> Self {
        let axes = || spread.deviations.iter().zip(&spread.queries).enumerate();
        let longest: f64 =
            axes().zip(&middles).map(|((axis, (d, _)), m)| (d * step(axis) * f64::from(*m)).powi(2)).sum();
        let shrink = (LONGEST_LEVELS / longest.sqrt()).min(1.0);
        let units = axes().map(|(axis, (d, _))| (d * step(axis) * shrink).max(1e-9) as f32).collect();
        // The mean product of both norms is smallest where each weight is the square root of the ratio of the rows'
        // error to the queries' root mean square.
        let best: Vec<f64> =
            axes().map(|(axis, (d, q))| if *q > 0.0 { (d * error(axis).sqrt() / q).sqrt() } else { 0.0 }).collect();
        let most = best.iter().copied().fold(1e-12, f64::max);
        let weights = best.iter().map(|w| (w / most).clamp(LEAST_WEIGHT, 1.0) as f32).collect();
        Self { units, middles, weights, longest: AtomicU32::default() }
    }

    /// The nearest level of each coordinate.
    pub(super) fn round(&self, row: &[f32], codes: &mut [u8]) {
        for (((code, v), unit), middle) in codes.iter_mut().zip(row).zip(&self.units).zip(&self.middles) {
            *code = (v / unit + (middle + 0.5)).clamp(0.0, 2.0 * middle) as u8;
        }
    }

    /// The weighted norm of what codes leave of a row.
    pub(super) fn residual_norm(&self, row: &[f32], codes: &[u8]) -> f64 {
        let axes = || codes.iter().zip(&self.middles);
        let reach = (norm(axes().map(|(code, middle)| f32::from(*code) / middle - 1.0)) * 1.000_1) as f32;
        self.longest.fetch_max(reach.to_bits(), Ordering::AcqRel);
        let levels = axes().zip(&self.units).map(|((code, middle), unit)| (f32::from(*code) - middle) * unit);
        norm(row.iter().zip(levels).zip(&self.weights).map(|((v, level), weight)| (v - level) / weight))
    }

    /// Rounds a query to eight bits; the largest error that this makes is added to the offset.
    pub(super) fn weigh(&self, query: &[f32], constant: f64) -> WeightedQuery {
        let reach = f64::from(f32::from_bits(self.longest.load(Ordering::Acquire)));
        let exact: Vec<f64> = query.iter().zip(&self.units).map(|(q, u)| f64::from(*q) * f64::from(*u)).collect();
        let scale = (exact.iter().fold(0.0f64, |most, v| most.max(v.abs())) / 127.0).max(1e-30);
        let weights: Vec<i8> = exact.iter().map(|v| (v / scale).round().clamp(-127.0, 127.0) as i8).collect();
        // Cauchy-Schwarz bounds this rounding as well.
        let mut squares = 0.0f64;
        let mut middle = 0.0f64;
        for ((exact, weight), m) in exact.iter().zip(&weights).zip(&self.middles) {
            squares += ((exact - scale * f64::from(*weight)) * f64::from(*m)).powi(2);
            middle += f64::from(*weight) * f64::from(*m);
        }
        let error = squares.sqrt() * reach * 1.001;
        let norm = norm(query.iter().zip(&self.weights).map(|(q, w)| q * w));
        WeightedQuery { weights, scale, offset: constant + error - scale * middle, norm }
    }
}

/// Bytes of a row's fine codes: one per axis where a row in f32 is long, half as many otherwise, none where
/// sketches have four bits for every axis.
pub(super) fn row_bytes(width: usize, fine: usize) -> usize {
    match width {
        WIDE.. => width,
        _ if fine < width => width / 2,
        _ => 0,
    }
}

/// The lines of a sketch whose first `fine` axes have four bits.
pub(super) fn shape(width: usize, fine: usize) -> Shape {
    Shape { fine: fine / FINE, coarse: (width - fine) / COARSE }
}

/// The Euclidean norm, rounded up.
fn norm(values: impl ExactSizeIterator<Item = f32>) -> f64 {
    let count = values.len();
    let sum: f64 = values.map(|v| f64::from(v) * f64::from(v)).sum();
    sum.sqrt() * (1.0 + 1e-6 + count as f64 * f64::from(f32::EPSILON))
}

/// How much the gallery varies along each axis.
pub(super) struct Spread {
    /// Standard deviations.
    deviations: Vec<f64>,
    /// Root mean squares of queries, from which the mean is not subtracted.
    queries: Vec<f64>,
}

impl Spread {
    pub(super) fn measure(centered: &[f32], mean: &[f32], rotation: &[f32], width: usize) -> Self {
        let mut rotated = vec![0.0f32; centered.len() / mean.len().max(1) * width];
        rotate(rotation, width, centered, &mut rotated);
        let mut squares = vec![0.0f64; width];
        for row in rotated.chunks_exact(width) {
            squares.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(*v) * f64::from(*v));
        }
        let count = (rotated.len() / width).max(1) as f64;
        let mut middle = vec![0.0f32; width];
        rotate(rotation, width, mean, &mut middle);
        let variances = squares.iter().map(|sum| sum / count);
        Self {
            queries: variances.clone().zip(&middle).map(|(v, m)| (v + f64::from(*m).powi(2)).sqrt()).collect(),
            deviations: variances.map(f64::sqrt).collect(),
        }
    }

    /// For how many axes four bits are worth reading: the number with the lowest expected cost of a non-mated query,
    /// which rules out the fewest rows.
    pub(super) fn fine_axes(&self) -> usize {
        let width = self.deviations.len();
        let axes = || self.deviations.iter().zip(&self.queries);
        // Of dot products between different people.
        let deviation = axes().map(|(d, q)| d * d * (2.0 * q * q - d * d)).sum::<f64>().max(1e-12).sqrt();
        let cost = |fine: usize| {
            let error = |axis: usize| if axis < fine { LEVELS_16.1 } else { LEVELS_4.1 };
            let slack: f64 = axes().enumerate().map(|(axis, (d, q))| d * q * error(axis).sqrt()).sum();
            let reach = BEST_NON_MATED - slack / deviation;
            // The tail of a normal distribution (Bowling and others, 2009).
            let tail = 1.0 / (1.0 + (1.5976 * reach + 0.070_56 * reach.powi(3)).exp());
            let sketch = shape(width, fine).bytes() / GROUP;
            // A row that is read on its own costs as much as about 300 bytes in sequence, and its bytes seven times as
            // much (measured). A third of all searches is assumed to be non-mated. Fine codes must also be worth their
            // memory.
            let row = match row_bytes(width, fine) as f64 {
                0.0 => 0.0,
                bytes => tail * (100.0 + 2.5 * bytes) + bytes / 8.0,
            };
            sketch as f64 + row
        };
        // Beyond half of the axes, four bits for all of them are better: short rows then need no fine codes.
        let choices = (0..=width / 2).step_by(COARSE).chain([width]).map(|fine| (cost(fine), fine));
        choices.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0, |(_, fine)| fine)
    }
}
