//! All integration tests in one binary: one link instead of many.

#![expect(unreachable_pub, reason = "a test binary has no outside")]

mod clients;
mod contract;
mod overload;
mod support;
