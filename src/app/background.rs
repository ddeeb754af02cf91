//! What goes on beside the requests: following the store, removing what is no longer to be kept,
//! clearing away what was removed, writing snapshots, renewing certificates.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum_server::tls_rustls::RustlsConfig;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::domain::TransactionId;
use crate::journal::{ERASED, Entry, Journal};
use crate::service::{Replicator, Service};
use crate::settings::Settings;
use crate::store::{HintStore, StoreError, VaultStore};

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
        journal: Option<&Arc<Journal>>,
        (vault, hints): (&Arc<dyn VaultStore>, &Arc<dyn HintStore>),
        tls: Option<&RustlsConfig>,
    ) -> Self {
        let replicator = service.replicator();
        let poll = Duration::from_millis(settings.database.poll_ms);
        let every = Duration::from_secs(settings.snapshots.every_s);
        let hint = Arc::new(Notify::new());
        let mut tasks = vec![
            tokio::spawn(follow(Arc::clone(replicator), poll, Arc::clone(&hint))),
            tokio::spawn(listen(Arc::clone(hints), hint)),
            tokio::spawn(save_snapshots(Arc::clone(replicator), every)),
            tokio::spawn(scrub(Arc::clone(vault))),
            tokio::spawn(expire(service.clone(), journal.cloned())),
        ];
        if let (Some(tls), Some((cert, key))) = (tls, settings.tls_files()) {
            let every = Duration::from_secs(settings.tls.reload_s);
            tasks.push(tokio::spawn(renew(tls.clone(), (cert.clone(), key.clone()), every)));
        }
        Self(tasks)
    }

    /// Ends them, writes the snapshots that are due, and clears away what removals left.
    pub(super) async fn stop(self, replicator: &Replicator, vault: &dyn VaultStore) {
        self.0.iter().for_each(JoinHandle::abort);
        if replicator.is_loaded() {
            say_unsaved(replicator.save_snapshots().await);
        }
        match tokio::time::timeout(LAST_SCRUB, vault.scrub()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "what was removed is not cleared away yet; the next start does it")
            }
            Err(_) => tracing::warn!("what was removed takes long to be cleared away; the next start does it"),
        }
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
async fn expire(service: Service, journal: Option<Arc<Journal>>) {
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
            if removed.is_empty() {
                break;
            }
            tracing::info!(templates = removed.len(), "templates whose time was over are removed");
            for (app, template) in removed {
                let Some(journal) = &journal else { break };
                journal.record(Entry {
                    transaction_id: TransactionId::random().to_string(),
                    app: Some(app.to_string()),
                    operation: "retention".to_owned(),
                    status: 200,
                    outcome: Some(ERASED.to_owned()),
                    template_id: Some(template.to_string()),
                    ..Entry::default()
                });
            }
        }
    }
}

/// Clears away what removals left behind, for as long as the server runs. What cannot be done now is done
/// at the next turn; that the database is away is said by who follows it.
async fn scrub(vault: Arc<dyn VaultStore>) {
    loop {
        tokio::time::sleep(vault.scrub_every()).await;
        match vault.scrub().await {
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
async fn renew(tls: RustlsConfig, (cert, key): (PathBuf, PathBuf), every: Duration) {
    let mut known = (changed(&cert), changed(&key));
    loop {
        tokio::time::sleep(every).await;
        let now = (changed(&cert), changed(&key));
        if now == known {
            continue;
        }
        match tls.reload_from_pem_file(&cert, &key).await {
            Ok(()) => {
                known = now;
                tracing::info!(cert = %cert.display(), "a renewed certificate is in force");
            }
            // Perhaps one of the two files is not written yet; it is tried again.
            Err(error) => {
                tracing::warn!(cert = %cert.display(), %error, "the changed certificate does not fit; the old one stays");
            }
        }
    }
}

/// When a file was changed, and its size; links are followed.
fn changed(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
