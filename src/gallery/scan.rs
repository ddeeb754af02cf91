//! One search, or several that share it: bounds first, then the few rows that are left in f32.
//!
//! A *stretch* of the gallery is sketched: every row gets a bound. The rows with the highest bounds are
//! compared in f32, which raises the *bar*, the worst of the best rows found. Of the others those whose
//! bounds do not reach it are ruled out, and so are most of the rest by their fine codes. What is left is
//! compared, the most promising first. Bounds are never below the f32 dot product, so the answer is that of
//! brute force.
//!
//! Reading the sketches and reading some rows here and there take turns, because neither is fast beside the
//! other: a row that is read in between costs four times as much (measured).

use std::sync::Arc;

use super::Ranked;
use super::best::{Best, Place};
use super::codes::Rests;
use super::kernel::{Bounds, GROUP, Pass, Weights, ask_for, dot, reaching, scan, sums};
use super::quantiser::{BOUNDS, Quantiser, Query};
use super::segment::{SEGMENT, Segment};
use crate::domain::Revision;

/// Stages of codes whose rows are counted.
const STAGES: usize = 2;
/// Rows that are sketched in one go, for all searches together: their bounds take 1 MiB.
const STRETCH: usize = 1 << 20;
/// Rows with the highest bounds that are compared at once, beside as many as are wanted.
const EARLY: usize = 16;
/// How many rows ahead memory is asked for: they lie far from each other.
const LATER: usize = 8;

const _: () = assert!(SEGMENT.is_multiple_of(GROUP), "full segments are whole groups");

/// What a gallery was at one moment.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) revision: Revision,
    pub(super) templates: usize,
    pub(super) rows: usize,
    pub(super) dimension: usize,
    /// All full but the last one.
    pub(super) segments: Arc<Vec<Arc<Segment>>>,
}

/// What is looked for.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) probe: &'a [f32],
    pub(super) limit: usize,
}

/// How many rows each stage of the searches so far has touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Searches.
    pub searches: u64,
    /// Passes over memory; several searches share one.
    pub passes: u64,
    /// Rows that were to be searched.
    pub rows: u64,
    /// Rows whose sketches were read, and rows whose fine codes were.
    pub codes: [u64; STAGES],
    /// Rows compared in f32.
    pub compared: u64,
}

impl Work {
    /// What was done since.
    pub fn since(self, before: Self) -> Self {
        let mut codes = self.codes;
        codes.iter_mut().zip(before.codes).for_each(|(now, then)| *now -= then);
        Self {
            searches: self.searches - before.searches,
            passes: self.passes - before.passes,
            rows: self.rows - before.rows,
            codes,
            compared: self.compared - before.compared,
        }
    }

    pub(super) fn add(&mut self, more: Self) {
        self.searches += more.searches;
        self.passes += more.passes;
        self.rows += more.rows;
        self.codes.iter_mut().zip(more.codes).for_each(|(sum, n)| *sum += n);
        self.compared += more.compared;
    }
}

/// Memory that searches use again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The bounds of a stretch for each search, and the highest of each segment.
    bounds: Vec<Vec<u8>>,
    highest: Vec<Vec<u8>>,
    rows: Vec<u16>,
    sums: Vec<i32>,
    rests: Rests,
    pub(super) work: Work,
}

/// A segment of a stretch: all that is read of it, so that no pointer has to be followed later.
struct Sketched<'a> {
    at: u32,
    values: &'a [f32],
    sketches: &'a [u8],
    codes: &'a [u8],
    rests: &'a [u8],
    /// Where its bounds begin, and how many rows there are.
    first: usize,
    rows: usize,
    /// Its place among the queries that are prepared.
    prepared: usize,
}

/// Queries as one quantiser has them: prepared, and what the kernels take.
struct Prepared<'a> {
    quantiser: &'a Arc<Quantiser>,
    queries: Vec<Query>,
    weights: Vec<Weights>,
}

/// A row that may be among the best: of a segment of the stretch.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    bound: f32,
    segment: u32,
    row: u32,
}

