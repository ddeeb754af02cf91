//! Maintenance tasks of an index: learn axes, encode segments, pack codes into huge pages. They make searches faster,
//! run outside of any lock, and never change an answer.

use std::sync::Arc;

use super::Index;
use crate::gallery::quantization::{Codes, HugePages, Quantizer};
use crate::gallery::segment::{SEGMENT, Segment};

/// Segments whose codes are packed together: 65 536 rows.
const PACK_SEGMENTS: usize = 64;
/// With this many unpacked segments, a group is packed again.
const MAX_UNPACKED: usize = PACK_SEGMENTS / 4;

/// A task to run outside of the lock.
pub(in crate::gallery) enum Task {
    Learn { sample: Vec<f32>, dimension: usize, rows: usize },
    Encode { at: usize, segment: Arc<Segment>, quantizer: Arc<Quantizer> },
    Pack { first: usize, segments: Vec<Arc<Segment>> },
}

/// The result of a [`Task`].
pub(in crate::gallery) enum TaskResult {
    Learned { quantizer: Quantizer, dimension: usize, rows: usize },
    Encoded { at: usize, version: u64, codes: Codes },
    Packed { first: usize, codes: Vec<(u64, Codes)> },
}

impl Task {
    pub(in crate::gallery) fn run(self) -> TaskResult {
        match self {
            Self::Learn { sample, dimension, rows } => {
                TaskResult::Learned { quantizer: Quantizer::learn(&sample, dimension), dimension, rows }
            }
            Self::Encode { at, segment, quantizer } => {
                TaskResult::Encoded { at, version: segment.version(), codes: segment.encode(&quantizer) }
            }
            Self::Pack { first, segments } => {
                let codes: Vec<&Codes> = segments.iter().filter_map(|segment| segment.codes()).collect();
                let packed = if codes.len() == segments.len() { Codes::pack(&codes) } else { None };
                let versions = segments.iter().map(|segment| segment.version());
                TaskResult::Packed { first, codes: versions.zip(packed.unwrap_or_default()).collect() }
            }
        }
    }
}

impl Index {
    /// Bytes of the huge pages that hold codes of this gallery.
    pub(super) fn huge_page_bytes(&self) -> usize {
        let groups = self.segments.chunks(PACK_SEGMENTS).map(|group| {
            let mut pages: Vec<&Arc<HugePages>> = group.iter().filter_map(|segment| segment.codes()?.pages()).collect();
            pages.sort_unstable_by_key(|pages| Arc::as_ptr(pages));
            pages.dedup_by(|a, b| Arc::ptr_eq(a, b));
            pages.into_iter().map(|pages| pages.bytes()).sum::<usize>()
        });
        groups.sum()
    }

    /// The next task, if there is one.
    pub(in crate::gallery) fn next_task(&mut self) -> Option<Task> {
        if self.rows < self.min_indexed_rows {
            return None;
        }
        let learn = self.written >= self.learned_from.max(self.min_indexed_rows);
        let Some(quantizer) = self.quantizer.as_ref().filter(|_| !learn) else {
            return Some(self.learn());
        };
        let quantizer = Arc::clone(quantizer);
        if let Some(task) = self.pack() {
            return Some(task);
        }
        while let Some(segment) = self.segments.get(self.encoded) {
            if !segment.codes().is_some_and(|codes| Arc::ptr_eq(codes.quantizer(), &quantizer)) {
                return Some(Task::Encode { at: self.encoded, segment: Arc::clone(segment), quantizer });
            }
            self.encoded += 1;
            if let Some(task) = self.pack() {
                return Some(task);
            }
        }
        None
    }

    /// Whether a group can be packed, or enough was written to check all groups again.
    fn has_unpacked(&self) -> bool {
        self.unpacked >= MAX_UNPACKED || self.packed < self.full_packs()
    }

    /// Number of groups whose segments are full and encoded.
    pub(super) fn full_packs(&self) -> usize {
        self.encoded.min(self.rows / SEGMENT) / PACK_SEGMENTS
    }

    /// The next group to pack.
    fn pack(&mut self) -> Option<Task> {
        if self.unpacked >= MAX_UNPACKED {
            self.packed = 0;
            self.unpacked = 0;
        }
        while self.packed < self.full_packs() {
            let first = self.packed * PACK_SEGMENTS;
            let segments = self.segments.get(first..first + PACK_SEGMENTS)?;
            self.packed += 1;
            let unpacked = segments.iter().filter(|s| s.codes().is_some_and(|codes| codes.pages().is_none())).count();
            if unpacked >= MAX_UNPACKED {
                return Some(Task::Pack { first, segments: segments.to_vec() });
            }
        }
        None
    }

    /// Whether there may be a task; can be true once too often.
    pub(in crate::gallery) fn needs_maintenance(&self) -> bool {
        let learn = self.quantizer.is_none() || self.written >= self.learned_from.max(self.min_indexed_rows);
        self.rows >= self.min_indexed_rows && (learn || self.encoded < self.segments.len() || self.has_unpacked())
    }

    fn learn(&self) -> Task {
        let target = 4096 + 4 * self.dimension;
        let count = self.rows.min(target);
        let sample = (0..count).flat_map(|n| {
            let row = n * self.rows / count;
            self.segments[row / SEGMENT].row(row % SEGMENT).iter().copied()
        });
        Task::Learn { sample: sample.collect(), dimension: self.dimension, rows: self.rows }
    }

    /// Applies the result of a task.
    pub(in crate::gallery) fn finish(&mut self, result: TaskResult) {
        match result {
            TaskResult::Learned { quantizer, dimension, rows } => {
                if dimension == self.dimension {
                    self.quantizer = Some(Arc::new(quantizer));
                    self.learned_from = rows;
                    self.written = 0;
                    self.encoded = 0;
                    self.packed = 0;
                }
            }
            TaskResult::Encoded { at, version, codes } => {
                let Some(quantizer) = &self.quantizer else { return };
                let Some(segment) = self.segments.get(at) else { return };
                // A segment that was written to meanwhile is encoded under the lock; otherwise a segment with frequent
                // writes would never get codes.
                let codes = if segment.version() == version && Arc::ptr_eq(codes.quantizer(), quantizer) {
                    codes
                } else {
                    segment.encode(quantizer)
                };
                let segment = Arc::new(segment.with_codes(codes));
                Arc::make_mut(&mut self.segments)[at] = segment;
            }
            TaskResult::Packed { first, codes } => {
                let Some(quantizer) = self.quantizer.clone() else { return };
                let segments = Arc::make_mut(&mut self.segments).iter_mut().skip(first);
                for (segment, (version, codes)) in segments.zip(codes) {
                    if segment.version() == version && Arc::ptr_eq(codes.quantizer(), &quantizer) {
                        *segment = Arc::new(segment.with_codes(codes));
                    }
                }
            }
        }
    }
}
