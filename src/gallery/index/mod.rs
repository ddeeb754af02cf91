//! One gallery that changes.

mod maintenance;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::frames::{self, Export, Frames, NotAGallery};
use super::ids::{CompactId, Directory};
use super::quantization::{Codes, Quantizer};
use super::search::Searcher;
use super::segment::{Owner, SEGMENT, Segment};
use super::{Applied, Change, GallerySize, IndexedTemplate, vectors};
use crate::domain::Revision;

/// Galleries with fewer rows are searched without codes.
const MIN_INDEXED_ROWS: usize = 2048;

/// `from_frames` reserves memory for at most this many frames at once: a hundred million rows.
const MAX_RESERVED_FRAMES: usize = 100_000;

/// Marks a slot that can be reused.
const FREE: u32 = u32::MAX;

/// The rows of one gallery in segments without holes, at one revision.
///
/// A search takes a [`Searcher`], which is cheap, and then needs no lock. A write changes segments in place, or copies
/// those that a search still reads. Codes are computed by maintenance tasks outside of any lock; rows without codes are
/// compared in f32.
pub(super) struct Index {
    revision: Revision,
    dimension: usize,
    rows: usize,
    /// Rows that are the mean of a template's samples.
    means: usize,
    segments: Arc<Vec<Arc<Segment>>>,
    /// For each template its first row.
    slots: Vec<u32>,
    /// All rows of the templates that have more than one: their samples, and the mean of these.
    multi_rows: HashMap<u32, Vec<u32>>,
    free: Vec<u32>,
    directory: Directory,
    quantizer: Option<Arc<Quantizer>>,
    /// Rows when the quantizer was learned, and rows written since then.
    learned_from: usize,
    written: usize,
    /// Segments before this one have codes of the current quantizer.
    encoded: usize,
    /// Groups of segments before this one are packed into huge pages, except for `unpacked` writes since then.
    packed: usize,
    unpacked: usize,
    min_indexed_rows: usize,
}

/// Sizes only: coordinates are never printed.
impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index(revision {}, {} rows, ..)", self.revision, self.rows)
    }
}

impl Index {
    pub(super) fn new(revision: Revision, templates: Vec<IndexedTemplate>) -> Self {
        Self::with_min_indexed_rows(revision, templates, MIN_INDEXED_ROWS)
    }

    pub(super) fn with_min_indexed_rows(
        revision: Revision,
        templates: Vec<IndexedTemplate>,
        min_indexed_rows: usize,
    ) -> Self {
        let mut index = Self {
            revision,
            dimension: 0,
            rows: 0,
            means: 0,
            segments: Arc::default(),
            slots: Vec::new(),
            multi_rows: HashMap::new(),
            free: Vec::new(),
            directory: Directory::default(),
            quantizer: None,
            learned_from: 0,
            written: 0,
            encoded: 0,
            packed: 0,
            unpacked: 0,
            min_indexed_rows,
        };
        index.reserve(templates.len());
        for template in templates {
            index.upsert(template);
        }
        index
    }

    /// A gallery from the frames of an export at `revision`.
    pub(super) fn from_frames(revision: Revision, frames: &mut Frames<'_>) -> Result<Self, NotAGallery> {
        let mut index = Self::new(revision, Vec::new());
        while let Some(frame) = frames.next() {
            let (segment, dimension) = frames::decode(&frame?)?;
            // Most templates have one sample. The number of frames is authentic once the first one has opened.
            if index.rows == 0 {
                index.reserve(segment.len() + frames.size_hint().0.min(MAX_RESERVED_FRAMES) * SEGMENT);
            }
            if !index.append(segment, dimension) {
                return Err(NotAGallery);
            }
        }
        Ok(index)
    }

    /// The frames of the current state.
    pub(super) fn export(&self) -> Export {
        Export::new(self.revision, self.dimension, Arc::clone(&self.segments))
    }

