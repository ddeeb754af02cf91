//! Background tasks: following the store, removing expired templates, scrubbing removed data, writing snapshots,
//! reloading certificates.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::certificate::Tls;
use super::outbox_relay::OutboxRelay;
use super::stopping::BACKGROUND_TIMEOUT;
use crate::service::{Administrators, Applications, Error, Replicator, Service, Writability};
use crate::settings::Settings;
use crate::store::{HintStore, KeyStore, Scrubber, StoreError};
use crate::telemetry::Metrics;

/// From the start to the first snapshot.
const FIRST_SNAPSHOT_DELAY: Duration = Duration::from_secs(30);

/// From a hint to the poll that it causes: hints that follow at once are answered by the same poll.
const HINT_DEBOUNCE: Duration = Duration::from_millis(20);

/// From a failure to listen for hints to the next attempt.
const LISTEN_RETRY: Duration = Duration::from_secs(5);

/// The longest that one poll waits for galleries that take long.
const POLL_TIMEOUT: Duration = Duration::from_millis(500);

/// The shortest and the longest pause between two searches for expired templates.
const MIN_EXPIRE_INTERVAL: Duration = Duration::from_secs(1);
const MAX_EXPIRE_INTERVAL: Duration = Duration::from_secs(60);

/// How often an expired certificate is logged.
const EXPIRY_CHECK_INTERVAL: Duration = Duration::from_secs(86_400);

/// How often expiry looks for a confirmation that it waits for.
const CONFIRMATION_INTERVAL: Duration = Duration::from_secs(5);

/// The pause between two searches for expired replies.
const REPLY_EXPIRE_INTERVAL: Duration = Duration::from_secs(20);

/// The pause between two times at which the last use of sessions and tokens is stored.
const ADMINISTRATORS_INTERVAL: Duration = Duration::from_secs(30);

/// The pause between two records of the last uses of keys.
const KEY_USE_INTERVAL: Duration = Duration::from_secs(60);

/// The pause before a task that panicked is restarted; it doubles with each further panic.
const RESTART_BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60) };

/// The tasks of a running server.
pub(super) struct Background(Vec<JoinHandle<()>>);

impl Background {
    /// Starts the tasks.
    pub(super) fn start(
        settings: &Settings,
        service: &Service,
        relay: &Arc<OutboxRelay>,
        scrubber: &Arc<dyn Scrubber>,
        hints: &Arc<dyn HintStore>,
        reloaded: Reloaded,
    ) -> Self {
        let replicator = service.replicator();
        let poll_interval = Duration::from_millis(settings.database.poll_ms);
        let snapshot_interval = Duration::from_secs(settings.snapshots.every_s);
        let reload_interval = Duration::from_secs(settings.tls.reload_s);
        let hint = Arc::new(Notify::new());
        Self(vec![
            spawn_supervised("follow", (Arc::clone(replicator), Arc::clone(&hint)), move |(replicator, hint)| {
                follow(replicator, poll_interval, hint)
            }),
            spawn_supervised("listen", (Arc::clone(hints), hint), |(hints, hint)| listen(hints, hint)),
            spawn_supervised("snapshots", Arc::clone(replicator), move |replicator| {
                save_snapshots(replicator, snapshot_interval)
            }),
            spawn_supervised("scrub", Arc::clone(scrubber), scrub),
            spawn_supervised("write probe", Arc::clone(service.writability()), Writability::watch),
            spawn_supervised("expire", service.clone(), expire),
            spawn_supervised("expire replies", service.clone(), expire_replies),
            spawn_supervised("hold probes", service.clone(), Service::hold_probes),
            spawn_supervised("administrators", Arc::clone(service.administrators()), maintain_administrators),
            spawn_supervised("key uses", Arc::clone(service.applications()), write_key_uses),
            spawn_supervised("relay", Arc::clone(relay), move |relay| relay.run(poll_interval)),
            spawn_supervised("outbox backlog", Arc::clone(relay), OutboxRelay::measure_backlog),
            spawn_supervised("reload", reloaded, move |reloaded| reload(reloaded, reload_interval)),
        ])
    }

