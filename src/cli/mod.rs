//! The command line: one file per command.

mod admin;
mod analyze;
mod application;
mod backup;
mod bench;
mod calibrate;
mod config;
mod database;
mod doctor;
mod evaluate;
mod gallery;
mod healthcheck;
mod import;
mod journal;
mod kept_key;
mod key;
mod models;
pub mod ndjson;
mod output;
mod photos;
mod private;
mod restore;
mod retention;
mod serve;
mod target;
mod template_check;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::app::StartError;
use crate::domain::{Actor, AppId, Clock, stopwatch};
use crate::lifecycle;
use crate::settings::{Overrides, Settings};
use crate::store::{BackupError, OutboxEvent, Scrubber, Store, StoreError};
use crate::telemetry::error_chain;
use output::errln;

/// A self-hosted face identification server that speaks the OOTO face API.
#[derive(Debug, Parser)]
#[command(name = "semblance", version, about, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command. The rest of the configuration: docs/configuration.md.
#[derive(Debug, Args)]
struct Common {
    /// Configuration file (TOML); also SEMBLANCE_CONFIG.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the embedded database, the sealing key and the first credentials.
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<String>,
    /// postgres://...; default: the embedded SQLite database in the data folder.
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// Folder with pack.toml.
    #[arg(long, global = true, value_name = "DIR")]
    models: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API.
    Serve(serve::Arguments),
    /// Create, change and delete applications, and their keys.
    #[command(subcommand)]
    App(application::Command),
    /// Make tokens of administrators, list administrators, end their sessions.
    #[command(subcommand)]
    Admin(admin::Command),
    /// Analyse photos with the engine alone, without a database.
    Analyze(analyze::Arguments),
    /// Import, export and check the templates of an application.
    #[command(subcommand)]
    Gallery(gallery::Command),
    /// Learn a threshold from the gallery of an application: how often people who are not enrolled match.
    Calibrate(calibrate::Arguments),
    /// Show what retention holds back, and confirm it.
    #[command(subcommand)]
    Retention(retention::Command),
    /// Rotate the key that seals the templates.
    #[command(subcommand)]
    Key(key::Command),
    /// Write the whole database to a sealed file, while servers run.
    Backup(backup::Arguments),
    /// Fill an empty database from a backup.
    Restore(restore::Arguments),
    /// Copy the database to another one, or bring its tables up to date.
    #[command(subcommand)]
    Database(database::Command),
    /// Verify the journal and export parts of it.
    #[command(subcommand)]
    Journal(journal::Command),
    /// Check and list the models.
    #[command(subcommand)]
    Models(models::Command),
    /// Measure this machine.
    #[command(subcommand)]
    Bench(bench::Command),
    /// Measure error rates on labelled photos.
    Evaluate(evaluate::Arguments),
    /// Print every setting with its value and its source.
    Config(config::Arguments),
    /// Check everything that the server needs to start and serve.
    Doctor,
    /// Check that the server on this machine responds (for containers).
    Healthcheck,
}

