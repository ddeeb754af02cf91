//! Waits for a condition of a real process: polls it, with one deadline for all tests.

use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Polls until a condition holds.
///
/// # Panics
/// After the deadline, with the condition that did not come true.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    eventually_some(what, async || holds().await.then_some(())).await;
}

/// Polls until there is a value.
///
/// # Panics
/// As [`eventually`].
pub async fn eventually_some<T>(what: &str, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = poll().await {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "not within {} s: {what}", DEADLINE.as_secs());
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The same for a test without a runtime.
///
/// # Panics
/// As [`eventually`].
pub fn eventually_blocking(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "not within {} s: {what}", DEADLINE.as_secs());
        std::thread::sleep(POLL_INTERVAL);
    }
}
