//! One application's gallery: rows of unit vectors and whose they are.

mod chores;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::codes::Codes;
use super::frames::{self, Frames, NotAGallery};
use super::ids::{CompactId, Directory};
use super::quantiser::Quantiser;
use super::scan::Snapshot;
use super::segment::{Owner, SEGMENT, Segment};
use super::{Applied, Change, GallerySize, IndexedTemplate};
use crate::domain::Revision;

/// Galleries with fewer rows are searched without codes.
const SMALLEST: usize = 2048;

/// What stands in a slot that waits to be used again.
const FREE: u32 = u32::MAX;

/// The rows of one gallery in segments without holes, at one revision.
///
/// A search takes a [`Snapshot`], which costs nothing, and needs no lock from then on. A write
/// changes segments in place, or copies those which a search still reads. Codes are made by
/// chores, which take their time outside of any lock; rows without codes are compared one by one.
pub(super) struct Index {
    revision: Revision,
    dimension: usize,
    rows: usize,
    segments: Arc<Vec<Arc<Segment>>>,
    /// For each template a row of it.
    slots: Vec<u32>,
    /// All rows of the templates that have more than one.
    several: HashMap<u32, Vec<u32>>,
    free: Vec<u32>,
    directory: Directory,
    quantiser: Option<Arc<Quantiser>>,
    /// Rows when the quantiser was learnt, and rows written since.
    learnt_from: usize,
    written: usize,
    /// Segments before this one have codes of the quantiser.
    encoded: usize,
    /// Runs before this one lie together, but for `loose` writes since.
    gathered: usize,
    loose: usize,
    smallest: usize,
}

/// How much there is: coordinates are shown nowhere.
impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index(revision {}, {} rows, ..)", self.revision, self.rows)
    }
}

impl Index {
    pub(super) fn new(revision: Revision, templates: Vec<IndexedTemplate>) -> Self {
        Self::with_smallest(revision, templates, SMALLEST)
    }

    pub(super) fn with_smallest(revision: Revision, templates: Vec<IndexedTemplate>, smallest: usize) -> Self {
        let mut index = Self {
            revision,
            dimension: 0,
            rows: 0,
            segments: Arc::default(),
            slots: Vec::new(),
            several: HashMap::new(),
            free: Vec::new(),
            directory: Directory::default(),
            quantiser: None,
            learnt_from: 0,
            written: 0,
            encoded: 0,
            gathered: 0,
            loose: 0,
            smallest,
        };
        index.reserve(templates.len());
        for template in templates {
            index.put(template);
        }
        index
    }

    /// A gallery from the frames of an export, which shows `revision`.
    pub(super) fn from_frames(revision: Revision, frames: &mut Frames<'_>) -> Result<Self, NotAGallery> {
        let mut index = Self::new(revision, Vec::new());
        frames::read(&mut index, frames)?;
        Ok(index)
    }

    /// Adds a segment of rows, of templates that may have others already. `false` when it is empty or too large, its
    /// rows are of another length, or the segments before it are not full.
    pub(super) fn restore(&mut self, segment: Segment, dimension: usize) -> bool {
        if self.rows == 0 {
            self.dimension = dimension;
        }
        let count = segment.len();
        if dimension != self.dimension || !self.rows.is_multiple_of(SEGMENT) || !(1..=SEGMENT).contains(&count) {
            return false;
        }
        let segment = Arc::new(segment);
        let at = self.segments.len();
        Arc::make_mut(&mut self.segments).push(Arc::clone(&segment));
        let mut owners = Vec::with_capacity(count);
        for row in 0..count {
            let id = segment.template(row);
            let (slots, segments) = (&self.slots, &self.segments);
            let known = self.directory.get(id, |slot| Self::id_of(slots, segments, slot) == Some(id));
            let row = (self.rows + row) as u32;
            owners.push(known.unwrap_or(self.slots.len() as u32));
            match known {
                Some(slot) => {
                    let first = self.slots.get(slot as usize).copied();
                    self.several.entry(slot).or_insert_with(|| first.into_iter().collect()).push(row);
                }
                None => self.enter(id, self.slots.len() as u32, row),
            }
        }
        drop(segment); // the only other one is this index's
        let segment = self.segment(at);
        owners.into_iter().enumerate().for_each(|(row, slot)| segment.set_slot(row, slot));
        self.rows += count;
        self.written += count;
        true
    }

    /// Makes room for so many more templates at once.
    pub(super) fn reserve(&mut self, templates: usize) {
        self.slots.reserve_exact(templates);
        let (slots, segments) = (&self.slots, &self.segments);
        self.directory.reserve(templates, |slot| Self::id_of(slots, segments, slot));
    }

