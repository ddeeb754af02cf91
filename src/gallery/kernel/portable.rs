//! What a pass computes, in plain code. The other implementations must agree with it.

use super::{BUNDLE, GROUP, Pass, Results, STEP, STEP_BYTES, Weights, each_group};

pub(super) fn scan(pass: Pass<'_>, results: Results<'_>) {
    each_group(pass, |group, block, error| {
        for (bundle, thresholds) in pass.thresholds.chunks(BUNDLE).enumerate() {
            let first = bundle * BUNDLE;
            if results.is_alive(group, first, thresholds) {
                for (query, weights) in pass.queries.iter().enumerate().skip(first).take(BUNDLE) {
                    let at = query * results.groups + group;
                    results.tops[at] = bound(weights, block, error, pass.last, &mut results.sums[at]);
                }
            }
        }
    });
}

/// Adds a group's plane to its sums; the best bound.
fn bound(query: &Weights, block: &[u8], error: u16, last: bool, sums: &mut [i16; GROUP]) -> i16 {
    let (codes, errors) = block.split_at(query.steps.len() * STEP_BYTES);
    let mut best = i16::MIN;
    for (row, sum) in sums.iter_mut().enumerate() {
        let mut products = 0i32;
        for (step, weights) in codes.chunks_exact(STEP_BYTES).zip(&query.steps) {
            let (low, high) = weights.split_at(STEP / 2);
            for ((byte, low), high) in step[row * STEP / 2..].iter().zip(low).zip(high) {
                products += i32::from(byte & 15) * i32::from(*low) + i32::from(byte >> 4) * i32::from(*high);
            }
        }
        let part = (products as f32 * query.scale + query.offset).round_ties_even() as i32;
        *sum = sum.saturating_add(part.clamp(i16::MIN.into(), i16::MAX.into()) as i16);
        let own = u16::from_le_bytes([errors[2 * row], errors[2 * row + 1]]);
        let penalty = high_half(own, query.row).saturating_add(high_half(error, query.group)).saturating_add(2);
        let bound = sum.saturating_add(penalty.min(i16::MAX as u16) as i16);
        best = best.max(bound);
        if last {
            *sum = bound;
        }
    }
    best
}

fn high_half(a: u16, b: u16) -> u16 {
    ((u32::from(a) * u32::from(b)) >> 16) as u16
}
