//! One search, or several that share it: bounds first, then the few rows that are left in f32.
//!
//! Plane by plane, every group of rows whose best bound still reaches the worst of the best rows
//! found is read; then the rows left are compared in f32, the most promising first, until a bound
//! says that no better one can follow. Bounds are never below the f32 dot product, so the answer
//! is that of brute force.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::Ranked;
use super::best::{Best, Place};
use super::codes::{Codes, Quantiser, UNITS};
use super::kernel::{GROUP, Lane, Pass, Results, Weights, dot, scan};
use super::segment::{SEGMENT, Segment};
use crate::domain::Revision;

/// Segments whose sums are kept at a time: a million rows, two megabytes for each search.
const REGION: usize = 1024;
/// Segments that are read side by side.
const STREAMS: usize = 8;
/// Most promising groups that are compared early, to raise the bar.
const EARLY: usize = 12;
/// Groups of a full segment.
const GROUPS: usize = SEGMENT / GROUP;

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
    /// Rows that were to be searched.
    pub rows: u64,
    /// Rows whose codes were read, plane by plane.
    pub planes: [u64; 4],
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
            rows: self.rows - before.rows,
            planes,
            compared: self.compared - before.compared,
        }
    }

    pub(super) fn add(&mut self, more: Self) {
        self.searches += more.searches;
        self.rows += more.rows;
        self.planes.iter_mut().zip(more.planes).for_each(|(sum, n)| *sum += n);
        self.compared += more.compared;
    }
}

/// Memory that searches use again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    sums: Vec<[i16; GROUP]>,
    tops: Vec<i16>,
    candidates: Vec<(i16, Place)>,
    pub(super) work: Work,
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
        scratch.work.rows += (live.len() * self.rows) as u64;
        if !live.is_empty() {
            // Where most rows are wanted, bounds are no use.
            let few = live.iter().all(|search| search.best.limit() < self.rows / 4);
            let mut coded: Vec<(&Arc<Quantiser>, Vec<u32>)> = Vec::new();
            for (at, segment) in self.segments.iter().enumerate() {
                match segment.codes().filter(|_| few).map(Codes::quantiser) {
                    Some(quantiser) => match coded.iter_mut().find(|(known, _)| Arc::ptr_eq(known, quantiser)) {
                        Some((_, segments)) => segments.push(at as u32),
                        None => coded.push((quantiser, vec![at as u32])),
                    },
                    None => self.compare_all(&mut live, at, scratch),
                }
            }
            for (quantiser, segments) in coded {
                self.scan_coded(&mut live, quantiser, &segments, scratch);
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

    fn scan_coded(&self, live: &mut [&mut Search<'_>], quantiser: &Quantiser, segments: &[u32], scratch: &mut Scratch) {
        let prepared: Vec<Vec<Weights>> = live.iter().map(|search| quantiser.prepare(search.probe)).collect();
        // The other way round: for each plane, all queries.
        let planes: Vec<Vec<Weights>> = (0..quantiser.planes())
            .map(|plane| prepared.iter().filter_map(|query| query.get(plane).cloned()).collect())
            .collect();
        for segments in segments.chunks(REGION) {
            let region = Region { all: &self.segments, segments };
            let groups = region.groups();
            scratch.sums.clear();
            scratch.sums.resize(groups * live.len(), [0; GROUP]);
            scratch.tops.clear();
            scratch.tops.resize(groups * live.len(), i16::MAX);
            for (plane, queries) in planes.iter().enumerate() {
                let last = plane + 1 == planes.len();
                let thresholds: Vec<i16> = live.iter().map(|search| search.threshold()).collect();
                for (tops, threshold) in scratch.tops.chunks(groups.max(1)).zip(&thresholds) {
                    let alive = tops.iter().filter(|top| **top >= *threshold).count();
                    if let Some(count) = scratch.work.planes.get_mut(plane) {
                        *count += (alive * GROUP) as u64;
                    }
                }
                for (at, streams) in segments.chunks(STREAMS).enumerate() {
                    let lanes: Vec<Lane<'_>> = streams
                        .iter()
                        .enumerate()
                        .filter_map(|(n, segment)| {
                            let (codes, errors) = self.segments[*segment as usize].codes()?.plane(plane);
                            Some(Lane { codes, errors, first: (at * STREAMS + n) * GROUPS })
                        })
                        .collect();
                    let pass = Pass { lanes: &lanes, queries, thresholds: &thresholds, last };
                    scan(pass, Results { groups, sums: &mut scratch.sums, tops: &mut scratch.tops });
                }
                for (query, search) in live.iter_mut().enumerate() {
                    let (from, to) = (query * groups, (query + 1) * groups);
                    let tops = &scratch.tops[from..to];
                    scratch.work.compared += if last {
                        search.finish(region, tops, &scratch.sums[from..to], &mut scratch.candidates)
                    } else {
                        search.compare_early(region, tops)
                    };
                }
            }
        }
    }
}

impl Scratch {
    /// What one large batch needed is not kept for ever.
    fn give_back_memory(&mut self) {
        const KEPT: usize = 4 << 20;
        self.candidates.clear();
        self.candidates.shrink_to(KEPT / size_of::<(i16, Place)>());
        if self.sums.len() < self.sums.capacity() / 4 {
            self.sums.clear();
            self.tops.clear();
            self.sums.shrink_to(KEPT / size_of::<[i16; GROUP]>());
            self.tops.shrink_to(KEPT / size_of::<[i16; GROUP]>());
        }
    }
}

/// Some segments of a gallery, all full but perhaps the last one.
#[derive(Clone, Copy)]
struct Region<'a> {
    all: &'a [Arc<Segment>],
    segments: &'a [u32],
}

impl Region<'_> {
    fn groups(self) -> usize {
        let last = self.segments.last().map_or(0, |at| self.all[*at as usize].len());
        self.segments.len().saturating_sub(1) * GROUPS + last.div_ceil(GROUP)
    }

    /// The rows of a group.
    fn rows(self, group: usize) -> impl Iterator<Item = Place> {
        let segment = self.segments[group / GROUPS];
        let first = group % GROUPS * GROUP;
        let end = self.all[segment as usize].len().min(first + GROUP);
        (first..end).map(move |row| (segment, row as u32))
    }
}