impl Snapshot {
    /// An answer to each of some questions.
    pub(super) fn best(&self, asks: &[Ask<'_>], scratch: &mut Scratch) -> Vec<Ranked> {
        let mut searches: Vec<Search<'_>> =
            asks.iter().map(|ask| Search { probe: ask.probe, best: Best::new(ask.limit) }).collect();
        let mut live: Vec<&mut Search<'_>> = searches
            .iter_mut()
            .filter(|search| search.best.limit() > 0 && search.probe.len() == self.dimension)
            .collect();
        scratch.work.searches += live.len() as u64;
        scratch.work.passes += u64::from(!live.is_empty());
        scratch.work.rows += (live.len() * self.rows) as u64;
        if !live.is_empty() {
            // Where most rows are wanted, bounds are no use.
            let few = live.iter().all(|search| search.best.limit() < self.rows / 4);
            let stretch = (STRETCH / SEGMENT / live.len()).max(1);
            let mut prepared = Vec::new();
            for (n, segments) in self.segments.chunks(stretch).enumerate() {
                self.search_stretch(&mut live, n * stretch, segments, few, &mut prepared, scratch);
            }
        }
        searches.into_iter().map(|search| search.best.ranked(&self.segments, self.revision, self.templates)).collect()
    }

    fn search_stretch<'a>(
        &'a self,
        live: &mut [&mut Search<'_>],
        first: usize,
        segments: &'a [Arc<Segment>],
        few: bool,
        prepared: &mut Vec<Prepared<'a>>,
        scratch: &mut Scratch,
    ) {
        // All pointers are followed first: a processor follows many at once as long as nothing else is to do.
        let mut stretch: Vec<Sketched<'a>> = Vec::with_capacity(segments.len());
        let mut end = 0;
        for (at, segment) in segments.iter().enumerate() {
            let at = first + at;
            let Some(codes) = segment.codes().filter(|_| few) else {
                self.compare_all(live, at, scratch);
                continue;
            };
            let known = prepared.iter().position(|known| Arc::ptr_eq(known.quantiser, codes.quantiser()));
            let known = known.unwrap_or_else(|| {
                prepared.push(Prepared::new(live, codes.quantiser()));
                prepared.len() - 1
            });
            let rows = segment.len();
            stretch.push(Sketched {
                at: at as u32,
                values: segment.values(),
                sketches: codes.sketches(),
                codes: codes.rows(),
                rests: codes.rests(),
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
        for segment in &stretch {
            segment.sketch(&prepared[segment.prepared], &mut scratch.bounds, &mut scratch.highest);
        }
        scratch.work.codes[0] += stretch.iter().map(|segment| (segment.rows * live.len()) as u64).sum::<u64>();
        for (n, search) in live.iter_mut().enumerate() {
            search.finish_stretch(&self.segments, n, &stretch, prepared, scratch);
        }
    }

    fn compare_all(&self, live: &mut [&mut Search<'_>], at: usize, scratch: &mut Scratch) {
        let segment = &self.segments[at];
        for row in 0..segment.len() {
            for search in live.iter_mut() {
                search.compare(&self.segments, segment.row(row), (at as u32, row as u32));
            }
        }
        live.iter_mut().for_each(|search| search.best.settle(&self.segments));
        scratch.work.compared += (live.len() * segment.len()) as u64;
    }
}

impl<'a> Prepared<'a> {
    fn new(live: &[&mut Search<'_>], quantiser: &'a Arc<Quantiser>) -> Self {
        let mut queries: Vec<Query> = live.iter().map(|search| quantiser.prepare(search.probe)).collect();
        let weights = queries.iter_mut().map(|query| std::mem::take(&mut query.sketch)).collect();
        Self { quantiser, queries, weights }
    }
}

struct Search<'a> {
    probe: &'a [f32],
    best: Best,
}

impl Search<'_> {
    fn compare(&mut self, segments: &[Arc<Segment>], row: &[f32], place: Place) {
        let score = dot(self.probe, row);
        if self.best.bar().is_none_or(|bar| score >= bar) {
            self.best.offer(segments, score, place);
        }
    }

    /// Rows with bounds below this are not among the best. No bound is below 0, and none of a cosine
    /// that is clamped down to 1 is below 255.
    fn threshold(&self) -> u8 {
        self.best.bar().map_or(0, |bar| (bar * BOUNDS).floor() as u8)
    }

    /// From bounds to the best rows of a stretch.
    fn finish_stretch(
        &mut self,
        segments: &[Arc<Segment>],
        n: usize,
        stretch: &[Sketched<'_>],
        prepared: &[Prepared<'_>],
        scratch: &mut Scratch,
    ) {
        let Scratch { bounds, highest, rows, sums: totals, rests, work } = scratch;
        let (bounds, highest) = (&bounds[n], &highest[n]);
        // The rows that promise most raise the bar; in most stretches, that of each of some segments.
        let early = early(stretch, bounds, highest, self.best.limit() + EARLY).max(self.threshold());
        let mut waiting: Vec<Candidate> = Vec::new();
        for at in reached(highest, early) {
            reaching(stretch[at].bounds(bounds), early, rows);
            waiting.extend(rows.iter().map(|row| Candidate::new(f32::MAX, at, *row)));
        }
        work.compared += self.compare_in_turn(segments, stretch, &waiting);
        waiting.clear();
        // Those are among the rest once more, which does no harm.
        let threshold = self.threshold();
        let mut left = reached(highest, threshold).peekable();
        let mut later: Vec<u16> = Vec::new();
        if let Some(first) = left.peek() {
            stretch[*first].ask_for(bounds, threshold, &mut later);
        }
        while let Some(at) = left.next() {
            std::mem::swap(rows, &mut later);
            if let Some(next) = left.peek() {
                stretch[*next].ask_for(bounds, threshold, &mut later);
            }
            let segment = &stretch[at];
            if segment.codes.is_empty() {
                let bound = |row: &u16| f32::from(segment.bounds(bounds)[usize::from(*row)]) / BOUNDS;
                waiting.extend(rows.iter().map(|row| Candidate::new(bound(row), at, *row)));
                continue;
            }
            let Prepared { quantiser, queries, .. } = &prepared[segment.prepared];
            let query = &queries[n];
            work.codes[1] += rows.len() as u64;
            sums(segment.codes, quantiser.row_bytes(), &query.weights, rows, totals);
            let bar = self.best.bar().unwrap_or(f32::NEG_INFINITY);
            for (row, sum) in rows.iter().zip(totals.iter()) {
                let rest = segment.rests.get(usize::from(*row)).map_or(f32::INFINITY, |rest| rests.length(*rest));
                let bound = query.bound(*sum, rest);
                if bound >= bar {
                    waiting.push(Candidate::new(bound, at, *row));
                }
            }
        }
        waiting.sort_unstable_by(|a, b| b.bound.total_cmp(&a.bound));
        work.compared += self.compare_in_turn(segments, stretch, &waiting);
    }

    /// Compares rows in f32 while their bounds reach the bar. Returns how many.
    fn compare_in_turn(
        &mut self,
        segments: &[Arc<Segment>],
        stretch: &[Sketched<'_>],
        candidates: &[Candidate],
    ) -> u64 {
        let mut compared = 0;
        for (n, candidate) in candidates.iter().enumerate() {
            if self.best.bar().is_some_and(|bar| candidate.bound < bar) {
                break;
            }
            if let Some(later) = candidates.get(n + LATER) {
                ask_for(stretch[later.segment as usize].row(later.row, self.probe.len()));
            }
            let segment = &stretch[candidate.segment as usize];
            self.compare(segments, segment.row(candidate.row, self.probe.len()), (segment.at, candidate.row));
            compared += 1;
        }
        self.best.settle(segments);
        compared
    }
}

impl Candidate {
    fn new(bound: f32, segment: usize, row: u16) -> Self {
        Self { bound, segment: segment as u32, row: row.into() }
    }
}

impl Sketched<'_> {
    /// Writes the bounds of all rows into their places, and the highest behind those of other segments.
    fn sketch(&self, prepared: &Prepared<'_>, bounds: &mut [Vec<u8>], highest: &mut [Vec<u8>]) {
        let places = self.first..self.first + self.rows.next_multiple_of(GROUP);
        let mut results: Vec<Bounds<'_>> = bounds
            .iter_mut()
            .take(prepared.weights.len())
            .map(|bounds| Bounds { rows: &mut bounds[places.clone()], highest: 0 })
            .collect();
        let (shape, queries) = (prepared.quantiser.shape(), prepared.weights.as_slice());
        scan(Pass { shape, sketches: self.sketches, queries }, &mut results);
        for (result, highest) in results.iter_mut().zip(highest) {
            // What lies behind the last row is none.
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

    /// The rows whose bounds reach a threshold; their fine codes are asked for.
    fn ask_for(&self, bounds: &[u8], threshold: u8, rows: &mut Vec<u16>) {
        reaching(self.bounds(bounds), threshold, rows);
        let bytes = self.codes.len() / self.rows.max(1);
        for row in rows.iter().map(|row| usize::from(*row)) {
            ask_for(self.codes.get(row * bytes..(row + 1) * bytes).unwrap_or(&[]));
            ask_for(self.rests.get(row..=row).unwrap_or(&[]));
        }
    }
}

/// The segments with a row that reaches a threshold.
fn reached(highest: &[u8], threshold: u8) -> impl Iterator<Item = usize> {
    highest.iter().enumerate().filter(move |(_, highest)| **highest >= threshold).map(|(at, _)| at)
}

/// A bound that so many rows of a stretch reach at least, and mostly not many more.
fn early(stretch: &[Sketched<'_>], bounds: &[u8], highest: &[u8], count: usize) -> u8 {
    let mut highest = highest.to_vec();
    if count > highest.len() {
        highest = stretch.iter().flat_map(|segment| segment.bounds(bounds)).copied().collect();
    }
    match highest.len().checked_sub(count) {
        Some(at) if count > 0 => *highest.select_nth_unstable(at).1,
        _ => 0,
    }
}
