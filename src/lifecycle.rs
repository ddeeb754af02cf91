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

/// Waits for SIGINT or SIGTERM; the exit code of a process that it ended, as shells have it. After it returned, the
/// next one ends the process at once.
pub async fn interruption() -> u8 {
    let code = wait_for_signal().await;
    eprintln!("interrupted: what is done is written; a second signal stops at once");
    tokio::spawn(async {
        let code = wait_for_signal().await;
        std::process::exit(code.into());
    });
    code
}

/// The exit code of a process that was ended by SIGINT.
const INTERRUPTED: u8 = 128 + 2;

/// The exit code of a process that was ended by SIGTERM.
#[cfg(unix)]
const TERMINATED: u8 = 128 + 15;

#[cfg(unix)]
async fn wait_for_signal() -> u8 {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
        (Err(error), _) | (_, Err(error)) => {
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
