//! A gallery as bytes, segment by segment, and back.
//!
//! A frame holds the rows of one segment, in little-endian numbers: how many rows (u32), how many
//! numbers each (u32); all vectors (f32); all sample ids (16 bytes each); then for each row the
//! length of its template's id (u16) and that id. Codes are not in it: they are made again.

use std::fmt;

use super::ids::CompactId;
use super::index::Index;
use super::scan::Snapshot;
use super::segment::{SEGMENT, Segment};
use crate::domain::{Revision, SampleId, TemplateId};

/// A gallery as it was at one moment, to be written down. Searches and writes go on meanwhile.
pub struct Export {
    snapshot: Snapshot,
    next: usize,
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Export(revision {}, frame {} of {}, ..)", self.revision(), self.next, self.frames())
    }
}

impl Export {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self { snapshot, next: 0 }
    }

    /// The revision it shows.
    pub fn revision(&self) -> Revision {
        self.snapshot.revision
    }

    /// How many frames there are in all.
    pub fn frames(&self) -> usize {
        self.snapshot.segments.len()
    }
}

impl Iterator for Export {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let segment = self.snapshot.segments.get(self.next)?;
        self.next += 1;
        Some(write(segment, self.snapshot.dimension))
    }
}

/// Room is made at once for the rows of no more frames than this: of a hundred million rows.
const MOST_FRAMES: usize = 100_000;

/// Frames as they are read; an error ends them.
pub type Frames<'a> = dyn Iterator<Item = Result<Vec<u8>, NotAGallery>> + 'a;

/// Bytes that are not a gallery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are not a gallery")]
pub struct NotAGallery;

fn write(segment: &Segment, dimension: usize) -> Vec<u8> {
    let rows = segment.len();
    let mut bytes = Vec::with_capacity(8 + rows * (4 * dimension + 16 + 40));
    bytes.extend_from_slice(&(rows as u32).to_le_bytes());
    bytes.extend_from_slice(&(dimension as u32).to_le_bytes());
    for row in 0..rows {
        bytes.extend(segment.row(row).iter().flat_map(|v| v.to_le_bytes()));
    }
    for row in 0..rows {
        bytes.extend_from_slice(segment.sample(row).0.as_bytes());
    }
    for row in 0..rows {
        segment.template(row).with_text(|text| {
            // Ids are at most a few hundred bytes long (`TemplateId`).
            bytes.extend_from_slice(&(text.len() as u16).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        });
    }
    bytes
}

/// Puts the rows of frames into an empty index.
pub(super) fn read(index: &mut Index, frames: &mut Frames<'_>) -> Result<(), NotAGallery> {
    while let Some(frame) = frames.next() {
        let (segment, dimension) = rows(&frame?)?;
        // Most templates have one sample. How many frames follow is known to be true once one has opened.
        if index.is_empty() {
            index.reserve(segment.len() + frames.size_hint().0.min(MOST_FRAMES) * SEGMENT);
        }
        if !index.restore(segment, dimension) {
            return Err(NotAGallery);
        }
    }
    Ok(())
}

/// The rows of a frame, and how many numbers each has.
fn rows(frame: &[u8]) -> Result<(Segment, usize), NotAGallery> {
    let (head, rest) = frame.split_at_checked(8).ok_or(NotAGallery)?;
    let (rows, dimension) = match head.as_chunks::<4>().0 {
        [rows, dimension] => (u32::from_le_bytes(*rows) as usize, u32::from_le_bytes(*dimension) as usize),
        _ => return Err(NotAGallery),
    };
    let (values, rest) =
        rows.checked_mul(4 * dimension).and_then(|bytes| rest.split_at_checked(bytes)).ok_or(NotAGallery)?;
    let (samples, mut ids) = rest.split_at_checked(16 * rows).ok_or(NotAGallery)?;
    let values: Vec<f32> = values.as_chunks::<4>().0.iter().map(|v| f32::from_le_bytes(*v)).collect();
    if dimension == 0 || values.iter().any(|v| !v.is_finite()) {
        return Err(NotAGallery);
    }
    let samples: Vec<SampleId> =
        samples.as_chunks::<16>().0.iter().map(|id| SampleId(uuid::Uuid::from_bytes(*id))).collect();
    let mut templates = Vec::with_capacity(samples.len());
    for _ in 0..rows {
        let (length, rest) = ids.split_first_chunk::<2>().ok_or(NotAGallery)?;
        let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length))).ok_or(NotAGallery)?;
        let text = std::str::from_utf8(text).map_err(|_| NotAGallery)?;
        let id: TemplateId = text.parse().map_err(|_| NotAGallery)?;
        templates.push(CompactId::new(&id));
        ids = rest;
    }
    if ids.is_empty() { Ok((Segment::of(values, samples, templates), dimension)) } else { Err(NotAGallery) }
}
