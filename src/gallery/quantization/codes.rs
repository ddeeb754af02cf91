//! The codes of a segment: sketches group by group, fine codes row by row.

use std::sync::Arc;

use super::huge_pages::{Bytes, HugePages};
use super::quantizer::{EncodedRow, Quantizer};
use crate::gallery::kernel::{COARSE, FINE, GROUP, LINE, Shape, WIDTH};

/// Rows that are encoded at once.
const ENCODED_ROWS: usize = 32;

/// The codes of the rows of one segment.
#[derive(Clone)]
pub(in crate::gallery) struct Codes {
    quantizer: Arc<Quantizer>,
    sketches: Bytes,
    fine_codes: Bytes,
    /// One byte a row, decoded by [`ResidualNorms`].
    residual_norms: Bytes,
}

/// Decodes residual norms that are stored in one byte each, rounded up by at most 3.6 %.
#[derive(Debug)]
pub(in crate::gallery) struct ResidualNorms([f32; 256]);

impl Default for ResidualNorms {
    fn default() -> Self {
        Self(std::array::from_fn(|byte| {
            (Self::LARGEST * ((byte as f64 - 255.0) / Self::STEPS).exp2()) as f32 * 1.000_001
        }))
    }
}

impl ResidualNorms {
    /// Steps in which a norm doubles.
    const STEPS: f64 = 20.0;
    /// The norm of the highest byte; no residual is as long.
    const LARGEST: f64 = 8.0;

    pub(in crate::gallery) fn norm(&self, byte: u8) -> f32 {
        self.0[usize::from(byte)]
    }

    fn byte(norm: f32) -> u8 {
        (255.0 + Self::STEPS * (f64::from(norm.max(1e-9)) / Self::LARGEST).log2()).ceil().clamp(0.0, 255.0) as u8
    }
}

impl Codes {
    pub(in crate::gallery) fn new(quantizer: Arc<Quantizer>, rows: &[f32]) -> Self {
        let mut this = Self {
            sketches: Bytes::default(),
            fine_codes: Bytes::default(),
            residual_norms: Bytes::default(),
            quantizer,
        };
        let dimension = this.quantizer.dimension();
        this.make_room(rows.len() / dimension, true);
        for (at, rows) in rows.chunks(ENCODED_ROWS * dimension).enumerate() {
            this.write(at * ENCODED_ROWS, rows);
        }
        this
    }

    pub(in crate::gallery) fn quantizer(&self) -> &Arc<Quantizer> {
        &self.quantizer
    }

    /// Group by group, for the kernels.
    pub(in crate::gallery) fn sketches(&self) -> &[u8] {
        &self.sketches
    }

    /// The fine codes of all rows, one after the other.
    pub(in crate::gallery) fn fine_codes(&self) -> &[u8] {
        &self.fine_codes
    }

    /// The residual norm of each row's fine codes, a byte each.
    pub(in crate::gallery) fn residual_norms(&self) -> &[u8] {
        &self.residual_norms
    }

    /// Bytes of memory, without mappings.
    pub(in crate::gallery) fn own_bytes(&self) -> usize {
        self.sketches.own_bytes() + self.fine_codes.own_bytes() + self.residual_norms.own_bytes()
    }

    /// The mapping that holds these codes, if one holds all of them.
    pub(in crate::gallery) fn pages(&self) -> Option<&Arc<HugePages>> {
        self.fine_codes.pages().and(self.sketches.pages())
    }

    /// Copies the codes of several segments into one mapping: first all sketches, which are read sequentially.
    pub(in crate::gallery) fn pack(all: &[&Self]) -> Option<Vec<Self>> {
        let parts: [fn(&Self) -> &Bytes; 3] =
            [|codes| &codes.sketches, |codes| &codes.fine_codes, |codes| &codes.residual_norms];
        let pieces = parts.iter().flat_map(|part| all.iter().map(|codes| &**part(codes)));
        let pages = HugePages::copy(pieces)?;
        let mut end = 0;
        let mut place = |part: fn(&Self) -> &Bytes| -> Vec<Bytes> {
            let placed = all.iter().map(|codes| {
                let length = part(codes).len();
                end += length;
                Bytes::shared(&pages, end - length, length)
            });
            placed.collect()
        };
        let [sketches, fine_codes, residual_norms] = parts.map(&mut place);
        let packed = all.iter().zip(sketches).zip(fine_codes).zip(residual_norms).map(
            |(((codes, sketches), fine_codes), residual_norms)| Self {
                quantizer: Arc::clone(&codes.quantizer),
                sketches,
                fine_codes,
                residual_norms,
            },
        );
        Some(packed.collect())
    }

    /// Resizes for a number of rows, and gives memory back that they do not need.
    pub(in crate::gallery) fn make_room(&mut self, rows: usize, exact: bool) {
        let sketches = rows.div_ceil(GROUP) * self.quantizer.shape().bytes();
        let codes = rows * self.quantizer.row_bytes();
        let residual_norms = if codes > 0 { rows } else { 0 };
        for (bytes, length) in
            [(&mut self.sketches, sketches), (&mut self.fine_codes, codes), (&mut self.residual_norms, residual_norms)]
        {
            if bytes.len() == length {
                continue;
            }
            let bytes = bytes.to_mut();
            if exact {
                bytes.reserve_exact(length.saturating_sub(bytes.len()));
            }
            bytes.resize(length, 0);
            if bytes.len() < bytes.capacity() / 4 {
                bytes.shrink_to(2 * length);
            }
        }
    }

