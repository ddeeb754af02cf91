//! How rows become codes, and what codes prove about dot products.
//!
//! A row is moved by the gallery's mean and turned onto its principal axes, and each coordinate is
//! rounded to one of a few levels. With r' = the levels, a dot product q.r is q.mean + q.r' + q.(r - r'),
//! and by Cauchy and Schwarz the last part is at most |Wq| |(r - r')/W| for any positive weights W of the
//! axes. So a bound is never below the dot product, whatever the gallery was when its axes were learnt.
//!
//! This is done twice: for *sketches*, which are read for all rows, with four bits for the first axes and two
//! for the others; and with more for the *fine codes* of the rows that sketches do not rule out.

use std::sync::atomic::{AtomicU32, Ordering};

use super::axes;
use super::kernel::{COARSE, FINE, GROUP, Shape, UNITS_PER_BOUND, WIDTH, Weights, rotate};

/// Sums are whole numbers of this part of 1; chosen so that the weights of lengths fit into 15 bits.
const UNITS: f64 = 4080.0;
/// Bounds are bytes, of this part of 1.
pub(super) const BOUNDS: f32 = UNITS as f32 / UNITS_PER_BOUND as f32;
/// Lengths are stored in this part of 1, so that 16 bits hold up to 8.
const LENGTHS: f64 = 8192.0;
/// No embedding is longer than this; they are unit vectors up to rounding.
const LONGEST: f64 = 1.001;
/// No weight of an axis is below this part of the greatest, which is 1: then what levels leave of a row
/// (2.1 at most) has a weighted length below 8.
const LEAST_WEIGHT: f64 = 0.28;
/// The levels of all axes together are never longer than this, so that sums fit into 16 bits.
const LONGEST_LEVELS: f64 = 3.9;
/// The best distances of 4 and of 16 levels for a normal distribution with variance 1, and the mean squares
/// of what they leave (Max, 1960).
const FOUR: (f64, f64) = (0.995_7, 0.118_8);
const SIXTEEN: (f64, f64) = (0.335_2, 0.011_54);
/// Of 128 levels that reach 4 deviations to each side: a twelfth of the squared distance is left.
const MANY: (f64, f64) = (0.062_5, 0.000_325_5);
/// From this width on, fine codes have 128 levels: a row in f32 is long.
const WIDE: usize = 256;
/// The best of a million strangers lies so many standard deviations above the mean of all (measured with
/// SFace's embeddings of LFW; of a normal distribution it would be 4.8).
const BEST_STRANGER: f64 = 4.1;

/// One way of rounding: codes, and what they stand for.
#[derive(Debug)]
struct Levels {
    /// A code c of an axis stands for (c - middle) * unit.
    units: Vec<f32>,
    middles: Vec<f32>,
    /// Of the axes: W above.
    weights: Vec<f32>,
    /// The longest codes of any row encoded so far, each as a part of the middle from the middle on; the bits of
    /// an f32.
    longest: AtomicU32,
}

/// How rows become codes.
#[derive(Debug)]
pub(super) struct Quantiser {
    dimension: usize,
    /// A multiple of what the kernels compute together.
    width: usize,
    /// The first axes, whose sketches have four bits.
    fine: usize,
    mean: Vec<f32>,
    /// For each coordinate a line of `width` outputs.
    rotation: Vec<f32>,
    sketch: Levels,
    codes: Levels,
    /// The most by which rounding and a rotation that is not quite one can raise a dot product.
    slack: f64,
}

/// A query as the codes see it.
pub(super) struct Query {
    pub(super) sketch: Weights,
    /// For each axis, to be multiplied with fine codes.
    pub(super) weights: Vec<i8>,
    scale: f32,
    offset: f32,
    /// What one unit of the length that fine codes leave can add.
    rest: f32,
}

impl Query {
    /// What a sum of products with fine codes proves, when they leave at most `rest` of a row.
    pub(super) fn bound(&self, sum: i32, rest: f32) -> f32 {
        sum as f32 * self.scale + (self.offset + self.rest * rest)
    }
}

/// A row in codes.
#[derive(Default)]
pub(super) struct Encoded {
    /// Of each axis, of 16 levels or of four.
    pub(super) sketch: Vec<u8>,
    /// How much the sketch leaves, as it is stored.
    pub(super) length: u16,
    /// Of each axis, of 16 or of 128 levels.
    pub(super) codes: Vec<u8>,
    /// How much the fine codes leave.
    pub(super) rest: f32,
}

