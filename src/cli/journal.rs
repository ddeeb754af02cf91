//! `semblance journal`: check the journal, take a period out of it.

use std::io::{BufWriter, Write as _};

use clap::Subcommand;

use super::CliError;
use crate::app;
use crate::journal::{JournalKey, export, verify};
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check that no line was changed, put in or taken out.
    Verify,
    /// Print the lines of a period as NDJSON.
    Export {
        /// From this time on: RFC 3339 or its beginning, such as 2026-11-23.
        #[arg(long, default_value = "")]
        from: String,
        /// Up to and including this time, likewise.
        #[arg(long, default_value = "")]
        to: String,
        /// Of this application only.
        #[arg(long, value_name = "ID")]
        app: Option<String>,
    },
}

pub(super) async fn run(settings: Settings, command: Command) -> Result<(), CliError> {
    let dir = app::journal_dir(&settings);
    if !dir.is_dir() {
        return Err(CliError::message(format!("there is no journal in {}", dir.display())));
    }
    match command {
        Command::Verify => {
            let key = JournalKey::new(app::open_store(&settings).await?.journal_key);
            let found = verify(&dir, &key).map_err(|error| CliError::message(error.to_string()))?;
            println!(
                "{} lines, numbers {} to {}: each follows the one before it",
                found.lines, found.first, found.last
            );
            if found.first > 1 {
                println!("older files were removed");
            }
        }
        Command::Export { from, to, app } => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            let written = export(&dir, &from, &to, app.as_deref(), &mut out);
            written.map_err(|error| CliError::message(error.to_string()))?;
            out.flush()?;
        }
    }
    Ok(())
}
