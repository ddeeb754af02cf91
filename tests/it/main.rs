//! All integration tests in one binary: one link instead of many.

#![expect(unreachable_pub, reason = "a test binary has no outside")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

mod architecture;
mod clients;
mod console;
mod contract;
mod crops;
mod damage;
mod decode;
mod erasure;
mod flavours;
mod formats;
mod fuzz;
mod matcher;
mod monitoring;
mod overload;
mod people;
mod pictures;
mod replicas;
mod retention;
mod server;
mod snapshots;
mod store;
mod support;
