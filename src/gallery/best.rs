//! The best rows found so far.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::segment::Segment;
use super::{Hit, Ranked};
use crate::domain::{Cosine, Revision};

/// Where a row is: the segment and the place in it.
pub(super) type Place = (u32, u32);

#[derive(Debug, Clone, Copy)]
struct Found {
    score: f32,
    slot: u32,
    place: Place,
}

/// The best `limit` templates, each once, with their best samples.
#[derive(Debug)]
pub(super) struct Best {
    limit: usize,
    /// Best first.
    found: Vec<Found>,
    /// Offered and not yet sorted in; used when many are wanted.
    fresh: Vec<Found>,
}

/// From this limit on, offers are sorted in many at a time.
const MANY: usize = 64;

impl Best {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, found: Vec::new(), fresh: Vec::new() }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// No row below this is among the best; `None` while every row is. What was offered since the
    /// last [`Self::settle`] may count or not.
    pub(super) fn bar(&self) -> Option<f32> {
        self.found.last().filter(|_| self.found.len() >= self.limit).map(|found| found.score)
    }

    /// Puts a row where it belongs among the best, if it does. A template stands there once, with
    /// its best sample (of equal samples: the one with the smaller id). Offering a row twice does
    /// no harm.
    pub(super) fn offer(&mut self, segments: &[impl AsRef<Segment>], score: f32, place: Place) {
        let score = Cosine::clamped(score).get();
        if self.limit == 0 || self.bar().is_some_and(|bar| score < bar) {
            return;
        }
        let new = Found { score, slot: segments[place.0 as usize].as_ref().slot(place.1 as usize), place };
        if self.limit >= MANY {
            self.fresh.push(new);
            if self.fresh.len() >= self.limit {
                self.settle(segments);
            }
            return;
        }
        if let Some(at) = self.found.iter().position(|found| found.slot == new.slot) {
            if precedes(segments, self.found[at], new) {
                return;
            }
            self.found.remove(at);
        }
        let at = self.found.partition_point(|&old| precedes(segments, old, new));
        self.found.insert(at, new);
        self.found.truncate(self.limit);
    }

    /// Sorts in what was offered.
    pub(super) fn settle(&mut self, segments: &[impl AsRef<Segment>]) {
        if self.fresh.is_empty() {
            return;
        }
        self.found.append(&mut self.fresh);
        self.found.sort_by(|a, b| compare(segments, *a, *b));
        let mut seen = HashSet::with_capacity(self.found.len());
        self.found.retain(|found| seen.insert(found.slot));
        self.found.truncate(self.limit);
    }

    pub(super) fn ranked(
        mut self,
        segments: &[impl AsRef<Segment>],
        revision: Revision,
        gallery_size: usize,
    ) -> Ranked {
        self.settle(segments);
        let hits = self.found.into_iter().filter_map(|found| {
            let (segment, at) = (segments[found.place.0 as usize].as_ref(), found.place.1 as usize);
            Some(Hit {
                template: segment.template(at).template()?,
                sample: segment.sample(at),
                cosine: Cosine::clamped(found.score),
            })
        });
        Ranked { hits: hits.collect(), revision, gallery_size }
    }
}

fn precedes(segments: &[impl AsRef<Segment>], a: Found, b: Found) -> bool {
    compare(segments, a, b).is_lt()
}

/// The order of an answer: by cosine downwards, then by template id, then by sample id.
fn compare(segments: &[impl AsRef<Segment>], a: Found, b: Found) -> Ordering {
    b.score.total_cmp(&a.score).then_with(|| {
        let of = |found: Found| (segments[found.place.0 as usize].as_ref(), found.place.1 as usize);
        let ((a, a_at), (b, b_at)) = (of(a), of(b));
        a.template(a_at).cmp(b.template(b_at)).then_with(|| a.sample(a_at).cmp(&b.sample(b_at)))
    })
}
