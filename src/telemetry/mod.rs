//! Logs and metrics.

mod logging;

pub use logging::start_logging;
