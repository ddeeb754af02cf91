//! Memory that is read from one end to the other, in as few pages as possible.
//!
//! A search reads the sketches of a whole gallery. In pages of 4 KiB, wherever the allocator had some, the
//! processor spends as much time on finding the pages as on reading them (measured: 2.9 ms instead of 1.4 ms
//! for a million rows). So full segments that are at rest have their codes side by side in one mapping,
//! for which the kernel is asked to use large pages. Without them everything is the same but slower.

use std::ops::{Deref, Range};
use std::sync::Arc;

use memmap2::MmapMut;

/// A large page, as on x86-64 and mostly on ARM.
const PAGE: usize = 2 << 20;

/// Codes of several segments.
#[derive(Debug)]
pub(super) struct Slab {
    memory: MmapMut,
    /// Where the first large page begins.
    start: usize,
    length: usize,
}

impl Slab {
    /// Copies pieces, one behind the other. `None` when there is no memory for it.
    pub(super) fn of<'a>(pieces: impl Iterator<Item = &'a [u8]> + Clone) -> Option<Arc<Self>> {
        let length = pieces.clone().map(<[u8]>::len).sum();
        // What is not touched takes no memory.
        let mut memory = MmapMut::map_anon(length + PAGE).ok()?;
        let start = memory.as_ptr().align_offset(PAGE);
        #[cfg(target_os = "linux")]
        let _ = memory.advise_range(memmap2::Advice::HugePage, start, length); // a hint
        let mut to = memory.get_mut(start..)?;
        for piece in pieces {
            let (place, rest) = to.split_at_mut(piece.len());
            place.copy_from_slice(piece);
            to = rest;
        }
        Some(Arc::new(Self { memory, start, length }))
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.length
    }
}

/// Bytes of one's own, or a part of a slab.
#[derive(Clone, Default)]
pub(super) struct Bytes {
    own: Vec<u8>,
    /// When these are a part of a slab, there are none of one's own.
    shared: Option<(Arc<Slab>, Range<usize>)>,
}

impl Bytes {
    /// A part of a slab, which lies there from `at` on.
    pub(super) fn shared(slab: &Arc<Slab>, at: usize, length: usize) -> Self {
        Self { own: Vec::new(), shared: Some((Arc::clone(slab), at..at + length)) }
    }

    /// The slab, when these bytes are a part of one.
    pub(super) fn slab(&self) -> Option<&Arc<Slab>> {
        self.shared.as_ref().map(|(slab, _)| slab)
    }

    /// To be changed: what is a part of a slab is copied.
    pub(super) fn to_mut(&mut self) -> &mut Vec<u8> {
        if self.shared.is_some() {
            *self = Self { own: self.to_vec(), shared: None };
        }
        &mut self.own
    }

    /// Bytes of memory but for slabs.
    pub(super) fn own_bytes(&self) -> usize {
        self.own.capacity()
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let Some((slab, range)) = &self.shared else { return &self.own };
        slab.memory.get(slab.start..).and_then(|all| all.get(range.clone())).unwrap_or(&[])
    }
}
