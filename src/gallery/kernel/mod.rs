//! The arithmetic of a search: dot products in f32, rotations, and bounds on dot products from
//! four-bit codes, which is where a search spends its time.
//!
//! A *group* is [`GROUP`] rows. Its codes lie in *steps* of [`STEP`] dimensions: for each row in turn
//! four bytes, whose low halves are the codes of four dimensions and whose high halves are those of
//! the next four. So one 32-bit lane belongs to one row, one VNNI instruction feeds 16 rows, and
//! nothing is ever summed across a register. After the steps of a group come its rows' *lengths*:
//! numbers of 16 bits that say how much the codes leave.
//!
//! Every implementation computes the same integers, to the last bit; the portable one says what
//! they are.

#[cfg(target_arch = "aarch64")]
mod arm;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Rows that are scanned together.
pub(super) const GROUP: usize = 16;
/// Dimensions that are scanned together.
pub(super) const STEP: usize = 8;
/// Bytes of one step of one group.
const STEP_BYTES: usize = GROUP * STEP / 2;
/// Steps whose products fit into 16 bits: 4 x 4 x 15 x 127 is less than 32 768.
const CHUNK: usize = 4;
/// Dimensions of a plane are a multiple of this: of whole chunks of steps.
pub(super) const PLANE_WIDTH: usize = CHUNK * STEP;
/// Most groups of one pass.
pub(super) const GROUPS: usize = 64;

/// What a plane of codes is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shape {
    /// Runs of [`PLANE_WIDTH`] dimensions.
    pub(super) chunks: usize,
    /// Lengths of each row: of the errors of this plane's codes, then perhaps of what later planes
    /// hold.
    pub(super) lengths: usize,
}

impl Shape {
    /// Bytes of one group.
    pub(super) const fn bytes(self) -> usize {
        self.chunks * CHUNK * STEP_BYTES + self.lengths * GROUP * size_of::<u16>()
    }
}

/// What a query is to one plane: its weights, and how sums become bounds.
#[derive(Debug, Clone, Default)]
pub(super) struct Weights {
    /// One weight for each dimension, in steps; none is -128.
    pub(super) chunks: Vec<[[i8; STEP]; CHUNK]>,
    /// A sum of products times this plus `offset`, rounded, is a sum in units.
    pub(super) scale: f32,
    pub(super) offset: f32,
    /// What a row's lengths weigh in its bound: 65 536 is one unit. At most `i16::MAX`.
    pub(super) lengths: Vec<u16>,
    /// The last length is of what later planes hold: it counts in this plane's bounds only.
    pub(super) rest: bool,
}

/// One pass over the groups of a plane for some queries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) shape: Shape,
    pub(super) codes: &'a [u8],
    pub(super) queries: &'a [Weights],
    /// Rows with bounds below this are dropped.
    pub(super) thresholds: &'a [i16],
    /// The first plane: there are no sums yet.
    pub(super) first: bool,
}

/// What a pass leaves for one query: sums over the planes so far (after the last plane these are
/// bounds), and which rows have not been dropped, bit by bit. Groups without such rows are skipped.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub(super) sums: [[i16; GROUP]; GROUPS],
    pub(super) alive: [u16; GROUPS],
}

impl Default for Bounds {
    fn default() -> Self {
        Self { sums: [[0; GROUP]; GROUPS], alive: [0; GROUPS] }
    }
}

/// What can run a pass.
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
    /// The fastest one that this processor has.
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

/// Adds a plane to the sums and drops rows, with the fastest instructions there are.
///
/// # Panics
/// When codes, weights or results are not as long as the others say.
pub(super) fn scan(pass: Pass<'_>, results: &mut [Bounds]) {
    scan_with(Isa::best(), pass, results);
}

fn scan_with(isa: Isa, pass: Pass<'_>, results: &mut [Bounds]) {
    let shape = pass.shape;
    if shape.bytes() == 0 || pass.codes.is_empty() {
        return;
    }
    assert!(pass.codes.len().is_multiple_of(shape.bytes()), "whole groups");
    assert!(pass.codes.len() / shape.bytes() <= GROUPS, "not too many of them");
    assert!(pass.thresholds.len() == pass.queries.len(), "a threshold for each query");
    assert!(results.len() == pass.queries.len(), "results for each query");
    for query in pass.queries {
        assert!(query.chunks.len() == shape.chunks, "a weight for each dimension");
        assert!(query.lengths.len() == shape.lengths, "a weight for each length");
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

/// Asks for a row that will soon be read.
#[inline]
pub(super) fn ask_for(row: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    row.chunks(STEP_BYTES / size_of::<f32>()).for_each(|line| x86::ask_for(line.as_ptr().cast()));
    #[cfg(not(target_arch = "x86_64"))]
    let _ = row;
}

/// Lanes summed apart from each other, so that the compiler can use vector registers.
const LANES: usize = 16;

/// Dot product of two vectors of the same length in f32.
///
/// The order of additions depends only on the length, so a result is the same wherever a row lies
/// and whichever processor computes it. Of vectors of different lengths the shorter one counts.
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
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
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

/// Multiplies rows with a matrix that has a line of `width` outputs for each input.
///
/// Both hold whole lines; what does not fill one is left out.
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
