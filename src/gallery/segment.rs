//! A thousand rows of a gallery: unit vectors, whose they are, and their codes.

use std::sync::Arc;

use super::codes::{Codes, Quantiser};
use super::ids::CompactId;
use crate::domain::SampleId;

/// Rows of a full segment. A write that meets a search copies one segment at most.
pub(super) const SEGMENT: usize = 1024;

/// One row, taken out of a segment.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) values: Vec<f32>,
    pub(super) owner: Owner,
}

/// Whose a row is.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) sample: SampleId,
    pub(super) template: CompactId,
    /// The same for all rows of a template, and for no others.
    pub(super) slot: u32,
}

/// Up to [`SEGMENT`] rows without holes. Its codes, if it has any, are those of its rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Segment {
    values: Vec<f32>,
    samples: Vec<SampleId>,
    templates: Vec<CompactId>,
    slots: Vec<u32>,
    codes: Option<Codes>,
    /// Raised by every change of the rows.
    stamp: u64,
}

impl Segment {
    /// Rows as they are; as many of each, and `values` is as many numbers for every row.
    pub(super) fn of(values: Vec<f32>, samples: Vec<SampleId>, templates: Vec<CompactId>) -> Self {
        let slots = vec![0; templates.len()];
        Self { values, samples, templates, slots, codes: None, stamp: 1 }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn stamp(&self) -> u64 {
        self.stamp
    }

    pub(super) fn row(&self, at: usize) -> &[f32] {
        let dimension = self.values.len() / self.len().max(1);
        &self.values[at * dimension..(at + 1) * dimension]
    }

    pub(super) fn slot(&self, at: usize) -> u32 {
        self.slots[at]
    }

    pub(super) fn set_slot(&mut self, at: usize, slot: u32) {
        self.slots[at] = slot;
    }

    pub(super) fn sample(&self, at: usize) -> SampleId {
        self.samples[at]
    }

    pub(super) fn template(&self, at: usize) -> &CompactId {
        &self.templates[at]
    }

    pub(super) fn codes(&self) -> Option<&Codes> {
        self.codes.as_ref()
    }

    pub(super) fn set_codes(&mut self, codes: Option<Codes>) {
        self.codes = codes;
    }

    /// Codes of these rows. Takes a while; needs no lock.
    pub(super) fn encode(&self, quantiser: &Arc<Quantiser>) -> Codes {
        Codes::new(Arc::clone(quantiser), &self.values)
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.values.capacity() * size_of::<f32>()
            + self.samples.capacity() * size_of::<SampleId>()
            + self.templates.capacity() * size_of::<CompactId>()
            + self.slots.capacity() * size_of::<u32>()
            + self.templates.iter().map(CompactId::heap_bytes).sum::<usize>()
            + self.codes.as_ref().map_or(0, Codes::bytes)
    }

    pub(super) fn push(&mut self, owner: Owner, values: &[f32]) {
        self.make_room(values.len());
        self.values.extend_from_slice(values);
        self.samples.push(owner.sample);
        self.templates.push(owner.template);
        self.slots.push(owner.slot);
        self.stamp += 1;
        let at = self.len() - 1;
        if let Some(codes) = &mut self.codes {
            codes.make_room(at + 1, false);
            codes.write(at, values);
        }
    }

    /// Doubles the room while the segment is small; a large one gets all it can need.
    fn make_room(&mut self, dimension: usize) {
        if self.len() < self.slots.capacity() {
            return;
        }
        let rows = if self.len() < SEGMENT / 4 { (2 * self.len()).max(4) } else { SEGMENT };
        let more = rows - self.len();
        self.values.reserve_exact(more * dimension);
        self.samples.reserve_exact(more);
        self.templates.reserve_exact(more);
        self.slots.reserve_exact(more);
    }

    /// Takes the last row out.
    pub(super) fn pop(&mut self) -> Option<Row> {
        let dimension = self.values.len() / self.len().max(1);
        let (sample, template, slot) = (self.samples.pop()?, self.templates.pop()?, self.slots.pop()?);
        let values = self.values.split_off(self.len() * dimension);
        self.stamp += 1;
        let rows = self.len();
        if let Some(codes) = &mut self.codes {
            codes.make_room(rows, false);
        }
        if rows < self.slots.capacity() / 4 {
            self.values.shrink_to(2 * rows * dimension);
            self.samples.shrink_to(2 * rows);
            self.templates.shrink_to(2 * rows);
            self.slots.shrink_to(2 * rows);
        }
        Some(Row { values, owner: Owner { sample, template, slot } })
    }

    /// Puts another row in the place of one.
    pub(super) fn replace(&mut self, at: usize, row: Row) {
        let dimension = row.values.len();
        self.values[at * dimension..(at + 1) * dimension].copy_from_slice(&row.values);
        self.samples[at] = row.owner.sample;
        self.templates[at] = row.owner.template;
        self.slots[at] = row.owner.slot;
        self.stamp += 1;
        if let Some(codes) = &mut self.codes {
            codes.write(at, &row.values);
        }
    }
}
