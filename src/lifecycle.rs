//! When to stop: the first signal ends politely, the second at once.

/// Waits for SIGINT or SIGTERM. After it returned, the next one ends the process at once.
pub async fn stop_signal() {
    wait_for_signal().await;
    tracing::info!("stopping: requests in flight are finished; a second signal stops at once");
    tokio::spawn(async {
        wait_for_signal().await;
        tracing::warn!("stopped at once");
        std::process::exit(1);
    });
}

#[cfg(unix)]
async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "signals cannot be received");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn wait_for_signal() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::error!(%error, "signals cannot be received");
        std::future::pending::<()>().await;
    }
}
