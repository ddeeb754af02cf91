//! One search, or several that share it: bounds first, then the few rows that are left in f32.
//!
//! Segment by segment the codes are read, and rows whose bounds do not reach the worst of the best
//! rows found are dropped, plane by plane. A row that promises to be among the best, as bounds go, is
//! compared in f32 at once, which raises that bar; the others wait. In the end those that still reach
//! it are compared. Bounds are never below the f32 dot product, so the answer is that of brute force.

use std::sync::Arc;

use super::Ranked;
use super::best::{Best, Place};
use super::codes::{Codes, Quantiser, UNITS};
use super::kernel::{Bounds, GROUP, GROUPS, Pass, Weights, ask_for, dot, scan};
use super::segment::{SEGMENT, Segment};
use crate::domain::Revision;

/// Planes whose rows are counted.
const PLANES: usize = 2;
/// Most rows of one search that wait to be compared.
const MOST_WAITING: usize = 1 << 16;
/// Rows that are compared before the others in the end.
const EARLY: usize = 32;
/// How many rows ahead memory is asked for: they lie far from each other.
const LATER: usize = 8;

const _: () = assert!(SEGMENT == GROUPS * GROUP, "a segment's results are those of one pass");

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
#[derive(Debug, Clone, Copy)]
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
    /// Rows whose codes were read, plane by plane.
    pub planes: [u64; PLANES],
    /// Rows compared in f32.
    pub compared: u64,
}

impl Work {
    /// What was done since.
    pub fn since(self, before: Self) -> Self {
        let mut planes = self.planes;
        planes.iter_mut().zip(before.planes).for_each(|(now, then)| *now -= then);
        Self {
            searches: self.searches - before.searches,
            passes: self.passes - before.passes,
            rows: self.rows - before.rows,
            planes,
            compared: self.compared - before.compared,
        }
    }

    pub(super) fn add(&mut self, more: Self) {
        self.searches += more.searches;
        self.passes += more.passes;
        self.rows += more.rows;
        self.planes.iter_mut().zip(more.planes).for_each(|(sum, n)| *sum += n);
        self.compared += more.compared;
    }
}

/// Memory that searches use again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    bounds: Vec<Bounds>,
    waiting: Vec<Vec<Candidate>>,
    pub(super) work: Work,
}

/// A row that may be among the best.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    bound: i16,
    place: Place,
}

impl Candidate {
    fn value(self) -> f32 {
        f32::from(self.bound) / UNITS as f32
    }
}

impl Snapshot {
    /// An answer to each of some questions.
    pub(super) fn best(&self, asks: &[Ask<'_>], scratch: &mut Scratch) -> Vec<Ranked> {
        let mut searches: Vec<Search<'_>> = asks
            .iter()
            .map(|ask| Search { probe: ask.probe, best: Best::new(ask.limit), gap: f32::INFINITY })
            .collect();
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
            scratch.begin(live.len());
            let mut prepared: Vec<(&Arc<Quantiser>, Vec<Vec<Weights>>)> = Vec::new();
            for (at, segment) in self.segments.iter().enumerate() {
                let Some(codes) = segment.codes().filter(|_| few) else {
                    self.compare_all(&mut live, at, scratch);
                    continue;
                };
                let quantiser = codes.quantiser();
                let known = prepared.iter().position(|(known, _)| Arc::ptr_eq(known, quantiser));
                let known = known.unwrap_or_else(|| {
                    prepared.push((quantiser, by_plane(&live, quantiser)));
                    prepared.len() - 1
                });
                self.scan_coded(&mut live, &prepared[known].1, at, codes, scratch);
            }
            for (search, waiting) in live.iter_mut().zip(&mut scratch.waiting) {
                scratch.work.compared += search.compare_waiting(&self.segments, waiting);
            }
        }
        scratch.give_back_memory();
        searches.into_iter().map(|search| search.best.ranked(&self.segments, self.revision, self.templates)).collect()
    }

