//! What goes on beside the requests: following the store, removing what is no longer to be kept,
//! clearing away what was removed, writing snapshots, renewing certificates.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::certificate::Tls;
use super::outbox_relay::OutboxRelay;
use crate::service::{Replicator, Service};
use crate::settings::Settings;
use crate::store::{HintStore, Scrubber, StoreError};

/// From the start to the first snapshot.
const FIRST_SNAPSHOT: Duration = Duration::from_secs(30);

/// Longest that the end of the server waits for the clearing away of what was removed.
const LAST_SCRUB: Duration = Duration::from_secs(10);

/// The tasks of a running server.
pub(super) struct Background(Vec<JoinHandle<()>>);

impl Background {
    /// Starts them.
    pub(super) fn start(
        settings: &Settings,
        service: &Service,
        relay: &Arc<OutboxRelay>,
        (scrubber, hints): (&Arc<dyn Scrubber>, &Arc<dyn HintStore>),
        tls: Option<&Tls>,
    ) -> Self {
        let replicator = service.replicator().clone();
        let poll = Duration::from_millis(settings.database.poll_ms);
        let every = Duration::from_secs(settings.snapshots.every_s);
        let hint = Arc::new(Notify::new());
        let (told, followed, saved) = (Arc::clone(&hint), Arc::clone(&replicator), replicator);
        let (hints, scrubber) = (Arc::clone(hints), Arc::clone(scrubber));
        let (service, relay) = (service.clone(), Arc::clone(relay));
        let mut tasks = vec![
            spawn_supervised("follow", move || follow(Arc::clone(&followed), poll, Arc::clone(&told))),
            spawn_supervised("listen", move || listen(Arc::clone(&hints), Arc::clone(&hint))),
            spawn_supervised("snapshots", move || save_snapshots(Arc::clone(&saved), every)),
            spawn_supervised("scrub", move || scrub(Arc::clone(&scrubber))),
            spawn_supervised("expire", move || expire(service.clone())),
            spawn_supervised("relay", move || Arc::clone(&relay).run(poll)),
        ];
        if let Some(tls) = tls {
            let (tls, every) = (tls.clone(), Duration::from_secs(settings.tls.reload_s));
            tasks.push(spawn_supervised("renew", move || renew(tls.clone(), every)));
        }
        let tasks = tasks.into_iter().map(tokio::spawn).collect();
        Self(tasks)
    }

    /// Ends them, writes the snapshots that are due, and clears away what removals left.
    pub(super) async fn stop(self, replicator: &Replicator, scrubber: &dyn Scrubber) {
        self.0.iter().for_each(JoinHandle::abort);
        if replicator.is_loaded() {
            say_unsaved(replicator.save_snapshots().await);
        }
        match tokio::time::timeout(LAST_SCRUB, scrubber.scrub()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "what was removed is not cleared away yet; the next start does it")
            }
            Err(_) => tracing::warn!("what was removed takes long to be cleared away; the next start does it"),
        }
    }
}

/// From the panic of a task to its next start: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A task that is started anew when it panics: without it the server would go on, and be ready, and fall behind.
fn spawn_supervised<Task>(name: &'static str, start: impl Fn() -> Task + Send + 'static) -> BoxFuture<'static, ()>
where
    Task: Future<Output = ()> + Send + 'static,
{
    Box::pin(restarted(name, PAUSE, start))
}

async fn restarted<Task>(name: &str, (mut pause, longest): (Duration, Duration), start: impl Fn() -> Task)
where
    Task: Future<Output = ()>,
{
    while AssertUnwindSafe(start()).catch_unwind().await.is_err() {
        tracing::error!(task = name, "a task in the background panicked; it is started again in {pause:?}");
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(longest);
    }
}

/// From a hint to the reading of what it was for: others that follow at once are answered together.
const GATHER: Duration = Duration::from_millis(20);

