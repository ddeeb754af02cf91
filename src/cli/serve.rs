//! `semblance serve`

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::Notify;

use super::CliError;
use super::output::{flush, outln};
use crate::app::{App, FirstRun};
use crate::lifecycle::{ReloadSignal, StopSignal, StopSignals};
use crate::service::Bootstrap;
use crate::settings::{Overrides, Settings};
use crate::telemetry;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Address and port of the API.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address and port of the administration, `api` (where the API is) or `off`.
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<String>,
    /// PEM file with the certificate chain.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<String>,
    /// PEM file with the private key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<String>,
}

impl Arguments {
    /// The settings that these flags override.
    pub(super) fn settings(&self) -> impl Iterator<Item = (&'static str, String)> {
        [
            ("listen", &self.listen),
            ("admin.listen", &self.admin_listen),
            ("tls.cert", &self.tls_cert),
            ("tls.key", &self.tls_key),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.clone()?)))
    }
}

pub(super) async fn run(settings: Settings, overrides: Overrides) -> Result<(), CliError> {
    // First of all: a start may wait for a database.
    let mut stops = StopSignals::install()?;
    let reloads = ReloadSignal::install()?;
    let log = telemetry::start_logging(&settings.log).map_err(CliError::Message)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let drain = Duration::from_secs(settings.server.drain_s);
    // A task of its own: parts of a start block their thread.
    let building = tokio::spawn(App::build(settings));
    let app = tokio::select! {
        built = building => built.map_err(|error| CliError::message(format!("the start failed: {error}")))??,
        signal = stops.next() => {
            tracing::info!(?signal, "stopped before the start was complete");
            return Ok(());
        }
    };
    if let Err(error) = announce(&app) {
        tracing::warn!(%error, "standard output cannot be written");
    }
    tokio::spawn(reload_on_signal(reloads, app.reload_asked(), overrides, log.level(), app.reload_request()));
    app.run(stop(stops, drain)).await?;
    drop(log);
    Ok(())
}

/// Prints where the server answers, and what the first run created.
fn announce(app: &App) -> Result<(), CliError> {
    if let Some(FirstRun { credentials, file, bootstrap }) = app.first_run() {
        let file = file.display();
        // Anything else than a terminal may keep what it reads, such as the log of a container.
        if std::io::stdout().is_terminal() {
            outln!("First run: one application was created. Its key is shown once, here and in")?;
            outln!("{file}:\n\n  APP-ID:  {}\n  APP-KEY: {}\n", credentials.app_id, credentials.app_key)?;
        } else {
            outln!("First run: the application {} was created. Its key is in {file}", credentials.app_id)?;
        }
        if let Some((bootstrap, file)) = bootstrap {
            announce_owner(app, bootstrap, &file.display().to_string())?;
        }
    }
    if let Some(url) = app.administration_url() {
        outln!("Console and administration: {url}/console")?;
    }
    if let Some(url) = app.url() {
        outln!("Semblance {} serves {url}", env!("CARGO_PKG_VERSION"))?;
    }
    flush()
}

/// Prints how the first owner of the administration signs in. The code in the link is a fragment, which browsers send
/// nowhere.
fn announce_owner(app: &App, bootstrap: &Bootstrap, file: &str) -> Result<(), CliError> {
    if !std::io::stdout().is_terminal() {
        outln!("First run: the token of the first owner of the administration is in {file}")?;
        return Ok(());
    }
    outln!("The token of the first owner of the administration, valid for 7 days, is in\n{file}")?;
    if let Some(url) = app.administration_url() {
        outln!("Sign in with this link, once and within a day:\n\n  {url}/console#code={}\n", bootstrap.code)?;
    }
    Ok(())
}

/// Waits for the signal that stops the server. Returns how long it keeps serving after that, not ready: load balancers
/// need this time to see it. After Ctrl-C it does not wait. The next signal ends the process at once.
async fn stop(mut signals: StopSignals, drain: Duration) -> Duration {
    let drain = match signals.next().await {
        StopSignal::Terminate => drain,
        StopSignal::Interrupt => Duration::ZERO,
    };
    tracing::info!(
        drain_s = drain.as_secs(),
        "stopping: not ready, but serving for drain_s; then requests in flight are finished; a second signal stops at once"
    );
    tokio::spawn(async move {
        signals.next().await;
        tracing::warn!("stopped at once");
        std::process::exit(1);
    });
    drain
}

/// On each SIGHUP, and when an administrator asks for it, reads the level of the log from the configuration again, and makes the server reload its
/// certificate and its sealing keys. The file with the database's password is read with each new connection.
async fn reload_on_signal(
    mut signal: ReloadSignal,
    asked: Arc<Notify>,
    overrides: Overrides,
    level: telemetry::LogLevel,
    request: Arc<Notify>,
) {
    loop {
        let why = tokio::select! {
            () = signal.next() => "SIGHUP",
            () = asked.notified() => "an administrator asks for it",
        };
        let reloaded = Settings::load(&overrides).map_err(|error| error.to_string());
        match reloaded.and_then(|settings| level.set(&settings.log).map(|()| settings.log.level)) {
            Ok(level) => tracing::info!(level, "{why}: log.level is in force as configured"),
            Err(error) => tracing::error!(error, "{why}: the configuration is wrong; log.level stays"),
        }
        request.notify_one();
    }
}
