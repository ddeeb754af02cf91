//! Signals of the process: those that stop it, and the one that makes a server read files again.
//!
//! Handlers are installed first of all. The first process of a container (PID 1) has no default ones: there, a signal
//! without a handler is ignored.

use std::io;

/// A signal that asks the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: Ctrl-C on a terminal.
    Interrupt,
    /// SIGTERM: a service manager or a container runtime.
    Terminate,
}

impl StopSignal {
    /// The exit code that shells report for it.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 128 + 2,
            Self::Terminate => 128 + 15,
        }
    }
}

#[cfg(unix)]
mod unix {
    use tokio::signal::unix::{Signal, SignalKind, signal};

    use super::{StopSignal, io};

    /// The signals that stop the process, from the installation on.
    #[derive(Debug)]
    pub struct StopSignals {
        interrupt: Signal,
        terminate: Signal,
    }

    impl StopSignals {
        /// Installs the handlers. Needs a Tokio runtime.
        ///
        /// # Errors
        /// When the system refuses a handler.
        pub fn install() -> io::Result<Self> {
            Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
        }

        /// Waits for the next signal. One that arrived after the installation counts.
        pub async fn next(&mut self) -> StopSignal {
            tokio::select! {
                _ = self.interrupt.recv() => StopSignal::Interrupt,
                _ = self.terminate.recv() => StopSignal::Terminate,
            }
        }
    }

    /// SIGHUP, which asks a server to read its files again. Once it is installed, SIGHUP does not end the process.
    #[derive(Debug)]
    pub struct ReloadSignal(Signal);

    impl ReloadSignal {
        /// Installs the handler. Needs a Tokio runtime.
        ///
        /// # Errors
        /// When the system refuses it.
        pub fn install() -> io::Result<Self> {
            signal(SignalKind::hangup()).map(Self)
        }

        /// Waits for the next SIGHUP.
        pub async fn next(&mut self) {
            self.0.recv().await;
        }
    }
}

#[cfg(not(unix))]
mod unix {
    use super::{StopSignal, io};

    /// The signals that stop the process.
    #[derive(Debug)]
    pub struct StopSignals(());

    impl StopSignals {
        /// Nothing is installed before [`StopSignals::next`] here.
        ///
        /// # Errors
        /// Never.
        pub fn install() -> io::Result<Self> {
            Ok(Self(()))
        }

        /// Waits for Ctrl-C.
        pub async fn next(&mut self) -> StopSignal {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
            StopSignal::Interrupt
        }
    }

    /// SIGHUP does not exist here.
    #[derive(Debug)]
    pub struct ReloadSignal(());

    impl ReloadSignal {
        /// Does nothing.
        ///
        /// # Errors
        /// Never.
        pub fn install() -> io::Result<Self> {
            Ok(Self(()))
        }

        /// Waits for ever.
        pub async fn next(&mut self) {
            std::future::pending().await
        }
    }
}

pub use unix::{ReloadSignal, StopSignals};

/// Waits for a signal that stops the process, for a command that finishes what it has begun. After that, the next one
/// ends the process at once.
pub async fn interruption() -> StopSignal {
    let Ok(mut signals) = StopSignals::install() else { return std::future::pending().await };
    let signal = signals.next().await;
    tokio::spawn(async move {
        let signal = signals.next().await;
        std::process::exit(signal.exit_code().into());
    });
    signal
}

/// Makes signals end a command that runs as the first process of a container, as they end any other process.
pub fn end_on_signals_as_first_process() {
    if std::process::id() != 1 {
        return;
    }
    if let Ok(mut signals) = StopSignals::install() {
        tokio::spawn(async move {
            let signal = signals.next().await;
            std::process::exit(signal.exit_code().into());
        });
    }
}