struct Search<'a> {
    probe: &'a [f32],
    best: Best,
}

impl Search<'_> {
    fn compare(&mut self, segments: &[Arc<Segment>], place: Place) {
        let score = dot(self.probe, segments[place.0 as usize].row(place.1 as usize));
        self.best.offer(segments, score, place);
    }

    /// Rows with bounds below this are not among the best. One unit is left for a cosine that is
    /// clamped up to -1.
    fn threshold(&self) -> i16 {
        self.best.bar().map_or(i16::MIN, |bar| (f64::from(bar) * UNITS).floor() as i16 - 1)
    }

    /// Compares the rows of the most promising groups.
    fn compare_early(&mut self, region: Region<'_>, tops: &[i16]) -> u64 {
        let wanted = EARLY + self.best.limit() / 2;
        let mut heap: BinaryHeap<Reverse<(i16, usize)>> = BinaryHeap::with_capacity(wanted + 1);
        each_alive(tops, self.threshold(), |group, top| {
            heap.push(Reverse((top, group)));
            if heap.len() <= wanted {
                return None;
            }
            heap.pop();
            heap.peek().map(|Reverse((top, _))| *top)
        });
        let mut compared = 0;
        for Reverse((top, group)) in heap.into_sorted_vec() {
            // Sorted by what is reversed: the best one comes first.
            if top < self.threshold() {
                break;
            }
            for place in region.rows(group) {
                self.compare(region.all, place);
                compared += 1;
            }
        }
        self.best.settle(region.all);
        compared
    }

    /// Compares the rows that are left.
    fn finish(
        &mut self,
        region: Region<'_>,
        tops: &[i16],
        bounds: &[[i16; GROUP]],
        candidates: &mut Vec<(i16, Place)>,
    ) -> u64 {
        let threshold = self.threshold();
        candidates.clear();
        each_alive(tops, threshold, |group, _| {
            let rows = region.rows(group).zip(&bounds[group]);
            candidates.extend(rows.filter(|(_, bound)| **bound >= threshold).map(|(place, bound)| (*bound, place)));
            None
        });
        candidates.sort_unstable_by_key(|(bound, place)| (Reverse(*bound), *place));
        let mut compared = 0;
        for (bound, place) in candidates.iter() {
            if *bound < self.threshold() {
                break;
            }
            self.compare(region.all, *place);
            compared += 1;
        }
        self.best.settle(region.all);
        compared
    }
}

/// Visits the groups that have a bound of at least `bar`; a visit may raise the bar.
fn each_alive(tops: &[i16], mut bar: i16, mut visit: impl FnMut(usize, i16) -> Option<i16>) {
    const RUN: usize = 64;
    for (at, run) in tops.chunks(RUN).enumerate() {
        if run.iter().fold(i16::MIN, |most, top| most.max(*top)) < bar {
            continue;
        }
        for (n, top) in run.iter().enumerate() {
            if *top >= bar {
                bar = visit(at * RUN + n, *top).map_or(bar, |raised| raised.max(bar));
            }
        }
    }
}