    fn compare_all(&self, live: &mut [&mut Search<'_>], at: usize, scratch: &mut Scratch) {
        let segment = &self.segments[at];
        for row in 0..segment.len() {
            for search in live.iter_mut() {
                search.compare(&self.segments, (at as u32, row as u32));
            }
        }
        scratch.work.compared += (live.len() * segment.len()) as u64;
    }

    fn scan_coded(
        &self,
        live: &mut [&mut Search<'_>],
        planes: &[Vec<Weights>],
        at: usize,
        codes: &Codes,
        scratch: &mut Scratch,
    ) {
        let rows = self.segments[at].len();
        for bounds in &mut scratch.bounds {
            for (group, alive) in bounds.alive.iter_mut().enumerate() {
                *alive = match rows.saturating_sub(group * GROUP) {
                    count @ 0..GROUP => (1 << count) - 1,
                    _ => u16::MAX,
                };
            }
        }
        let thresholds: Vec<i16> = live.iter().map(|search| search.threshold()).collect();
        for (plane, (queries, shape)) in planes.iter().zip(codes.quantiser().shapes()).enumerate() {
            let groups = scratch.bounds.iter().flat_map(|bounds| bounds.alive).filter(|alive| *alive != 0).count();
            if let Some(count) = scratch.work.planes.get_mut(plane) {
                *count += (groups * GROUP) as u64;
            }
            let first = plane == 0;
            let pass = Pass { shape, codes: codes.plane(plane), queries, thresholds: &thresholds, first };
            scan(pass, &mut scratch.bounds);
        }
        for ((search, bounds), waiting) in live.iter_mut().zip(&scratch.bounds).zip(&mut scratch.waiting) {
            scratch.work.compared += search.take(&self.segments, at as u32, bounds, waiting);
        }
    }
}

/// For each plane what all queries are to it.
fn by_plane(live: &[&mut Search<'_>], quantiser: &Quantiser) -> Vec<Vec<Weights>> {
    let mut planes = vec![Vec::with_capacity(live.len()); quantiser.shapes().len()];
    for search in live {
        planes.iter_mut().zip(quantiser.prepare(search.probe)).for_each(|(plane, weights)| plane.push(weights));
    }
    planes
}

impl Scratch {
    fn begin(&mut self, searches: usize) {
        self.bounds.resize_with(searches, Bounds::default);
        self.waiting.resize_with(searches, Vec::new);
    }

    /// What one large batch needed is not kept for ever.
    fn give_back_memory(&mut self) {
        const KEPT: usize = 1 << 12;
        for waiting in &mut self.waiting {
            waiting.clear();
            waiting.shrink_to(KEPT);
        }
    }
}

struct Search<'a> {
    probe: &'a [f32],
    best: Best,
    /// The least by which a bound was above what it bounds.
    gap: f32,
}

impl Search<'_> {
    fn compare(&mut self, segments: &[Arc<Segment>], place: Place) -> f32 {
        let score = dot(self.probe, segments[place.0 as usize].row(place.1 as usize));
        self.best.offer(segments, score, place);
        score
    }

    /// Rows with bounds below this are not among the best. One unit is left for a cosine that is
    /// clamped up to -1.
    fn threshold(&self) -> i16 {
        self.best.bar().map_or(i16::MIN, |bar| (f64::from(bar) * UNITS).floor() as i16 - 1)
    }

    /// Takes over the rows of a segment that were not dropped: compares those that promise to be
    /// among the best, and lets the others wait. Returns how many rows were compared.
    fn take(&mut self, segments: &[Arc<Segment>], at: u32, bounds: &Bounds, waiting: &mut Vec<Candidate>) -> u64 {
        let mut compared = 0;
        for (group, (alive, sums)) in bounds.alive.iter().zip(&bounds.sums).enumerate() {
            let mut alive = *alive;
            while alive != 0 {
                let row = alive.trailing_zeros() as usize;
                alive &= alive - 1;
                let candidate = Candidate { bound: sums[row], place: (at, (group * GROUP + row) as u32) };
                if self.best.bar().is_none_or(|bar| candidate.value() - self.gap >= bar) {
                    self.compare_candidate(segments, candidate);
                    compared += 1;
                } else {
                    waiting.push(candidate);
                }
            }
        }
        self.best.settle(segments);
        if waiting.len() > MOST_WAITING {
            let threshold = self.threshold();
            waiting.retain(|candidate| candidate.bound >= threshold);
            if waiting.len() > MOST_WAITING / 2 {
                compared += self.compare_waiting(segments, waiting);
            }
        }
        compared
    }

    fn compare_candidate(&mut self, segments: &[Arc<Segment>], candidate: Candidate) {
        let score = self.compare(segments, candidate.place);
        self.gap = self.gap.min(candidate.value() - score);
    }

    /// Compares the rows that wait, the most promising ones first. Returns how many.
    fn compare_waiting(&mut self, segments: &[Arc<Segment>], waiting: &mut Vec<Candidate>) -> u64 {
        let threshold = self.threshold();
        waiting.retain(|candidate| candidate.bound >= threshold);
        let mut compared = 0;
        let early = EARLY + 2 * self.best.limit();
        if waiting.len() > 2 * early {
            let at = waiting.len() - early;
            waiting.select_nth_unstable_by_key(at, |candidate| candidate.bound);
            for candidate in waiting.drain(at..) {
                self.compare_candidate(segments, candidate);
                compared += 1;
            }
            self.best.settle(segments);
            let threshold = self.threshold();
            waiting.retain(|candidate| candidate.bound >= threshold);
            waiting.sort_unstable_by_key(|candidate| candidate.place);
        }
        for (n, candidate) in waiting.iter().enumerate() {
            if let Some(later) = waiting.get(n + LATER) {
                ask_for(segments[later.place.0 as usize].row(later.place.1 as usize));
            }
            if candidate.bound >= self.threshold() {
                self.compare(segments, candidate.place);
                compared += 1;
            }
        }
        waiting.clear();
        self.best.settle(segments);
        compared
    }
}
