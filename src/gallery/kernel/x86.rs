//! The kernels for x86-64: AVX2, and AVX-512 with VNNI.
#![expect(unsafe_code, reason = "vector instructions: each is called only where the processor was asked for it")]

use std::arch::x86_64::*;

use super::{Bounds, CHUNK, GROUP, GROUPS, Pass, STEP, STEP_BYTES, Weights, dot_in_lanes, rotate_in_tiles};

pub(super) fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

pub(super) fn has_vnni() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512vnni")
        && has_avx2()
}

/// Needs [`has_avx2`].
pub(super) fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
    #[target_feature(enable = "avx2")]
    fn inner(a: &[f32], b: &[f32]) -> f32 {
        dot_in_lanes(a, b)
    }
    debug_assert!(has_avx2());
    // SAFETY: the caller has asked the processor.
    unsafe { inner(a, b) }
}

/// Needs [`has_avx2`].
pub(super) fn rotate_avx2(matrix: &[f32], width: usize, rows: &[f32], out: &mut [f32]) {
    #[target_feature(enable = "avx2")]
    fn inner(matrix: &[f32], width: usize, rows: &[f32], out: &mut [f32]) {
        rotate_in_tiles(matrix, width, rows, out);
    }
    debug_assert!(has_avx2());
    // SAFETY: the caller has asked the processor.
    unsafe { inner(matrix, width, rows, out) }
}

