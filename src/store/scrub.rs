//! What removals leave lying about outside of the tables, until it is cleared away.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::{Database, Transaction};

/// Whether something was removed that may still lie about.
#[derive(Debug, Clone)]
pub(super) struct PendingScrub(Arc<AtomicBool>);

impl PendingScrub {
    /// Of a database that was just opened: what was removed before a crash may lie about.
    pub(super) fn perhaps() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// Something was removed.
    pub(super) fn note(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Held while something is removed, or cleared away: however that ends, there is something to clear away then.
    pub(super) fn held(&self) -> ScrubGuard {
        ScrubGuard(Some(self.clone()))
    }

    /// Begins to clear away; `None` when there is nothing.
    pub(super) fn clearing(&self) -> Option<ScrubGuard> {
        self.0.swap(false, Ordering::AcqRel).then(|| self.held())
    }
}

/// Notes, when it is dropped, that there is something to clear away.
#[derive(Debug)]
pub(super) struct ScrubGuard(Option<PendingScrub>);

impl ScrubGuard {
    /// There is nothing (any more).
    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for ScrubGuard {
    fn drop(&mut self) {
        if let Some(pending_scrub) = &self.0 {
            pending_scrub.note();
        }
    }
}

/// A transaction, and what it erased: that is noted when the transaction has ended, however it did. A client that
/// hangs up, a time limit or an error after the commit do not make what was erased forgotten.
#[derive(Debug)]
pub(super) struct WriteTx<D: Database> {
    // In this order: a rollback is under way before anything is noted.
    transaction: Transaction<'static, D>,
    pending_scrub: PendingScrub,
    erased: Option<ScrubGuard>,
}

impl<D: Database> WriteTx<D> {
    pub(super) fn new(transaction: Transaction<'static, D>, pending_scrub: &PendingScrub) -> Self {
        Self { transaction, pending_scrub: pending_scrub.clone(), erased: None }
    }

    /// Something is erased in it.
    pub(super) fn erases(&mut self) {
        self.erased.get_or_insert_with(|| self.pending_scrub.held());
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        let _erased = self.erased;
        self.transaction.commit().await
    }

    /// Nothing was erased then.
    pub(super) async fn rollback(self) -> Result<(), sqlx::Error> {
        if let Some(erased) = self.erased {
            erased.disarm();
        }
        self.transaction.rollback().await
    }
}

impl<D: Database> Deref for WriteTx<D> {
    type Target = D::Connection;

    fn deref(&self) -> &D::Connection {
        &self.transaction
    }
}

impl<D: Database> DerefMut for WriteTx<D> {
    fn deref_mut(&mut self) -> &mut D::Connection {
        &mut self.transaction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_known_however_its_removal_or_its_clearing_away_ends() {
        let left = PendingScrub::perhaps();
        let clearing = left.clearing().unwrap();
        assert!(left.clearing().is_none(), "one at a time");
        drop(clearing); // broken off
        left.clearing().unwrap().disarm();
        assert!(left.clearing().is_none());
        let erasing = left.held();
        assert!(left.clearing().is_none(), "it has not happened yet");
        drop(erasing);
        let clearing = left.clearing().unwrap();
        left.note(); // something else was removed meanwhile
        clearing.disarm();
        assert!(left.clearing().is_some());
    }
}
