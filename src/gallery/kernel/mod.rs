//! The arithmetic of a search: dot products in f32, rotations, and bounds on dot products from
//! four-bit codes, which is where a search spends its time.
//!
//! A *group* is [`GROUP`] rows. Its codes lie in *steps* of [`STEP`] dimensions: for each row in
//! turn four bytes, whose low halves are the codes of four dimensions and whose high halves are
//! those of the next four. So one 32-bit lane belongs to one row, one VNNI instruction feeds 16
//! rows, and nothing is ever summed across a register. After the steps of a group come [`GROUP`]
//! numbers of 16 bits, one for each row's part of the error that the codes leave.
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
/// Steps whose products fit into 16 bits; see [`LANE_LIMIT`].
pub(super) const CHUNK: usize = 8;
/// Over the steps of a chunk, the weights of the first two dimensions of every four (and those of
/// the other two) sum up to at most this, so that their products with codes fit into 16 bits.
pub(super) const LANE_LIMIT: u32 = i16::MAX as u32 / 15;

/// Bytes of one group in a plane with so many steps.
pub(super) const fn block_bytes(steps: usize) -> usize {
    steps * STEP_BYTES + GROUP * size_of::<u16>()
}

/// What a query is to one plane: its weights, and how sums become bounds.
#[derive(Debug, Clone, Default)]
pub(super) struct Weights {
    /// One weight for each dimension, in steps.
    pub(super) steps: Vec<[i8; STEP]>,
    /// A sum of products times this plus `offset`, rounded, is a bound in units.
    pub(super) scale: f32,
    pub(super) offset: f32,
    /// What a row's number and a group's number weigh in the error: 65 536 is one unit.
    pub(super) row: u16,
    pub(super) group: u16,
}

/// A run of groups of one plane, next to each other in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lane<'a> {
    pub(super) codes: &'a [u8],
    /// One number for each group.
    pub(super) errors: &'a [u16],
    /// Where the results of its first group stand.
    pub(super) first: usize,
}

/// One pass over some lanes for some queries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass<'a> {
    /// Scanned side by side: a processor reads several streams faster than one.
    pub(super) lanes: &'a [Lane<'a>],
    pub(super) queries: &'a [Weights],
    /// A group is skipped when its best bound is below this, for every query of a bundle of four.
    pub(super) thresholds: &'a [i16],
    /// Leave bounds in place of sums.
    pub(super) last: bool,
}

/// For each query and, within it, for each group: 16 sums over the planes so far, and the best
/// bound in the group.
#[derive(Debug)]
pub(super) struct Results<'a> {
    /// Groups of each query.
    pub(super) groups: usize,
    pub(super) sums: &'a mut [[i16; GROUP]],
    pub(super) tops: &'a mut [i16],
}

/// Queries that share the decision whether a group is scanned.
const BUNDLE: usize = 4;

impl Results<'_> {
    /// Whether a group can hold one of the best rows for any of some queries.
    #[inline(always)]
    fn is_alive(&self, group: usize, first: usize, thresholds: &[i16]) -> bool {
        let mut at = first * self.groups + group;
        thresholds.iter().any(|threshold| {
            let alive = self.tops[at] >= *threshold;
            at += self.groups;
            alive
        })
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

/// Adds a plane to the sums and renews the bounds, with the fastest instructions there are.
///
/// # Panics
/// When a lane's codes, weights or results are not as long as the others say.
pub(super) fn scan(pass: Pass<'_>, results: Results<'_>) {
    scan_with(Isa::best(), pass, results);
}

fn scan_with(isa: Isa, pass: Pass<'_>, results: Results<'_>) {
    let Some(steps) = pass.queries.first().map(|query| query.steps.len()) else { return };
    assert!(pass.queries.iter().all(|query| query.steps.len() == steps), "queries of different lengths");
    assert!(pass.thresholds.len() == pass.queries.len(), "a threshold for each query");
    for lane in pass.lanes {
        assert!(lane.codes.len() == lane.errors.len() * block_bytes(steps), "codes for each group");
        assert!(lane.first + lane.errors.len() <= results.groups, "results for each group");
    }
    let count = results.groups * pass.queries.len();
    assert!(results.sums.len() == count && results.tops.len() == count, "results for each query");
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

/// Calls `visit(group, block, error)` for every group of every lane, side by side: the first
/// groups of all lanes, then the second ones. `group` is where its results stand.
#[inline(always)]
fn each_group<'a>(pass: Pass<'a>, mut visit: impl FnMut(usize, &'a [u8], u16)) {
    let bytes = block_bytes(pass.queries.first().map_or(0, |query| query.steps.len()));
    let longest = pass.lanes.iter().map(|lane| lane.errors.len()).max().unwrap_or(0);
    for at in 0..longest {
        for lane in pass.lanes {
            if let Some(&error) = lane.errors.get(at) {
                visit(lane.first + at, &lane.codes[at * bytes..(at + 1) * bytes], error);
            }
        }
    }
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