    /// Appends a segment; its templates may have rows already. `false` when it is empty or too large, its rows have
    /// another dimension, or the segments before it are not full.
    fn append(&mut self, segment: Segment, dimension: usize) -> bool {
        if self.rows == 0 {
            self.dimension = dimension;
        }
        let count = segment.len();
        if dimension != self.dimension || !self.rows.is_multiple_of(SEGMENT) || !(1..=SEGMENT).contains(&count) {
            return false;
        }
        let means = (0..count).filter(|row| segment.sample(*row).is_none()).count();
        let segment = Arc::new(segment);
        let at = self.segments.len();
        Arc::make_mut(&mut self.segments).push(Arc::clone(&segment));
        let mut owners = Vec::with_capacity(count);
        for row in 0..count {
            let id = segment.template(row);
            let known = self.directory.get(id, |slot| Self::id_of(&self.slots, &self.segments, slot) == Some(id));
            let row = (self.rows + row) as u32;
            owners.push(known.unwrap_or(self.slots.len() as u32));
            match known {
                Some(slot) => {
                    let first = self.slots.get(slot as usize).copied();
                    self.multi_rows.entry(slot).or_insert_with(|| first.into_iter().collect()).push(row);
                }
                None => self.add_slot(id, self.slots.len() as u32, row),
            }
        }
        drop(segment); // leaves one reference, that of the index
        let segment = self.segment(at);
        owners.into_iter().enumerate().for_each(|(row, slot)| segment.set_slot(row, slot));
        self.rows += count;
        self.means += means;
        self.written += count;
        true
    }

    /// Reserves memory for more templates.
    fn reserve(&mut self, templates: usize) {
        self.slots.reserve_exact(templates);
        self.directory.reserve(templates, |slot| Self::id_of(&self.slots, &self.segments, slot));
    }

    /// Adds a template in a new slot at the end.
    fn add_slot(&mut self, id: &CompactId, slot: u32, row: u32) {
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(self.slots.len() / 8 + 8);
        }
        self.slots.push(row);
        self.directory.insert(id, slot, |slot| Self::id_of(&self.slots, &self.segments, slot));
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn searcher(&self) -> Searcher {
        Searcher {
            revision: self.revision,
            templates: self.directory.len(),
            rows: self.rows,
            samples: self.rows - self.means,
            dimension: self.dimension,
            segments: Arc::clone(&self.segments),
        }
    }

    pub(super) fn apply(&mut self, change: Change) -> Applied {
        if change.revision <= self.revision {
            return Applied::Done;
        }
        if change.first > self.revision.next() {
            return Applied::Gap;
        }
        self.upsert(change.template);
        self.revision = change.revision;
        Applied::Done
    }

    pub(super) fn size(&self) -> GallerySize {
        let row_list = |rows: &Vec<u32>| rows.capacity() * size_of::<u32>();
        let bytes = size_of::<Self>()
            + self.segments.capacity() * size_of::<Arc<Segment>>()
            + self.segments.iter().map(|s| s.bytes() + 2 * size_of::<usize>()).sum::<usize>()
            + self.huge_page_bytes()
            + self.slots.capacity() * size_of::<u32>()
            + self.multi_rows.capacity() * (1 + size_of::<(u32, Vec<u32>)>())
            + self.multi_rows.values().map(row_list).sum::<usize>()
            + self.free.capacity() * size_of::<u32>()
            + self.directory.bytes()
            + self.quantizer.as_ref().map_or(0, |quantizer| quantizer.bytes());
        GallerySize { templates: self.directory.len(), samples: self.rows - self.means, vectors: self.rows, bytes }
    }

    fn segment(&mut self, at: usize) -> &mut Segment {
        Arc::make_mut(&mut Arc::make_mut(&mut self.segments)[at])
    }

