//! Reports what a test measured beside what it asserts, for the tables in `docs/`.

use std::io::Write as _;
use std::path::Path;

/// Prints a figure on the real standard error, which libtest does not capture, and adds it to `target/figures.txt`.
/// `scene` is what the test does, `figure` what came out: counts and units.
pub fn figure(scene: &str, figure: &str) {
    let line = format!("FIGURE: {scene}: {figure}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    let Some(temporary) = option_env!("CARGO_TARGET_TMPDIR") else { return };
    let file = Path::new(temporary).with_file_name("figures.txt");
    // One write in append mode: tests run in parallel.
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}
