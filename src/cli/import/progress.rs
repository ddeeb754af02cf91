//! The progress of an import: a bar on a terminal, a line every 10 seconds elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::output::errln;
use crate::domain::stopwatch;

/// Time between lines without a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

const BAR: &str = "{bar:30} {pos} of {len} photos, {per_sec}, {eta} left; {msg}";

pub(super) struct Progress {
    /// `None` without a terminal.
    bar: Option<ProgressBar>,
    total: usize,
    done: usize,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    pub(super) fn new(total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
            // The template is valid; the default is a fallback.
            bar.set_style(ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, total, done: 0, started: stopwatch(), last_line: stopwatch() }
    }

    /// Counts a finished photo and shows the number of written templates.
    pub(super) fn advance(&mut self, templates: usize) {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{templates} templates written"));
            bar.inc(1);
        } else if self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = stopwatch();
            errln!("{}; {templates} templates written", line(self.done, self.total, self.started.elapsed()));
        }
    }

    /// Unfinished photos.
    pub(super) fn left(&self) -> usize {
        self.total.saturating_sub(self.done)
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(done: usize, total: usize, elapsed: Duration) -> String {
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-3);
    let left = (total.saturating_sub(done) as f64 / rate.max(1e-9)).round() as u64;
    let left = if left >= 120 { format!("{} min", left.div_ceil(60)) } else { format!("{left} s") };
    format!("{done} of {total} photos, {rate:.1} a second, {left} left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_rate_and_time_left() {
        assert_eq!(line(100, 400, Duration::from_secs(10)), "100 of 400 photos, 10.0 a second, 30 s left");
        assert_eq!(line(100, 13_000, Duration::from_secs(10)), "100 of 13000 photos, 10.0 a second, 22 min left");
    }
}