fn length(values: impl ExactSizeIterator<Item = f32>) -> f64 {
    let count = values.len();
    let sum: f64 = values.map(|v| f64::from(v) * f64::from(v)).sum();
    sum.sqrt() * (1.0 + 1e-6 + count as f64 * f64::from(f32::EPSILON))
}

/// Bytes of a row's fine codes: one for each axis where a row in f32 is long, or half as many, or none where
/// sketches have four bits for every axis themselves.
fn row_bytes(width: usize, fine: usize) -> usize {
    match width {
        WIDE.. => width,
        _ if fine < width => width / 2,
        _ => 0,
    }
}

impl Quantiser {
    /// Learns from rows of unit vectors, one after the other.
    pub(super) fn learn(rows: &[f32], dimension: usize) -> Self {
        let width = dimension.next_multiple_of(WIDTH);
        let count = (rows.len() / dimension).max(1) as f64;
        let mut sums = vec![0.0f64; dimension];
        for row in rows.chunks_exact(dimension) {
            sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(*v));
        }
        let mean: Vec<f32> = sums.iter().map(|sum| (sum / count) as f32).collect();
        let centred: Vec<f32> =
            rows.chunks_exact(dimension).flat_map(|row| row.iter().zip(&mean).map(|(v, mean)| v - mean)).collect();
        let axes = axes::learn(&centred, dimension);
        let mut rotation = vec![0.0f32; dimension * width];
        for (column, direction) in axes.iter().enumerate() {
            for (line, value) in rotation.chunks_exact_mut(width).zip(direction) {
                line[column] = *value as f32;
            }
        }
        Self::new(dimension, width, mean, rotation, &centred)
    }

    fn new(dimension: usize, width: usize, mean: Vec<f32>, rotation: Vec<f32>, centred: &[f32]) -> Self {
        let mut defect = defect(&rotation, width);
        let mut rotation = rotation;
        if !(defect < 1e-3) {
            rotation.fill(0.0);
            for at in 0..dimension {
                rotation[at * width + at] = 1.0;
            }
            defect = 0.0;
        }
        // Gamma bounds (Higham): a sum of n products is off by at most n u / (1 - n u) times the
        // product of the lengths; coordinates off by g each are a vector off by g sqrt(width).
        let half = f64::from(f32::EPSILON) / 2.0;
        let gamma = (dimension + 20) as f64 * half * 1.01;
        let far = 2.1 * LONGEST; // |row - mean|, rounded
        let turned = (width as f64).sqrt() * gamma * 1.01;
        let slack = defect * LONGEST * far          // the rotation
            + 2.0 * turned * LONGEST * far * 1.01   // computing rotated rows and queries
            + gamma * LONGEST * LONGEST             // the f32 dot product itself
            + half * far * LONGEST                  // subtracting the mean
            + 1e-6;
        let spread = Spread::of(centred, &mean, &rotation, width);
        let fine = spread.fine_axes();
        let best = |axis: usize| if axis < fine { SIXTEEN } else { FOUR };
        let middles = (0..width).map(|axis| if axis < fine { 7.5 } else { 1.5 });
        let sketch = Levels::new(&spread, |axis| best(axis).0, |axis| best(axis).1, middles.collect());
        let (levels, middle) = if width < WIDE { (SIXTEEN, 7.5) } else { (MANY, 63.5) };
        let codes = Levels::new(&spread, |_| levels.0, |_| levels.1, vec![middle; width]);
        Self { dimension, width, fine, mean, rotation, sketch, codes, slack }
    }

    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    /// Bytes of a row's fine codes; perhaps none.
    pub(super) fn row_bytes(&self) -> usize {
        row_bytes(self.width, self.fine)
    }

    pub(super) fn shape(&self) -> Shape {
        Shape { fine: self.fine / FINE, coarse: (self.width - self.fine) / COARSE }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let numbers = self.mean.len() + self.rotation.len() + 6 * self.width;
        size_of::<Self>() + numbers * size_of::<f32>()
    }

    /// A query as the codes see it.
    pub(super) fn prepare(&self, probe: &[f32]) -> Query {
        let mut turned = vec![0.0f32; self.width];
        rotate(&self.rotation, self.width, probe, &mut turned);
        let along: f64 = probe.iter().zip(&self.mean).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        let sketch = self.sketch.weigh(&turned, along + self.slack);
        let codes = self.codes.weigh(&turned, along + self.slack);
        Query {
            sketch: Weights {
                quads: sketch.weights.as_chunks().0.to_vec(),
                scale: (sketch.scale * UNITS) as f32,
                // Rounded to the nearest whole number of units: a half is added, a little for f32, and one for
                // the product with the length, which is rounded down.
                offset: (sketch.offset * UNITS + 1.52) as f32,
                length: ((sketch.length * UNITS / LENGTHS * 65536.0).ceil() as u16 + 1).min(i16::MAX as u16),
            },
            weights: codes.weights,
            scale: codes.scale as f32,
            // A little for f32: sums are below 8.
            offset: (codes.offset + 8e-6) as f32,
            rest: (codes.length * (1.0 + 1e-6)) as f32,
        }
    }

    /// Encodes rows, one after the other, and hands each to `put`.
    pub(super) fn encode(&self, rows: &[f32], mut put: impl FnMut(usize, &Encoded)) {
        let centred: Vec<f32> = rows
            .chunks_exact(self.dimension)
            .flat_map(|row| row.iter().zip(&self.mean).map(|(v, mean)| v - mean))
            .collect();
        let mut turned = vec![0.0f32; centred.len() / self.dimension * self.width];
        rotate(&self.rotation, self.width, &centred, &mut turned);
        let mut encoded = Encoded { sketch: vec![0; self.width], codes: vec![0; self.width], ..Encoded::default() };
        for (at, row) in turned.chunks_exact(self.width).enumerate() {
            self.sketch.round(row, &mut encoded.sketch);
            self.codes.round(row, &mut encoded.codes);
            let left = self.sketch.left(row, &encoded.sketch);
            encoded.length = (left * LENGTHS).ceil() as u16 + 1;
            let left = self.codes.left(row, &encoded.codes);
            encoded.rest = (left * (1.0 + 1e-6)) as f32;
            put(at, &encoded);
        }
    }
}

