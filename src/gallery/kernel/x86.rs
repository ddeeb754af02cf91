//! The kernels for x86-64: AVX2, and AVX-512 with VNNI.
#![expect(unsafe_code, reason = "vector instructions: each is called only where the processor was asked for it")]

use std::arch::x86_64::*;

use super::{
    Bounds, COARSE, FINE, GROUP, LINE, Pass, UNITS_PER_BOUND, WIDTH, Weights, dot_in_lanes, push_bits,
    reaching_in_groups, rotate_in_tiles,
};

pub(super) fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

pub(super) fn has_vnni() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512vnni")
        && has_avx2()
}

/// Plain code, which the compiler turns into AVX2. Needs [`has_avx2`].
macro_rules! compiled_for_avx2 {
    ($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?, $plain:ident) => {
        pub(super) fn $name($($argument: $type),*) $(-> $result)? {
            #[target_feature(enable = "avx2")]
            fn inner($($argument: $type),*) $(-> $result)? {
                $plain($($argument),*)
            }
            debug_assert!(has_avx2());
            // SAFETY: the caller has asked the processor.
            unsafe { inner($($argument),*) }
        }
    };
}

compiled_for_avx2!(dot_avx2(a: &[f32], b: &[f32]) -> f32, dot_in_lanes);
compiled_for_avx2!(rotate_avx2(matrix: &[f32], width: usize, rows: &[f32], out: &mut [f32]), rotate_in_tiles);
compiled_for_avx2!(
    sums_avx2(codes: &[u8], row_bytes: usize, weights: &[i8], rows: &[u16], sums: &mut Vec<i32>),
    run_sums
);

