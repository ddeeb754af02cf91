//! Where log lines go and how they look.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::settings::{Log, LogFormat};

/// Lines that wait to be written. Further ones are dropped and counted.
const MAX_WAITING_LINES: usize = 8192;

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// The thread that writes log lines. When this is dropped, it writes the lines that wait, for a second at most.
#[must_use]
#[derive(Debug)]
pub struct LogWriter(#[expect(dead_code, reason = "what counts is its end")] WorkerGuard);

/// Starts logging to standard error. ONNX Runtime's and SQLx's chatter is kept out below warnings.
///
/// A thread of its own writes the lines: a reader that has stopped (a full pipe, a stuck log collector) stops the log,
/// and never a request. The metric `semblance_log_lines_dropped_total` counts what is lost.
///
/// # Errors
/// A sentence, when the level is not a filter or logging was started before.
pub fn start_logging(log: &Log) -> Result<LogWriter, String> {
    let directives = format!("ort=warn,sqlx=warn,{}", log.level);
    let filter = EnvFilter::try_new(&directives).map_err(|error| format!("log.level: {error}"))?;
    let registry = tracing_subscriber::registry().with(filter);
    let queue = NonBlockingBuilder::default().buffered_lines_limit(MAX_WAITING_LINES).thread_name("log");
    let (writer, guard) = queue.finish(io::stderr());
    let dropped = writer.error_counter();
    let layer = fmt::layer().with_writer(writer).with_ansi(io::stderr().is_terminal());
    match log.format {
        LogFormat::Text => registry.with(layer.with_target(false)).try_init(),
        LogFormat::Json => registry.with(layer.json()).try_init(),
    }
    .map_err(|error| error.to_string())?;
    DROPPED.get_or_init(|| dropped);
    Ok(LogWriter(guard))
}

/// The number of log lines that were dropped since the start.
pub(super) fn dropped_log_lines() -> usize {
    DROPPED.get().map_or(0, ErrorCounter::dropped_lines)
}