/// How much the gallery varies along each axis.
struct Spread {
    /// Standard deviations.
    deviations: Vec<f64>,
    /// Root mean squares of queries, which are not moved by the mean.
    queries: Vec<f64>,
}

impl Spread {
    fn of(centred: &[f32], mean: &[f32], rotation: &[f32], width: usize) -> Self {
        let mut turned = vec![0.0f32; centred.len() / mean.len().max(1) * width];
        rotate(rotation, width, centred, &mut turned);
        let mut squares = vec![0.0f64; width];
        for row in turned.chunks_exact(width) {
            squares.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(*v) * f64::from(*v));
        }
        let count = (turned.len() / width).max(1) as f64;
        let mut middle = vec![0.0f32; width];
        rotate(rotation, width, mean, &mut middle);
        let variances = squares.iter().map(|sum| sum / count);
        Self {
            queries: variances.clone().zip(&middle).map(|(v, m)| (v + f64::from(*m).powi(2)).sqrt()).collect(),
            deviations: variances.map(f64::sqrt).collect(),
        }
    }

    /// For how many axes four bits are worth reading: least is read in all for a stranger, who is like
    /// nobody and so rules out fewest rows.
    fn fine_axes(&self) -> usize {
        let width = self.deviations.len();
        let axes = || self.deviations.iter().zip(&self.queries);
        // Of dot products between strangers.
        let deviation = axes().map(|(d, q)| d * d * (2.0 * q * q - d * d)).sum::<f64>().max(1e-12).sqrt();
        let cost = |fine: usize| {
            let left = |axis: usize| if axis < fine { SIXTEEN.1 } else { FOUR.1 };
            let slack: f64 = axes().enumerate().map(|(axis, (d, q))| d * q * left(axis).sqrt()).sum();
            let reach = BEST_STRANGER - slack / deviation;
            // The part of a normal distribution that lies above (Bowling and others, 2009).
            let part = 1.0 / (1.0 + (1.5976 * reach + 0.070_56 * reach.powi(3)).exp());
            let sketch = Shape { fine: fine / FINE, coarse: (width - fine) / COARSE }.bytes() / GROUP;
            // A row that is read by itself costs as much as some 300 bytes in a row, and its bytes seven times as
            // much (measured). A third of all searches is taken to be of strangers. And fine codes have to be worth
            // their memory.
            let row = match row_bytes(width, fine) as f64 {
                0.0 => 0.0,
                bytes => part * (100.0 + 2.5 * bytes) + bytes / 8.0,
            };
            sketch as f64 + row
        };
        // Beyond half of the axes, four bits for all of them are better: short rows need no fine codes then.
        let choices = (0..=width / 2).step_by(COARSE).chain([width]).map(|fine| (cost(fine), fine));
        choices.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0, |(_, fine)| fine)
    }
}

