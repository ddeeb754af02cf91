//! `semblance backup`: the whole database in a sealed file.

use std::io::BufWriter;
use std::path::PathBuf;

use clap::Args;

use super::output::errln;
use super::{CliError, journal_command};
use crate::app;
use crate::app::backup::{describe, write_backup, write_backup_file};
use crate::domain::stopwatch;
use crate::settings::Settings;
use crate::store::OpenMode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file; `-`: standard output. It is complete under its name, or does not exist.
    file: PathBuf,
    /// Replace an existing file.
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(settings: Settings, arguments: Arguments) -> Result<(), CliError> {
    let Arguments { file, force } = arguments;
    let to_stdout = file.as_os_str() == "-";
    if !to_stdout && !force && file.exists() {
        return Err(CliError::message(format!("{} exists; --force replaces it", file.display())));
    }
    let store = app::open_store(&settings, OpenMode::Write).await?;
    let start = stopwatch();
    // Before the first row is written: the journal has the backup even if this process is killed.
    journal_command(&store, "backup", None, "begins").await?;
    let failed = |error| CliError::backup(&file)(error);
    let written = if to_stdout {
        let out = BufWriter::with_capacity(1 << 16, std::io::stdout());
        write_backup(out, &*store.backup).await.map_err(failed)?.1
    } else {
        write_backup_file(&file, &*store.backup).await.map_err(failed)?
    };
    let rows = describe(&written.rows);
    let keys = written.keys.join(", ");
    journal_command(&store, "backup", None, &format!("ends: {rows}, keys {keys}")).await?;
    // On standard error: standard output may be the backup.
    errln!(
        "{rows} of {} in {} ({:.1} s)\nTo restore it you need the sealing keys {keys}: keep them in another place than the backup.",
        written.created_at,
        if to_stdout { "standard output".to_owned() } else { file.display().to_string() },
        start.elapsed().as_secs_f64(),
    );
    Ok(())
}
