//! The steps after the last request, each with a limit: a service manager kills a server that takes longer than its
//! grace period.
//!
//! `server.drain_s` (5) and `server.shutdown_s` (30) come before these steps, which together take at most 20 seconds. The
//! documented grace period is 60 seconds.

use std::time::Duration;

use tokio::sync::oneshot;

/// The longest time for the last snapshots and the last scrub together.
pub(super) const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest time for each of three steps: writing the last events of the outbox, closing the journal, and reporting
/// its position. They run beside the steps of [`BACKGROUND_TIMEOUT`].
pub(super) const JOURNAL_STEP_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest wait for the threads of engine and index.
pub(super) const THREADS_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time from the last request to the end of the process: all steps, of which some run side by side.
pub const MAX_STEPS_TIME: Duration = Duration::from_secs(20);

const _: () = assert!(3 * JOURNAL_STEP_TIMEOUT.as_secs() <= BACKGROUND_TIMEOUT.as_secs());
const _: () = assert!(BACKGROUND_TIMEOUT.as_secs() + THREADS_TIMEOUT.as_secs() <= MAX_STEPS_TIME.as_secs());

/// Runs a step that blocks, on a thread of its own. `None` when it takes longer than `limit`; it goes on then until the
/// process ends.
pub(super) async fn blocking_within<T: Send + 'static>(
    limit: Duration,
    step: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name("stop".to_owned()).spawn(move || done.send(step()));
    thread.ok()?;
    tokio::time::timeout(limit, result).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_that_hangs_is_left_behind() {
        assert_eq!(blocking_within(Duration::from_secs(60), || 7).await, Some(7));
        let (release, hangs) = std::sync::mpsc::channel::<()>();
        assert_eq!(blocking_within(Duration::from_millis(10), move || hangs.recv()).await, None);
        drop(release);
    }
}