    /// Enters a template in a new slot at the end.
    fn enter(&mut self, id: &CompactId, slot: u32, row: u32) {
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(self.slots.len() / 8 + 8);
        }
        self.slots.push(row);
        let (slots, segments) = (&self.slots, &self.segments);
        self.directory.insert(id, slot, |slot| Self::id_of(slots, segments, slot));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            revision: self.revision,
            templates: self.directory.len(),
            rows: self.rows,
            dimension: self.dimension,
            segments: Arc::clone(&self.segments),
        }
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
        let several = |rows: &Vec<u32>| rows.capacity() * size_of::<u32>();
        let bytes = size_of::<Self>()
            + self.segments.capacity() * size_of::<Arc<Segment>>()
            + self.segments.iter().map(|s| s.bytes() + 2 * size_of::<usize>()).sum::<usize>()
            + self.slabs()
            + self.slots.capacity() * size_of::<u32>()
            + self.several.capacity() * (1 + size_of::<(u32, Vec<u32>)>())
            + self.several.values().map(several).sum::<usize>()
            + self.free.capacity() * size_of::<u32>()
            + self.directory.bytes()
            + self.quantiser.as_ref().map_or(0, |quantiser| quantiser.bytes());
        GallerySize { templates: self.directory.len(), samples: self.rows, bytes }
    }

    fn segment(&mut self, at: usize) -> &mut Segment {
        Arc::make_mut(&mut Arc::make_mut(&mut self.segments)[at])
    }

    /// The id of the template in a slot.
    fn id_of<'a>(slots: &[u32], segments: &'a [Arc<Segment>], slot: u32) -> Option<&'a CompactId> {
        let row = *slots.get(slot as usize)? as usize;
        // There is no such segment for a slot that is free.
        Some(segments.get(row / SEGMENT)?.template(row % SEGMENT))
    }

    /// Makes a template's rows exactly these. No samples: the template is gone.
    fn put(&mut self, template: IndexedTemplate) {
        let id = CompactId::new(&template.id);
        self.remove(&id);
        if self.rows == 0 {
            self.dimension = template.samples.first().map_or(0, |sample| sample.embedding.values().len());
            self.quantiser = None;
        }
        // One gallery holds one model's embeddings, so all have one size.
        let dimension = self.dimension;
        let samples = template.samples.into_iter().filter(|s| s.embedding.values().len() == dimension);
        let mut rows: Vec<u32> = Vec::new();
        let slot = self.free.last().copied().unwrap_or(self.slots.len() as u32);
        for sample in samples {
            rows.push(self.rows as u32);
            self.push(Owner { sample: sample.id, template: id.clone(), slot }, sample.embedding.values());
        }
        let Some(&first) = rows.first() else { return self.give_back_memory() };
        if rows.len() > 1 {
            self.several.insert(slot, rows);
        }
        if self.free.pop().is_none() {
            return self.enter(&id, slot, first);
        }
        self.slots[slot as usize] = first;
        let (slots, segments) = (&self.slots, &self.segments);
        self.directory.insert(&id, slot, |slot| Self::id_of(slots, segments, slot));
    }

    fn push(&mut self, owner: Owner, values: &[f32]) {
        if self.rows.is_multiple_of(SEGMENT) {
            let mut segment = Segment::default();
            segment.set_codes(self.quantiser.as_ref().map(|quantiser| Codes::new(Arc::clone(quantiser), &[])));
            Arc::make_mut(&mut self.segments).push(Arc::new(segment));
        }
        self.segment(self.rows / SEGMENT).push(owner, values);
        self.rows += 1;
        self.written += 1;
    }

    fn remove(&mut self, id: &CompactId) {
        let (slots, segments) = (&self.slots, &self.segments);
        let id_of = |slot| Self::id_of(slots, segments, slot);
        let Some(slot) = self.directory.remove(id, |slot| id_of(slot) == Some(id), id_of) else { return };
        let first = std::mem::replace(&mut self.slots[slot as usize], FREE);
        let mut rows = self.several.remove(&slot).unwrap_or_else(|| vec![first]);
        self.free.push(slot);
        // From the last one on, so that no row that is to go is moved.
        rows.sort_unstable_by(|a, b| b.cmp(a));
        for row in rows {
            self.remove_row(row as usize);
        }
    }

    /// Fills the hole of a removed row with the last row.
    fn remove_row(&mut self, row: usize) {
        self.loose += 1;
        let last = self.rows - 1;
        let popped = self.segment(last / SEGMENT).pop();
        self.rows = last;
        self.written += 1;
        if let Some(moved) = popped.filter(|_| row != last) {
            let slot = moved.owner.slot;
            let rows = self.slots.get_mut(slot as usize).into_iter();
            let rows = rows.chain(self.several.get_mut(&slot).into_iter().flatten());
            rows.filter(|at| **at as usize == last).for_each(|at| *at = row as u32);
            self.segment(row / SEGMENT).replace(row % SEGMENT, moved);
        }
        if last.is_multiple_of(SEGMENT) {
            Arc::make_mut(&mut self.segments).pop();
            self.encoded = self.encoded.min(self.segments.len());
            self.gathered = self.gathered.min(self.full_runs());
        }
    }

    /// After removals, a gallery keeps at most about twice the memory that it needs.
    fn give_back_memory(&mut self) {
        let used = self.directory.len();
        if self.segments.len() < self.segments.capacity() / 4 {
            Arc::make_mut(&mut self.segments).shrink_to_fit();
        }
        if self.slots.capacity() < 64 || used >= self.slots.capacity() / 4 {
            return;
        }
        // The slots that are left are numbered anew.
        let mut slots = Vec::with_capacity(used + used / 8);
        let mut several = std::mem::take(&mut self.several);
        for (old, first) in std::mem::take(&mut self.slots).into_iter().enumerate().filter(|(_, row)| *row != FREE) {
            let number = slots.len() as u32;
            let rows = several.remove(&(old as u32));
            for row in rows.as_deref().unwrap_or(&[first]) {
                self.segment(*row as usize / SEGMENT).set_slot(*row as usize % SEGMENT, number);
            }
            rows.and_then(|rows| self.several.insert(number, rows));
            slots.push(first);
        }
        self.slots = slots;
        self.free = Vec::new();
        self.directory = Directory::default();
        self.directory.reserve(used, |_| None);
        let (slots, segments) = (&self.slots, &self.segments);
        let id_of = |slot| Self::id_of(slots, segments, slot);
        for slot in 0..slots.len() as u32 {
            if let Some(id) = id_of(slot) {
                self.directory.insert(id, slot, id_of);
            }
        }
    }
}
