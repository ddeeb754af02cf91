//! Threads and queues. Knows nothing of faces.
//!
//! Steady CPU work never runs on the async runtime: a model run of tens of milliseconds on a
//! runtime thread stalls every connection that thread serves. [`Pool`] owns named threads, each of
//! which owns its worker state (a model session needs `&mut`); [`Admission`] hands out tickets
//! before any body is read, so a full server says so at once instead of collecting bodies.

mod admission;
mod pool;

pub use admission::{Admission, Ticket};
pub use pool::{Pool, PoolConfig, Submit, WorkError};