    /// Encodes rows into the places from `first` on, which must exist.
    pub(in crate::gallery) fn write(&mut self, first: usize, rows: &[f32]) {
        let quantizer = Arc::clone(&self.quantizer);
        let shape = quantizer.shape();
        let row_bytes = quantizer.row_bytes();
        let (sketches, codes, residual_norms) =
            (self.sketches.to_mut(), self.fine_codes.to_mut(), self.residual_norms.to_mut());
        quantizer.encode(rows, |at, row| {
            let at = first + at;
            put_sketch(&mut sketches[at / GROUP * shape.bytes()..][..shape.bytes()], at % GROUP, shape, row);
            if row_bytes > 0 {
                put_codes(&mut codes[at * row_bytes..][..row_bytes], &row.codes);
                residual_norms[at] = ResidualNorms::byte(row.residual_norm);
            }
        });
    }
}

/// Writes a row's sketch into its lanes of a group.
fn put_sketch(group: &mut [u8], row: usize, shape: Shape, encoded: &EncodedRow) {
    let (fine, rest) = group.split_at_mut(shape.fine * LINE);
    let (coarse, norms) = rest.split_at_mut(shape.coarse * LINE);
    let (first, others) = encoded.sketch.split_at(shape.fine * FINE);
    put_fields::<FINE>(fine, row, first, 4);
    put_fields::<COARSE>(coarse, row, others, 2);
    norms[2 * row..2 * row + 2].copy_from_slice(&encoded.sketch_norm.to_le_bytes());
}

/// Each axis has a field of `bits` bits: four bytes of a line hold a row's fields of `AXES` axes, the first four in the
/// lowest bits.
fn put_fields<const AXES: usize>(lines: &mut [u8], row: usize, codes: &[u8], bits: usize) {
    for (line, codes) in lines.chunks_exact_mut(LINE).zip(codes.chunks_exact(AXES)) {
        let mut lane = [0u8; 4];
        for (at, codes) in codes.as_chunks::<4>().0.iter().enumerate() {
            lane.iter_mut().zip(codes).for_each(|(to, code)| *to |= code << (bits * at));
        }
        line[4 * row..4 * row + 4].copy_from_slice(&lane);
    }
}

/// Writes a row's fine codes, four bits each where a byte each does not fit.
fn put_codes(to: &mut [u8], codes: &[u8]) {
    if to.len() == codes.len() {
        return to.copy_from_slice(codes);
    }
    for (to, codes) in to.chunks_exact_mut(WIDTH / 2).zip(codes.chunks_exact(WIDTH)) {
        let (low, high) = codes.split_at(WIDTH / 2);
        to.iter_mut().zip(low.iter().zip(high)).for_each(|(to, (low, high))| *to = low | high << 4);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Embedding, ModelTag};
    use crate::gallery::kernel::{Bounds, Pass, dot, fine_code_sums, scan};
    use crate::gallery::quantization::BOUNDS;

    fn unit(raw: &[f32]) -> Option<Vec<f32>> {
        Embedding::new(raw, ModelTag::new("m")).ok().map(|e| e.values().to_vec())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        /// The law on which everything residual_norms, for galleries unlike those that were learned from.
        #[test]
        fn no_bound_is_below_the_dot_product(
            dimension in 1usize..300,
            values in proptest::collection::vec(-1.0f32..1.0, 2000),
            kind in 0usize..5,
            learned in 0usize..80,
            packed: bool,
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
            let sample: Vec<f32> = (0..learned).filter_map(|n| make(n, kind)).flatten().collect();
            let quantizer = Arc::new(Quantizer::learn(&sample, dimension));
            let rows: Vec<Vec<f32>> = (0..45).filter_map(|n| make(n + 3, (kind + n / 16) % 5)).collect();
            let mut codes = Codes::new(Arc::clone(&quantizer), &rows.concat());
            if packed {
                let other = Codes::new(Arc::clone(&quantizer), &rows[0]);
                codes = Codes::pack(&[&other, &codes]).unwrap().remove(1);
            }
            let norms = ResidualNorms::default();
            for probe in rows.iter().take(4).cloned().chain((100..104).filter_map(|n| make(n, 0))) {
                let query = quantizer.prepare(&probe);
                let mut bounds = vec![0; rows.len().next_multiple_of(GROUP)];
                let mut results = [Bounds { rows: &mut bounds, highest: 0 }];
                let queries = std::slice::from_ref(&query.sketch);
                scan(Pass { shape: quantizer.shape(), sketches: codes.sketches(), queries }, &mut results);
                let mut fine = Vec::new();
                let exact = rows.iter().map(|row| dot(&probe, row));
                for (bound, exact) in bounds.iter().zip(exact) {
                    prop_assert!(*bound == 255 || f32::from(*bound) / BOUNDS >= exact, "{bound} {exact}");
                }
                if quantizer.row_bytes() == 0 {
                    continue;
                }
                fine_code_sums(codes.fine_codes(), quantizer.row_bytes(), &query.weights, &(0..rows.len() as u16).collect::<Vec<_>>(), &mut fine);
                for ((row, fine), byte) in rows.iter().zip(&fine).zip(codes.residual_norms()) {
                    let exact = dot(&probe, row);
                    prop_assert!(query.bound(*fine, norms.norm(*byte)) >= exact, "{exact}");
                }
            }
        }
    }
}
