//! `semblance journal`: check the journal, take a period out of it.

use std::io::{BufRead as _, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::CliError;
use crate::app;
use crate::journal::{JournalKey, ReceiptKey, Selection, check_receipt, export, verify};
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
    /// Print the receipts of erasures: lines that prove themselves, to be handed on.
    Receipts {
        /// Of this template only.
        #[arg(long, value_name = "ID")]
        template: Option<String>,
        /// Of this application only.
        #[arg(long, value_name = "ID")]
        app: Option<String>,
    },
    /// Print the public key that receipts are checked with.
    ReceiptKey,
    /// Check receipts, a line each; needs neither the journal nor a database.
    CheckReceipts {
        /// What `receipt-key` printed.
        key: String,
        /// The file with the receipts; standard input without it.
        file: Option<PathBuf>,
    },
}

pub(super) async fn run(settings: Settings, command: Command) -> Result<(), CliError> {
    match &command {
        Command::Verify => verify_all(&settings).await?,
        Command::Export { from, to, app } => {
            print(&settings, &Selection { from, to, app: app.as_deref(), ..Selection::default() })?;
        }
        Command::Receipts { template, app } => {
            let (template, app) = (template.as_deref(), app.as_deref());
            print(&settings, &Selection { template, app, receipts: true, ..Selection::default() })?;
        }
        Command::ReceiptKey => {
            let key = journal_key(&settings).await?.receipt_key();
            println!("{}", key.ok_or_else(|| CliError::message("there is no key for receipts"))?);
        }
        Command::CheckReceipts { key, file } => check(key, file.as_deref())?,
    }
    Ok(())
}

fn dir(settings: &Settings) -> Result<PathBuf, CliError> {
    let dir = app::journal_dir(settings);
    if dir.is_dir() { Ok(dir) } else { Err(CliError::message(format!("there is no journal in {}", dir.display()))) }
}

async fn journal_key(settings: &Settings) -> Result<JournalKey, CliError> {
    Ok(JournalKey::new(app::open_store(settings).await?.journal_key))
}

async fn verify_all(settings: &Settings) -> Result<(), CliError> {
    let dir = dir(settings)?;
    let key = journal_key(settings).await?;
    let found = verify(&dir, &key).map_err(|error| CliError::message(error.to_string()))?;
    println!("{} lines, numbers {} to {}: each follows the one before it", found.lines, found.first, found.last);
    if found.receipts > 0 {
        println!("{} receipts of erasures", found.receipts);
    }
    if found.first > 1 {
        println!("older files were removed");
    }
    Ok(())
}

fn print(settings: &Settings, wanted: &Selection<'_>) -> Result<(), CliError> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    export(&dir(settings)?, wanted, &mut out).map_err(|error| CliError::message(error.to_string()))?;
    out.flush()?;
    Ok(())
}

fn check(key: &str, file: Option<&Path>) -> Result<(), CliError> {
    let key: ReceiptKey = key.parse().map_err(|error| CliError::message(format!("{error}")))?;
    let input: Box<dyn Read> = match file {
        Some(path) => Box::new(std::fs::File::open(path).map_err(CliError::file(path))?),
        None => Box::new(std::io::stdin()),
    };
    let mut count = 0u64;
    for line in BufReader::new(input).lines() {
        count += 1;
        check_receipt(&key, line?.trim_end()).map_err(|fault| CliError::message(format!("line {count}: {fault}")))?;
    }
    if count == 0 {
        return Err(CliError::message("there is nothing to check"));
    }
    println!("{count} receipts are good");
    Ok(())
}
