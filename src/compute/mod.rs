//! Threads, queues and limits. Knows nothing of faces.
//!
//! Steady CPU work never runs on the async runtime: a model run of tens of milliseconds on a runtime thread stalls every
//! connection of that thread. [`Pool`] owns named threads, each with its own worker state (a model session needs
//! `&mut`), behind a queue that serves tenants in turn. [`Admission`] hands out tickets before any body is read, so a
//! full server refuses at once instead of collecting bodies. [`RateLimiter`] limits how often a key may send requests.

mod admission;
mod fair_queue;
mod pool;
mod rate_limiter;

pub use admission::{Admission, NoTicket, Ticket};
pub use pool::{Pool, PoolConfig, Submit, WorkError};
pub use rate_limiter::RateLimiter;