/// A query in whole numbers.
struct Weighed {
    weights: Vec<i8>,
    /// A sum of products with codes times this, plus `offset`, is a dot product but for what codes leave.
    scale: f64,
    offset: f64,
    /// The weighted length of the query.
    length: f64,
}

impl Levels {
    /// `unit` and `left` are those of an axis with deviation 1: the unit, and the mean square of what is left.
    fn new(spread: &Spread, unit: impl Fn(usize) -> f64, left: impl Fn(usize) -> f64, middles: Vec<f32>) -> Self {
        let axes = || spread.deviations.iter().zip(&spread.queries).enumerate();
        let longest: f64 =
            axes().zip(&middles).map(|((axis, (d, _)), m)| (d * unit(axis) * f64::from(*m)).powi(2)).sum();
        let shrink = (LONGEST_LEVELS / longest.sqrt()).min(1.0);
        let units = axes().map(|(axis, (d, _))| (d * unit(axis) * shrink).max(1e-9) as f32).collect();
        // The product of both lengths is least, in the mean, where each weight is the root of what is left
        // of rows to what there is of queries.
        let best: Vec<f64> =
            axes().map(|(axis, (d, q))| if *q > 0.0 { (d * left(axis).sqrt() / q).sqrt() } else { 0.0 }).collect();
        let most = best.iter().copied().fold(1e-12, f64::max);
        let weights = best.iter().map(|w| (w / most).clamp(LEAST_WEIGHT, 1.0) as f32).collect();
        Self { units, middles, weights, longest: AtomicU32::default() }
    }

    /// The nearest level of each coordinate.
    fn round(&self, row: &[f32], codes: &mut [u8]) {
        for (((code, v), unit), middle) in codes.iter_mut().zip(row).zip(&self.units).zip(&self.middles) {
            *code = (v / unit + (middle + 0.5)).clamp(0.0, 2.0 * middle) as u8;
        }
    }

    /// The weighted length of what codes leave of a row.
    fn left(&self, row: &[f32], codes: &[u8]) -> f64 {
        let axes = || codes.iter().zip(&self.middles);
        let reach = (length(axes().map(|(code, middle)| f32::from(*code) / middle - 1.0)) * 1.000_1) as f32;
        self.longest.fetch_max(reach.to_bits(), Ordering::AcqRel);
        let levels = axes().zip(&self.units).map(|((code, middle), unit)| (f32::from(*code) - middle) * unit);
        length(row.iter().zip(levels).zip(&self.weights).map(|((v, level), weight)| (v - level) / weight))
    }

    /// Rounds a query to eight bits; what that changes at most is added to the offset.
    fn weigh(&self, query: &[f32], constant: f64) -> Weighed {
        let reach = f64::from(f32::from_bits(self.longest.load(Ordering::Acquire)));
        let exact: Vec<f64> = query.iter().zip(&self.units).map(|(q, u)| f64::from(*q) * f64::from(*u)).collect();
        let scale = (exact.iter().fold(0.0f64, |most, v| most.max(v.abs())) / 127.0).max(1e-30);
        let weights: Vec<i8> = exact.iter().map(|v| (v / scale).round().clamp(-127.0, 127.0) as i8).collect();
        // By Cauchy and Schwarz once more.
        let (mut squares, mut middle) = (0.0f64, 0.0f64);
        for ((exact, weight), m) in exact.iter().zip(&weights).zip(&self.middles) {
            squares += ((exact - scale * f64::from(*weight)) * f64::from(*m)).powi(2);
            middle += f64::from(*weight) * f64::from(*m);
        }
        let off = squares.sqrt() * reach * 1.001;
        let length = length(query.iter().zip(&self.weights).map(|(q, w)| q * w));
        Weighed { weights, scale, offset: constant + off - scale * middle, length }
    }
}

/// The largest part by which a rotation changes dot products: |R'R - I|.
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
