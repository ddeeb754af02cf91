//! What the server tells about itself: metrics, and how failures are written.

mod chain;
mod measured;
mod metrics;

pub use chain::error_chain;
pub use measured::{MeasuredAnalyze, MeasuredMatcher};
pub use metrics::{Metrics, Snapshot};
