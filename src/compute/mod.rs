//! Threads and queues. Knows nothing of faces.
//!
//! Steady CPU work never runs on the async runtime: a model run of tens of milliseconds on a
//! runtime thread stalls every connection that thread serves. [`Pool`] owns named threads, each of
//! which owns its worker state (a model session needs `&mut`), with a queue in front where parties take
//! turns; [`Admission`] hands out tickets
//! before any body is read, so a full server says so at once instead of collecting bodies; [`RateLimiter`]
//! limits how often somebody may ask.

mod admission;
mod fair_queue;
mod pool;
mod rate_limiter;

pub use admission::{Admission, NoTicket, Ticket};
pub use pool::{Pool, PoolConfig, Submit, WorkError};
pub use rate_limiter::RateLimiter;
