//! The journal: one line for every operation, chained so that none can be changed or left out unseen.
//!
//! No photo and no embedding is in it. Lines are NDJSON in `DATA/journal`, a file a day (UTC), each node
//! its own. A thread writes them, in the order in which the operations ended, and puts them on disk
//! together; a reply does not wait for that.

mod chain;
mod reader;
mod receipt;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use chain::JournalKey;
pub use reader::{Broken, Selection, Verified, export, verify};
pub use receipt::{ReceiptFault, ReceiptKey, Signer, check_receipt};
use serde::{Deserialize, Serialize};

/// One operation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Counts lines, without gaps.
    pub n: u64,
    /// When it ended (RFC 3339, UTC).
    pub time: String,
    /// Its id, as in the reply.
    pub transaction_id: String,
    /// Who called; absent when the credentials were wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Method and route.
    pub operation: String,
    /// HTTP status; 499 when the client went away before the reply.
    pub status: u16,
    /// The code of the failure; 0 for none.
    pub code: u16,
    /// What became of it, such as `found` or `enrolled`; absent for failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The template that was found, enrolled or removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_id: Option<String>,
    /// How similar it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f64>,
    /// The threshold in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The pack of models in use.
    pub models: String,
    /// How long it took.
    pub ms: f64,
}

/// The outcome of an operation that erased a template; its line has a receipt (see [`check_receipt`]).
pub const ERASED: &str = "removed";

impl Entry {
    /// Whether a template was erased.
    fn is_erasure(&self) -> bool {
        self.outcome.as_deref() == Some(ERASED)
    }
}

/// How a journal is kept.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// The folder of its files.
    pub dir: PathBuf,
    /// What chains the lines.
    pub key: JournalKey,
    /// What stands in every line's `models`.
    pub models: String,
    /// Files older than so many days are removed; 0: none is.
    pub keep_days: u64,
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Receipts cannot be signed.
    #[error("there is no key for receipts")]
    Signer,
    /// The folder or a file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Lines that may wait for the disk; more are counted and named as missing.
const WAITING: usize = 65_536;

/// Takes entries and has them written.
#[derive(Debug)]
pub struct Journal {
    sender: Mutex<Option<SyncSender<Entry>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    missed: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
}

