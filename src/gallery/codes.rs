//! The codes of a segment of rows: sketches group by group, fine codes row by row.

use std::sync::Arc;

use super::kernel::{COARSE, FINE, GROUP, LINE, Shape, WIDTH};
use super::quantiser::{Encoded, Quantiser};
use super::slab::{Bytes, Slab};

/// Rows that are encoded together.
const TOGETHER: usize = 32;

/// The codes of up to a segment of rows.
#[derive(Clone)]
pub(super) struct Codes {
    quantiser: Arc<Quantiser>,
    sketches: Bytes,
    rows: Bytes,
    /// How much fine codes leave of each row, as [`Rests`] has it.
    rests: Bytes,
}

/// Lengths in a byte each, rounded upwards by at most 3.6 %.
#[derive(Debug)]
pub(super) struct Rests([f32; 256]);

impl Default for Rests {
    fn default() -> Self {
        Self(std::array::from_fn(|byte| (Self::MOST * ((byte as f64 - 255.0) / Self::STEPS).exp2()) as f32 * 1.000_001))
    }
}

impl Rests {
    /// Steps in which a length doubles.
    const STEPS: f64 = 20.0;
    /// The length of the highest byte: no row leaves as much.
    const MOST: f64 = 8.0;

    pub(super) fn length(&self, byte: u8) -> f32 {
        self.0[usize::from(byte)]
    }

    fn byte(length: f32) -> u8 {
        (255.0 + Self::STEPS * (f64::from(length.max(1e-9)) / Self::MOST).log2()).ceil().clamp(0.0, 255.0) as u8
    }
}

impl Codes {
    pub(super) fn new(quantiser: Arc<Quantiser>, rows: &[f32]) -> Self {
        let mut this = Self { sketches: Bytes::default(), rows: Bytes::default(), rests: Bytes::default(), quantiser };
        let dimension = this.quantiser.dimension();
        this.make_room(rows.len() / dimension, true);
        for (at, rows) in rows.chunks(TOGETHER * dimension).enumerate() {
            this.write(at * TOGETHER, rows);
        }
        this
    }

    pub(super) fn quantiser(&self) -> &Arc<Quantiser> {
        &self.quantiser
    }

    /// Group by group, for the kernels.
    pub(super) fn sketches(&self) -> &[u8] {
        &self.sketches
    }

    /// The fine codes of all rows, one after the other.
    pub(super) fn rows(&self) -> &[u8] {
        &self.rows
    }

    /// How much the fine codes leave of each row.
    pub(super) fn rests(&self) -> &[u8] {
        &self.rests
    }

    /// Bytes of memory but for slabs.
    pub(super) fn own_bytes(&self) -> usize {
        self.sketches.own_bytes() + self.rows.own_bytes() + self.rests.own_bytes()
    }

    /// The slab in which these codes are, if all of them are in one.
    pub(super) fn slab(&self) -> Option<&Arc<Slab>> {
        self.rows.slab().and(self.sketches.slab())
    }

    /// Puts the codes of several segments into one slab: first all sketches, which are read together.
    pub(super) fn gather(all: &[&Self]) -> Option<Vec<Self>> {
        let parts: [fn(&Self) -> &Bytes; 3] = [|codes| &codes.sketches, |codes| &codes.rows, |codes| &codes.rests];
        let pieces = parts.iter().flat_map(|part| all.iter().map(|codes| &**part(codes)));
        let slab = Slab::of(pieces)?;
        let mut end = 0;
        let mut place = |part: fn(&Self) -> &Bytes| -> Vec<Bytes> {
            let placed = all.iter().map(|codes| {
                let length = part(codes).len();
                end += length;
                Bytes::shared(&slab, end - length, length)
            });
            placed.collect()
        };
        let [sketches, rows, rests] = parts.map(&mut place);
        let gathered = all.iter().zip(sketches).zip(rows).zip(rests).map(|(((codes, sketches), rows), rests)| Self {
            quantiser: Arc::clone(&codes.quantiser),
            sketches,
            rows,
            rests,
        });
        Some(gathered.collect())
    }

