//! A block of rows: unit vectors, their owners and their codes.

use std::sync::Arc;

use super::ids::CompactId;
use super::quantization::{Codes, Quantizer};
use crate::domain::SampleId;

/// Rows of a full segment. A write during a search copies at most one segment.
pub(super) const SEGMENT: usize = 1024;

/// A row that was removed from a segment.
pub(super) struct Row {
    pub(super) values: Vec<f32>,
    pub(super) owner: Owner,
}

/// Which template and sample a row belongs to; without a sample it is the mean of the template's samples.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) sample: Option<SampleId>,
    pub(super) template: CompactId,
    /// The slot of the template in the index.
    pub(super) slot: u32,
}

/// Up to [`SEGMENT`] rows without holes, and their codes once these are computed.
#[derive(Clone, Default)]
pub(super) struct Segment {
    rows: Arc<Rows>,
    codes: Option<Codes>,
    /// Incremented by every change of the rows.
    version: u64,
}

/// Everything except codes, so that new codes need no copy of it.
#[derive(Clone, Default)]
struct Rows {
    values: Vec<f32>,
    samples: Vec<Option<SampleId>>,
    templates: Vec<CompactId>,
    slots: Vec<u32>,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("rows", &self.len()).field("version", &self.version).finish_non_exhaustive()
    }
}

impl Segment {
    /// A segment of rows: one sample (or none, of a mean) and one template id a row, and the same number of values for every row.
    pub(super) fn new(values: Vec<f32>, samples: Vec<Option<SampleId>>, templates: Vec<CompactId>) -> Self {
        let slots = vec![0; templates.len()];
        Self { rows: Arc::new(Rows { values, samples, templates, slots }), codes: None, version: 1 }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.slots.len()
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn row(&self, at: usize) -> &[f32] {
        let dimension = self.rows.values.len() / self.len().max(1);
        &self.rows.values[at * dimension..(at + 1) * dimension]
    }

    /// The vectors of all rows, one after the other.
    pub(super) fn values(&self) -> &[f32] {
        &self.rows.values
    }

    pub(super) fn slot(&self, at: usize) -> u32 {
        self.rows.slots[at]
    }

    pub(super) fn set_slot(&mut self, at: usize, slot: u32) {
        Arc::make_mut(&mut self.rows).slots[at] = slot;
    }

    pub(super) fn sample(&self, at: usize) -> Option<SampleId> {
        self.rows.samples[at]
    }

    pub(super) fn template(&self, at: usize) -> &CompactId {
        &self.rows.templates[at]
    }

    pub(super) fn codes(&self) -> Option<&Codes> {
        self.codes.as_ref()
    }

    pub(super) fn set_codes(&mut self, codes: Option<Codes>) {
        self.codes = codes;
    }

    /// The same rows with new codes.
    pub(super) fn with_codes(&self, codes: Codes) -> Self {
        Self { rows: Arc::clone(&self.rows), codes: Some(codes), version: self.version }
    }

    /// Computes the codes of these rows. Slow, but needs no lock.
    pub(super) fn encode(&self, quantizer: &Arc<Quantizer>) -> Codes {
        Codes::new(Arc::clone(quantizer), &self.rows.values)
    }

    /// Bytes of memory, without huge pages.
    pub(super) fn bytes(&self) -> usize {
        let Rows { values, samples, templates, slots } = &*self.rows;
        size_of::<Self>()
            + size_of::<Rows>()
            + 2 * size_of::<usize>()
            + values.capacity() * size_of::<f32>()
            + samples.capacity() * size_of::<Option<SampleId>>()
            + templates.capacity() * size_of::<CompactId>()
            + slots.capacity() * size_of::<u32>()
            + templates.iter().map(CompactId::heap_bytes).sum::<usize>()
            + self.codes.as_ref().map_or(0, Codes::own_bytes)
    }

    pub(super) fn push(&mut self, owner: Owner, values: &[f32]) {
        let rows = Arc::make_mut(&mut self.rows);
        rows.make_room(values.len());
        rows.values.extend_from_slice(values);
        rows.samples.push(owner.sample);
        rows.templates.push(owner.template);
        rows.slots.push(owner.slot);
        self.version += 1;
        let at = self.len() - 1;
        if let Some(codes) = &mut self.codes {
            codes.make_room(at + 1, false);
            codes.write(at, values);
        }
    }

    /// Removes the last row.
    pub(super) fn pop(&mut self) -> Option<Row> {
        let row = Arc::make_mut(&mut self.rows).pop()?;
        self.version += 1;
        let rows = self.len();
        if let Some(codes) = &mut self.codes {
            codes.make_room(rows, false);
        }
        Some(row)
    }

    /// Overwrites a row.
    pub(super) fn replace(&mut self, at: usize, row: Row) {
        let dimension = row.values.len();
        let rows = Arc::make_mut(&mut self.rows);
        rows.values[at * dimension..(at + 1) * dimension].copy_from_slice(&row.values);
        rows.samples[at] = row.owner.sample;
        rows.templates[at] = row.owner.template;
        rows.slots[at] = row.owner.slot;
        self.version += 1;
        if let Some(codes) = &mut self.codes {
            codes.write(at, &row.values);
        }
    }
}

impl Rows {
    /// Doubles the capacity while there are few rows; then reserves a full segment.
    fn make_room(&mut self, dimension: usize) {
        let len = self.slots.len();
        if len < self.slots.capacity() {
            return;
        }
        let more = if len < SEGMENT / 4 { (2 * len).max(4) } else { SEGMENT } - len;
        self.values.reserve_exact(more * dimension);
        self.samples.reserve_exact(more);
        self.templates.reserve_exact(more);
        self.slots.reserve_exact(more);
    }

    fn pop(&mut self) -> Option<Row> {
        let dimension = self.values.len() / self.slots.len().max(1);
        let sample = self.samples.pop()?;
        let template = self.templates.pop()?;
        let slot = self.slots.pop()?;
        let rows = self.slots.len();
        let values = self.values.split_off(rows * dimension);
        if rows < self.slots.capacity() / 4 {
            self.values.shrink_to(2 * rows * dimension);
            self.samples.shrink_to(2 * rows);
            self.templates.shrink_to(2 * rows);
            self.slots.shrink_to(2 * rows);
        }
        Some(Row { values, owner: Owner { sample, template, slot } })
    }
}
