//! The best rows found so far.

use std::cmp::Ordering;
use std::collections::HashSet;

use crate::domain::{Cosine, Revision};
use crate::gallery::segment::Segment;
use crate::gallery::{Hit, Ranked, order};

/// Where a row is.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowRef {
    /// Index of the segment.
    pub(super) segment: u32,
    /// Index of the row in it.
    pub(super) row: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    score: f32,
    slot: u32,
    at: RowRef,
}

/// The best `limit` templates, each once, with their best samples.
#[derive(Debug)]
pub(super) struct TopK {
    limit: usize,
    /// Best first.
    sorted: Vec<Entry>,
    /// Offered but not sorted in yet; used for large limits.
    pending: Vec<Entry>,
}

/// From this limit on, offers are sorted in batches.
const BATCHED_LIMIT: usize = 64;

impl TopK {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, sorted: Vec::new(), pending: Vec::new() }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// The lowest score that can still enter; `None` while there are fewer than `limit` entries. Rows offered since
    /// the last [`Self::sort_pending`] may or may not count.
    pub(super) fn cutoff(&self) -> Option<f32> {
        self.sorted.last().filter(|_| self.sorted.len() >= self.limit).map(|entry| entry.score)
    }

    /// Inserts a row if it is among the best. A template stands in the list once, with its best row (of equal
    /// ones: the sample with the smaller id, and the mean last). Offering a row twice has no effect.
    pub(super) fn offer(&mut self, segments: &[impl AsRef<Segment>], score: f32, at: RowRef) {
        let score = Cosine::clamped(score).get();
        if self.limit == 0 || self.cutoff().is_some_and(|cutoff| score < cutoff) {
            return;
        }
        let new = Entry { score, slot: segments[at.segment as usize].as_ref().slot(at.row as usize), at };
        if self.limit >= BATCHED_LIMIT {
            self.pending.push(new);
            if self.pending.len() >= self.limit {
                self.sort_pending(segments);
            }
            return;
        }
        if let Some(same) = self.sorted.iter().position(|entry| entry.slot == new.slot) {
            if precedes(segments, self.sorted[same], new) {
                return;
            }
            self.sorted.remove(same);
        }
        let position = self.sorted.partition_point(|&old| precedes(segments, old, new));
        self.sorted.insert(position, new);
        self.sorted.truncate(self.limit);
    }

    /// Sorts pending offers in.
    pub(super) fn sort_pending(&mut self, segments: &[impl AsRef<Segment>]) {
        if self.pending.is_empty() {
            return;
        }
        self.sorted.append(&mut self.pending);
        self.sorted.sort_by(|a, b| compare(segments, *a, *b));
        let mut seen = HashSet::with_capacity(self.sorted.len());
        self.sorted.retain(|entry| seen.insert(entry.slot));
        self.sorted.truncate(self.limit);
    }

    pub(super) fn ranked(
        mut self,
        segments: &[impl AsRef<Segment>],
        revision: Revision,
        gallery_size: usize,
        samples: usize,
        vectors: usize,
    ) -> Ranked {
        self.sort_pending(segments);
        let hits = self.sorted.into_iter().filter_map(|entry| {
            let segment = segments[entry.at.segment as usize].as_ref();
            let row = entry.at.row as usize;
            Some(Hit {
                template: segment.template(row).template()?,
                sample: segment.sample(row),
                cosine: Cosine::clamped(entry.score),
            })
        });
        Ranked { hits: hits.collect(), revision, gallery_size, samples, vectors }
    }
}

fn precedes(segments: &[impl AsRef<Segment>], a: Entry, b: Entry) -> bool {
    compare(segments, a, b).is_lt()
}

/// The order of an answer: descending cosine, then template id, then sample id, a mean last.
fn compare(segments: &[impl AsRef<Segment>], a: Entry, b: Entry) -> Ordering {
    b.score.total_cmp(&a.score).then_with(|| {
        let locate = |entry: Entry| (segments[entry.at.segment as usize].as_ref(), entry.at.row as usize);
        let ((a, a_row), (b, b_row)) = (locate(a), locate(b));
        let by_template = a.template(a_row).cmp(b.template(b_row));
        by_template.then_with(|| order(a.sample(a_row)).cmp(&order(b.sample(b_row))))
    })
}
