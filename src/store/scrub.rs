//! Whether erasures have left something outside of the tables that has to be cleared away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a scrub is pending.
#[derive(Debug, Clone)]
pub(super) struct PendingScrub(Arc<AtomicBool>);

impl PendingScrub {
    /// The state of a database that was just opened: what was erased before a crash may not be scrubbed.
    pub(super) fn at_open() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// Something was erased.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Held during an erasure or a scrub: a scrub is pending afterwards, however it ends.
    pub(super) fn guard(&self) -> ScrubGuard {
        ScrubGuard(Some(self.clone()))
    }

    /// Begins a scrub; `None` when none is pending.
    pub(super) fn begin(&self) -> Option<ScrubGuard> {
        self.0.swap(false, Ordering::AcqRel).then(|| self.guard())
    }
}

/// Sets [`PendingScrub`] when it is dropped.
#[derive(Debug)]
pub(super) struct ScrubGuard(Option<PendingScrub>);

impl ScrubGuard {
    /// Nothing was erased, or the scrub is done.
    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for ScrubGuard {
    fn drop(&mut self) {
        if let Some(pending) = &self.0 {
            pending.set();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrub_is_pending_however_an_erasure_or_a_scrub_ends() {
        let pending = PendingScrub::at_open();
        let scrub = pending.begin().unwrap();
        assert!(pending.begin().is_none(), "one at a time");
        drop(scrub); // interrupted
        pending.begin().unwrap().disarm();
        assert!(pending.begin().is_none());
        let erasure = pending.guard();
        assert!(pending.begin().is_none(), "it has not happened yet");
        drop(erasure);
        let scrub = pending.begin().unwrap();
        pending.set(); // another erasure meanwhile
        scrub.disarm();
        assert!(pending.begin().is_some());
    }
}