    /// The id of a slot's template.
    fn id_of<'a>(slots: &[u32], segments: &'a [Arc<Segment>], slot: u32) -> Option<&'a CompactId> {
        let row = *slots.get(slot as usize)? as usize;
        // A free slot points beyond all segments.
        Some(segments.get(row / SEGMENT)?.template(row % SEGMENT))
    }

    /// Replaces all rows of a template. Without samples the template is removed.
    fn upsert(&mut self, mut template: IndexedTemplate) {
        let id = CompactId::new(&template.id);
        self.remove(&id);
        if self.rows == 0 {
            self.dimension = template.samples.first().map_or(0, |sample| sample.embedding.values().len());
            self.quantizer = None;
        }
        // A gallery holds the embeddings of one model, so all have the same dimension.
        let dimension = self.dimension;
        template.samples.retain(|sample| sample.embedding.values().len() == dimension);
        let mut rows: Vec<u32> = Vec::new();
        let slot = self.free.last().copied().unwrap_or(self.slots.len() as u32);
        for (sample, vector) in vectors(&template.samples) {
            rows.push(self.rows as u32);
            self.push(Owner { sample, template: id.clone(), slot }, &vector);
        }
        let Some(&first) = rows.first() else { return self.shrink() };
        if rows.len() > 1 {
            self.multi_rows.insert(slot, rows);
        }
        if self.free.pop().is_none() {
            return self.add_slot(&id, slot, first);
        }
        self.slots[slot as usize] = first;
        self.directory.insert(&id, slot, |slot| Self::id_of(&self.slots, &self.segments, slot));
    }

    fn push(&mut self, owner: Owner, values: &[f32]) {
        if self.rows.is_multiple_of(SEGMENT) {
            let mut segment = Segment::default();
            segment.set_codes(self.quantizer.as_ref().map(|quantizer| Codes::new(Arc::clone(quantizer), &[])));
            Arc::make_mut(&mut self.segments).push(Arc::new(segment));
        }
        let is_mean = owner.sample.is_none();
        self.segment(self.rows / SEGMENT).push(owner, values);
        self.rows += 1;
        self.means += usize::from(is_mean);
        self.written += 1;
    }

    fn remove(&mut self, id: &CompactId) {
        let id_of = |slot| Self::id_of(&self.slots, &self.segments, slot);
        let Some(slot) = self.directory.remove(id, |slot| id_of(slot) == Some(id), id_of) else { return };
        let first = std::mem::replace(&mut self.slots[slot as usize], FREE);
        let mut rows = self.multi_rows.remove(&slot).unwrap_or_else(|| vec![first]);
        self.free.push(slot);
        // In descending order, so that no row that is still to be removed is moved.
        rows.sort_unstable_by(|a, b| b.cmp(a));
        for row in rows {
            self.remove_row(row as usize);
        }
    }

    /// Removes a row and moves the last row into its place.
    fn remove_row(&mut self, row: usize) {
        self.unpacked += 1;
        self.means -= usize::from(self.segments[row / SEGMENT].sample(row % SEGMENT).is_none());
        let last = self.rows - 1;
        let popped = self.segment(last / SEGMENT).pop();
        self.rows = last;
        self.written += 1;
        if let Some(moved) = popped.filter(|_| row != last) {
            let slot = moved.owner.slot;
            let rows = self.slots.get_mut(slot as usize).into_iter();
            let rows = rows.chain(self.multi_rows.get_mut(&slot).into_iter().flatten());
            rows.filter(|at| **at as usize == last).for_each(|at| *at = row as u32);
            self.segment(row / SEGMENT).replace(row % SEGMENT, moved);
        }
        if last.is_multiple_of(SEGMENT) {
            Arc::make_mut(&mut self.segments).pop();
            self.encoded = self.encoded.min(self.segments.len());
            self.packed = self.packed.min(self.full_packs());
        }
    }

    /// After removals, keeps at most about twice the memory that is needed.
    fn shrink(&mut self) {
        let used = self.directory.len();
        if self.segments.len() < self.segments.capacity() / 4 {
            Arc::make_mut(&mut self.segments).shrink_to_fit();
        }
        if self.slots.capacity() < 64 || used >= self.slots.capacity() / 4 {
            return;
        }
        // Renumbers the remaining slots.
        let mut slots = Vec::with_capacity(used + used / 8);
        let mut multi_rows = std::mem::take(&mut self.multi_rows);
        for (old, first) in std::mem::take(&mut self.slots).into_iter().enumerate().filter(|(_, row)| *row != FREE) {
            let number = slots.len() as u32;
            let rows = multi_rows.remove(&(old as u32));
            for row in rows.as_deref().unwrap_or(&[first]) {
                self.segment(*row as usize / SEGMENT).set_slot(*row as usize % SEGMENT, number);
            }
            rows.and_then(|rows| self.multi_rows.insert(number, rows));
            slots.push(first);
        }
        self.slots = slots;
        self.free = Vec::new();
        self.directory = Directory::default();
        self.directory.reserve(used, |_| None);
        let id_of = |slot| Self::id_of(&self.slots, &self.segments, slot);
        for slot in 0..self.slots.len() as u32 {
            if let Some(id) = id_of(slot) {
                self.directory.insert(id, slot, id_of);
            }
        }
    }
}
