//! What a pass computes, in plain code. The other implementations must agree with it.

use super::{Bounds, CHUNK, GROUP, Pass, STEP, STEP_BYTES, Weights};

pub(super) fn scan(pass: Pass<'_>, results: &mut [Bounds]) {
    for ((query, &threshold), result) in pass.queries.iter().zip(pass.thresholds).zip(results) {
        let groups = result.sums.iter_mut().zip(&mut result.alive);
        for (block, (sums, alive)) in pass.codes.chunks_exact(pass.shape.bytes()).zip(groups) {
            if *alive == 0 {
                continue;
            }
            if pass.first {
                *sums = [0; GROUP];
            }
            let bounds = add(query, block, sums);
            let dropped = (0..GROUP).filter(|&row| bounds[row] < threshold);
            *alive &= !dropped.fold(0, |bits, row| bits | 1 << row);
        }
    }
}

/// Adds a group's plane to its sums; the bounds.
fn add(query: &Weights, block: &[u8], sums: &mut [i16; GROUP]) -> [i16; GROUP] {
    let (codes, lengths) = block.split_at(query.chunks.len() * CHUNK * STEP_BYTES);
    std::array::from_fn(|row| {
        let mut total = 0i32;
        for (step, weights) in codes.chunks_exact(STEP_BYTES).zip(query.chunks.iter().flatten()) {
            let (low, high) = weights.split_at(STEP / 2);
            for ((byte, low), high) in step[4 * row..].iter().zip(low).zip(high) {
                total += i32::from(byte & 15) * i32::from(*low) + i32::from(byte >> 4) * i32::from(*high);
            }
        }
        let part = (total as f32 * query.scale + query.offset).round_ties_even() as i32;
        let mut sum = sums[row].saturating_add(part.clamp(i16::MIN.into(), i16::MAX.into()) as i16);
        let mut bound = sum;
        for (at, weight) in query.lengths.iter().enumerate() {
            let place = 2 * (at * GROUP + row);
            let length = u16::from_le_bytes([lengths[place], lengths[place + 1]]);
            bound = bound.saturating_add(((u32::from(length) * u32::from(*weight)) >> 16) as i16);
            if !(query.rest && at + 1 == query.lengths.len()) {
                sum = bound;
            }
        }
        sums[row] = sum;
        bound
    })
}
