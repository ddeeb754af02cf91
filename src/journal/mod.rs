//! The journal: one line for every operation, chained so that no line can be changed or removed unnoticed.
//!
//! It contains no photos and no embeddings. Lines are NDJSON in `DATA/journal`, one file a day (UTC); each node has its
//! own. A thread writes the lines in the order in which the operations ended, in batches; a response does not wait for
//! it. What must not be lost comes from the outbox of the database (see `store::outbox`), which waits for the disk:
//! [`Journal::record_durably`].

mod archive;
mod chain;
mod export;
mod extent;
mod queue;
mod reader;
mod receipt;
mod search;
#[cfg(test)]
mod search_tests;
mod selection;
mod start;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

pub use archive::{Archive, Verification};
pub use chain::JournalKey;
pub use export::{ExportFormat, csv_cell, export};
pub use extent::{EndLine, Extent, extent};
use parking_lot::Mutex;
use queue::{Item, Queue};
pub use reader::{VerifyError, VerifyReport, verify};
pub use receipt::{ReceiptFault, ReceiptKey, check_receipt};
pub use search::{SearchBudget, SearchPage, SearchPlace, search};
pub use selection::Selection;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::domain::{Actor, Clock, ClockTrust, JournalPosition, rfc3339};

/// One operation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The number of the line, without gaps.
    pub n: u64,
    /// When it ended (RFC 3339, UTC). For an erasure, when its transaction wrote it, just before the commit.
    pub time: String,
    /// The id of the outbox event, if it was one. Two lines with one id record the same event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The id of the request, as in the response. For an erasure, of the request that caused it, if any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub transaction_id: String,
    /// The IP address of the client; absent when it is not a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Who did it; absent when the credentials were wrong, and in lines of versions that did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<EntryActor>,
    /// The application; absent when the credentials were wrong, and for what concerns no application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The id of the application's key: the one that the request carried, or the one that was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// Method and route; [`ERASURE`]; a command, such as `gallery export`; or `journal` for the journal itself.
    pub operation: String,
    /// HTTP status; 499 when the client disconnected before the response; 0 when it is not a request.
    pub status: u16,
    /// The error code; 0 for success.
    pub code: u16,
    /// The outcome, such as `found` or `enrolled`; absent for failures. For an erasure, the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Why a photo was not decoded: the value, the limit and the remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_id: Option<String>,
    /// The sample, where a line is about one and not about the whole template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_id: Option<String>,
    /// The names of the fields that changed, never their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// The revision of the gallery that an erasure made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The similarity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f64>,
    /// The threshold in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Of an identification without a match: the best candidate, if it came near the threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near: Option<NearMatch>,
    /// The model pack: its name, and the beginning of the SHA-256 of its `pack.toml`.
    pub models: String,
    /// How long a request took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
    /// Whether it is a list or a search: of equal ones in one minute, one line counts all but the first. Not written.
    #[serde(skip)]
    pub is_listing: bool,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryActor {
    /// `key`, `admin`, `command` or `server`.
    pub kind: String,
    /// The id of the administrator or of the application's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// A candidate below the threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NearMatch {
    /// The template.
    pub template_id: String,
    /// The similarity.
    pub similarity: f64,
}

impl From<&Actor> for EntryActor {
    fn from(actor: &Actor) -> Self {
        Self { kind: actor.kind().to_owned(), id: actor.id() }
    }
}

/// The operation of lines that record the erasure of a template, or of one sample. Each has a receipt (see [`check_receipt`]).
pub const ERASURE: &str = "erasure";

/// The operation of lines about the journal itself.
const JOURNAL: &str = "journal";

/// The configuration of a journal.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// The folder of its files.
    pub dir: PathBuf,
    /// The key that chains the lines.
    pub key: JournalKey,
    /// The value of `models` in every line.
    pub models: String,
    /// Files that are older are removed, in days; 0 keeps all.
    pub keep_days: u64,
    /// The last line that the database knows.
    pub known: Option<JournalPosition>,
    /// The time of the lines.
    pub clock: Clock,
    /// Whether that time may decide which files are too old. While it may not, no file is removed.
    pub clock_trust: ClockTrust,
}

