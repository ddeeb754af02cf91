//! Four-bit codes of rows, and what they prove about dot products.
//!
//! A row is moved by the gallery's mean and turned onto its principal axes, and each coordinate is
//! rounded to one of 16 levels. The axes are cut into *planes*, the first of which hold most of the
//! variance. With r' = the levels of the planes read so far, a dot product q.r is q.mean + q.r' +
//! q.(r - r'), and by Cauchy and Schwarz the last part is at most the sum over those planes of
//! |q| |error|, plus |q| |rest| for the dimensions of later planes. The lengths of errors and rests
//! are stored with the codes, rounded upwards, so a bound is never below the dot product, whatever
//! the gallery was when its axes were learnt.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::axes;
use super::kernel::{GROUP, PLANE_WIDTH, STEP, Shape, Weights, rotate};

/// Bounds are whole numbers of this part of 1; chosen so that the weights of lengths fit into 15 bits.
pub(super) const UNITS: f64 = 4080.0;
/// Lengths are stored in this part of 1, so that 16 bits hold up to 8.
const LENGTHS: f64 = 8192.0;
/// No embedding is longer than this; they are unit vectors up to rounding.
const LONGEST: f64 = 1.001;
/// The best distance of 16 levels for a normal distribution with variance 1 (Max, 1960).
const DISTANCE: f64 = 0.335_2;
/// The codes of all dimensions together are never longer than this, so that sums fit into 16 bits.
const LONGEST_CODES: f64 = 3.9;
/// Number of the highest level, when the middle is 0.
const HIGHEST: f32 = 7.5;

/// What is scanned in one go.
#[derive(Debug, Clone)]
struct Plane {
    dimensions: Range<usize>,
    /// Whether there are later ones.
    rest: bool,
}

impl Plane {
    fn shape(&self) -> Shape {
        Shape { chunks: self.dimensions.len() / PLANE_WIDTH, lengths: 1 + usize::from(self.rest) }
    }
}

/// Embeddings of 128 numbers have hardly less variance along the last axes than along the first, so
/// that bounds from some of them drop few groups of rows: reading all in one go costs least
/// (measured, as were 16 levels beside fewer of them). With more numbers, half of the axes is enough
/// for most groups when the face is one of the gallery's.
fn planes(width: usize) -> Vec<Plane> {
    let half = (width / 2).next_multiple_of(PLANE_WIDTH);
    if width < 192 {
        return vec![Plane { dimensions: 0..width, rest: false }];
    }
    vec![Plane { dimensions: 0..half, rest: true }, Plane { dimensions: half..width, rest: false }]
}

/// How rows become codes.
#[derive(Debug)]
pub(super) struct Quantiser {
    dimension: usize,
    /// A multiple of what the kernels compute together.
    width: usize,
    mean: Vec<f32>,
    /// For each coordinate a line of `width` outputs.
    rotation: Vec<f32>,
    /// Distance between the levels along each axis.
    distances: Vec<f32>,
    planes: Vec<Plane>,
    /// The most by which rounding and a rotation that is not quite one can raise a dot product.
    slack: f64,
    /// For each plane, the longest levels of any row encoded so far, as the bits of an f32.
    longest: Vec<AtomicU32>,
}

fn length(values: &[f32]) -> f64 {
    let mut sums = [0.0f32; 8];
    let chunks = values.chunks_exact(8);
    let tail: f32 = chunks.remainder().iter().map(|v| v * v).sum();
    for chunk in chunks {
        for (sum, v) in sums.iter_mut().zip(chunk) {
            *sum += v * v;
        }
    }
    f64::from(sums.iter().sum::<f32>() + tail).sqrt() * (1.0 + 1e-6 + values.len() as f64 * f64::from(f32::EPSILON))
}

fn stored(length: f64) -> u16 {
    (length * LENGTHS).ceil() as u16 + 1
}

