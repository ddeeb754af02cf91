//! Reports what a test measured beside what it asserts, for the tables in `docs/`.

use super::report::report;

/// Reports a figure, also in `target/figures.txt`. `scene` is what the test does, `figure` what came out: counts and
/// units.
pub fn figure(scene: &str, figure: &str) {
    report("figures.txt", &format!("FIGURE: {scene}: {figure}\n"));
}
