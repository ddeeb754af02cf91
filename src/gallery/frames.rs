//! The codec of segments, for snapshot files.
//!
//! A frame holds the rows of one segment in little-endian numbers: the number of rows (u32) and their dimension (u32);
//! all vectors (f32); all sample ids (a byte, 1, and the 16 bytes of the id; the row of a mean has 17 zeros); then for
//! each row the length of its template id (u16) and that id. Codes are left out: they are computed again.

use std::fmt;
use std::sync::Arc;

use super::ids::CompactId;
use super::segment::Segment;
use crate::domain::{Revision, SampleId, TemplateId};

/// A sample's id in a frame.
const SAMPLE_BYTES: usize = 17;

/// The frames of a gallery at one revision. Searches and writes continue meanwhile.
pub struct Export {
    revision: Revision,
    dimension: usize,
    segments: Arc<Vec<Arc<Segment>>>,
    next: usize,
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Export(revision {}, frame {} of {}, ..)", self.revision(), self.next, self.frames())
    }
}

impl Export {
    pub(super) fn new(revision: Revision, dimension: usize, segments: Arc<Vec<Arc<Segment>>>) -> Self {
        Self { revision, dimension, segments, next: 0 }
    }

    /// The revision that it holds.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The total number of frames.
    pub fn frames(&self) -> usize {
        self.segments.len()
    }
}

impl Iterator for Export {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let segment = self.segments.get(self.next)?;
        self.next += 1;
        Some(encode(segment, self.dimension))
    }
}

/// Frames while they are read; an error ends them.
pub type Frames<'a> = dyn Iterator<Item = Result<Vec<u8>, NotAGallery>> + 'a;

/// The bytes are not frames of a gallery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are not a gallery")]
pub struct NotAGallery;

fn encode(segment: &Segment, dimension: usize) -> Vec<u8> {
    let rows = segment.len();
    let mut bytes = Vec::with_capacity(8 + rows * (4 * dimension + SAMPLE_BYTES + 40));
    bytes.extend_from_slice(&(rows as u32).to_le_bytes());
    bytes.extend_from_slice(&(dimension as u32).to_le_bytes());
    for row in 0..rows {
        bytes.extend(segment.row(row).iter().flat_map(|v| v.to_le_bytes()));
    }
    for row in 0..rows {
        let sample = segment.sample(row);
        bytes.push(u8::from(sample.is_some()));
        bytes.extend_from_slice(sample.map_or(uuid::Uuid::nil(), |sample| sample.0).as_bytes());
    }
    for row in 0..rows {
        segment.template(row).with_text(|text| {
            // `TemplateId` limits ids to a few hundred bytes.
            bytes.extend_from_slice(&(text.len() as u16).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        });
    }
    bytes
}

/// The rows of a frame, and their dimension.
pub(super) fn decode(frame: &[u8]) -> Result<(Segment, usize), NotAGallery> {
    let (head, rest) = frame.split_at_checked(8).ok_or(NotAGallery)?;
    let (rows, dimension) = match head.as_chunks::<4>().0 {
        [rows, dimension] => (u32::from_le_bytes(*rows) as usize, u32::from_le_bytes(*dimension) as usize),
        _ => return Err(NotAGallery),
    };
    let (values, rest) =
        rows.checked_mul(4 * dimension).and_then(|bytes| rest.split_at_checked(bytes)).ok_or(NotAGallery)?;
    let (samples, mut ids) = rest.split_at_checked(SAMPLE_BYTES * rows).ok_or(NotAGallery)?;
    let values: Vec<f32> = values.as_chunks::<4>().0.iter().map(|v| f32::from_le_bytes(*v)).collect();
    if dimension == 0 || values.iter().any(|v| !v.is_finite()) {
        return Err(NotAGallery);
    }
    let samples: Vec<Option<SampleId>> = samples
        .as_chunks::<SAMPLE_BYTES>()
        .0
        .iter()
        .map(|[is_sample, id @ ..]| (*is_sample != 0).then(|| SampleId(uuid::Uuid::from_bytes(*id))))
        .collect();
    let mut templates = Vec::with_capacity(samples.len());
    for _ in 0..rows {
        let (length, rest) = ids.split_first_chunk::<2>().ok_or(NotAGallery)?;
        let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length))).ok_or(NotAGallery)?;
        let text = std::str::from_utf8(text).map_err(|_| NotAGallery)?;
        let id: TemplateId = text.parse().map_err(|_| NotAGallery)?;
        templates.push(CompactId::new(&id));
        ids = rest;
    }
    if ids.is_empty() { Ok((Segment::new(values, samples, templates), dimension)) } else { Err(NotAGallery) }
}
