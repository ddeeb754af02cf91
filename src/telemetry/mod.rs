//! Logs, metrics, figures over time, and the text form of errors.

mod chain;
mod figures;
mod gauges;
mod logging;
mod measured;
mod metrics;
mod problems;
mod process;

pub use chain::error_chain;
pub use figures::{
    FigureColumns, FigureError, FigureQuery, FigureScope, RequestRecord, SAMPLE_INTERVAL, TodayCounts, app_series,
    server_series,
};
pub use gauges::Gauges;
pub use logging::{LogLevel, LogWriter, start_logging};
pub use measured::{MeasuredAnalyze, MeasuredMatcher};
pub use metrics::Metrics;
pub use problems::{Facts, Problem, Severity};
pub use process::resident_bytes;
