//! Where log lines go and how they look.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::{Arc, OnceLock};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt as format;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, reload};

use crate::settings::{Log, LogFormat};

/// Lines that wait to be written. Further ones are dropped and counted.
const MAX_WAITING_LINES: usize = 8192;

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// The thread that writes log lines. When this is dropped, it writes the lines that wait, for a second at most.
#[must_use]
#[derive(Debug)]
pub struct LogWriter {
    _thread: WorkerGuard,
    level: LogLevel,
}

impl LogWriter {
    /// What sets another level.
    pub fn level(&self) -> LogLevel {
        self.level.clone()
    }
}

/// The level of the log, which can be set while the process runs.
#[derive(Clone)]
pub struct LogLevel(Arc<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogLevel")
    }
}

impl LogLevel {
    /// Puts the level of a configuration in force.
    ///
    /// # Errors
    /// A sentence, when the level is not a filter. The old one stays.
    pub fn set(&self, log: &Log) -> Result<(), String> {
        self.0(filter(log)?).map_err(|error| error.to_string())
    }
}

/// The filter of a configuration. ONNX Runtime's and SQLx's chatter is kept out below warnings.
fn filter(log: &Log) -> Result<EnvFilter, String> {
    EnvFilter::try_new(format!("ort=warn,sqlx=warn,{}", log.level)).map_err(|error| {
        format!(
            "log.level = {:?}: {error}; must be error, warn, info, debug, trace, or a filter such as \"semblance=debug\"",
            log.level
        )
    })
}

/// Starts logging to standard error.
///
/// A thread of its own writes the lines: a reader that has stopped (a full pipe, a stuck log collector) stops the log,
/// and never a request. The metric `semblance_log_lines_dropped_total` counts what is lost.
///
/// # Errors
/// A sentence, when the level is not a filter or logging was started before.
pub fn start_logging(log: &Log) -> Result<LogWriter, String> {
    let (filter, handle) = reload::Layer::new(filter(log)?);
    let registry = tracing_subscriber::registry().with(filter);
    let queue = NonBlockingBuilder::default().buffered_lines_limit(MAX_WAITING_LINES).thread_name("log");
    let (writer, guard) = queue.finish(io::stderr());
    let dropped = writer.error_counter();
    let layer = format::layer().with_writer(writer).with_ansi(io::stderr().is_terminal());
    match log.format {
        LogFormat::Text => registry.with(layer.with_target(false)).try_init(),
        LogFormat::Json => registry.with(layer.json()).try_init(),
    }
    .map_err(|error| error.to_string())?;
    DROPPED.get_or_init(|| dropped);
    Ok(LogWriter { _thread: guard, level: LogLevel(Arc::new(move |filter| handle.reload(filter))) })
}

/// The number of log lines that were dropped since the start.
pub(super) fn dropped_log_lines() -> usize {
    DROPPED.get().map_or(0, ErrorCounter::dropped_lines)
}
