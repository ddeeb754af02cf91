//! The arithmetic of a search: dot products in f32, rotations, and sums over codes, where a search spends its time.
//!
//! Two kinds of codes are read here. *Sketches* are read for every row. A [`GROUP`] of 16 rows is interleaved: in each
//! *line* of 64 bytes a 32-bit lane belongs to one row, so one VNNI instruction feeds 16 rows and nothing is summed
//! across a register. First come lines with four bits of each of [`FINE`] axes, then lines with two bits of each of
//! [`COARSE`] axes, then the residual norms of the 16 rows, 16 bits each. *Fine codes* have four or seven bits per axis
//! and are stored row by row, because they are read for few rows.
//!
//! Every implementation computes the same integers, to the last bit; the portable one is the reference.

#[cfg(target_arch = "aarch64")]
mod arm;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Rows whose sketches are interleaved.
pub(super) const GROUP: usize = 16;
/// Bytes of a line: one cache line.
pub(super) const LINE: usize = 64;
/// Axes in a line of four bits each.
pub(super) const FINE: usize = 8;
/// Axes in a line of two bits each.
pub(super) const COARSE: usize = 16;
/// The number of axes is a multiple of this: half a line of fine codes.
pub(super) const WIDTH: usize = 64;

/// The layout of a sketch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shape {
    /// Lines of four bits an axis, of the first axes.
    pub(super) fine: usize,
    /// Lines of two bits an axis, of the others.
    pub(super) coarse: usize,
}

impl Shape {
    /// Bytes of one group.
    pub(super) const fn bytes(self) -> usize {
        (self.fine + self.coarse) * LINE + GROUP * size_of::<u16>()
    }

    /// All axes.
    pub(super) const fn axes(self) -> usize {
        self.fine * FINE + self.coarse * COARSE
    }
}

/// A query for the sketch kernels, and how its sums become bounds.
#[derive(Debug, Clone, Default)]
pub(super) struct Weights {
    /// One weight per axis, in groups of four; none is -128.
    pub(super) quads: Vec<[i8; 4]>,
    /// A sum of products times this plus `offset`, rounded, is a sum in units.
    pub(super) scale: f32,
    pub(super) offset: f32,
    /// The weight of a row's residual norm in its bound: 65 536 is one unit. At most `i16::MAX`.
    pub(super) norm: u16,
}

/// One pass over the sketches of some groups for some queries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) shape: Shape,
    pub(super) sketches: &'a [u8],
    pub(super) queries: &'a [Weights],
}

/// The result of a pass for one query: a bound for each row, and the highest of them.
///
/// A bound is a byte: [`UNITS_PER_BOUND`] units, rounded up and clamped to 0..=255.
#[derive(Debug)]
pub(super) struct Bounds<'a> {
    pub(super) rows: &'a mut [u8],
    pub(super) highest: u8,
}

/// Units in one step of a bound.
pub(super) const UNITS_PER_BOUND: i16 = 16;

/// Instruction sets with a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isa {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Isa {
    /// The fastest one that this processor supports.
    pub(super) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if x86::has_vnni() {
                return Self::Avx512Vnni;
            }
            if x86::has_avx2() {
                return Self::Avx2;
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            if arm::has_neon() {
                return Self::Neon;
            }
        }
        Self::Portable
    }
}

/// Bounds of all rows of some groups, with the fastest kernel.
///
/// # Panics
/// When the lengths of sketches, weights and results do not agree.
pub(super) fn scan(pass: Pass<'_>, results: &mut [Bounds<'_>]) {
    scan_with(Isa::best(), pass, results);
}

fn scan_with(isa: Isa, pass: Pass<'_>, results: &mut [Bounds<'_>]) {
    let shape = pass.shape;
    assert!(pass.sketches.len().is_multiple_of(shape.bytes()), "whole groups");
    assert!(results.len() == pass.queries.len(), "results for each query");
    let rows = pass.sketches.len() / shape.bytes() * GROUP;
    for (query, result) in pass.queries.iter().zip(results.iter()) {
        assert!(query.quads.len() * 4 == shape.axes(), "a weight for each axis");
        assert!(result.rows.len() == rows, "a bound for each row");
    }
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni if x86::has_vnni() => x86::scan_vnni(pass, results),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 if x86::has_avx2() => x86::scan_avx2(pass, results),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon if arm::has_neon() => arm::scan(pass, results),
        _ => portable::scan(pass, results),
    }
}

/// Sums of products of weights with the fine codes of some rows, each of `row_bytes`: a byte below 128 per weight, or
/// half as many bytes; then the first 32 of each 64 axes are in the low nibbles and the others in the high nibbles.
///
/// # Panics
/// When the number of weights is not a multiple of [`WIDTH`], or a row does not exist.
pub(super) fn fine_code_sums(codes: &[u8], row_bytes: usize, weights: &[i8], rows: &[u16], sums: &mut Vec<i32>) {
    fine_code_sums_with(Isa::best(), codes, row_bytes, weights, rows, sums);
}

