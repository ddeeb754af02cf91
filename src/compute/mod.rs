//! Threads, queues and limits. Knows nothing of faces.
//!
//! Steady CPU work never runs on the async runtime: a model run of tens of milliseconds on a runtime thread stalls every
//! connection of that thread. [`Pool`] owns named threads, each with its own worker state (a model session needs
//! `&mut`), behind a queue that serves tenants in turn. [`FairLimiter`] bounds the work in
//! progress, [`MemoryBudget`] the bytes in memory, each fairly between tenants, and [`Admission`] the connections.
//! [`RateLimiter`] limits how often a key may send requests.

mod admission;
mod fair_queue;
mod fair_slots;
mod file_work;
mod holders;
mod memory_budget;
mod pool;
mod rate_limiter;

pub use admission::{Admission, FairLimiter};
pub use fair_slots::{FairSlots, Slot};
pub use file_work::{FileWork, FileWorkError};
pub use holders::{Refusal, Ticket};
pub use memory_budget::{MemoryBudget, Reservation};
pub use pool::{Pool, PoolConfig, Submit, WorkError};
pub use rate_limiter::{Rate, RateLimiter};
