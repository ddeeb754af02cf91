//! The kernels for x86-64: AVX2, and AVX-512 with VNNI.
#![expect(unsafe_code, reason = "vector instructions: each is called only where the processor was asked for it")]

use std::arch::x86_64::*;

use super::{BUNDLE, CHUNK, Pass, Results, STEP, STEP_BYTES, Weights, dot_in_lanes, each_group, rotate_in_tiles};

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
    ($(#[$doc:meta])* $name:ident, $bundle:ident, $has:ident, $feature:literal) => {
        $(#[$doc])*
        pub(super) fn $name(pass: Pass<'_>, results: Results<'_>) {
            #[target_feature(enable = $feature)]
            fn inner(pass: Pass<'_>, mut results: Results<'_>) {
                each_group(pass, |group, block, error| {
                    let bundles = pass.queries.chunks(BUNDLE).zip(pass.thresholds.chunks(BUNDLE)).enumerate();
                    for (bundle, (queries, thresholds)) in bundles {
                        let first = bundle * BUNDLE;
                        if !results.is_alive(group, first, thresholds) {
                            continue;
                        }
                        let at = (group, first);
                        match queries {
                            [a] => $bundle([a], block, error, pass.last, &mut results, at),
                            [a, b] => $bundle([a, b], block, error, pass.last, &mut results, at),
                            [a, b, c] => $bundle([a, b, c], block, error, pass.last, &mut results, at),
                            [a, b, c, d] => $bundle([a, b, c, d], block, error, pass.last, &mut results, at),
                            _ => {}
                        }
                    }
                });
            }
            debug_assert!($has());
            // SAFETY: the caller has asked the processor.
            unsafe { inner(pass, results) }
        }
    };
}

scan! {
    /// Needs [`has_avx2`].
    scan_avx2, bundle_avx2, has_avx2, "avx2"
}
scan! {
    /// Needs [`has_vnni`].
    scan_vnni, bundle_vnni, has_vnni, "avx2,avx512f,avx512bw,avx512vnni"
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: 32 bytes are there, and the load asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline(always)]
fn quad(weights: &[i8]) -> i32 {
    weights.first_chunk().map_or(0, |w: &[i8; 4]| i32::from_le_bytes(w.map(|w| w as u8)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn bundle_avx2<const Q: usize>(
    queries: [&Weights; Q],
    block: &[u8],
    error: u16,
    last: bool,
    results: &mut Results<'_>,
    at: (usize, usize),
) {
    let count = queries[0].steps.len();
    let steps: [&[[i8; STEP]]; Q] = queries.map(|query| &query.steps[..count]);
    let (codes, errors) = block.split_at(count * STEP_BYTES);
    let (codes, _) = codes.as_chunks::<STEP_BYTES>();
    let codes = &codes[..count];
    let (mask, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    let mut totals = [[_mm256_setzero_si256(); 2]; Q];
    for from in (0..count).step_by(CHUNK) {
        let mut parts = [[_mm256_setzero_si256(); 2]; Q];
        for at in from..count.min(from + CHUNK) {
            let (halves, _) = codes[at].as_chunks::<32>();
            for (half, bytes) in halves.iter().take(2).enumerate() {
                let bytes = load(bytes);
                let low = _mm256_and_si256(bytes, mask);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask);
                for (part, steps) in parts.iter_mut().zip(&steps) {
                    let weights = &steps[at];
                    let first = _mm256_maddubs_epi16(low, _mm256_set1_epi32(quad(&weights[..4])));
                    let second = _mm256_maddubs_epi16(high, _mm256_set1_epi32(quad(&weights[4..])));
                    part[half] = _mm256_add_epi16(part[half], _mm256_add_epi16(first, second));
                }
            }
        }
        for (total, part) in totals.iter_mut().zip(&parts) {
            for (total, part) in total.iter_mut().zip(part) {
                *total = _mm256_add_epi32(*total, _mm256_madd_epi16(*part, ones));
            }
        }
    }
    finish(queries, totals, errors, error, last, results, at);
}

/// From products to sums, bounds and the best bound.
#[inline]
#[target_feature(enable = "avx2")]
fn finish<const Q: usize>(
    queries: [&Weights; Q],
    totals: [[__m256i; 2]; Q],
    errors: &[u8],
    error: u16,
    last: bool,
    results: &mut Results<'_>,
    at: (usize, usize),
) {
    let errors = errors.first_chunk().map_or(_mm256_setzero_si256(), |bytes| load(bytes));
    let (error, two) = (_mm256_set1_epi16(error as i16), _mm256_set1_epi16(2));
    let most = _mm256_set1_epi16(i16::MAX);
    let (group, first) = at;
    for (number, (query, total)) in queries.iter().zip(totals).enumerate() {
        let at = (first + number) * results.groups + group;
        let (sum, top) = (&mut results.sums[at], &mut results.tops[at]);
        let (scale, offset) = (_mm256_set1_ps(query.scale), _mm256_set1_ps(query.offset));
        let part = total
            .map(|total| _mm256_cvtps_epi32(_mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(total), scale), offset)));
        // Packing works on halves of 128 bits; the permutation puts the rows back in order.
        let part = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(part[0], part[1]));
        // SAFETY: a sum is 32 bytes, and neither load nor store asks for alignment.
        let before = unsafe { _mm256_loadu_si256(sum.as_ptr().cast()) };
        let now = _mm256_adds_epi16(before, part);
        let penalty = _mm256_adds_epu16(
            _mm256_adds_epu16(
                _mm256_mulhi_epu16(errors, _mm256_set1_epi16(query.row as i16)),
                _mm256_mulhi_epu16(error, _mm256_set1_epi16(query.group as i16)),
            ),
            two,
        );
        let bound = _mm256_adds_epi16(now, _mm256_min_epu16(penalty, most));
        // SAFETY: as above.
        unsafe { _mm256_storeu_si256(sum.as_mut_ptr().cast(), if last { bound } else { now }) };
        // There is an instruction for the smallest of eight unsigned numbers.
        let best = _mm_max_epi16(_mm256_castsi256_si128(bound), _mm256_extracti128_si256::<1>(bound));
        let flipped = _mm_sub_epi16(_mm_set1_epi16(i16::MAX), best);
        *top = i16::MAX.wrapping_sub(_mm_extract_epi16::<0>(_mm_minpos_epu16(flipped)) as i16);
    }
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
fn bundle_vnni<const Q: usize>(
    queries: [&Weights; Q],
    block: &[u8],
    error: u16,
    last: bool,
    results: &mut Results<'_>,
    at: (usize, usize),
) {
    let count = queries[0].steps.len();
    let steps: [&[[i8; STEP]]; Q] = queries.map(|query| &query.steps[..count]);
    let (codes, errors) = block.split_at(count * STEP_BYTES);
    let (codes, _) = codes.as_chunks::<STEP_BYTES>();
    let mask = _mm512_set1_epi8(15);
    let mut totals = [_mm512_setzero_si512(); Q];
    for (at, bytes) in codes[..count].iter().enumerate() {
        // SAFETY: 64 bytes are there, and the load asks for no alignment.
        let bytes = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
        let low = _mm512_and_si512(bytes, mask);
        let high = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), mask);
        for (total, steps) in totals.iter_mut().zip(&steps) {
            let weights = &steps[at];
            *total = _mm512_dpbusd_epi32(*total, low, _mm512_set1_epi32(quad(&weights[..4])));
            *total = _mm512_dpbusd_epi32(*total, high, _mm512_set1_epi32(quad(&weights[4..])));
        }
    }
    let totals = totals.map(|total| [_mm512_castsi512_si256(total), _mm512_extracti64x4_epi64::<1>(total)]);
    finish(queries, totals, errors, error, last, results, at);
}