fn fine_code_sums_with(isa: Isa, codes: &[u8], row_bytes: usize, weights: &[i8], rows: &[u16], sums: &mut Vec<i32>) {
    assert!(weights.len().is_multiple_of(WIDTH), "whole half lines");
    assert!(row_bytes == weights.len() || row_bytes == weights.len() / 2, "a code for each weight");
    sums.clear();
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni | Isa::Avx2 if x86::has_avx2() => x86::sums_avx2(codes, row_bytes, weights, rows, sums),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon if arm::has_neon() => arm::sums(codes, row_bytes, weights, rows, sums),
        _ => portable::sums(codes, row_bytes, weights, rows, sums),
    }
}

/// Lists the rows whose bounds reach a threshold.
pub(super) fn rows_reaching(bounds: &[u8], threshold: u8, rows: &mut Vec<u16>) {
    rows.clear();
    #[cfg(target_arch = "x86_64")]
    if x86::has_avx2() {
        return x86::reaching_avx2(bounds, threshold, rows);
    }
    reaching_in_groups(0, bounds, threshold, rows);
}

/// As [`rows_reaching`], for bounds whose first row is `first`.
#[inline(always)]
fn reaching_in_groups(first: usize, bounds: &[u8], threshold: u8, rows: &mut Vec<u16>) {
    for (group, bounds) in bounds.chunks(32).enumerate() {
        let reach = bounds.iter().enumerate().fold(0, |bits, (at, b)| bits | u32::from(*b >= threshold) << at);
        push_bits(first + group * 32, reach, rows);
    }
}

/// Appends the rows of the bits that are set.
#[inline(always)]
fn push_bits(first: usize, mut bits: u32, rows: &mut Vec<u16>) {
    while bits != 0 {
        rows.push(first as u16 + bits.trailing_zeros() as u16);
        bits &= bits - 1;
    }
}

/// Prefetches memory that will be read soon.
#[inline]
pub(super) fn prefetch<T>(memory: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        let bytes = memory.as_ptr().cast::<u8>();
        (0..size_of_val(memory)).step_by(LINE).for_each(|at| x86::prefetch(bytes.wrapping_add(at)));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = memory;
}

/// Lanes that are summed separately, so that the compiler can use vector registers.
const LANES: usize = 16;

/// Dot product of two vectors of the same length in f32.
///
/// The order of additions depends only on the length, so the result is the same on every processor and at every
/// address. For vectors of different lengths the shorter length counts.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if x86::has_avx2() {
        return x86::dot_avx2(a, b);
    }
    dot_in_lanes(a, b)
}

#[inline(always)]
fn dot_in_lanes(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let a_chunks = a.chunks_exact(LANES);
    let b_chunks = b.chunks_exact(LANES);
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f32>() + tail
}

/// Outputs computed together by [`rotate`]; the width of a matrix is a multiple of it.
pub(super) const ROTATE_WIDTH: usize = 16;

/// Multiplies rows with a matrix that has a line of `width` outputs for each input. Incomplete lines are ignored.
pub(super) fn rotate(matrix: &[f32], width: usize, rows: &[f32], out: &mut [f32]) {
    if width == 0 || matrix.is_empty() {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if x86::has_avx2() {
        return x86::rotate_avx2(matrix, width, rows, out);
    }
    rotate_in_tiles(matrix, width, rows, out);
}

#[inline(always)]
fn rotate_in_tiles(matrix: &[f32], width: usize, rows: &[f32], out: &mut [f32]) {
    const ROWS: usize = 4;
    let inputs = matrix.len() / width;
    for (rows, out) in rows.chunks(ROWS * inputs).zip(out.chunks_mut(ROWS * width)) {
        for at in (0..width).step_by(ROTATE_WIDTH) {
            let mut sums = [[0.0f32; ROTATE_WIDTH]; ROWS];
            if rows.len() == ROWS * inputs {
                let (a, rest) = rows.split_at(inputs);
                let (b, rest) = rest.split_at(inputs);
                let (c, d) = rest.split_at(inputs);
                for ((((line, a), b), c), d) in matrix.chunks_exact(width).zip(a).zip(b).zip(c).zip(d) {
                    for (column, value) in line[at..at + ROTATE_WIDTH].iter().enumerate() {
                        sums[0][column] += a * value;
                        sums[1][column] += b * value;
                        sums[2][column] += c * value;
                        sums[3][column] += d * value;
                    }
                }
            } else {
                for (sums, row) in sums.iter_mut().zip(rows.chunks_exact(inputs)) {
                    for (line, x) in matrix.chunks_exact(width).zip(row) {
                        for (sum, value) in sums.iter_mut().zip(&line[at..at + ROTATE_WIDTH]) {
                            *sum += x * value;
                        }
                    }
                }
            }
            for (sums, out) in sums.iter().zip(out.chunks_exact_mut(width)) {
                out[at..at + ROTATE_WIDTH].copy_from_slice(sums);
            }
        }
    }
}
