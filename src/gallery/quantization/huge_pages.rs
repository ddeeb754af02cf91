//! Memory that is read sequentially, in as few pages as possible.
//!
//! A search reads the sketches of a whole gallery. In pages of 4 KiB the processor spends as much time on address
//! translation as on reading (measured: 2.9 ms instead of 1.4 ms for a million rows). So the codes of full segments
//! that do not change lie side by side in one mapping, for which the kernel is asked to use huge pages. Without huge
//! pages everything works, only slower.

use std::ops::{Deref, Range};
use std::sync::Arc;

use memmap2::MmapMut;

/// Size of a huge page on x86-64 and usually on ARM.
const PAGE: usize = 2 << 20;

/// One mapping with the codes of several segments.
#[derive(Debug)]
pub(in crate::gallery) struct HugePages {
    memory: MmapMut,
    /// Where the first huge page begins.
    start: usize,
    length: usize,
}

impl HugePages {
    /// Copies pieces one after another. `None` when there is no memory for it.
    pub(super) fn copy<'a>(pieces: impl Iterator<Item = &'a [u8]> + Clone) -> Option<Arc<Self>> {
        let length = pieces.clone().map(<[u8]>::len).sum();
        // Untouched pages take no memory.
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
    pub(in crate::gallery) fn bytes(&self) -> usize {
        self.length
    }
}

/// Bytes of one's own, or a part of a pages.
#[derive(Clone, Default)]
pub(super) struct Bytes {
    own: Vec<u8>,
    /// Set when the bytes are a part of shared pages; `own` is empty then.
    shared: Option<(Arc<HugePages>, Range<usize>)>,
}

impl Bytes {
    /// A part of a pages, which lies there from `at` on.
    pub(super) fn shared(pages: &Arc<HugePages>, at: usize, length: usize) -> Self {
        Self { own: Vec::new(), shared: Some((Arc::clone(pages), at..at + length)) }
    }

    /// The pages, when these bytes are a part of one.
    pub(super) fn pages(&self) -> Option<&Arc<HugePages>> {
        self.shared.as_ref().map(|(pages, _)| pages)
    }

    /// To be changed: what is a part of a pages is copied.
    pub(super) fn to_mut(&mut self) -> &mut Vec<u8> {
        if self.shared.is_some() {
            *self = Self { own: self.to_vec(), shared: None };
        }
        &mut self.own
    }

    /// Bytes of memory, without mappings.
    pub(super) fn own_bytes(&self) -> usize {
        self.own.capacity()
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let Some((pages, range)) = &self.shared else { return &self.own };
        pages.memory.get(pages.start..).and_then(|all| all.get(range.clone())).unwrap_or(&[])
    }
}
