//! One application's gallery: rows of unit vectors and whose they are.

use std::collections::HashMap;

use super::kernel::dot;
use super::{Applied, Change, GallerySize, Hit, IndexedTemplate, Ranked};
use crate::domain::{Cosine, Embedding, Revision, SampleId, TemplateId};

/// A row of the matrix: the sample it holds and the slot of the template that owns it.
#[derive(Debug, Clone, Copy)]
struct Row {
    sample: SampleId,
    slot: u32,
}

/// A template's place. An empty slot has no template and waits to be used again.
#[derive(Debug, Default)]
struct Slot {
    template: Option<TemplateId>,
    rows: Vec<u32>,
}

/// The rows of one gallery in one flat matrix without holes, at one revision.
#[derive(Debug, Default)]
pub(super) struct Index {
    revision: Revision,
    dimension: usize,
    matrix: Vec<f32>,
    rows: Vec<Row>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_id: HashMap<TemplateId, u32>,
}

impl Index {
    pub(super) fn new(revision: Revision, templates: Vec<IndexedTemplate>) -> Self {
        let mut index = Self { revision, ..Self::default() };
        let samples = templates.iter().map(|t| t.samples.len()).sum();
        if let Some(first) = templates.iter().flat_map(|t| &t.samples).next() {
            index.matrix.reserve_exact(samples * first.embedding.values().len());
        }
        index.rows.reserve_exact(samples);
        index.slots.reserve_exact(templates.len());
        index.by_id.reserve(templates.len());
        for template in templates {
            index.put(template);
        }
        index
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn apply(&mut self, change: Change) -> Applied {
        if change.revision <= self.revision {
            return Applied::Done;
        }
        if change.revision != self.revision.next() {
            return Applied::Gap;
        }
        self.put(change.template);
        self.revision = change.revision;
        Applied::Done
    }

    pub(super) fn size(&self) -> GallerySize {
        let ids: usize = self.by_id.keys().map(|id| id.as_str().len() + 2 * size_of::<usize>()).sum();
        let bytes = self.matrix.capacity() * size_of::<f32>()
            + self.rows.capacity() * size_of::<Row>()
            + self.slots.capacity() * size_of::<Slot>()
            + self.slots.iter().map(|s| s.rows.capacity() * size_of::<u32>()).sum::<usize>()
            + self.free.capacity() * size_of::<u32>()
            + self.by_id.capacity() * (size_of::<(TemplateId, u32)>() + 1)
            + ids;
        GallerySize { templates: self.by_id.len(), samples: self.rows.len(), bytes }
    }

    /// The `limit` templates with the best samples, best first, ties by template id.
    pub(super) fn best(&self, probe: &Embedding, limit: usize) -> Ranked {
        let mut top: Vec<(f32, u32, u32)> = Vec::with_capacity(limit + 1); // cosine, slot, row; best first
        if limit > 0 && probe.values().len() == self.dimension {
            for (row, (values, owner)) in self.matrix.chunks_exact(self.dimension).zip(&self.rows).enumerate() {
                let score = dot(probe.values(), values);
                if top.len() == limit && top.last().is_some_and(|&(worst, ..)| score < worst) {
                    continue;
                }
                self.offer(&mut top, limit, (score, owner.slot, row as u32));
            }
        }
        let hits = top.into_iter().filter_map(|(score, slot, row)| {
            Some(Hit {
                template: self.slots.get(slot as usize)?.template.clone()?,
                sample: self.rows.get(row as usize)?.sample,
                cosine: Cosine::clamped(score),
            })
        });
        Ranked { hits: hits.collect(), revision: self.revision, gallery_size: self.by_id.len() }
    }

    /// Puts a row where it belongs among the best, if it does. A template stands there once, with
    /// its best sample (of equal samples: the one with the smaller id).
    fn offer(&self, top: &mut Vec<(f32, u32, u32)>, limit: usize, new: (f32, u32, u32)) {
        if let Some(at) = top.iter().position(|&(_, slot, _)| slot == new.1) {
            if self.precedes(top[at], new) {
                return;
            }
            top.remove(at);
        }
        let at = top.partition_point(|&old| self.precedes(old, new));
        top.insert(at, new);
        top.truncate(limit);
    }

    /// The order of an answer: by cosine downwards, then by template id, then by sample id.
    fn precedes(&self, a: (f32, u32, u32), b: (f32, u32, u32)) -> bool {
        let key =
            |(_, slot, row): (f32, u32, u32)| (&self.slots[slot as usize].template, self.rows[row as usize].sample);
        b.0.total_cmp(&a.0).then_with(|| key(a).cmp(&key(b))).is_lt()
    }

    /// Makes a template's rows exactly these. No samples: the template is gone.
    fn put(&mut self, template: IndexedTemplate) {
        if let Some(slot) = self.by_id.remove(&template.id) {
            while let Some(row) = self.slots[slot as usize].rows.pop() {
                self.remove_row(row);
            }
            self.slots[slot as usize].template = None;
            self.free.push(slot);
        }
        if template.samples.is_empty() {
            self.give_back_memory();
            return;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize].template = Some(template.id.clone());
        self.by_id.insert(template.id, slot);
        for sample in template.samples {
            let values = sample.embedding.values();
            if self.rows.is_empty() {
                self.dimension = values.len();
            }
            // One gallery holds one model's embeddings, so all have one size.
            if values.len() == self.dimension {
                self.slots[slot as usize].rows.push(self.rows.len() as u32);
                self.rows.push(Row { sample: sample.id, slot });
                self.matrix.extend_from_slice(values);
            }
        }
    }

    /// Fills the hole of a removed row with the last row.
    fn remove_row(&mut self, row: u32) {
        let (at, last) = (row as usize, self.rows.len() - 1);
        self.rows.swap_remove(at);
        if at < last {
            self.matrix.copy_within(last * self.dimension.., at * self.dimension);
            let moved = self.rows[at].slot as usize;
            for other in &mut self.slots[moved].rows {
                if *other as usize == last {
                    *other = row;
                }
            }
        }
        self.matrix.truncate(last * self.dimension);
    }

    /// After removals, a gallery keeps at most about twice the memory that it needs.
    fn give_back_memory(&mut self) {
        if self.rows.len() < self.rows.capacity() / 4 {
            self.matrix.shrink_to(self.matrix.len() * 2);
            self.rows.shrink_to(self.rows.len() * 2);
            self.by_id.shrink_to(self.by_id.len() * 2);
        }
    }
}
