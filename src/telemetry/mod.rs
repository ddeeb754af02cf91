//! Logs, metrics, and the text form of errors.

mod chain;
mod logging;
mod measured;
mod metrics;
mod process;

pub use chain::error_chain;
pub use logging::{LogLevel, LogWriter, start_logging};
pub use measured::{MeasuredAnalyze, MeasuredMatcher};
pub use metrics::{Gauges, Metrics};
