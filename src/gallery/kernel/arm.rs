//! The kernel for 64-bit ARM: NEON.
#![expect(unsafe_code, reason = "vector instructions: each is called only where the processor was asked for it")]

use std::arch::aarch64::*;

use super::{Bounds, CHUNK, GROUP, Pass, STEP, STEP_BYTES, Weights};

pub(super) fn has_neon() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
}

/// Needs [`has_neon`].
pub(super) fn scan(pass: Pass<'_>, results: &mut [Bounds]) {
    #[target_feature(enable = "neon")]
    fn inner(pass: Pass<'_>, results: &mut [Bounds]) {
        for ((query, &threshold), result) in pass.queries.iter().zip(pass.thresholds).zip(results) {
            let groups = result.sums.iter_mut().zip(&mut result.alive);
            for (block, (sums, alive)) in pass.codes.chunks_exact(pass.shape.bytes()).zip(groups) {
                if *alive != 0 {
                    *alive &= add(pass.first, query, block, sums, threshold);
                }
            }
        }
    }
    debug_assert!(has_neon());
    // SAFETY: the caller has asked the processor.
    unsafe { inner(pass, results) }
}

/// Adds a group's plane to its sums; the rows whose bounds reach the threshold.
#[inline]
#[target_feature(enable = "neon")]
fn add(first: bool, query: &Weights, block: &[u8], sums: &mut [i16; GROUP], threshold: i16) -> u16 {
    let (codes, lengths) = block.split_at(query.chunks.len() * CHUNK * STEP_BYTES);
    let mut totals = [vdupq_n_s32(0); 4];
    for (bytes, weights) in codes.as_chunks::<STEP_BYTES>().0.iter().zip(query.chunks.iter().flatten()) {
        let (low, high) = halves(weights);
        for (total, bytes) in totals.iter_mut().zip(bytes.as_chunks::<16>().0) {
            // SAFETY: 16 bytes are there, and the load asks for no alignment.
            let bytes = unsafe { vld1q_u8(bytes.as_ptr()) };
            let first = vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15)));
            let second = vreinterpretq_s8_u8(vshrq_n_u8::<4>(bytes));
            let left = vmlal_s8(vmull_s8(vget_low_s8(first), low), vget_low_s8(second), high);
            let right = vmlal_s8(vmull_s8(vget_high_s8(first), low), vget_high_s8(second), high);
            *total = vpadalq_s16(*total, vpaddq_s16(left, right));
        }
    }
    let (scale, offset) = (vdupq_n_f32(query.scale), vdupq_n_f32(query.offset));
    // A product and a sum, each rounded: not one fused operation, which would round once.
    let parts = totals.map(|t| vqmovn_s32(vcvtnq_s32_f32(vaddq_f32(vmulq_f32(vcvtq_f32_s32(t), scale), offset))));
    let kept = query.lengths.len() - usize::from(query.rest);
    let mut alive = 0;
    for half in 0..2 {
        let mut sum = vcombine_s16(parts[2 * half], parts[2 * half + 1]);
        let sums = &mut sums[8 * half..8 * half + 8];
        if !first {
            // SAFETY: eight numbers of 16 bits are there, and the load asks for no alignment.
            sum = vqaddq_s16(unsafe { vld1q_s16(sums.as_ptr()) }, sum);
        }
        let mut bound = sum;
        for (at, (lengths, weight)) in lengths.as_chunks::<32>().0.iter().zip(&query.lengths).enumerate() {
            let own: [u8; 16] = lengths[16 * half..].first_chunk().copied().unwrap_or_default();
            // SAFETY: 16 bytes are there, and the load asks for no alignment.
            let own = vreinterpretq_u16_u8(unsafe { vld1q_u8(own.as_ptr()) });
            bound = vqaddq_s16(bound, vreinterpretq_s16_u16(high_half(own, *weight)));
            if at < kept {
                sum = bound;
            }
        }
        // SAFETY: eight numbers of 16 bits are there, and the store asks for no alignment.
        unsafe { vst1q_s16(sums.as_mut_ptr(), sum) };
        let mut bounds = [0i16; 8];
        // SAFETY: as above.
        unsafe { vst1q_s16(bounds.as_mut_ptr(), bound) };
        for (row, bound) in bounds.iter().enumerate() {
            alive |= u16::from(*bound >= threshold) << (8 * half + row);
        }
    }
    alive
}

/// The first four weights of a step twice, and the last four twice.
#[inline]
#[target_feature(enable = "neon")]
fn halves(weights: &[i8; STEP]) -> (int8x8_t, int8x8_t) {
    // SAFETY: eight bytes are there.
    let both = vreinterpret_s32_s8(unsafe { vld1_s8(weights.as_ptr()) });
    (vreinterpret_s8_s32(vdup_lane_s32::<0>(both)), vreinterpret_s8_s32(vdup_lane_s32::<1>(both)))
}

#[inline]
#[target_feature(enable = "neon")]
fn high_half(a: uint16x8_t, b: u16) -> uint16x8_t {
    let low = vshrn_n_u32::<16>(vmull_n_u16(vget_low_u16(a), b));
    vcombine_u16(low, vshrn_n_u32::<16>(vmull_n_u16(vget_high_u16(a), b)))
}
