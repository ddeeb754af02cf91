//! Lines of tests that a person has to see, also when the tests pass.

use std::io::Write as _;
use std::path::Path;

/// Writes a line to the real standard error, which libtest does not capture, and adds it to a file in `target`.
pub(super) fn report(file: &str, line: &str) {
    let _ = std::io::stderr().write_all(line.as_bytes());
    // Cargo sets the variable for integration tests; the fuzz targets, which share this folder, report nothing.
    let Some(temporary) = option_env!("CARGO_TARGET_TMPDIR") else { return };
    let file = Path::new(temporary).with_file_name(file);
    // One write in append mode: tests run in parallel.
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}