macro_rules! scan {
    ($(#[$doc:meta])* $name:ident, $run:ident, $has:ident, $feature:literal) => {
        $(#[$doc])*
        pub(super) fn $name(pass: Pass<'_>, results: &mut [Bounds]) {
            #[target_feature(enable = $feature)]
            fn inner(pass: Pass<'_>, results: &mut [Bounds]) {
                let queries = pass.queries.chunks(BUNDLE).zip(pass.thresholds.chunks(BUNDLE));
                for ((queries, thresholds), results) in queries.zip(results.chunks_mut(BUNDLE)) {
                    match (queries, thresholds, results) {
                        ([a], [x], [r]) => $run(pass, [a], [*x], [r]),
                        ([a, b], [x, y], [r, s]) => $run(pass, [a, b], [*x, *y], [r, s]),
                        ([a, b, c], [x, y, z], [r, s, t]) => $run(pass, [a, b, c], [*x, *y, *z], [r, s, t]),
                        _ => {}
                    }
                }
            }
            debug_assert!($has());
            // SAFETY: the caller has asked the processor.
            unsafe { inner(pass, results) }
        }
    };
}

scan! {
    /// Needs [`has_avx2`].
    scan_avx2, run_avx2, has_avx2, "avx2"
}
scan! {
    /// Needs [`has_vnni`].
    scan_vnni, run_vnni, has_vnni, "avx2,avx512f,avx512bw,avx512vnni"
}

/// Queries that are computed together: as many as there are registers for.
const BUNDLE: usize = 3;
/// How far ahead memory is asked for; the processor by itself looks less far (measured: 2.7 ms
/// instead of 3.6 ms for a million rows).
const AHEAD: usize = 2048;

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: 32 bytes are there, and the load asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Asks for the memory at an address, whatever it is.
#[inline(always)]
pub(super) fn ask_for(address: *const u8) {
    // SAFETY: a hint, which may name any address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
}

/// The first or the last four weights of a step, once for each row.
#[inline]
#[target_feature(enable = "avx2")]
fn quad<const AT: usize>(weights: &[i8; STEP]) -> __m256i {
    let four = weights.as_chunks::<4>().0.get(AT).copied().unwrap_or_default();
    _mm256_set1_epi32(i32::from_le_bytes(four.map(|w| w as u8)))
}

/// The chunks of a group, and its lengths.
#[inline(always)]
fn parts<'a>(pass: Pass<'a>, block: &'a [u8]) -> (&'a [[[u8; STEP_BYTES]; CHUNK]], &'a [[u8; 32]]) {
    let (steps, lengths) = block.split_at(pass.shape.chunks * CHUNK * STEP_BYTES);
    (steps.as_chunks().0.as_chunks().0, lengths.as_chunks().0)
}

/// The two halves of a step.
#[inline]
#[target_feature(enable = "avx2")]
fn halves(step: &[u8; STEP_BYTES]) -> [__m256i; 2] {
    ask_for(step.as_ptr().wrapping_add(AHEAD));
    match step.as_chunks::<32>().0 {
        [first, second] => [load(first), load(second)],
        _ => [_mm256_setzero_si256(); 2],
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn run_avx2<const Q: usize>(pass: Pass<'_>, queries: [&Weights; Q], thresholds: [i16; Q], results: [&mut Bounds; Q]) {
    let (mask, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    let zero = [[_mm256_setzero_si256(); 2]; Q];
    let weights = queries.map(|query| &query.chunks[..pass.shape.chunks]);
    for (group, block) in pass.codes.chunks_exact(pass.shape.bytes()).enumerate().take(GROUPS) {
        if results.iter().all(|result| result.alive[group] == 0) {
            continue;
        }
        let (chunks, lengths) = parts(pass, block);
        let mut totals = zero;
        for (at, chunk) in chunks.iter().enumerate() {
            let mut sums = zero;
            for step in 0..CHUNK {
                let [first, second] = halves(&chunk[step]);
                let low = [_mm256_and_si256(first, mask), _mm256_and_si256(second, mask)];
                let (first, second) = (_mm256_srli_epi16::<4>(first), _mm256_srli_epi16::<4>(second));
                let high = [_mm256_and_si256(first, mask), _mm256_and_si256(second, mask)];
                for q in 0..Q {
                    let weights = &weights[q][at][step];
                    let (a, b) = (quad::<0>(weights), quad::<1>(weights));
                    for half in 0..2 {
                        let (first, second) = (_mm256_maddubs_epi16(low[half], a), _mm256_maddubs_epi16(high[half], b));
                        sums[q][half] = _mm256_add_epi16(sums[q][half], _mm256_add_epi16(first, second));
                    }
                }
            }
            for q in 0..Q {
                for half in 0..2 {
                    totals[q][half] = _mm256_add_epi32(totals[q][half], _mm256_madd_epi16(sums[q][half], ones));
                }
            }
        }
        for q in 0..Q {
            let to = (&mut results[q].sums[group], &mut results[q].alive[group]);
            finish(pass.first, queries[q], totals[q], lengths, thresholds[q], to);
        }
    }
}

/// From products to sums and bounds.
#[inline]
#[target_feature(enable = "avx2")]
fn finish(
    first: bool,
    query: &Weights,
    total: [__m256i; 2],
    lengths: &[[u8; 32]],
    threshold: i16,
    (sums, alive): (&mut [i16; GROUP], &mut u16),
) {
    let (scale, offset) = (_mm256_set1_ps(query.scale), _mm256_set1_ps(query.offset));
    let part =
        total.map(|total| _mm256_cvtps_epi32(_mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(total), scale), offset)));
    // Packing works on halves of 128 bits; the permutation puts the rows back in order.
    let mut sum = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(part[0], part[1]));
    if !first {
        // SAFETY: a sum is 32 bytes, and the load asks for no alignment.
        sum = _mm256_adds_epi16(unsafe { _mm256_loadu_si256(sums.as_ptr().cast()) }, sum);
    }
    let kept = query.lengths.len() - usize::from(query.rest);
    let mut bound = sum;
    for (at, (length, weight)) in lengths.iter().zip(&query.lengths).enumerate() {
        let more = _mm256_mulhi_epu16(load(length), _mm256_set1_epi16(*weight as i16));
        bound = _mm256_adds_epi16(bound, more);
        if at < kept {
            sum = bound;
        }
    }
    // SAFETY: as above, and the store asks for no alignment either.
    unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), sum) };
    let below = _mm256_cmpgt_epi16(_mm256_set1_epi16(threshold), bound);
    let below = _mm_packs_epi16(_mm256_castsi256_si128(below), _mm256_extracti128_si256::<1>(below));
    *alive &= !(_mm_movemask_epi8(below) as u16);
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
fn run_vnni<const Q: usize>(pass: Pass<'_>, queries: [&Weights; Q], thresholds: [i16; Q], results: [&mut Bounds; Q]) {
    let mask = _mm512_set1_epi8(15);
    let weights = queries.map(|query| &query.chunks[..pass.shape.chunks]);
    for (group, block) in pass.codes.chunks_exact(pass.shape.bytes()).enumerate().take(GROUPS) {
        if results.iter().all(|result| result.alive[group] == 0) {
            continue;
        }
        let (chunks, lengths) = parts(pass, block);
        let mut totals = [_mm512_setzero_si512(); Q];
        for (at, chunk) in chunks.iter().enumerate() {
            for step in 0..CHUNK {
                ask_for(chunk[step].as_ptr().wrapping_add(AHEAD));
                // SAFETY: 64 bytes are there, and the load asks for no alignment.
                let bytes = unsafe { _mm512_loadu_si512(chunk[step].as_ptr().cast()) };
                let low = _mm512_and_si512(bytes, mask);
                let high = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), mask);
                for q in 0..Q {
                    let weights = &weights[q][at][step];
                    totals[q] = _mm512_dpbusd_epi32(totals[q], low, _mm512_broadcast_i64x4(quad::<0>(weights)));
                    totals[q] = _mm512_dpbusd_epi32(totals[q], high, _mm512_broadcast_i64x4(quad::<1>(weights)));
                }
            }
        }
        for q in 0..Q {
            let total = [_mm512_castsi512_si256(totals[q]), _mm512_extracti64x4_epi64::<1>(totals[q])];
            let to = (&mut results[q].sums[group], &mut results[q].alive[group]);
            finish(pass.first, queries[q], total, lengths, thresholds[q], to);
        }
    }
}
