//! The kernels for 64-bit ARM: NEON.
#![expect(unsafe_code, reason = "vector instructions: each is called only where the processor was asked for it")]

use std::arch::aarch64::*;

use super::{Bounds, COARSE, FINE, GROUP, LINE, Pass, UNITS_PER_BOUND, WIDTH, Weights};

pub(super) fn has_neon() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
}

/// Needs [`has_neon`].
pub(super) fn scan(pass: Pass<'_>, results: &mut [Bounds<'_>]) {
    #[target_feature(enable = "neon")]
    fn inner(pass: Pass<'_>, results: &mut [Bounds<'_>]) {
        for (query, result) in pass.queries.iter().zip(results) {
            result.highest = 0;
            let groups = result.rows.as_chunks_mut::<GROUP>().0;
            for (group, bounds) in pass.sketches.chunks_exact(pass.shape.bytes()).zip(groups) {
                bound(pass, query, group, bounds);
                result.highest = bounds.iter().fold(result.highest, |highest, bound| highest.max(*bound));
            }
        }
    }
    debug_assert!(has_neon());
    // SAFETY: the caller has asked the processor.
    unsafe { inner(pass, results) }
}

#[inline]
#[target_feature(enable = "neon")]
fn bound(pass: Pass<'_>, query: &Weights, group: &[u8], bounds: &mut [u8; GROUP]) {
    let (lines, norms) = group.as_chunks::<LINE>();
    let (fine, coarse) = lines.split_at(pass.shape.fine);
    let (first, others) = query.quads.split_at(pass.shape.fine * FINE / 4);
    let mut totals = add_lines::<4, { FINE / 4 }>(fine, first.as_chunks().0);
    for (total, more) in totals.iter_mut().zip(add_lines::<2, { COARSE / 4 }>(coarse, others.as_chunks().0)) {
        *total = vaddq_s32(*total, more);
    }
    let scale = vdupq_n_f32(query.scale);
    let offset = vdupq_n_f32(query.offset);
    // A product and a sum, each rounded: not one fused operation, which would round once.
    let parts = totals.map(|t| vqmovn_s32(vcvtnq_s32_f32(vaddq_f32(vmulq_f32(vcvtq_f32_s32(t), scale), offset))));
    let halves = bounds.as_chunks_mut::<8>().0.iter_mut().zip(norms.as_chunks::<16>().0);
    for (half, (bounds, norms)) in halves.enumerate() {
        let sum = vcombine_s16(parts[2 * half], parts[2 * half + 1]);
        let norms = vreinterpretq_u16_u8(load(norms));
        let units = vqaddq_s16(sum, vreinterpretq_s16_u16(high_half(norms, query.norm)));
        let units = vqaddq_s16(units, vdupq_n_s16(UNITS_PER_BOUND - 1));
        let bound = vqshrun_n_s16::<{ UNITS_PER_BOUND.trailing_zeros() as i32 }>(units);
        // SAFETY: eight bytes are there, and the store asks for no alignment.
        unsafe { vst1_u8(bounds.as_mut_ptr(), bound) };
    }
}

/// Lines whose products fit into 16 bits together: 8 lines of 2 times 15 x 127, or of 4 times 3 x 127.
const CHUNK: usize = 8;

/// Sums of products of each row, four rows in each of four registers.
#[inline]
#[target_feature(enable = "neon")]
fn add_lines<const BITS: i8, const QUADS: usize>(lines: &[[u8; LINE]], quads: &[[[i8; 4]; QUADS]]) -> [int32x4_t; 4] {
    let mut totals = [vdupq_n_s32(0); 4];
    let mask = vdupq_n_u8((1u8 << BITS) - 1);
    for (lines, quads) in lines.chunks(CHUNK).zip(quads.chunks(CHUNK)) {
        let mut sums = [[vdupq_n_s16(0); 2]; 4];
        for (line, quads) in lines.iter().zip(quads) {
            for (sums, bytes) in sums.iter_mut().zip(line.as_chunks::<16>().0) {
                let mut bytes = load(bytes);
                for quad in quads {
                    let weights = vreinterpret_s8_s32(vdup_n_s32(i32::from_le_bytes(quad.map(|w| w as u8))));
                    let field = vreinterpretq_s8_u8(vandq_u8(bytes, mask));
                    bytes = vshlq_u8(bytes, vdupq_n_s8(-BITS));
                    sums[0] = vmlal_s8(sums[0], vget_low_s8(field), weights);
                    sums[1] = vmlal_s8(sums[1], vget_high_s8(field), weights);
                }
            }
        }
        for (total, [first, second]) in totals.iter_mut().zip(sums) {
            // First to 32 bits, then neighbours: two sums of pairs are a row's.
            *total = vaddq_s32(*total, vpaddq_s32(vpaddlq_s16(first), vpaddlq_s16(second)));
        }
    }
    totals
}

#[inline]
#[target_feature(enable = "neon")]
fn high_half(a: uint16x8_t, b: u16) -> uint16x8_t {
    let low = vshrn_n_u32::<16>(vmull_n_u16(vget_low_u16(a), b));
    vcombine_u16(low, vshrn_n_u32::<16>(vmull_n_u16(vget_high_u16(a), b)))
}

/// Needs [`has_neon`].
pub(super) fn sums(codes: &[u8], row_bytes: usize, weights: &[i8], rows: &[u16], sums: &mut Vec<i32>) {
    #[target_feature(enable = "neon")]
    fn inner(codes: &[u8], row_bytes: usize, weights: &[i8], rows: &[u16], sums: &mut Vec<i32>) {
        for row in rows {
            let codes = &codes[usize::from(*row) * row_bytes..][..row_bytes];
            let mut total = vdupq_n_s32(0);
            if row_bytes == weights.len() {
                for (codes, weights) in codes.as_chunks().0.iter().zip(weights.as_chunks().0) {
                    total = add_products(total, load(codes), weights);
                }
            } else {
                for (codes, weights) in codes.as_chunks::<{ WIDTH / 2 }>().0.iter().zip(weights.as_chunks::<WIDTH>().0)
                {
                    let (low, high) = weights.split_at(WIDTH / 2);
                    let weights = low.as_chunks().0.iter().zip(high.as_chunks().0);
                    for (codes, (low, high)) in codes.as_chunks().0.iter().zip(weights) {
                        let codes = load(codes);
                        total = add_products(total, vandq_u8(codes, vdupq_n_u8(15)), low);
                        total = add_products(total, vshrq_n_u8::<4>(codes), high);
                    }
                }
            }
            sums.push(vaddvq_s32(total));
        }
    }
    debug_assert!(has_neon());
    // SAFETY: the caller has asked the processor.
    unsafe { inner(codes, row_bytes, weights, rows, sums) }
}

#[inline]
#[target_feature(enable = "neon")]
fn load(bytes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: 16 bytes are there, and the load asks for no alignment.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

/// Adds products of codes below 128 with weights.
#[inline]
#[target_feature(enable = "neon")]
fn add_products(total: int32x4_t, codes: uint8x16_t, weights: &[i8; 16]) -> int32x4_t {
    let codes = vreinterpretq_s8_u8(codes);
    // SAFETY: 16 bytes are there, and the load asks for no alignment.
    let weights = unsafe { vld1q_s8(weights.as_ptr()) };
    let first = vmull_s8(vget_low_s8(codes), vget_low_s8(weights));
    let second = vmull_s8(vget_high_s8(codes), vget_high_s8(weights));
    vpadalq_s16(vpadalq_s16(total, first), second)
}