impl Journal {
    /// Opens a journal where it ended. A last line that was cut off by a crash is taken away.
    ///
    /// # Errors
    /// When its folder cannot be used.
    pub fn open(config: JournalConfig) -> Result<Self, JournalError> {
        let missed = Arc::new(AtomicU64::new(0));
        let stopped = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stopped);
        let mut writer = writer::Writer::open(config, Arc::clone(&missed))?;
        let (sender, entries) = sync_channel::<Entry>(WAITING);
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || {
            while let Ok(first) = entries.recv() {
                let batch: Vec<Entry> = std::iter::once(first).chain(entries.try_iter().take(1023)).collect();
                let mut failures = 0;
                while let Err(error) = writer.write(&batch) {
                    failures += 1;
                    if failures == 1 {
                        tracing::error!(%error, "the journal cannot be written; its lines wait");
                    }
                    // A server that stops does not wait for a disk for ever.
                    if stopping.load(Ordering::Acquire) && failures > 3 {
                        tracing::error!(lines = batch.len(), "lines of the journal are lost");
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(500));
                }
                if failures > 0 {
                    tracing::info!("the journal is written again");
                }
            }
        });
        let thread = thread.map_err(|source| JournalError::File { path: PathBuf::from("journal"), source })?;
        Ok(Self { sender: Mutex::new(Some(sender)), writer: Mutex::new(Some(thread)), missed, stopped })
    }

    /// Has an entry written. Its number, its time and the models are filled in.
    pub fn record(&self, entry: Entry) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if sender.as_ref().is_none_or(|sender| sender.try_send(entry).is_err()) {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what waits and ends.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use zeroize::Zeroizing;

    use super::*;

    fn key() -> JournalKey {
        JournalKey::new(Zeroizing::new([7; 32]))
    }

    fn write(dir: &Path, ids: std::ops::Range<u32>) {
        let config = JournalConfig { dir: dir.to_owned(), key: key(), models: "pack-1".to_owned(), keep_days: 0 };
        let journal = Journal::open(config).unwrap();
        for id in ids {
            let app = Some(if id % 2 == 0 { "even" } else { "odd" }.to_owned());
            journal.record(Entry { transaction_id: format!("t{id}"), app, status: 200, ..Entry::default() });
        }
        journal.stop();
    }

    fn file(dir: &Path) -> PathBuf {
        let all: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!all.is_empty() && all.len() <= 2, "{all:?}"); // two when midnight passes
        all.into_iter().max().unwrap()
    }

    #[test]
    fn a_chain_goes_on_after_a_restart_and_after_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 0..5);
        write(dir.path(), 5..8);
        assert_eq!(verify(dir.path(), &key()).unwrap(), Verified { lines: 8, first: 1, last: 8, receipts: 0 });
        let path = file(dir.path());
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 20]).unwrap();
        write(dir.path(), 8..10);
        assert_eq!(verify(dir.path(), &key()).unwrap(), Verified { lines: 9, first: 1, last: 9, receipts: 0 });
    }

    #[test]
    fn whatever_is_done_to_a_line_is_found() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 0..6);
        let path = file(dir.path());
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let mut tampered: Vec<Vec<String>> = Vec::new();
        for at in 1..lines.len() - 1 {
            let mut left_out: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            left_out.remove(at);
            tampered.push(left_out);
        }
        let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        changed[2] = changed[2].replace("\"status\":200", "\"status\":400");
        tampered.push(changed);
        let mut moved: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        moved.swap(3, 4);
        tampered.push(moved);
        let mut doubled: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        doubled.insert(2, doubled[2].clone());
        tampered.push(doubled);
        for lines in tampered {
            std::fs::write(&path, lines.join("\n") + "\n").unwrap();
            assert!(matches!(verify(dir.path(), &key()), Err(Broken::Chain { .. })), "{lines:?}");
        }
        // Without its first lines it is what is left of a longer one, and says so.
        std::fs::write(&path, lines[1..].join("\n") + "\n").unwrap();
        assert_eq!(verify(dir.path(), &key()).unwrap(), Verified { lines: 5, first: 2, last: 6, receipts: 0 });
        std::fs::write(&path, &text).unwrap();
        assert!(verify(dir.path(), &key()).is_ok());
        assert!(verify(dir.path(), &JournalKey::new(Zeroizing::new([8; 32]))).is_err());
    }

    #[test]
    fn an_erasure_has_a_receipt_that_leaves_the_journal() {
        let dir = tempfile::tempdir().unwrap();
        let config = JournalConfig { dir: dir.path().to_owned(), key: key(), models: "p".to_owned(), keep_days: 0 };
        let journal = Journal::open(config).unwrap();
        for (template, outcome) in [("a", "enrolled"), ("a", ERASED), ("b", ERASED)] {
            let (template_id, outcome) = (Some(template.to_owned()), Some(outcome.to_owned()));
            journal.record(Entry { template_id, outcome, status: 200, ..Entry::default() });
        }
        journal.stop();
        let found = verify(dir.path(), &key()).unwrap();
        assert_eq!(found, Verified { lines: 3, first: 1, last: 3, receipts: 2 });
        let mut out = Vec::new();
        let wanted = Selection { receipts: true, template: Some("a"), ..Selection::default() };
        assert_eq!(export(dir.path(), &wanted, &mut out).unwrap(), 1);
        let line = String::from_utf8(out).unwrap();
        let public = key().receipt_key().unwrap();
        assert_eq!(check_receipt(&public, line.trim_end()), Ok(()));
        let forged = line.trim_end().replace("\"templateId\":\"a\"", "\"templateId\":\"c\"");
        assert_eq!(check_receipt(&public, &forged), Err(ReceiptFault::Forged));
    }

    #[test]
    fn a_period_is_taken_out() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 0..9);
        let take = |from: &str, to: &str, app: Option<&str>| {
            let mut out = Vec::new();
            let wanted = Selection { from, to, app, ..Selection::default() };
            let count = export(dir.path(), &wanted, &mut out).unwrap();
            assert_eq!(out.iter().filter(|byte| **byte == b'\n').count() as u64, count);
            count
        };
        assert_eq!(take("", "", None), 9);
        assert_eq!(take("", "", Some("odd")), 4);
        assert_eq!(take("2000", "2999-12-31", None), 9);
        assert_eq!(take("2999", "", None), 0);
        assert_eq!(take("", "2000-01-01", None), 0);
    }
}