/// From a failure to listen to the next attempt.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// Passes on what the store hears of other nodes, for as long as the server runs. Without it changes are seen
/// by the next poll.
async fn listen(hints: Arc<dyn HintStore>, hint: Arc<Notify>) {
    loop {
        match hints.changed().await {
            Ok(()) => hint.notify_one(),
            Err(error) => {
                tracing::debug!(%error, "other nodes' writes are not told just now, only polled for");
                tokio::time::sleep(LISTEN_AGAIN).await;
            }
        }
    }
}

/// Longest that the galleries which have changed wait for those that take long.
const PATIENCE: Duration = Duration::from_millis(500);

/// Follows the store for as long as the server runs. A store that is away is said once, and once
/// more when it is back.
async fn follow(replicator: Arc<Replicator>, every: Duration, hint: Arc<Notify>) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut away = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = hint.notified() => tokio::time::sleep(GATHER).await,
        }
        match replicator.poll_within(PATIENCE).await {
            Ok(()) if away => {
                away = false;
                tracing::info!("the database is back");
            }
            Err(error) if !away => {
                away = true;
                match error {
                    StoreError::Unavailable(_) => {
                        tracing::error!(%error, "the database is away; identify goes on from memory");
                    }
                    error => tracing::error!(%error, "the database cannot be read; identify goes on from memory"),
                }
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// Writes the snapshots that are due, for as long as the server runs.
async fn save_snapshots(replicator: Arc<Replicator>, every: Duration) {
    if every.is_zero() {
        return;
    }
    // The first one soon: a gallery that had to be read from the database is to have one.
    let mut wait = every.min(FIRST_SNAPSHOT);
    loop {
        tokio::time::sleep(wait).await;
        if replicator.is_loaded() {
            say_unsaved(replicator.save_snapshots().await);
            wait = every;
        }
    }
}

/// Removes the templates whose time is over, for as long as the server runs: within a minute, or within a
/// twentieth of the shortest time that any is kept. Each node does; of two, one finds nothing left.
async fn expire(service: Service) {
    let (least, most) = (Duration::from_secs(1), Duration::from_secs(60));
    loop {
        let shortest = service.applications().retentions().into_iter().map(|(_, period)| period).min();
        // The list of applications is read anew by every poll; one that is set now is seen soon.
        tokio::time::sleep(shortest.map_or(least, |period| (period / 20).clamp(least, most))).await;
        loop {
            let removed = match service.remove_expired().await {
                Ok(removed) => removed,
                Err(error) => {
                    tracing::debug!(%error, "templates whose time is over are not removed yet");
                    break;
                }
            };
            if removed == 0 {
                break;
            }
            tracing::info!(templates = removed, "templates whose time was over are removed");
        }
    }
}

/// Clears away what removals left behind, for as long as the server runs. What cannot be done now is done
/// at the next turn; that the database is away is said by who follows it.
async fn scrub(scrubber: Arc<dyn Scrubber>) {
    loop {
        tokio::time::sleep(scrubber.interval()).await;
        match scrubber.scrub().await {
            Ok(true) => {}
            Ok(false) => tracing::debug!("what was removed is not cleared away yet: the log of writes is read"),
            Err(error) => tracing::debug!(%error, "what was removed is not cleared away yet"),
        }
    }
}

fn say_unsaved(saved: Result<(), StoreError>) {
    if let Err(error) = saved {
        tracing::warn!(%error, "snapshots are not written: the database is away");
    }
}

/// Puts a renewed certificate in force when its files change; connections that are open keep theirs.
async fn renew(mut tls: Tls, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        match tls.renew().await {
            Ok(false) => {}
            Ok(true) => tracing::info!(cert = %tls.cert.display(), "a renewed certificate is in force"),
            // Perhaps one of the two files is not written yet; it is tried again.
            Err(error) => {
                tracing::warn!(cert = %tls.cert.display(), %error, "the changed certificate does not fit; the old one stays");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_started_again() {
        let starts = AtomicUsize::new(0);
        let moment = Duration::from_millis(1);
        restarted("test", (moment, moment), || async {
            tokio::task::yield_now().await;
            assert!(starts.fetch_add(1, Ordering::SeqCst) >= 2, "not yet");
        })
        .await;
        assert_eq!(starts.load(Ordering::SeqCst), 3);
    }
}
