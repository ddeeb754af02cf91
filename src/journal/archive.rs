//! The journal of this node as administrators read it: its files, its key, and when it was verified last.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::reader::verify_counting;
use super::{
    ExportFormat, Extent, JournalKey, ReceiptKey, SearchBudget, SearchPage, SearchPlace, Selection, VerifyError,
    VerifyReport, export, extent, search,
};
use crate::domain::JournalPosition;

/// The last verification since the start of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// When it ended.
    pub at: SystemTime,
    /// What it found, or the first fault.
    pub outcome: Result<VerifyReport, String>,
}

/// Reads the journal of a folder. Every method but [`Archive::verification`] and [`Archive::receipt_key`] reads files:
/// call it on a thread that may block.
#[derive(Debug)]
pub struct Archive {
    dir: PathBuf,
    key: JournalKey,
    last: Mutex<Option<Verification>>,
}

impl Archive {
    /// The journal of a folder, which need not exist.
    pub fn new(dir: PathBuf, key: JournalKey) -> Self {
        Self { dir, key, last: Mutex::default() }
    }

    /// A part of the selected lines, newest first: see [`search()`].
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn search(
        &self,
        selection: &Selection,
        limit: usize,
        place: Option<&SearchPlace>,
        budget: SearchBudget,
    ) -> std::io::Result<SearchPage> {
        if !self.dir.is_dir() {
            return Ok(SearchPage::default());
        }
        search(&self.dir, selection, limit, place, budget)
    }

    /// Writes the selected lines, oldest first: see [`export()`].
    ///
    /// # Errors
    /// When a file cannot be read, or `out` not written.
    pub fn export(
        &self,
        selection: &Selection,
        format: ExportFormat,
        out: &mut impl Write,
    ) -> Result<u64, VerifyError> {
        export(&self.dir, selection, format, out)
    }

    /// How far the files reach.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn extent(&self) -> std::io::Result<Extent> {
        extent(&self.dir)
    }

    /// Checks every line, as [`verify`](super::verify) does, and keeps the outcome. `lines` counts those that are checked.
    pub fn verify(
        &self,
        known: Option<&JournalPosition>,
        lines: &AtomicU64,
        now: impl FnOnce() -> SystemTime,
    ) -> Verification {
        let outcome = verify_counting(&self.dir, &self.key, known, lines).map_err(|error| error.to_string());
        let verification = Verification { at: now(), outcome };
        *self.last.lock() = Some(verification.clone());
        verification
    }

    /// The last verification since the start; `None` before the first.
    pub fn verification(&self) -> Option<Verification> {
        self.last.lock().clone()
    }

    /// The key that verifies receipts.
    pub fn receipt_key(&self) -> Option<ReceiptKey> {
        self.key.receipt_key()
    }
}
