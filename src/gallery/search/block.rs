//! One block of rows for one search: from the bounds of all rows to the best rows.

use std::sync::Arc;

use super::Scratch;
use super::top_k::{RowRef, TopK};
use crate::gallery::kernel::{Bounds, GROUP, Pass, Weights, dot, fine_code_sums, prefetch, rows_reaching, scan};
use crate::gallery::quantization::{BOUNDS, EncodedQuery, Quantizer};
use crate::gallery::segment::Segment;

/// Rows with the highest bounds that are compared first, in addition to the limit of the search.
const FIRST_COMPARED: usize = 16;
/// How many rows ahead memory is prefetched: candidates lie far apart.
const PREFETCH_ROWS: usize = 8;

/// A segment of a block: everything that is read of it, so that no pointer has to be followed later.
pub(super) struct SketchedSegment<'a> {
    /// Its index in the gallery.
    pub(super) index: u32,
    pub(super) values: &'a [f32],
    pub(super) sketches: &'a [u8],
    pub(super) fine_codes: &'a [u8],
    pub(super) residual_norms: &'a [u8],
    /// Where its bounds begin among those of the block.
    pub(super) first: usize,
    pub(super) rows: usize,
    /// Index of the prepared queries for its quantizer.
    pub(super) prepared: usize,
}

/// All queries, encoded for one quantizer.
pub(super) struct PreparedQueries<'a> {
    pub(super) quantizer: &'a Arc<Quantizer>,
    queries: Vec<EncodedQuery>,
    /// The part of each query that the sketch kernel reads.
    weights: Vec<Weights>,
}

/// A row that may be among the best.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    bound: f32,
    /// Index of the segment in the block.
    segment: u32,
    row: u32,
}

/// A search under way.
pub(super) struct Search<'a> {
    pub(super) probe: &'a [f32],
    pub(super) top: TopK,
}

impl<'a> PreparedQueries<'a> {
    pub(super) fn new(live: &[&mut Search<'_>], quantizer: &'a Arc<Quantizer>) -> Self {
        let mut queries: Vec<EncodedQuery> = live.iter().map(|search| quantizer.prepare(search.probe)).collect();
        let weights = queries.iter_mut().map(|query| std::mem::take(&mut query.sketch)).collect();
        Self { quantizer, queries, weights }
    }
}

impl Search<'_> {
    pub(super) fn compare(&mut self, segments: &[Arc<Segment>], row: &[f32], at: RowRef) {
        let score = dot(self.probe, row);
        if self.top.cutoff().is_none_or(|cutoff| score >= cutoff) {
            self.top.offer(segments, score, at);
        }
    }

    /// Rows with bounds below this are not among the best. No bound is below 0, and no bound of a cosine that is
    /// clamped to 1 is below 255.
    fn threshold(&self) -> u8 {
        self.top.cutoff().map_or(0, |cutoff| (cutoff * BOUNDS).floor() as u8)
    }

