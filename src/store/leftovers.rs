//! What removals leave lying about outside of the tables, until it is cleared away.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::{Database, Transaction};

/// Whether something was removed that may still lie about.
#[derive(Debug, Clone)]
pub(super) struct Leftovers(Arc<AtomicBool>);

impl Leftovers {
    /// Of a database that was just opened: what was removed before a crash may lie about.
    pub(super) fn perhaps() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// Something was removed.
    pub(super) fn note(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Held while something is removed, or cleared away: however that ends, there is something to clear away then.
    pub(super) fn held(&self) -> Leaving {
        Leaving(Some(self.clone()))
    }

    /// Begins to clear away; `None` when there is nothing.
    pub(super) fn clearing(&self) -> Option<Leaving> {
        self.0.swap(false, Ordering::AcqRel).then(|| self.held())
    }
}

/// Notes, when it is dropped, that there is something to clear away.
#[derive(Debug)]
pub(super) struct Leaving(Option<Leftovers>);

impl Leaving {
    /// There is nothing (any more).
    pub(super) fn nothing(mut self) {
        self.0 = None;
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(leftovers) = &self.0 {
            leftovers.note();
        }
    }
}

/// A transaction, and what it erased: that is noted when the transaction has ended, however it did. A client that
/// hangs up, a time limit or an error after the commit do not make what was erased forgotten.
#[derive(Debug)]
pub(super) struct Work<D: Database> {
    // In this order: a rollback is under way before anything is noted.
    transaction: Transaction<'static, D>,
    leftovers: Leftovers,
    erased: Option<Leaving>,
}

impl<D: Database> Work<D> {
    pub(super) fn new(transaction: Transaction<'static, D>, leftovers: &Leftovers) -> Self {
        Self { transaction, leftovers: leftovers.clone(), erased: None }
    }

    /// Something is erased in it.
    pub(super) fn erases(&mut self) {
        self.erased.get_or_insert_with(|| self.leftovers.held());
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        let _erased = self.erased;
        self.transaction.commit().await
    }

    /// Nothing was erased then.
    pub(super) async fn rollback(self) -> Result<(), sqlx::Error> {
        if let Some(erased) = self.erased {
            erased.nothing();
        }
        self.transaction.rollback().await
    }
}

impl<D: Database> Deref for Work<D> {
    type Target = D::Connection;

    fn deref(&self) -> &D::Connection {
        &self.transaction
    }
}

impl<D: Database> DerefMut for Work<D> {
    fn deref_mut(&mut self) -> &mut D::Connection {
        &mut self.transaction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_known_however_its_removal_or_its_clearing_away_ends() {
        let left = Leftovers::perhaps();
        let clearing = left.clearing().unwrap();
        assert!(left.clearing().is_none(), "one at a time");
        drop(clearing); // broken off
        left.clearing().unwrap().nothing();
        assert!(left.clearing().is_none());
        let erasing = left.held();
        assert!(left.clearing().is_none(), "it has not happened yet");
        drop(erasing);
        let clearing = left.clearing().unwrap();
        left.note(); // something else was removed meanwhile
        clearing.nothing();
        assert!(left.clearing().is_some());
    }
}
