//! Reports what a test does not check on this machine, so that a skipped check is never silently green.

use super::report::report;

/// Reports a skipped check, also in `target/skipped-tests.txt`, which `make test` prints at its end.
pub fn skipped(check: &str, reason: &str) {
    report("skipped-tests.txt", &format!("SKIPPED: {check}: {reason}\n"));
}
