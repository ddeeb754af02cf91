//! One binary for all integration tests: one link.

mod matcher;
