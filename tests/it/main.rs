//! One binary for all integration tests: one link.

mod architecture;
mod matcher;
mod server;
mod store;
mod support;