impl Quantiser {
    /// Learns from rows of unit vectors, one after the other.
    pub(super) fn learn(rows: &[f32], dimension: usize) -> Self {
        let width = dimension.next_multiple_of(PLANE_WIDTH);
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
        let mut this = Self::new(dimension, width, mean, rotation);
        this.set_distances(&centred);
        this
    }

    fn new(dimension: usize, width: usize, mean: Vec<f32>, rotation: Vec<f32>) -> Self {
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
        let planes = planes(width);
        let longest = planes.iter().map(|_| AtomicU32::default()).collect();
        Self { dimension, width, mean, rotation, distances: vec![0.0; width], planes, slack, longest }
    }

    fn set_distances(&mut self, centred: &[f32]) {
        let mut turned = vec![0.0f32; centred.len() / self.dimension * self.width];
        rotate(&self.rotation, self.width, centred, &mut turned);
        let mut squares = vec![0.0f64; self.width];
        for row in turned.chunks_exact(self.width) {
            squares.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(*v) * f64::from(*v));
        }
        let count = (turned.len() / self.width).max(1) as f64;
        let distances: Vec<f64> = squares.iter().map(|sum| DISTANCE * (sum / count).sqrt()).collect();
        let longest = f64::from(HIGHEST) * distances.iter().map(|d| d * d).sum::<f64>().sqrt();
        let shrink = (LONGEST_CODES / longest).min(1.0);
        self.distances = distances.iter().map(|d| (d * shrink).max(1e-9) as f32).collect();
    }

    /// What each plane is made of.
    pub(super) fn shapes(&self) -> impl ExactSizeIterator<Item = Shape> {
        self.planes.iter().map(Plane::shape)
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + (self.mean.len() + self.rotation.len() + self.distances.len()) * size_of::<f32>()
    }

    /// A query as each plane sees it.
    pub(super) fn prepare(&self, probe: &[f32]) -> Vec<Weights> {
        let mut turned = vec![0.0f32; self.width];
        rotate(&self.rotation, self.width, probe, &mut turned);
        let along: f64 = probe.iter().zip(&self.mean).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        let planes = self.planes.iter().zip(&self.longest).enumerate().map(|(at, (plane, longest))| {
            let constant = if at == 0 { along + self.slack } else { 0.0 };
            let reach = f64::from(f32::from_bits(longest.load(Ordering::Acquire)));
            let range = plane.dimensions.clone();
            let mut weights = weigh(&turned[range.clone()], &self.distances[range.clone()], reach, constant);
            let lengths = [length(&turned[range.clone()]), length(&turned[range.end..])];
            let weight = |length: f64| (length * UNITS / LENGTHS * 65536.0).ceil() as u16 + 1;
            weights.lengths =
                lengths[..plane.shape().lengths].iter().map(|l| weight(*l).min(i16::MAX as u16)).collect();
            // Products with lengths are rounded down, by less than one unit each.
            weights.offset += weights.lengths.len() as f32;
            weights.rest = plane.rest;
            weights
        });
        planes.collect()
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

/// Rounds a query to eight bits; what that changes at most is added to the offset.
fn weigh(query: &[f32], distances: &[f32], reach: f64, constant: f64) -> Weights {
    let exact: Vec<f64> = query.iter().zip(distances).map(|(q, d)| f64::from(*q) * f64::from(*d)).collect();
    let factor = (exact.iter().fold(0.0f64, |most, v| most.max(v.abs())) / 127.0).max(1e-30);
    let rounded: Vec<i8> = exact.iter().map(|v| (v / factor).round().clamp(-127.0, 127.0) as i8).collect();
    // By Cauchy and Schwarz, apart from axes with hardly any variance, where the levels are so
    // small that their own sum is less.
    let small = distances.iter().fold(0.0f32, |most, d| most.max(*d)) * 0.02;
    let (mut squares, mut sum) = (0.0f64, 0.0f64);
    for ((exact, rounded), d) in exact.iter().zip(&rounded).zip(distances) {
        let off = (exact - factor * f64::from(*rounded)).abs();
        if *d < small {
            sum += f64::from(HIGHEST) * off;
        } else {
            squares += (off / f64::from(*d)).powi(2);
        }
    }
    let off = (squares.sqrt() * reach + sum) * 1.001;
    let total: f64 = rounded.iter().map(|w| f64::from(*w)).sum();
    let offset = constant + off - f64::from(HIGHEST) * factor * total;
    // Rounded to the nearest whole number of units: a half is added, and a little for f32.
    let (scale, offset) = ((factor * UNITS) as f32, (offset * UNITS + 0.52) as f32);
    Weights { chunks: rounded.as_chunks().0.as_chunks().0.to_vec(), scale, offset, lengths: Vec::new(), rest: false }
}

/// The codes of up to a segment of rows, plane by plane.
#[derive(Debug, Clone)]
pub(super) struct Codes {
    quantiser: Arc<Quantiser>,
    planes: Vec<Vec<u8>>,
}

/// Rows that are encoded together.
const TOGETHER: usize = 32;

impl Codes {
    pub(super) fn new(quantiser: Arc<Quantiser>, rows: &[f32]) -> Self {
        let mut this = Self { planes: vec![Vec::new(); quantiser.planes.len()], quantiser };
        let dimension = this.quantiser.dimension;
        this.make_room(rows.len() / dimension, true);
        for (at, rows) in rows.chunks(TOGETHER * dimension).enumerate() {
            this.write(at * TOGETHER, rows);
        }
        this
    }

    pub(super) fn quantiser(&self) -> &Arc<Quantiser> {
        &self.quantiser
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.planes.iter().map(|plane| size_of::<Vec<u8>>() + plane.capacity()).sum::<usize>()
    }

    pub(super) fn plane(&self, at: usize) -> &[u8] {
        self.planes.get(at).map_or(&[], Vec::as_slice)
    }

    /// Makes room for so many rows, or gives back what they do not need.
    pub(super) fn make_room(&mut self, rows: usize, exact: bool) {
        for (plane, shape) in self.planes.iter_mut().zip(self.quantiser.shapes()) {
            let bytes = rows.div_ceil(GROUP) * shape.bytes();
            if exact {
                plane.reserve_exact(bytes.saturating_sub(plane.len()));
            }
            plane.resize(bytes, 0);
            if plane.len() < plane.capacity() / 4 {
                plane.shrink_to(2 * bytes);
            }
        }
    }

    /// Encodes rows into the places from `first` on, for which there is room.
    pub(super) fn write(&mut self, first: usize, rows: &[f32]) {
        let quantiser = Arc::clone(&self.quantiser);
        let (dimension, width) = (quantiser.dimension, quantiser.width);
        let centred: Vec<f32> = rows
            .chunks_exact(dimension)
            .flat_map(|row| row.iter().zip(&quantiser.mean).map(|(v, mean)| v - mean))
            .collect();
        let mut turned = vec![0.0f32; centred.len() / dimension * width];
        rotate(&quantiser.rotation, width, &centred, &mut turned);
        let (mut codes, mut levels, mut errors) = (vec![0u8; width], vec![0.0f32; width], vec![0.0f32; width]);
        for (at, row) in turned.chunks_exact(width).enumerate() {
            let rounded = codes.iter_mut().zip(&mut levels).zip(&mut errors);
            for ((v, d), ((code, level), error)) in row.iter().zip(&quantiser.distances).zip(rounded) {
                *code = (v / d + 8.0).clamp(0.0, 15.0) as u8;
                *level = (f32::from(*code) - HIGHEST) * d;
                *error = v - *level;
            }
            self.put(first + at, row, &codes, &levels, &errors);
        }
    }

    fn put(&mut self, row: usize, turned: &[f32], codes: &[u8], levels: &[f32], errors: &[f32]) {
        let (group, place) = (row / GROUP, row % GROUP);
        let planes = self.quantiser.planes.iter().zip(&self.quantiser.longest);
        for (plane, (of, longest)) in self.planes.iter_mut().zip(planes) {
            let (range, shape) = (of.dimensions.clone(), of.shape());
            let block = &mut plane[group * shape.bytes()..][..shape.bytes()];
            let (bytes, numbers) = block.split_at_mut(range.len() * GROUP / 2);
            for (step, codes) in bytes.chunks_exact_mut(GROUP * STEP / 2).zip(codes[range.clone()].chunks_exact(STEP)) {
                let (low, high) = codes.split_at(STEP / 2);
                let to = &mut step[place * STEP / 2..(place + 1) * STEP / 2];
                to.iter_mut().zip(low.iter().zip(high)).for_each(|(to, (low, high))| *to = low | high << 4);
            }
            let lengths = [length(&errors[range.clone()]), length(&turned[range.end..])];
            for (length, numbers) in lengths.into_iter().zip(numbers.chunks_exact_mut(GROUP * size_of::<u16>())) {
                numbers[2 * place..2 * place + 2].copy_from_slice(&stored(length).to_le_bytes());
            }
            let reach = (length(&levels[range]) * 1.000_1) as f32;
            longest.fetch_max(reach.to_bits(), Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Embedding, ModelTag};
    use crate::gallery::kernel::{Bounds, GROUPS, Pass, dot, scan};

    fn unit(raw: &[f32]) -> Option<Vec<f32>> {
        Embedding::new(raw, ModelTag::new("m")).ok().map(|e| e.values().to_vec())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        /// The law on which everything rests, for galleries unlike those that were learnt from.
        #[test]
        fn no_bound_is_below_the_dot_product(
            dimension in 1usize..300,
            values in proptest::collection::vec(-1.0f32..1.0, 2000),
            kind in 0usize..5,
            learnt in 0usize..80,
        ) {
            let make = |n: usize, kind: usize| {
                let raw: Vec<f32> = (0..dimension).map(|d| {
                    let v = values[(n * 131 + d * 17 + n * d) % values.len()];
                    match kind {
                        0 => v,
                        1 => 1.0 + 0.01 * v,
                        2 => f32::from(u8::from(d == n % dimension)),
                        3 => if d % 7 == 0 { v } else { 1e-4 * v },
                        _ => 1.0,
                    }
                }).collect();
                unit(&raw)
            };
            let sample: Vec<f32> = (0..learnt).filter_map(|n| make(n, kind)).flatten().collect();
            let quantiser = Arc::new(Quantiser::learn(&sample, dimension));
            let rows: Vec<Vec<f32>> = (0..45).filter_map(|n| make(n + 3, (kind + n / 16) % 5)).collect();
            let codes = Codes::new(Arc::clone(&quantiser), &rows.concat());
            for probe in rows.iter().take(4).cloned().chain((100..104).filter_map(|n| make(n, 0))) {
                let mut bounds = [Bounds { alive: [u16::MAX; GROUPS], ..Bounds::default() }];
                for (at, weights) in quantiser.prepare(&probe).into_iter().enumerate() {
                    let pass = Pass {
                        shape: quantiser.planes[at].shape(),
                        codes: codes.plane(at),
                        queries: std::slice::from_ref(&weights),
                        thresholds: &[i16::MIN],
                        first: at == 0,
                    };
                    scan(pass, &mut bounds);
                    for (n, row) in rows.iter().enumerate() {
                        // No row below the threshold is dropped, and none above it.
                        let (group, place) = (n / GROUP, n % GROUP);
                        let exact = f64::from(dot(&probe, row));
                        let mut now = bounds.clone();
                        scan(Pass { thresholds: &[(exact * UNITS).floor() as i16], ..pass }, &mut now);
                        prop_assert!(!pass.first || now[0].alive[group] >> place & 1 == 1, "plane {at} row {n}");
                        if at + 1 == quantiser.planes.len() {
                            let bound = f64::from(bounds[0].sums[group][place]) / UNITS;
                            prop_assert!(bound >= exact, "row {n}: {bound} < {exact}");
                        }
                    }
                }
            }
        }
    }
}