/// How far a journal is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalBacklog {
    /// Lines that are not on disk yet.
    pub waiting: usize,
    /// Lines since the start that did not fit into the queue. The journal itself records their number.
    pub lost: u64,
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Receipts cannot be signed.
    #[error("there is no key for receipts")]
    Signer,
    /// The chain cannot continue after the last line.
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

/// The journal is closed. The entries may not be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal is closed")]
pub struct JournalClosed;

/// From a failed write to the next attempt.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// How often a write is tried again when the server stops.
const MAX_FAILURES_AT_STOP: u32 = 3;

/// Queues entries for the thread that writes them.
#[derive(Debug)]
pub struct Journal {
    queue: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<u64>>>,
    position: Arc<Mutex<JournalPosition>>,
    stopping: Arc<AtomicBool>,
    clock: Clock,
}

impl Journal {
    /// Opens a journal at its end. A last line that a crash cut off is removed.
    ///
    /// # Errors
    /// When its folder cannot be used, or its last line does not belong to this journal.
    pub fn open(config: JournalConfig) -> Result<Self, JournalError> {
        let clock = config.clock.clone();
        let writer = writer::Writer::open(config)?;
        let queue = Arc::new(Queue::new(clock.clone()));
        let stopping = Arc::new(AtomicBool::new(false));
        let position = Arc::new(Mutex::new(writer.position()));
        let thread = std::thread::Builder::new().name("journal".into()).spawn({
            let queue = Arc::clone(&queue);
            let position = Arc::clone(&position);
            let stopping = Arc::clone(&stopping);
            let clock = clock.clone();
            move || run(writer, &queue, &position, &stopping, &clock)
        });
        let thread = thread.map_err(|source| JournalError::File { path: PathBuf::from("journal"), source })?;
        Ok(Self { queue, writer: Mutex::new(Some(thread)), position, stopping, clock })
    }

    /// Queues the entry of a request that has just ended. Number, time and models are filled in.
    pub fn record(&self, entry: Entry) {
        self.queue.record(Entry { time: rfc3339(self.clock.now()), ..entry });
    }

    /// Writes entries and waits until they are on disk. Numbers and models are filled in.
    ///
    /// # Errors
    /// [`JournalClosed`].
    pub async fn record_durably(&self, entries: Vec<Entry>) -> Result<(), JournalClosed> {
        let (written, on_disk) = oneshot::channel();
        let mut items: Vec<Item> = entries.into_iter().map(Item::from).collect();
        let Some(last) = items.last_mut() else { return Ok(()) };
        last.written = Some(written);
        if !self.queue.push_durable(items) {
            return Err(JournalClosed);
        }
        on_disk.await.map_err(|_| JournalClosed)
    }

    /// The last line that is on disk.
    pub fn position(&self) -> JournalPosition {
        *self.position.lock()
    }

    /// How far the disk is behind.
    pub fn backlog(&self) -> JournalBacklog {
        self.queue.backlog()
    }

    /// Writes the queue and closes the journal. Returns how many lines could not be written.
    pub fn stop(&self) -> u64 {
        self.stopping.store(true, Ordering::Release);
        self.queue.close();
        let writer = self.writer.lock().take();
        writer.map_or(0, |writer| writer.join().unwrap_or(0))
    }
}

/// The thread that writes. Returns how many lines it could not write at the end.
fn run(
    mut writer: writer::Writer,
    queue: &Queue,
    position: &Mutex<JournalPosition>,
    stopping: &AtomicBool,
    clock: &Clock,
) -> u64 {
    while let Some(items) = queue.next() {
        let entries: Vec<&Entry> = items.iter().map(|item| &item.entry).collect();
        let mut failures = 0;
        while let Err(error) = writer.write(&entries, clock.now()) {
            failures += 1;
            if failures == 1 {
                tracing::error!(%error, "the journal cannot be written; its lines wait in memory");
            }
            // A server that stops does not wait for a disk for ever.
            if stopping.load(Ordering::Acquire) && failures > MAX_FAILURES_AT_STOP {
                let lost = queue.lost().saturating_add(entries.len() as u64);
                tracing::error!(lines = lost, "journal lines are lost");
                return lost;
            }
            std::thread::sleep(RETRY_INTERVAL);
        }
        if failures > 0 {
            tracing::info!("the journal can be written again");
        }
        *position.lock() = writer.position();
        for written in items.into_iter().filter_map(|item| item.written) {
            let _ = written.send(()); // the receiver may be gone
        }
    }
    0
}
