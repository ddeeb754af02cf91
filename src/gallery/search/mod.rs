//! One search, or several that share a pass: bounds first, then the few remaining rows in f32.
//!
//! A *block* of the gallery is sketched: every row gets a bound. The rows with the highest bounds are compared in f32,
//! which raises the *cutoff*, the worst score among the best rows so far. Rows whose bounds do not reach it are ruled
//! out; fine codes rule out most of the others. The rest are compared in f32, the most promising first. Bounds are
//! never below the f32 dot product, so the answer equals brute force.
//!
//! Reading all sketches of a block before its single rows is on purpose: a row that is read between sketches costs four
//! times as much (measured).

mod block;
mod stats;
mod top_k;

use std::sync::Arc;

pub use stats::SearchStats;

use super::Ranked;
use super::kernel::GROUP;
use super::quantization::ResidualNorms;
use super::segment::{SEGMENT, Segment};
use crate::domain::Revision;
use block::{PreparedQueries, Search, SketchedSegment};
use top_k::{RowRef, TopK};

/// Rows that are sketched at once, for all searches together: their bounds take 1 MiB.
const BLOCK_ROWS: usize = 1 << 20;

const _: () = assert!(SEGMENT.is_multiple_of(GROUP), "full segments are whole groups");

/// An immutable view of a gallery at one revision. It holds no lock.
#[derive(Debug, Clone)]
pub(super) struct Searcher {
    pub(super) revision: Revision,
    pub(super) templates: usize,
    pub(super) rows: usize,
    /// Rows that are samples; the others are means.
    pub(super) samples: usize,
    pub(super) dimension: usize,
    /// All full except the last.
    pub(super) segments: Arc<Vec<Arc<Segment>>>,
}

/// One query: a probe and how many templates to return.
#[derive(Clone, Copy)]
pub(super) struct Query<'a> {
    pub(super) probe: &'a [f32],
    pub(super) limit: usize,
}

/// Memory that searches reuse.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The bounds of a block for each search, and the highest bound of each segment.
    bounds: Vec<Vec<u8>>,
    highest: Vec<Vec<u8>>,
    rows: Vec<u16>,
    sums: Vec<i32>,
    norms: ResidualNorms,
    pub(super) stats: SearchStats,
}

impl Searcher {
    /// Answers several queries in one pass.
    pub(super) fn search(&self, queries: &[Query<'_>], scratch: &mut Scratch) -> Vec<Ranked> {
        let mut searches: Vec<Search<'_>> =
            queries.iter().map(|query| Search { probe: query.probe, top: TopK::new(query.limit) }).collect();
        let mut live: Vec<&mut Search<'_>> = searches
            .iter_mut()
            .filter(|search| search.top.limit() > 0 && search.probe.len() == self.dimension)
            .collect();
        scratch.stats.searches += live.len() as u64;
        scratch.stats.passes += u64::from(!live.is_empty());
        scratch.stats.rows += (live.len() * self.rows) as u64;
        if !live.is_empty() {
            // When a query asks for most of the rows, bounds rule out nothing.
            let use_codes = live.iter().all(|search| search.top.limit() < self.rows / 4);
            let block = (BLOCK_ROWS / SEGMENT / live.len()).max(1);
            let mut prepared = Vec::new();
            for (n, segments) in self.segments.chunks(block).enumerate() {
                self.search_block(&mut live, n * block, segments, use_codes, &mut prepared, scratch);
            }
        }
        let ranked = |search: Search<'_>| {
            search.top.ranked(&self.segments, self.revision, self.templates, self.samples, self.rows)
        };
        searches.into_iter().map(ranked).collect()
    }

    fn search_block<'a>(
        &'a self,
        live: &mut [&mut Search<'_>],
        first: usize,
        segments: &'a [Arc<Segment>],
        use_codes: bool,
        prepared: &mut Vec<PreparedQueries<'a>>,
        scratch: &mut Scratch,
    ) {
        // All pointers are followed first: the processor overlaps many such loads when it has nothing else to do.
        let mut block: Vec<SketchedSegment<'a>> = Vec::with_capacity(segments.len());
        let mut end = 0;
        for (offset, segment) in segments.iter().enumerate() {
            let index = first + offset;
            let Some(codes) = segment.codes().filter(|_| use_codes) else {
                self.compare_all(live, index, scratch);
                continue;
            };
            let known = prepared.iter().position(|known| Arc::ptr_eq(known.quantizer, codes.quantizer()));
            let known = known.unwrap_or_else(|| {
                prepared.push(PreparedQueries::new(live, codes.quantizer()));
                prepared.len() - 1
            });
            let rows = segment.len();
            block.push(SketchedSegment {
                index: index as u32,
                values: segment.values(),
                sketches: codes.sketches(),
                fine_codes: codes.fine_codes(),
                residual_norms: codes.residual_norms(),
                first: end,
                rows,
                prepared: known,
            });
            end += rows.next_multiple_of(GROUP);
        }
        scratch.bounds.resize_with(live.len().max(scratch.bounds.len()), Vec::new);
        scratch.highest.resize_with(live.len().max(scratch.highest.len()), Vec::new);
        for bounds in scratch.bounds.iter_mut().take(live.len()) {
            bounds.resize(end.max(bounds.len()), 0);
        }
        scratch.highest.iter_mut().for_each(Vec::clear);
        for segment in &block {
            segment.sketch(&prepared[segment.prepared], &mut scratch.bounds, &mut scratch.highest);
        }
        scratch.stats.codes[0] += block.iter().map(|segment| (segment.rows * live.len()) as u64).sum::<u64>();
        for (n, search) in live.iter_mut().enumerate() {
            search.finish_block(&self.segments, n, &block, prepared, scratch);
        }
    }

    /// Compares every row of a segment without codes.
    fn compare_all(&self, live: &mut [&mut Search<'_>], index: usize, scratch: &mut Scratch) {
        let segment = &self.segments[index];
        for row in 0..segment.len() {
            for search in live.iter_mut() {
                let at = RowRef { segment: index as u32, row: row as u32 };
                search.compare(&self.segments, segment.row(row), at);
            }
        }
        live.iter_mut().for_each(|search| search.top.sort_pending(&self.segments));
        scratch.stats.compared += (live.len() * segment.len()) as u64;
    }
}