/// Why a command failed. Printed as one line.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The server, or a part of it, did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A use case failed.
    #[error(transparent)]
    Service(#[from] crate::service::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// A backup could not be made, read or restored.
    #[error("{path}: {source}")]
    Backup {
        /// Its file, or the database.
        path: PathBuf,
        /// Why.
        source: BackupError,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Standard output is closed.
    #[error("output: {0}")]
    Output(#[from] std::io::Error),
    /// A command that ends with an exit code of its own.
    #[error("{message}")]
    Exit {
        /// The exit code.
        code: u8,
        /// The message.
        message: String,
    },
    /// Any other reason, as a message.
    #[error("{0}")]
    Message(String),
}

impl CliError {
    fn message(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }

    fn backup(path: impl Into<PathBuf>) -> impl FnOnce(BackupError) -> Self {
        let path = path.into();
        move |source| Self::Backup { path, source }
    }

    fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

/// Adds a command to the journal of the running server, or of the next one to start.
async fn journal_command(store: &Store, command: &str, app: Option<&AppId>, detail: &str) -> Result<(), StoreError> {
    store.outbox.enqueue(&OutboxEvent::new(Clock::system().now(), command, app, detail).by(Actor::Command)).await
}

/// A year: commands wait for their own work.
const NO_DEADLINE: Duration = Duration::from_secs(365 * 86_400);

/// Longest wait of a command for readers that keep it from scrubbing what it removed.
const SCRUB_TIMEOUT: Duration = Duration::from_secs(5);

/// Scrubs what a command removed. If a reader prevents it, prints that this is done later.
async fn scrub_removed(scrubber: &dyn Scrubber) -> Result<(), StoreError> {
    let start = stopwatch();
    while !scrubber.scrub().await? {
        if start.elapsed() >= SCRUB_TIMEOUT {
            errln!(
                "semblance: the rows are deleted, but their sealed bytes remain in the write-ahead log while another process \
                 reads the database; a running server, or the next command or start, removes them"
            );
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

impl From<crate::settings::SettingsError> for CliError {
    fn from(error: crate::settings::SettingsError) -> Self {
        Self::Start(error.into())
    }
}

/// Parses the command line, runs the command, and prints a failure as one line on standard error.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the pipe has closed it.
        Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            errln!("semblance: {}", error_chain(&error));
            match error {
                CliError::Exit { code, .. } => ExitCode::from(code),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(cli: Cli) -> Result<(), CliError> {
    let Common { config, data, database_url, models } = cli.common;
    let mut values: Vec<(&'static str, String)> = Vec::new();
    values.extend(data.map(|v| ("data", v)));
    values.extend(database_url.map(|v| ("database.url", v)));
    values.extend(models.map(|v| ("models", v)));
    if let Command::Serve(arguments) = &cli.command {
        values.extend(arguments.settings());
    }
    let overrides = Overrides { config, values };
    let mut settings = Settings::load(&overrides)?;
    settings.warnings.extend(password_warning(&overrides));
    // A server logs its warnings, `doctor` prints them, and a health check has no reader.
    if !matches!(cli.command, Command::Serve(_) | Command::Doctor | Command::Healthcheck) {
        settings.warnings.iter().for_each(|warning| errln!("semblance: warning: {warning}"));
    }
    // The clients of a server have a deadline; a command waits for its own work.
    if !matches!(cli.command, Command::Serve(_) | Command::Config(_)) {
        settings.limits.queue_ms = NO_DEADLINE.as_millis() as u64;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if !matches!(cli.command, Command::Serve(_) | Command::Gallery(gallery::Command::Import(_))) {
        let _runtime = runtime.enter();
        lifecycle::end_on_signals_as_first_process();
    }
    let outcome = match cli.command {
        Command::Serve(_) => runtime.block_on(serve::run(settings, overrides)),
        Command::App(command) => runtime.block_on(application::run(settings, command)),
        Command::Admin(command) => runtime.block_on(admin::run(settings, command)),
        Command::Analyze(arguments) => runtime.block_on(analyze::run(settings, arguments)),
        Command::Gallery(command) => runtime.block_on(gallery::run(settings, command)),
        Command::Calibrate(arguments) => runtime.block_on(calibrate::run(settings, arguments)),
        Command::Retention(command) => runtime.block_on(retention::run(settings, command)),
        Command::Key(command) => runtime.block_on(key::run(settings, command)),
        Command::Backup(arguments) => runtime.block_on(backup::run(settings, arguments)),
        Command::Restore(arguments) => runtime.block_on(restore::run(settings, arguments)),
        Command::Database(command) => runtime.block_on(database::run(settings, command)),
        Command::Journal(command) => runtime.block_on(journal::run(settings, command)),
        Command::Models(command) => models::run(&settings, &command),
        Command::Bench(command) => runtime.block_on(bench::run(settings, command)),
        Command::Evaluate(arguments) => runtime.block_on(evaluate::run(settings, arguments)),
        Command::Config(arguments) => config::run(&settings, &arguments),
        Command::Doctor => runtime.block_on(doctor::run(settings)),
        Command::Healthcheck => healthcheck::run(&settings),
    };
    // Worker threads of a pool that is still referenced must not keep the process running.
    runtime.shutdown_background();
    outcome.and_then(|()| output::flush())
}

/// A password on the command line is readable for every user of the machine.
fn password_warning(overrides: &Overrides) -> Option<String> {
    let (_, url) = overrides.values.iter().find(|(key, _)| *key == "database.url")?;
    let (user, _) = url.split_once("://")?.1.split_once('@')?;
    user.contains(':').then(|| {
        "the password in --database-url is visible to all users of this machine; put it into a file \
         (database.password_file) or into SEMBLANCE_DATABASE_URL"
            .to_owned()
    })
}
