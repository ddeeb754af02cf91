//! `semblance database`: the database itself.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use clap::{Args, Subcommand};
use tokio::sync::mpsc;

use super::output::outln;
use super::{CliError, journal_command};
use crate::app;
use crate::app::backup::describe;
use crate::domain::stopwatch;
use crate::settings::Settings;
use crate::store::backup::{About, BackupError, BackupSink, Record, RecordSource};
use crate::store::{DatabaseConfig, OpenMode};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Copy everything into another database, which has to be empty: from SQLite to Postgres, or back. Clients keep
    /// their keys.
    Copy(Copy),
    /// Create the tables or bring them up to date, and nothing else. Servers of the previous version keep running.
    ///
    /// A server does the same when it starts. Where its role may not change the schema, run this command first, with the
    /// URL of a role that may: the owner of the tables.
    Migrate,
    /// Take the embedded database as it is, after a start was refused because its newest writes are missing. What is
    /// missing stays lost.
    Accept,
}

#[derive(Debug, Args)]
pub(super) struct Copy {
    /// Where to: postgres://USER@HOST/NAME, or a data folder for an embedded database.
    #[arg(long, value_name = "URL|DIR")]
    to: String,
    /// File with the password for the URL.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Copy although a server is running. What it writes from then on is not in the copy.
    #[arg(long)]
    while_serving: bool,
}

pub(super) async fn run(settings: Settings, command: Command) -> Result<(), CliError> {
    match command {
        Command::Copy(arguments) => copy(&settings, &arguments).await?,
        Command::Accept => {
            app::accept_store(&settings).await?;
            outln!("the database is taken as it is; the next start goes on with it")?;
        }
        Command::Migrate => match app::migrate_store(&settings).await? {
            0 => outln!("the schema is up to date")?,
            applied => outln!("the schema is up to date: {applied} migrations applied")?,
        },
    }
    Ok(())
}

/// Records that pass from one database to the other at a time.
const BATCH_RECORDS: usize = 256;

/// Batches that may wait for the database that is written.
const MAX_BATCHES: usize = 8;

async fn copy(settings: &Settings, arguments: &Copy) -> Result<(), CliError> {
    if app::is_served(settings)? && !arguments.while_serving {
        return Err(CliError::message(format!(
            "a server is running on {}: what it writes from now on would not be in the copy; stop it, or give \
             --while-serving",
            settings.data.display()
        )));
    }
    let (target, name) = target(arguments)?;
    let from = app::open_store(settings, OpenMode::Write).await?;
    let to = app::open_other_store(settings, target).await?;
    let start = stopwatch();
    journal_command(&from, "database copy", None, &format!("begins: to {name}")).await?;
    let (sender, receiver) = mpsc::channel(MAX_BATCHES);
    let writing = tokio::spawn({
        let to = to.clone();
        async move { to.backup.write_all(&mut Batches { receiver, batch: Vec::new().into_iter() }).await }
    });
    let mut sink = Sender { sender, batch: Vec::new() };
    let read = from.backup.read_all(&mut sink).await.and_then(|_| sink.flush());
    drop(sink);
    let written = writing.await.map_err(|error| CliError::message(error.to_string()))?;
    let counts = match (read, written) {
        // The cause is on the other side.
        (Ok(()) | Err(BackupError::Stopped), written) => written,
        (Err(error), _) => Err(error),
    };
    let counts = counts.map_err(CliError::backup(&name))?;
    let text = describe(&counts);
    journal_command(&to, "database copy", None, &format!("from another database: {text}")).await?;
    journal_command(&from, "database copy", None, &format!("ends: {text} to {name}")).await?;
    outln!("{text} copied to {name} ({:.1} s)", start.elapsed().as_secs_f64())?;
    outln!("Start the server with the new database, the same sealing keys and the same data folder.")
}

/// The database to copy to, and its name without a password.
fn target(arguments: &Copy) -> Result<(DatabaseConfig, String), CliError> {
    let to = arguments.to.as_str();
    if to.starts_with("postgres://") || to.starts_with("postgresql://") {
        let password_file = arguments.password_file.clone();
        let host = to.split_once('@').map_or("Postgres", |(_, host)| host);
        let name = host.split('?').next().unwrap_or_default().to_owned();
        return Ok((DatabaseConfig::Postgres { url: to.to_owned().into(), password_file }, name));
    }
    if to.contains("://") {
        return Err(CliError::message("--to is neither of the form postgres://USER@HOST/NAME nor a folder"));
    }
    let dir = Path::new(to);
    app::make_private_dir(dir).map_err(CliError::file(dir))?;
    let file = dir.join("semblance.db");
    let name = file.display().to_string();
    Ok((DatabaseConfig::Sqlite(file), name))
}

/// Passes records on in batches. Waits while the other database is behind.
struct Sender {
    sender: mpsc::Sender<Vec<Record>>,
    batch: Vec<Record>,
}

impl Sender {
    fn flush(&mut self) -> Result<(), BackupError> {
        let batch = std::mem::take(&mut self.batch);
        tokio::task::block_in_place(|| self.sender.blocking_send(batch)).map_err(|_| BackupError::Stopped)
    }
}

impl BackupSink for Sender {
    fn begin(&mut self, _: &About) -> Result<(), BackupError> {
        Ok(())
    }

    fn record(&mut self, record: Record) -> Result<(), BackupError> {
        self.batch.push(record);
        if self.batch.len() == BATCH_RECORDS { self.flush() } else { Ok(()) }
    }
}

/// Receives what a [`Sender`] passes on.
struct Batches {
    receiver: mpsc::Receiver<Vec<Record>>,
    batch: std::vec::IntoIter<Record>,
}

#[async_trait]
impl RecordSource for Batches {
    async fn next(&mut self) -> Result<Option<Record>, BackupError> {
        loop {
            if let Some(record) = self.batch.next() {
                return Ok(Some(record));
            }
            match self.receiver.recv().await {
                Some(batch) => self.batch = batch.into_iter(),
                None => return Ok(None),
            }
        }
    }
}
