//! The kernel for 64-bit ARM: NEON.
#![expect(unsafe_code, reason = "vector instructions: each is called only where the processor was asked for it")]

use std::arch::aarch64::*;

use super::{BUNDLE, GROUP, Pass, Results, STEP, STEP_BYTES, Weights, each_group};

pub(super) fn has_neon() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
}

/// Needs [`has_neon`].
pub(super) fn scan(pass: Pass<'_>, results: Results<'_>) {
    #[target_feature(enable = "neon")]
    fn inner(pass: Pass<'_>, results: Results<'_>) {
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
    debug_assert!(has_neon());
    // SAFETY: the caller has asked the processor.
    unsafe { inner(pass, results) }
}

#[inline]
#[target_feature(enable = "neon")]
fn bound(query: &Weights, block: &[u8], error: u16, last: bool, sums: &mut [i16; GROUP]) -> i16 {
    let (codes, errors) = block.split_at(query.steps.len() * STEP_BYTES);
    let mut totals = [vdupq_n_s32(0); 4];
    for (bytes, weights) in codes.as_chunks::<STEP_BYTES>().0.iter().zip(&query.steps) {
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
    let mut best = i16::MIN;
    for half in 0..2 {
        let part = vcombine_s16(parts[2 * half], parts[2 * half + 1]);
        let sums = &mut sums[8 * half..8 * half + 8];
        let own: [u8; 16] = errors[16 * half..].first_chunk().copied().unwrap_or_default();
        // SAFETY: eight numbers of 16 bits are there, and neither load nor store asks for alignment.
        let (before, own) = unsafe { (vld1q_s16(sums.as_ptr()), vreinterpretq_u16_u8(vld1q_u8(own.as_ptr()))) };
        let now = vqaddq_s16(before, part);
        let penalty = vqaddq_u16(
            vqaddq_u16(high_half(own, query.row), high_half(vdupq_n_u16(error), query.group)),
            vdupq_n_u16(2),
        );
        let bound = vqaddq_s16(now, vreinterpretq_s16_u16(vminq_u16(penalty, vdupq_n_u16(i16::MAX as u16))));
        // SAFETY: as above.
        unsafe { vst1q_s16(sums.as_mut_ptr(), if last { bound } else { now }) };
        best = best.max(vmaxvq_s16(bound));
    }
    best
}

/// The weights of a step: those of the low halves twice, and those of the high halves twice.
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