    /// Makes room for so many rows, or gives back what they do not need.
    pub(super) fn make_room(&mut self, rows: usize, exact: bool) {
        let sketches = rows.div_ceil(GROUP) * self.quantiser.shape().bytes();
        let codes = rows * self.quantiser.row_bytes();
        let rests = if codes > 0 { rows } else { 0 };
        for (bytes, length) in [(&mut self.sketches, sketches), (&mut self.rows, codes), (&mut self.rests, rests)] {
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

    /// Encodes rows into the places from `first` on, for which there is room.
    pub(super) fn write(&mut self, first: usize, rows: &[f32]) {
        let quantiser = Arc::clone(&self.quantiser);
        let (shape, row_bytes) = (quantiser.shape(), quantiser.row_bytes());
        let (sketches, codes, rests) = (self.sketches.to_mut(), self.rows.to_mut(), self.rests.to_mut());
        quantiser.encode(rows, |at, row| {
            let at = first + at;
            put_sketch(&mut sketches[at / GROUP * shape.bytes()..][..shape.bytes()], at % GROUP, shape, row);
            if row_bytes > 0 {
                put_codes(&mut codes[at * row_bytes..][..row_bytes], &row.codes);
                rests[at] = Rests::byte(row.rest);
            }
        });
    }
}

/// Writes a row's sketch into its lanes of a group.
fn put_sketch(group: &mut [u8], row: usize, shape: Shape, encoded: &Encoded) {
    let (fine, rest) = group.split_at_mut(shape.fine * LINE);
    let (coarse, lengths) = rest.split_at_mut(shape.coarse * LINE);
    let (first, others) = encoded.sketch.split_at(shape.fine * FINE);
    put_fields::<FINE>(fine, row, first, 4);
    put_fields::<COARSE>(coarse, row, others, 2);
    lengths[2 * row..2 * row + 2].copy_from_slice(&encoded.length.to_le_bytes());
}

/// Of each axis a field of some bits: four bytes of a line hold a row's fields of `AXES` axes, the first four
/// in the lowest bits.
fn put_fields<const AXES: usize>(lines: &mut [u8], row: usize, codes: &[u8], bits: usize) {
    for (line, codes) in lines.chunks_exact_mut(LINE).zip(codes.chunks_exact(AXES)) {
        let mut lane = [0u8; 4];
        for (at, codes) in codes.as_chunks::<4>().0.iter().enumerate() {
            lane.iter_mut().zip(codes).for_each(|(to, code)| *to |= code << (bits * at));
        }
        line[4 * row..4 * row + 4].copy_from_slice(&lane);
    }
}

/// Writes a row's fine codes, four bits each where there is no room for a byte.
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
    use crate::gallery::kernel::{Bounds, Pass, dot, scan, sums};
    use crate::gallery::quantiser::BOUNDS;

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
            gathered: bool,
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
            let mut codes = Codes::new(Arc::clone(&quantiser), &rows.concat());
            if gathered {
                let other = Codes::new(Arc::clone(&quantiser), &rows[0]);
                codes = Codes::gather(&[&other, &codes]).unwrap().remove(1);
            }
            let rests = Rests::default();
            for probe in rows.iter().take(4).cloned().chain((100..104).filter_map(|n| make(n, 0))) {
                let query = quantiser.prepare(&probe);
                let mut bounds = vec![0; rows.len().next_multiple_of(GROUP)];
                let mut results = [Bounds { rows: &mut bounds, highest: 0 }];
                let queries = std::slice::from_ref(&query.sketch);
                scan(Pass { shape: quantiser.shape(), sketches: codes.sketches(), queries }, &mut results);
                let mut fine = Vec::new();
                let exact = rows.iter().map(|row| dot(&probe, row));
                for (bound, exact) in bounds.iter().zip(exact) {
                    prop_assert!(*bound == 255 || f32::from(*bound) / BOUNDS >= exact, "{bound} {exact}");
                }
                if quantiser.row_bytes() == 0 {
                    continue;
                }
                sums(codes.rows(), quantiser.row_bytes(), &query.weights, &(0..rows.len() as u16).collect::<Vec<_>>(), &mut fine);
                for ((row, fine), rest) in rows.iter().zip(&fine).zip(codes.rests()) {
                    let exact = dot(&probe, row);
                    prop_assert!(query.bound(*fine, rests.length(*rest)) >= exact, "{exact}");
                }
            }
        }
    }
}
