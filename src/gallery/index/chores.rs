//! What makes searches faster and can be done at any time: axes are learnt, rows get codes, and codes that
//! are at rest are put side by side.

use std::sync::Arc;

use super::Index;
use crate::gallery::codes::Codes;
use crate::gallery::quantiser::Quantiser;
use crate::gallery::segment::{SEGMENT, Segment};
use crate::gallery::slab::Slab;

/// Segments whose codes lie together: of 65 536 rows.
const RUN: usize = 64;
/// So many of them may have codes of their own before all are put together anew.
const LOOSE: usize = RUN / 4;

/// Work that makes searches faster and that can be done without holding up anyone.
pub(in crate::gallery) enum Chore {
    Learn { sample: Vec<f32>, dimension: usize, rows: usize },
    Encode { at: usize, segment: Arc<Segment>, quantiser: Arc<Quantiser> },
    Gather { first: usize, segments: Vec<Arc<Segment>> },
}

/// A chore that was done.
pub(in crate::gallery) enum Done {
    Learnt { quantiser: Quantiser, dimension: usize, rows: usize },
    Encoded { at: usize, stamp: u64, codes: Codes },
    Gathered { first: usize, codes: Vec<(u64, Codes)> },
}

impl Chore {
    pub(in crate::gallery) fn run(self) -> Done {
        match self {
            Self::Learn { sample, dimension, rows } => {
                Done::Learnt { quantiser: Quantiser::learn(&sample, dimension), dimension, rows }
            }
            Self::Encode { at, segment, quantiser } => {
                Done::Encoded { at, stamp: segment.stamp(), codes: segment.encode(&quantiser) }
            }
            Self::Gather { first, segments } => {
                let codes: Vec<&Codes> = segments.iter().filter_map(|segment| segment.codes()).collect();
                let gathered = if codes.len() == segments.len() { Codes::gather(&codes) } else { None };
                let stamps = segments.iter().map(|segment| segment.stamp());
                Done::Gathered { first, codes: stamps.zip(gathered.unwrap_or_default()).collect() }
            }
        }
    }
}

impl Index {
    /// Bytes of the slabs in which codes of this gallery lie: no run has parts of more than a few.
    pub(super) fn slabs(&self) -> usize {
        let runs = self.segments.chunks(RUN).map(|run| {
            let mut slabs: Vec<&Arc<Slab>> = run.iter().filter_map(|segment| segment.codes()?.slab()).collect();
            slabs.sort_unstable_by_key(|slab| Arc::as_ptr(slab));
            slabs.dedup_by(|a, b| Arc::ptr_eq(a, b));
            slabs.into_iter().map(|slab| slab.bytes()).sum::<usize>()
        });
        runs.sum()
    }

    /// The next thing to do, if there is anything.
    pub(in crate::gallery) fn chore(&mut self) -> Option<Chore> {
        if self.rows < self.smallest {
            return None;
        }
        let learn = self.written >= self.learnt_from.max(self.smallest);
        let Some(quantiser) = self.quantiser.as_ref().filter(|_| !learn) else {
            return Some(self.learn());
        };
        let quantiser = Arc::clone(quantiser);
        if let Some(chore) = self.gather() {
            return Some(chore);
        }
        while let Some(segment) = self.segments.get(self.encoded) {
            if !segment.codes().is_some_and(|codes| Arc::ptr_eq(codes.quantiser(), &quantiser)) {
                return Some(Chore::Encode { at: self.encoded, segment: Arc::clone(segment), quantiser });
            }
            self.encoded += 1;
            if let Some(chore) = self.gather() {
                return Some(chore);
            }
        }
        None
    }

    /// Whether the next run can be gathered, or enough was written to look at all of them again.
    fn has_loose(&self) -> bool {
        self.loose >= LOOSE || self.gathered < self.full_runs()
    }

    /// Runs of full segments with codes.
    pub(super) fn full_runs(&self) -> usize {
        self.encoded.min(self.rows / SEGMENT) / RUN
    }

    /// The next run whose codes are to be put together.
    fn gather(&mut self) -> Option<Chore> {
        if self.loose >= LOOSE {
            (self.gathered, self.loose) = (0, 0);
        }
        while self.gathered < self.full_runs() {
            let first = self.gathered * RUN;
            let segments = self.segments.get(first..first + RUN)?;
            self.gathered += 1;
            let loose = segments.iter().filter(|s| s.codes().is_some_and(|codes| codes.slab().is_none())).count();
            if loose >= LOOSE {
                return Some(Chore::Gather { first, segments: segments.to_vec() });
            }
        }
        None
    }

    /// Whether there is anything to do; may say so once too often.
    pub(in crate::gallery) fn has_chores(&self) -> bool {
        let learn = self.quantiser.is_none() || self.written >= self.learnt_from.max(self.smallest);
        self.rows >= self.smallest && (learn || self.encoded < self.segments.len() || self.has_loose())
    }

    fn learn(&self) -> Chore {
        let wanted = 4096 + 4 * self.dimension;
        let count = self.rows.min(wanted);
        let sample = (0..count).flat_map(|n| {
            let row = n * self.rows / count;
            self.segments[row / SEGMENT].row(row % SEGMENT).iter().copied()
        });
        Chore::Learn { sample: sample.collect(), dimension: self.dimension, rows: self.rows }
    }

    pub(in crate::gallery) fn finish(&mut self, done: Done) {
        match done {
            Done::Learnt { quantiser, dimension, rows } => {
                if dimension == self.dimension {
                    self.quantiser = Some(Arc::new(quantiser));
                    (self.learnt_from, self.written, self.encoded, self.gathered) = (rows, 0, 0, 0);
                }
            }
            Done::Encoded { at, stamp, codes } => {
                let Some(quantiser) = &self.quantiser else { return };
                let Some(segment) = self.segments.get(at) else { return };
                // A segment that was written to in the meantime is encoded here and now, or a
                // busy one would never be.
                let codes = if segment.stamp() == stamp && Arc::ptr_eq(codes.quantiser(), quantiser) {
                    codes
                } else {
                    segment.encode(quantiser)
                };
                let segment = Arc::new(segment.with_codes(codes));
                Arc::make_mut(&mut self.segments)[at] = segment;
            }
            Done::Gathered { first, codes } => {
                let Some(quantiser) = self.quantiser.clone() else { return };
                let segments = Arc::make_mut(&mut self.segments).iter_mut().skip(first);
                for (segment, (stamp, codes)) in segments.zip(codes) {
                    if segment.stamp() == stamp && Arc::ptr_eq(codes.quantiser(), &quantiser) {
                        *segment = Arc::new(segment.with_codes(codes));
                    }
                }
            }
        }
    }
}