    /// Stops the tasks, writes the snapshots that are due and the last uses of keys, and scrubs what removals left.
    pub(super) async fn stop(self, service: &Service, scrubber: &dyn Scrubber) {
        self.0.iter().for_each(JoinHandle::abort);
        let replicator = service.replicator();
        let steps = async {
            // The scrub first: it is short, and snapshots only save time at the next start.
            if let Err(error) = scrubber.scrub().await {
                tracing::warn!(%error, "removed data is not scrubbed yet; the next start does it");
            }
            if let Err(error) = service.applications().write_key_uses().await {
                tracing::debug!(%error, "the last uses of keys are not written");
            }
            if replicator.is_loaded() {
                log_unsaved(replicator.save_snapshots().await);
            }
        };
        if tokio::time::timeout(BACKGROUND_TIMEOUT, steps).await.is_err() {
            tracing::warn!("the last scrub or the last snapshots take long; the next start does what is missing");
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Backoff {
    first: Duration,
    max: Duration,
}

/// Spawns a task that is restarted when it panics: without it the server would run, be ready, and fall behind. Each
/// start gets a clone of `context`.
pub(super) fn spawn_supervised<Context, Task>(
    name: &'static str,
    context: Context,
    start: impl Fn(Context) -> Task + Send + 'static,
) -> JoinHandle<()>
where
    Context: Clone + Send + 'static,
    Task: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(restart_on_panic(name, RESTART_BACKOFF, move || start(context.clone())))
}

async fn restart_on_panic<Task>(name: &str, backoff: Backoff, start: impl Fn() -> Task)
where
    Task: Future<Output = ()>,
{
    let mut pause = backoff.first;
    while AssertUnwindSafe(start()).catch_unwind().await.is_err() {
        tracing::error!(task = name, "a background task panicked; it is restarted in {pause:?}");
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(backoff.max);
    }
}

/// Notifies `hint` when other nodes write, for as long as the server runs. Without hints, the next poll sees the
/// changes.
async fn listen(hints: Arc<dyn HintStore>, hint: Arc<Notify>) {
    loop {
        match hints.changed().await {
            Ok(()) => hint.notify_one(),
            Err(error) => {
                tracing::debug!(%error, "writes of other nodes are not notified now; polls see them");
                tokio::time::sleep(LISTEN_RETRY).await;
            }
        }
    }
}

/// Follows the store for as long as the server runs. Logs once when the store goes away, once when requests are refused
/// because it stays away, and once when it is back.
async fn follow(replicator: Arc<Replicator>, interval: Duration, hint: Arc<Notify>) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_away = false;
    let mut is_stale = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = hint.notified() => tokio::time::sleep(HINT_DEBOUNCE).await,
        }
        match replicator.poll_within(POLL_TIMEOUT).await {
            Ok(()) if is_away => {
                is_away = false;
                tracing::info!("the database is back");
            }
            Err(error) if !is_away => {
                is_away = true;
                match error {
                    StoreError::Unavailable(_) => {
                        tracing::error!(%error, "the database is away; identify goes on from memory");
                    }
                    error => tracing::error!(%error, "the database cannot be read; identify goes on from memory"),
                }
            }
            Ok(()) | Err(_) => {}
        }
        if replicator.is_stale() != is_stale {
            is_stale = !is_stale;
            if is_stale {
                let seconds = replicator.staleness().as_secs();
                tracing::error!(
                    seconds,
                    "the database was not read for longer than database.max_stale_s; requests get 503"
                );
            } else {
                tracing::info!("the database was read; requests are served again");
            }
        }
    }
}

/// Writes the snapshots that are due, for as long as the server runs.
async fn save_snapshots(replicator: Arc<Replicator>, interval: Duration) {
    if interval.is_zero() {
        return;
    }
    // The first time soon: a gallery that was read from the database needs a snapshot.
    let mut wait = interval.min(FIRST_SNAPSHOT_DELAY);
    loop {
        tokio::time::sleep(wait).await;
        if replicator.is_loaded() {
            log_unsaved(replicator.save_snapshots().await);
            wait = interval;
        }
    }
}

/// Removes expired templates for as long as the server runs: within a minute, or within a twentieth of the shortest
/// retention period, by the time of the database. Each node does so; a template that another node has removed is not
/// found. Where an operator has to confirm something, the confirmation is seen soon.
async fn expire(service: Service) {
    loop {
        let shortest = service.applications().retentions().into_iter().map(|(_, period)| period).min();
        // A poll refreshes the list of applications, so a new period is seen soon.
        let wait = shortest
            .map_or(MIN_EXPIRE_INTERVAL, |period| (period / 20).clamp(MIN_EXPIRE_INTERVAL, MAX_EXPIRE_INTERVAL));
        let is_waiting = service.applications().store_clock().doubt().is_some() || !service.held().is_empty();
        let wait = if is_waiting { wait.min(CONFIRMATION_INTERVAL) } else { wait };
        tokio::time::sleep(wait).await;
        loop {
            let removed = match service.remove_expired().await {
                Ok(removed) => removed,
                Err(error) => {
                    tracing::debug!(%error, "expired templates are not removed yet");
                    break;
                }
            };
            if removed == 0 {
                break;
            }
            tracing::info!(templates = removed, "expired templates are removed");
        }
    }
}

