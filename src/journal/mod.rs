//! The journal: one line for every operation, chained so that none can be changed or left out unseen.
//!
//! No photo and no embedding is in it. Lines are NDJSON in `DATA/journal`, a file a day (UTC), each node
//! its own. A thread writes them, in the order in which the operations ended, and puts them on disk
//! together; a reply does not wait for that. What must not be lost comes by way of the database (see
//! `store::outbox`) and is waited for: [`Journal::record_durably`].

mod chain;
mod queue;
mod reader;
mod receipt;
mod start;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

pub use chain::JournalKey;
use queue::{Item, Queue};
pub use reader::{Selection, VerifyError, VerifyReport, export, verify};
pub use receipt::{ReceiptFault, ReceiptKey, check_receipt};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::domain::{JournalPosition, rfc3339};

/// One operation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Counts lines, without gaps.
    pub n: u64,
    /// When it ended (RFC 3339, UTC); of an erasure, when its transaction wrote it, just before its commit.
    pub time: String,
    /// Of what was put down in the database first: its id there. Two lines of one id tell of the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its id, as in the reply; of an erasure, that of the request which asked for it, if one did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub transaction_id: String,
    /// Who called; absent when the credentials were wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Method and route; [`ERASURE`]; a command, such as `gallery export`; or `journal`: about itself.
    pub operation: String,
    /// HTTP status; 499 when the client went away before the reply; 0 for what is no request.
    pub status: u16,
    /// The code of the failure; 0 for none.
    pub code: u16,
    /// What became of it, such as `found` or `enrolled`; absent for failures. Of an erasure, why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Why a photo was not decoded: the value, the limit and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The template that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_id: Option<String>,
    /// The gallery's revision that an erasure made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// How similar it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f64>,
    /// The threshold in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The pack of models in use: its name, and the beginning of the SHA-256 of its `pack.toml`.
    pub models: String,
    /// How long a request took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
}

/// The operation of lines that tell of a template's erasure; each has a receipt (see [`check_receipt`]).
pub const ERASURE: &str = "erasure";

/// The operation of lines that the journal has about itself.
const ITSELF: &str = "journal";

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
    /// A line that is known to have been there, from elsewhere.
    pub known: Option<JournalPosition>,
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Receipts cannot be signed.
    #[error("there is no key for receipts")]
    Signer,
    /// The chain cannot go on from what is there.
    #[error(
        "the last line of {0} is damaged, or it is of another database; look at it, then move `journal` and `node` out \
         of the data folder to begin another"
    )]
    Damaged(PathBuf),
    /// The folder or a file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The journal has ended; nothing of what was to be told is known to be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal has ended")]
pub struct JournalClosed;

/// Takes entries and has them written.
#[derive(Debug)]
pub struct Journal {
    queue: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<u64>>>,
    position: Arc<Mutex<JournalPosition>>,
    stopping: Arc<AtomicBool>,
}

impl Journal {
    /// Opens a journal where it ended. A last line that was cut off by a crash is taken away.
    ///
    /// # Errors
    /// When its folder cannot be used, or its last line is not one of this journal.
    pub fn open(config: JournalConfig) -> Result<Self, JournalError> {
        let writer = writer::Writer::open(config)?;
        let queue = Arc::new(Queue::default());
        let stopping = Arc::new(AtomicBool::new(false));
        let position = Arc::new(Mutex::new(writer.position()));
        let thread = std::thread::Builder::new().name("journal".into()).spawn({
            let queue = Arc::clone(&queue);
            let position = Arc::clone(&position);
            let stopping = Arc::clone(&stopping);
            move || run(writer, &queue, &position, &stopping)
        });
        let thread = thread.map_err(|source| JournalError::File { path: PathBuf::from("journal"), source })?;
        Ok(Self { queue, writer: Mutex::new(Some(thread)), position, stopping })
    }

    /// Has the entry of a request written that ended just now. Its number, its time and the models are filled in.
    pub fn record(&self, entry: Entry) {
        self.queue.record(Entry { time: rfc3339(SystemTime::now()), ..entry });
    }

    /// Has entries written, as they are but for their numbers and the models, and waits until they are on disk.
    ///
    /// # Errors
    /// [`JournalClosed`].
    pub async fn record_durably(&self, entries: Vec<Entry>) -> Result<(), JournalClosed> {
        let (written, seen) = oneshot::channel();
        let mut items: Vec<Item> = entries.into_iter().map(Item::from).collect();
        let Some(last) = items.last_mut() else { return Ok(()) };
        last.written = Some(written);
        if !self.queue.record_durably(items) {
            return Err(JournalClosed);
        }
        seen.await.map_err(|_| JournalClosed)
    }

    /// The last line that is on disk.
    pub fn position(&self) -> JournalPosition {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits and ends. How many lines could not be written.
    pub fn stop(&self) -> u64 {
        self.stopping.store(true, Ordering::Release);
        self.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        writer.map_or(0, |writer| writer.join().unwrap_or(0))
    }
}

/// The writer's thread. How many lines it could not write at the end.
fn run(mut writer: writer::Writer, queue: &Queue, position: &Mutex<JournalPosition>, stopping: &AtomicBool) -> u64 {
    while let Some(items) = queue.next() {
        let entries: Vec<&Entry> = items.iter().map(|item| &item.entry).collect();
        let mut failures = 0;
        while let Err(error) = writer.write(&entries, SystemTime::now()) {
            failures += 1;
            if failures == 1 {
                tracing::error!(%error, "the journal cannot be written; its lines wait");
            }
            // A server that stops does not wait for a disk for ever.
            if stopping.load(Ordering::Acquire) && failures > 3 {
                let lost = queue.lost().saturating_add(entries.len() as u64);
                tracing::error!(lines = lost, "lines of the journal are lost");
                return lost;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        if failures > 0 {
            tracing::info!("the journal is written again");
        }
        *position.lock().unwrap_or_else(PoisonError::into_inner) = writer.position();
        for written in items.into_iter().filter_map(|item| item.written) {
            let _ = written.send(()); // whoever waited may be gone
        }
    }
    0
}
