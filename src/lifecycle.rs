//! Signals that stop the process: the first stops it gracefully, the second at once.

/// Waits for SIGINT or SIGTERM. After that, the next one ends the process at once.
pub async fn stop_signal() {
    wait_for_signal().await;
    tracing::info!("stopping: requests in flight are finished; a second signal stops at once");
    tokio::spawn(async {
        wait_for_signal().await;
        tracing::warn!("stopped at once");
        std::process::exit(1);
    });
}

/// Waits for SIGINT or SIGTERM, and returns the exit code that shells report for it. After that, the next one ends the
/// process at once.
pub async fn interruption() -> u8 {
    let code = wait_for_signal().await;
    eprintln!("interrupted: finished work is saved; a second signal stops at once");
    tokio::spawn(async {
        let code = wait_for_signal().await;
        std::process::exit(code.into());
    });
    code
}

/// The exit code after SIGINT.
const INTERRUPTED: u8 = 128 + 2;

/// The exit code after SIGTERM.
#[cfg(unix)]
const TERMINATED: u8 = 128 + 15;

#[cfg(unix)]
async fn wait_for_signal() -> u8 {
    use tokio::signal::unix::{SignalKind, signal};
    let signals =
        signal(SignalKind::interrupt()).and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
    let (mut interrupt, mut terminate) = match signals {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "signals cannot be received");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = interrupt.recv() => INTERRUPTED,
        _ = terminate.recv() => TERMINATED,
    }
}

#[cfg(not(unix))]
async fn wait_for_signal() -> u8 {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::error!(%error, "signals cannot be received");
        std::future::pending::<()>().await;
    }
    INTERRUPTED
}
