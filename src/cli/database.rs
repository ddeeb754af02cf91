//! `semblance database`: the database itself.

use clap::Subcommand;

use super::CliError;
use super::output::outln;
use crate::app;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create the tables or bring them up to date, and nothing else. Servers of the previous version keep running.
    ///
    /// A server does the same when it starts. Where its role may not change the schema, run this command first, with the
    /// URL of a role that may: the owner of the tables.
    Migrate,
}

pub(super) async fn run(settings: Settings, command: Command) -> Result<(), CliError> {
    match command {
        Command::Migrate => match app::migrate_store(&settings).await? {
            0 => outln!("the schema is up to date")?,
            applied => outln!("the schema is up to date: {applied} migrations applied")?,
        },
    }
    Ok(())
}