    /// Finds the best rows of a block. `n` is the index of this search among those that share the pass.
    pub(super) fn finish_block(
        &mut self,
        segments: &[Arc<Segment>],
        n: usize,
        block: &[SketchedSegment<'_>],
        prepared: &[PreparedQueries<'_>],
        scratch: &mut Scratch,
    ) {
        let Scratch { bounds, highest, rows, sums, norms, stats } = scratch;
        let bounds = &bounds[n];
        let highest = &highest[n];
        // The most promising rows raise the cutoff first.
        let first = initial_threshold(block, bounds, highest, self.top.limit() + FIRST_COMPARED).max(self.threshold());
        let mut candidates: Vec<Candidate> = Vec::new();
        for at in segments_reaching(highest, first) {
            rows_reaching(block[at].bounds(bounds), first, rows);
            candidates.extend(rows.iter().map(|row| Candidate::new(f32::MAX, at, *row)));
        }
        stats.compared += self.compare_by_bound(segments, block, &candidates);
        candidates.clear();
        // The rows compared above are among these again, which has no effect.
        let threshold = self.threshold();
        let mut left = segments_reaching(highest, threshold).peekable();
        let mut next_rows: Vec<u16> = Vec::new();
        if let Some(first) = left.peek() {
            block[*first].prefetch(bounds, threshold, &mut next_rows);
        }
        while let Some(at) = left.next() {
            std::mem::swap(rows, &mut next_rows);
            if let Some(next) = left.peek() {
                block[*next].prefetch(bounds, threshold, &mut next_rows);
            }
            let segment = &block[at];
            if segment.fine_codes.is_empty() {
                let bound = |row: &u16| f32::from(segment.bounds(bounds)[usize::from(*row)]) / BOUNDS;
                candidates.extend(rows.iter().map(|row| Candidate::new(bound(row), at, *row)));
                continue;
            }
            let PreparedQueries { quantizer, queries, .. } = &prepared[segment.prepared];
            let query = &queries[n];
            stats.codes[1] += rows.len() as u64;
            fine_code_sums(segment.fine_codes, quantizer.row_bytes(), &query.weights, rows, sums);
            let cutoff = self.top.cutoff().unwrap_or(f32::NEG_INFINITY);
            for (row, sum) in rows.iter().zip(sums.iter()) {
                let byte = segment.residual_norms.get(usize::from(*row));
                let residual = byte.map_or(f32::INFINITY, |byte| norms.norm(*byte));
                let bound = query.bound(*sum, residual);
                if bound >= cutoff {
                    candidates.push(Candidate::new(bound, at, *row));
                }
            }
        }
        candidates.sort_unstable_by(|a, b| b.bound.total_cmp(&a.bound));
        stats.compared += self.compare_by_bound(segments, block, &candidates);
    }

    /// Compares candidates in f32 while their bounds reach the cutoff. Returns how many were compared.
    fn compare_by_bound(
        &mut self,
        segments: &[Arc<Segment>],
        block: &[SketchedSegment<'_>],
        candidates: &[Candidate],
    ) -> u64 {
        let mut compared = 0;
        for (n, candidate) in candidates.iter().enumerate() {
            if self.top.cutoff().is_some_and(|cutoff| candidate.bound < cutoff) {
                break;
            }
            if let Some(later) = candidates.get(n + PREFETCH_ROWS) {
                prefetch(block[later.segment as usize].row(later.row, self.probe.len()));
            }
            let segment = &block[candidate.segment as usize];
            let at = RowRef { segment: segment.index, row: candidate.row };
            self.compare(segments, segment.row(candidate.row, self.probe.len()), at);
            compared += 1;
        }
        self.top.sort_pending(segments);
        compared
    }
}

impl Candidate {
    fn new(bound: f32, segment: usize, row: u16) -> Self {
        Self { bound, segment: segment as u32, row: row.into() }
    }
}

impl SketchedSegment<'_> {
    /// Writes the bounds of all rows to their places in the block, and appends the highest.
    pub(super) fn sketch(&self, prepared: &PreparedQueries<'_>, bounds: &mut [Vec<u8>], highest: &mut [Vec<u8>]) {
        let places = self.first..self.first + self.rows.next_multiple_of(GROUP);
        let mut results: Vec<Bounds<'_>> = bounds
            .iter_mut()
            .take(prepared.weights.len())
            .map(|bounds| Bounds { rows: &mut bounds[places.clone()], highest: 0 })
            .collect();
        let shape = prepared.quantizer.shape();
        let queries = prepared.weights.as_slice();
        scan(Pass { shape, sketches: self.sketches, queries }, &mut results);
        for (result, highest) in results.iter_mut().zip(highest) {
            // The last group may be padded: its padding has no row.
            if self.rows < result.rows.len() {
                result.highest = result.rows[..self.rows].iter().fold(0, |most, bound| most.max(*bound));
            }
            highest.push(result.highest);
        }
    }

    fn bounds<'b>(&self, bounds: &'b [u8]) -> &'b [u8] {
        &bounds[self.first..self.first + self.rows]
    }

    fn row(&self, row: u32, dimension: usize) -> &[f32] {
        &self.values[row as usize * dimension..(row as usize + 1) * dimension]
    }

    /// Lists the rows whose bounds reach a threshold, and prefetches their fine codes.
    fn prefetch(&self, bounds: &[u8], threshold: u8, rows: &mut Vec<u16>) {
        rows_reaching(self.bounds(bounds), threshold, rows);
        let bytes = self.fine_codes.len() / self.rows.max(1);
        for row in rows.iter().map(|row| usize::from(*row)) {
            prefetch(self.fine_codes.get(row * bytes..(row + 1) * bytes).unwrap_or(&[]));
            prefetch(self.residual_norms.get(row..=row).unwrap_or(&[]));
        }
    }
}

/// The segments with a row that reaches a threshold.
fn segments_reaching(highest: &[u8], threshold: u8) -> impl Iterator<Item = usize> {
    highest.iter().enumerate().filter(move |(_, highest)| **highest >= threshold).map(|(at, _)| at)
}

/// A bound that at least `count` rows of a block reach, and usually not many more.
fn initial_threshold(block: &[SketchedSegment<'_>], bounds: &[u8], highest: &[u8], count: usize) -> u8 {
    let mut highest = highest.to_vec();
    if count > highest.len() {
        highest = block.iter().flat_map(|segment| segment.bounds(bounds)).copied().collect();
    }
    match highest.len().checked_sub(count) {
        Some(at) if count > 0 => *highest.select_nth_unstable(at).1,
        _ => 0,
    }
}
