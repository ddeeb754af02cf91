//! The reference kernels in plain code. The other kernels must compute the same integers.

use super::{Bounds, COARSE, FINE, GROUP, LINE, Pass, UNITS_PER_BOUND, WIDTH, Weights};

pub(super) fn scan(pass: Pass<'_>, results: &mut [Bounds<'_>]) {
    for (query, result) in pass.queries.iter().zip(results) {
        result.highest = 0;
        let groups = result.rows.chunks_exact_mut(GROUP);
        for (group, bounds) in pass.sketches.chunks_exact(pass.shape.bytes()).zip(groups) {
            for (row, bound) in bounds.iter_mut().enumerate() {
                *bound = bound_of(pass, query, group, row);
                result.highest = result.highest.max(*bound);
            }
        }
    }
}

fn bound_of(pass: Pass<'_>, query: &Weights, group: &[u8], row: usize) -> u8 {
    let (lines, norms) = group.split_at((pass.shape.fine + pass.shape.coarse) * LINE);
    let (fine, coarse) = lines.split_at(pass.shape.fine * LINE);
    let (first, others) = query.quads.split_at(pass.shape.fine * FINE / 4);
    let total = products::<4, { FINE / 4 }>(fine, row, first) + products::<2, { COARSE / 4 }>(coarse, row, others);
    let sum = (total as f32 * query.scale + query.offset).round_ties_even() as i32;
    let norm = u16::from_le_bytes([norms[2 * row], norms[2 * row + 1]]);
    let sum = sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
    let units = sum.saturating_add(((u32::from(norm) * u32::from(query.norm)) >> 16) as i16);
    (units.saturating_add(UNITS_PER_BOUND - 1) / UNITS_PER_BOUND).clamp(0, u8::MAX.into()) as u8
}

/// Sums of products: each byte of a row's lane holds `QUADS` fields of `BITS` bits, one for each quad of weights.
fn products<const BITS: usize, const QUADS: usize>(lines: &[u8], row: usize, quads: &[[i8; 4]]) -> i32 {
    let mut total = 0;
    for (line, quads) in lines.chunks_exact(LINE).zip(quads.chunks_exact(QUADS)) {
        for (at, quad) in quads.iter().enumerate() {
            for (byte, weight) in line[4 * row..].iter().zip(quad) {
                total += i32::from(byte >> (BITS * at) & ((1 << BITS) - 1)) * i32::from(*weight);
            }
        }
    }
    total
}

pub(super) fn sums(codes: &[u8], row_bytes: usize, weights: &[i8], rows: &[u16], sums: &mut Vec<i32>) {
    sums.extend(rows.iter().map(|row| {
        let codes = &codes[usize::from(*row) * row_bytes..][..row_bytes];
        if row_bytes == weights.len() {
            return codes.iter().zip(weights).map(|(code, weight)| i32::from(*code) * i32::from(*weight)).sum();
        }
        let halves = codes.chunks_exact(WIDTH / 2).zip(weights.chunks_exact(WIDTH));
        halves.fold(0i32, |total, (codes, weights)| {
            let (low, high) = weights.split_at(WIDTH / 2);
            codes.iter().zip(low.iter().zip(high)).fold(total, |total, (code, (low, high))| {
                total + i32::from(code & 15) * i32::from(*low) + i32::from(code >> 4) * i32::from(*high)
            })
        })
    }));
}