/// Deletes the expired replies of requests with an `Idempotency-Key`, crops that are no longer kept, and held probes that
/// have ended, for as long as the server runs.
async fn expire_replies(service: Service) {
    loop {
        tokio::time::sleep(REPLY_EXPIRE_INTERVAL).await;
        erase_unkept_crops(&service).await;
        drain("held probes that have ended", || service.expire_probes()).await;
        drain("expired replies", || service.expire_replies()).await;
    }
}

/// Repeats an erasure of a bounded number until nothing is left. `what` is what it erases.
async fn drain<F: Future<Output = Result<u64, Error>>>(what: &str, erase: impl Fn() -> F) {
    loop {
        match erase().await {
            Ok(0) => return,
            Ok(count) => tracing::debug!(count, "{what} are erased"),
            Err(error) => {
                tracing::debug!(%error, "{what} are not erased yet");
                return;
            }
        }
    }
}

/// Erases the crops of applications that no longer keep them.
async fn erase_unkept_crops(service: &Service) {
    loop {
        match service.erase_unkept_crops().await {
            Ok(0) => return,
            Ok(crops) => tracing::info!(crops, "crops of applications that no longer keep them are erased"),
            Err(error) => {
                tracing::debug!(%error, "crops that are no longer kept are not erased yet");
                return;
            }
        }
    }
}

/// Stores when sessions and tokens were last used, and deletes those that are over, for as long as the server runs.
async fn maintain_administrators(administrators: Arc<Administrators>) {
    loop {
        tokio::time::sleep(ADMINISTRATORS_INTERVAL).await;
        if let Err(error) = administrators.maintain().await {
            tracing::debug!(%error, "the last use of sessions is not stored yet");
        }
    }
}

/// Writes when keys were last used, for as long as the server runs.
async fn write_key_uses(applications: Arc<Applications>) {
    loop {
        tokio::time::sleep(KEY_USE_INTERVAL).await;
        if let Err(error) = applications.write_key_uses().await {
            tracing::debug!(%error, "the last uses of keys are not written yet");
        }
    }
}

/// Scrubs what removals left, for as long as the server runs. A failure is retried at the next interval; the task that
/// follows the store logs that the database is away.
async fn scrub(scrubber: Arc<dyn Scrubber>) {
    loop {
        tokio::time::sleep(scrubber.interval()).await;
        match scrubber.scrub().await {
            Ok(true) => {}
            Ok(false) => tracing::debug!("removed data is not scrubbed yet: the write-ahead log is in use"),
            Err(error) => tracing::debug!(%error, "removed data is not scrubbed yet"),
        }
    }
}

fn log_unsaved(saved: Result<(), StoreError>) {
    if let Err(error) = saved {
        tracing::warn!(%error, "snapshots are not written: the database is away");
    }
}

/// What is read again while the server runs.
#[derive(Clone)]
pub(super) struct Reloaded {
    /// The certificate: when its files change, and on request.
    pub(super) tls: Option<Tls>,
    /// The sealing keys: on request, and by themselves when a key is missing.
    pub(super) keys: Arc<dyn KeyStore>,
    /// Requests that everything is read again.
    pub(super) request: Arc<Notify>,
    pub(super) metrics: Arc<Metrics>,
}

/// Reloads the certificate when its files change, and everything on request; open connections keep the old certificate.
async fn reload(mut reloaded: Reloaded, interval: Duration) {
    let measure = |tls: &Tls| reloaded.metrics.certificate_expiry(tls.expiry().unix_seconds());
    reloaded.tls.iter().for_each(measure);
    let mut expiry_check = tokio::time::interval(EXPIRY_CHECK_INTERVAL);
    loop {
        let mut requested = false;
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = reloaded.request.notified() => requested = true,
            _ = expiry_check.tick() => {
                reloaded.tls.iter().for_each(Tls::log_expiry);
                continue;
            }
        }
        if let Some(tls) = &mut reloaded.tls {
            match tls.reload(requested) {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(cert = %tls.cert.display(), "the certificate was read again and is in force");
                    measure(tls);
                    tls.log_expiry();
                }
                // One of the two files may not be written yet; the next interval retries.
                Err(error) => {
                    tracing::warn!(cert = %tls.cert.display(), %error, "the changed certificate does not fit; the old one stays");
                }
            }
        }
        if requested {
            match reloaded.keys.reload() {
                Ok(keys) => tracing::info!(keys, "the sealing keys were read again"),
                Err(error) => tracing::error!(%error, "the sealing keys cannot be read again; the old ones stay"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_restarted() {
        let starts = AtomicUsize::new(0);
        let backoff = Backoff { first: Duration::from_millis(1), max: Duration::from_millis(1) };
        restart_on_panic("test", backoff, || async {
            tokio::task::yield_now().await;
            assert!(starts.fetch_add(1, Ordering::SeqCst) >= 2, "not yet");
        })
        .await;
        assert_eq!(starts.load(Ordering::SeqCst), 3);
    }
}
