//! `semblance journal`: verifies and exports the journal.

use std::io::{BufRead as _, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::CliError;
use super::output::outln;
use crate::app;
use crate::domain::rfc3339;
use crate::journal::{ExportFormat, JournalKey, ReceiptKey, Selection, check_receipt, export, verify};
use crate::settings::Settings;
use crate::store::OpenMode;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check that no line was changed, inserted or removed, up to the last line that the database knows.
    Verify,
    /// Print the lines of a period as NDJSON, or as CSV for a spreadsheet.
    Export {
        /// From this time on: RFC 3339, or its beginning such as 2026-11-23.
        #[arg(long, value_parser = moment, default_value = "")]
        from: String,
        /// Up to and including this time, likewise.
        #[arg(long, value_parser = moment, default_value = "")]
        to: String,
        /// Of this application only.
        #[arg(long, value_name = "ID")]
        app: Option<String>,
        /// Of this template only.
        #[arg(long, value_name = "ID")]
        template: Option<String>,
        /// Whose operation contains this text, such as `identify`.
        #[arg(long, value_name = "TEXT")]
        operation: Option<String>,
        /// With this outcome; `failed`: every failure.
        #[arg(long, value_name = "TEXT")]
        outcome: Option<String>,
        /// Of this actor: a kind, an id, or `kind:id`.
        #[arg(long, value_name = "ACTOR")]
        actor: Option<String>,
        /// Of this request only.
        #[arg(long, value_name = "ID")]
        transaction: Option<String>,
        /// Print CSV. NDJSON is unchanged, so it still verifies; CSV does not.
        #[arg(long)]
        csv: bool,
    },
    /// Print the receipts of erasures: lines that anyone with the public key can verify.
    Receipts {
        /// Of this template only.
        #[arg(long, value_name = "ID")]
        template: Option<String>,
        /// Of this application only.
        #[arg(long, value_name = "ID")]
        app: Option<String>,
    },
    /// Print the public key that verifies receipts.
    ReceiptKey,
    /// Verify receipts, one a line. Needs neither the journal nor a database.
    CheckReceipts {
        /// The key that `receipt-key` printed.
        key: String,
        /// The file with the receipts. Default: standard input.
        file: Option<PathBuf>,
    },
}

pub(super) async fn run(settings: Settings, command: Command) -> Result<(), CliError> {
    match command {
        Command::Verify => verify_all(&settings).await?,
        Command::Export { from, to, app, template, operation, outcome, actor, transaction, csv } => {
            let selection =
                Selection { from, to, app, template, operation, outcome, actor, transaction, ..Selection::default() };
            print(&settings, &selection, if csv { ExportFormat::Csv } else { ExportFormat::Ndjson })?;
        }
        Command::Receipts { template, app } => {
            let selection = Selection { template, app, receipts: true, ..Selection::default() };
            print(&settings, &selection, ExportFormat::Ndjson)?;
        }
        Command::ReceiptKey => {
            let key = journal_key(&settings).await?.receipt_key();
            outln!("{}", key.ok_or_else(|| CliError::message("there is no key for receipts"))?)?;
        }
        Command::CheckReceipts { key, file } => check(&key, file.as_deref())?,
    }
    Ok(())
}

/// A time in RFC 3339 (UTC), or its beginning. Empty is no limit.
fn moment(text: &str) -> Result<String, String> {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00.000";
    let digits = text.strip_suffix('Z').unwrap_or(text);
    let fits = |(at, byte): (usize, u8)| match SHAPE.get(at) {
        Some(b'0') => byte.is_ascii_digit(),
        Some(mark) => byte == *mark,
        None => false,
    };
    let within = |at: usize, most: u32| digits.get(at..at + 2).is_none_or(|n| n.parse().is_ok_and(|n: u32| n <= most));
    let valid = digits.bytes().enumerate().all(fits)
        && [(5, 12), (8, 31), (11, 23), (14, 59), (17, 60)].into_iter().all(|(at, most)| within(at, most));
    let wrong = || format!("'{text}' is not a time such as 2026-11-23T09:30:00Z, or the beginning of one");
    valid.then(|| digits.to_owned()).ok_or_else(wrong)
}

fn dir(settings: &Settings) -> Result<PathBuf, CliError> {
    let dir = app::journal_dir(settings);
    if dir.is_dir() { Ok(dir) } else { Err(CliError::message(format!("there is no journal in {}", dir.display()))) }
}

async fn journal_key(settings: &Settings) -> Result<JournalKey, CliError> {
    Ok(JournalKey::new(app::open_store(settings, OpenMode::Read).await?.journal_key))
}

async fn verify_all(settings: &Settings) -> Result<(), CliError> {
    let dir = dir(settings)?;
    let store = app::open_store(settings, OpenMode::Read).await?;
    // Read before the files: a running server may write more lines meanwhile.
    let node = app::node_id(settings)?;
    let positions = store.outbox.journal_positions().await?;
    if node.is_none() && !positions.is_empty() {
        return Err(CliError::message(
            "the file `node` of the data folder is missing: it identifies the node of this journal",
        ));
    }
    let (own, others): (Vec<_>, Vec<_>) = positions.into_iter().partition(|known| Some(known.node) == node);
    let known = own.first().map(|known| known.position);
    let key = JournalKey::new(store.journal_key);
    let found = verify(&dir, &key, known.as_ref()).map_err(|error| CliError::message(error.to_string()))?;
    outln!("{} lines, numbers {} to {}: each follows the one before it", found.lines, found.first, found.last)?;
    if found.receipts > 0 {
        outln!("{} receipts of erasures", found.receipts)?;
    }
    if found.first > 1 {
        outln!("older files were removed")?;
    }
    if let Some(known) = own.first() {
        outln!("the database knows line {}, since {}", known.position.line, rfc3339(known.reported_at))?;
    }
    for other in others {
        let reported_at = rfc3339(other.reported_at);
        outln!("another journal, of node {}: {} lines on {reported_at}", other.node, other.position.line)?;
    }
    Ok(())
}

fn print(settings: &Settings, selection: &Selection, format: ExportFormat) -> Result<(), CliError> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    export(&dir(settings)?, selection, format, &mut out).map_err(|error| CliError::message(error.to_string()))?;
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
        return Err(CliError::message("there are no receipts to verify"));
    }
    outln!("{count} receipts are valid")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn a_time_or_its_beginning_is_accepted() {
        for (text, is) in [
            ("", ""),
            ("2026", "2026"),
            ("2026-11-2", "2026-11-2"),
            ("2026-11-23T09:30:00Z", "2026-11-23T09:30:00"),
            ("2026-11-23T09:30:00.125Z", "2026-11-23T09:30:00.125"),
        ] {
            assert_eq!(moment(text).as_deref(), Ok(is));
        }
        for wrong in
            ["garbage", "2026-13", "2026-11-23 09:30", "2026-11-23T24", "23.11.2026", "2026-11-23T09:30:00.1255"]
        {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