macro_rules! scan {
    ($(#[$doc:meta])* $name:ident, $run:ident, $has:ident, $feature:literal) => {
        $(#[$doc])*
        pub(super) fn $name(pass: Pass<'_>, results: &mut [Bounds<'_>]) {
            #[target_feature(enable = $feature)]
            fn inner(pass: Pass<'_>, results: &mut [Bounds<'_>]) {
                for (queries, results) in pass.queries.chunks(BUNDLE).zip(results.chunks_mut(BUNDLE)) {
                    match (queries, results) {
                        ([a], [r]) => $run(pass, [a], [r]),
                        ([a, b], [r, s]) => $run(pass, [a, b], [r, s]),
                        ([a, b, c], [r, s, t]) => $run(pass, [a, b, c], [r, s, t]),
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
/// How far ahead memory is asked for: what is computed while a byte is on its way.
const AHEAD: usize = 6 * 1024;

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: 32 bytes are there, and the load asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Asks for the memory at an address, whatever it is.
#[inline(always)]
pub(super) fn prefetch(address: *const u8) {
    // SAFETY: a hint, which may name any address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
}

/// The fine lines of a group, its coarse lines, and its norms.
#[inline(always)]
fn parts<'a>(pass: Pass<'a>, group: &'a [u8]) -> (&'a [[u8; LINE]], &'a [[u8; LINE]], &'a [u8; 32]) {
    let (lines, norms) = group.as_chunks::<LINE>();
    let (fine, coarse) = lines.split_at(pass.shape.fine);
    (fine, coarse, norms.first_chunk().unwrap_or(&[0; 32]))
}

/// The weights of four axes.
type Quad = [i8; 4];

/// The weights of each fine line, and of each coarse line.
#[inline(always)]
fn quads<'a>(pass: Pass<'_>, query: &'a Weights) -> (&'a [[Quad; FINE / 4]], &'a [[Quad; COARSE / 4]]) {
    let (fine, coarse) = query.quads.split_at(pass.shape.fine * FINE / 4);
    (fine.as_chunks().0, coarse.as_chunks().0)
}

#[inline(always)]
fn number(quad: Quad) -> i32 {
    i32::from_le_bytes(quad.map(|w| w as u8))
}

/// The products of a line's `QUADS` fields of `BITS` bits are added to sums of 16 bits: of the rows
/// in each half of the line.
#[inline]
#[target_feature(enable = "avx2")]
#[expect(clippy::needless_range_loop, reason = "of each query the same quad")]
fn add_line<const Q: usize, const BITS: i32, const QUADS: usize>(
    line: &[u8; LINE],
    quads: [&[Quad; QUADS]; Q],
    sums: &mut [[__m256i; 2]; Q],
) {
    prefetch(line.as_ptr().wrapping_add(AHEAD));
    let mask = _mm256_set1_epi8((1 << BITS) - 1);
    for (half, bytes) in line.as_chunks::<32>().0.iter().enumerate() {
        let mut bytes = load(bytes);
        for at in 0..QUADS {
            let field = _mm256_and_si256(bytes, mask);
            bytes = _mm256_srli_epi16::<BITS>(bytes);
            for q in 0..Q {
                let products = _mm256_maddubs_epi16(field, _mm256_set1_epi32(number(quads[q][at])));
                sums[q][half] = _mm256_add_epi16(sums[q][half], products);
            }
        }
    }
}

/// Adds up pairs of numbers of 16 bits, a lane for each row.
#[inline]
#[target_feature(enable = "avx2")]
fn widen(totals: &mut [__m256i; 2], sums: [__m256i; 2]) {
    for (total, sum) in totals.iter_mut().zip(sums) {
        *total = _mm256_add_epi32(*total, _mm256_madd_epi16(sum, _mm256_set1_epi16(1)));
    }
}

/// Lines whose products fit into 16 bits together: 4 lines of 2 times 2 x 15 x 127, or 8 of 4 times 2 x 3 x 127.
const FINE_CHUNK: usize = 4;
const COARSE_CHUNK: usize = 8;

#[inline]
#[target_feature(enable = "avx2")]
fn run_avx2<const Q: usize>(pass: Pass<'_>, queries: [&Weights; Q], results: [&mut Bounds<'_>; Q]) {
    let zero = [[_mm256_setzero_si256(); 2]; Q];
    let weights = queries.map(|query| quads(pass, query));
    let mut highest = [_mm_setzero_si128(); Q];
    for (at, group) in pass.sketches.chunks_exact(pass.shape.bytes()).enumerate() {
        let (fine, coarse, norms) = parts(pass, group);
        let mut totals = zero;
        for (chunk, lines) in fine.chunks(FINE_CHUNK).enumerate() {
            let mut sums = zero;
            for (n, line) in lines.iter().enumerate() {
                add_line::<Q, 4, 2>(line, weights.map(|(quads, _)| &quads[chunk * FINE_CHUNK + n]), &mut sums);
            }
            (0..Q).for_each(|q| widen(&mut totals[q], sums[q]));
        }
        for (chunk, lines) in coarse.chunks(COARSE_CHUNK).enumerate() {
            let mut sums = zero;
            for (n, line) in lines.iter().enumerate() {
                add_line::<Q, 2, 4>(line, weights.map(|(_, quads)| &quads[chunk * COARSE_CHUNK + n]), &mut sums);
            }
            (0..Q).for_each(|q| widen(&mut totals[q], sums[q]));
        }
        for q in 0..Q {
            let bound = finish(queries[q], totals[q], load(norms));
            highest[q] = _mm_max_epu8(highest[q], bound);
            store(bound, &mut results[q].rows[at * GROUP..]);
        }
    }
    for (result, highest) in results.into_iter().zip(highest) {
        result.highest = greatest(highest);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(bounds: __m128i, to: &mut [u8]) {
    if let Some(to) = to.first_chunk_mut::<GROUP>() {
        // SAFETY: 16 bytes are there, and the store asks for no alignment.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), bounds) };
    }
}

/// The greatest of 16 numbers.
#[inline]
#[target_feature(enable = "avx2")]
fn greatest(numbers: __m128i) -> u8 {
    let mut all = [0; GROUP];
    store(numbers, &mut all);
    all.into_iter().fold(0, u8::max)
}

/// From products to bounds.
#[inline]
#[target_feature(enable = "avx2")]
fn finish(query: &Weights, total: [__m256i; 2], norms: __m256i) -> __m128i {
    let scale = _mm256_set1_ps(query.scale);
    let offset = _mm256_set1_ps(query.offset);
    let part =
        total.map(|total| _mm256_cvtps_epi32(_mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(total), scale), offset)));
    // Packing works on halves of 128 bits; the permutation puts the rows back in order.
    let sum = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(part[0], part[1]));
    let units = _mm256_adds_epi16(sum, _mm256_mulhi_epu16(norms, _mm256_set1_epi16(query.norm as i16)));
    let bounds = _mm256_srai_epi16::<{ UNITS_PER_BOUND.trailing_zeros() as i32 }>(_mm256_adds_epi16(
        units,
        _mm256_set1_epi16(UNITS_PER_BOUND - 1),
    ));
    _mm_packus_epi16(_mm256_castsi256_si128(bounds), _mm256_extracti128_si256::<1>(bounds))
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
fn run_vnni<const Q: usize>(pass: Pass<'_>, queries: [&Weights; Q], results: [&mut Bounds<'_>; Q]) {
    let fifteen = _mm512_set1_epi8(15);
    let three = _mm512_set1_epi8(3);
    let weights = queries.map(|query| quads(pass, query));
    let mut highest = [_mm_setzero_si128(); Q];
    for (at, group) in pass.sketches.chunks_exact(pass.shape.bytes()).enumerate() {
        let (fine, coarse, norms) = parts(pass, group);
        // Two sums of each, so that an addition need not wait for the one before.
        let mut sums = [[_mm512_setzero_si512(); 2]; Q];
        for (n, line) in fine.iter().enumerate() {
            let bytes = fetch(line);
            let fields = [_mm512_and_si512(bytes, fifteen), _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), fifteen)];
            for q in 0..Q {
                add_fields(&mut sums[q], fields, &weights[q].0[n]);
            }
        }
        for (n, line) in coarse.iter().enumerate() {
            let bytes = fetch(line);
            let fields = [
                _mm512_and_si512(bytes, three),
                _mm512_and_si512(_mm512_srli_epi16::<2>(bytes), three),
                _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), three),
                _mm512_and_si512(_mm512_srli_epi16::<6>(bytes), three),
            ];
            for q in 0..Q {
                add_fields(&mut sums[q], fields, &weights[q].1[n]);
            }
        }
        for q in 0..Q {
            let total = _mm512_add_epi32(sums[q][0], sums[q][1]);
            let total = [_mm512_castsi512_si256(total), _mm512_extracti64x4_epi64::<1>(total)];
            let bound = finish(queries[q], total, load(norms));
            highest[q] = _mm_max_epu8(highest[q], bound);
            store(bound, &mut results[q].rows[at * GROUP..]);
        }
    }
    for (result, highest) in results.into_iter().zip(highest) {
        result.highest = greatest(highest);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn add_fields<const QUADS: usize>(sums: &mut [__m512i; 2], fields: [__m512i; QUADS], quads: &[Quad; QUADS]) {
    for (k, (field, quad)) in fields.into_iter().zip(quads).enumerate() {
        sums[k % 2] = _mm512_dpbusd_epi32(sums[k % 2], field, _mm512_set1_epi32(number(*quad)));
    }
}

/// A line, and asks for a later one.
#[inline]
#[target_feature(enable = "avx512f")]
fn fetch(line: &[u8; LINE]) -> __m512i {
    prefetch(line.as_ptr().wrapping_add(AHEAD));
    // SAFETY: 64 bytes are there, and the load asks for no alignment.
    unsafe { _mm512_loadu_si512(line.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn run_sums(codes: &[u8], row_bytes: usize, weights: &[i8], rows: &[u16], sums: &mut Vec<i32>) {
    let row_of = |row: u16| &codes[usize::from(row) * row_bytes..][..row_bytes];
    let (fours, rest) = rows.as_chunks::<4>();
    sums.resize(rows.len(), 0);
    let (to, to_rest) = sums.as_chunks_mut::<4>();
    for (rows, to) in fours.iter().zip(to) {
        // Added up across registers together: of each row what is left is one lane.
        let [a, b, c, d] = rows.map(|row| products(row_of(row), weights));
        let all = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
        let all = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all));
        // SAFETY: 16 bytes are there, and the store asks for no alignment.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), all) };
    }
    for (row, to) in rest.iter().zip(to_rest) {
        let sum = products(row_of(*row), weights);
        let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
        *to = _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum)));
    }
}

