//! Destination and format of log lines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::settings::{Log, LogFormat};

/// Starts logging to standard error. ONNX Runtime and SQLx log warnings and errors only.
///
/// # Errors
/// A sentence, when the level is not a filter or logging was started before.
pub fn start_logging(log: &Log) -> Result<(), String> {
    let directives = format!("ort=warn,sqlx=warn,{}", log.level);
    let filter = EnvFilter::try_new(&directives).map_err(|error| format!("log.level: {error}"))?;
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    match log.format {
        LogFormat::Text => registry.with(layer.with_target(false)).try_init(),
        LogFormat::Json => registry.with(layer.json()).try_init(),
    }
    .map_err(|error| error.to_string())
}
