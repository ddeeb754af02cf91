//! Reports what a test does not check on this machine, so that a skipped check is never silently green.

use std::io::Write as _;
use std::path::Path;

/// Reports a skipped check on the real standard error, which libtest does not capture, and adds it to
/// `target/skipped-tests.txt`, which `make test` prints at its end.
pub fn skipped(check: &str, reason: &str) {
    let line = format!("SKIPPED: {check}: {reason}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    // Cargo sets the variable for integration tests; the fuzz targets, which share this folder, skip nothing.
    let Some(temporary) = option_env!("CARGO_TARGET_TMPDIR") else { return };
    let file = Path::new(temporary).with_file_name("skipped-tests.txt");
    // One write in append mode: tests run in parallel.
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}