/// The products of a row's fine codes with weights, in eight sums.
#[inline]
#[target_feature(enable = "avx2")]
fn products(codes: &[u8], weights: &[i8]) -> __m256i {
    let mask = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    let halves = codes.as_chunks::<{ WIDTH / 2 }>().0;
    let weights = weights.as_chunks::<{ WIDTH / 2 }>().0;
    let weigh = |weights: &[i8; WIDTH / 2]| {
        // SAFETY: 32 bytes are there, and the load asks for no alignment.
        unsafe { _mm256_loadu_si256(weights.as_ptr().cast()) }
    };
    let mut total = _mm256_setzero_si256();
    if halves.len() == weights.len() {
        for (codes, weights) in halves.iter().zip(weights) {
            // Two times 127 x 127 fit into 16 bits.
            let both = _mm256_maddubs_epi16(load(codes), weigh(weights));
            total = _mm256_add_epi32(total, _mm256_madd_epi16(both, ones));
        }
        return total;
    }
    for (codes, [low, high]) in halves.iter().zip(weights.as_chunks::<2>().0) {
        let codes = load(codes);
        let first = _mm256_maddubs_epi16(_mm256_and_si256(codes, mask), weigh(low));
        let second = _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16::<4>(codes), mask), weigh(high));
        total = _mm256_add_epi32(total, _mm256_madd_epi16(_mm256_add_epi16(first, second), ones));
    }
    total
}

/// Needs [`has_avx2`].
pub(super) fn reaching_avx2(bounds: &[u8], threshold: u8, rows: &mut Vec<u16>) {
    #[target_feature(enable = "avx2")]
    fn inner(bounds: &[u8], threshold: u8, rows: &mut Vec<u16>) {
        let least = _mm256_set1_epi8(threshold as i8);
        let (groups, rest) = bounds.as_chunks::<32>();
        for (at, group) in groups.iter().enumerate() {
            let group = load(group);
            let reach = _mm256_cmpeq_epi8(_mm256_max_epu8(group, least), group);
            push_bits(at * 32, _mm256_movemask_epi8(reach) as u32, rows);
        }
        reaching_in_groups(groups.len() * 32, rest, threshold, rows);
    }
    debug_assert!(has_avx2());
    // SAFETY: the caller has asked the processor.
    unsafe { inner(bounds, threshold, rows) }
}
