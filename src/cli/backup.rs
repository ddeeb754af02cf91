//! `semblance backup`: the whole database in a sealed file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::output::errln;
use super::private::private;
use super::{CliError, journal_command};
use crate::app;
use crate::domain::stopwatch;
use crate::settings::Settings;
use crate::store::backup::{About, BackupError, BackupSink, BackupWriter, Record, RowCounts};
use crate::store::{BackupStore, OpenMode};

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
    let (made, counts) = if to_stdout {
        let mut sink = FileSink::new(BufWriter::with_capacity(1 << 16, std::io::stdout()));
        let counts = store.backup.read_all(&mut sink).await.map_err(failed)?;
        (sink.finish().map_err(failed)?.1, counts)
    } else {
        write_file(&file, &*store.backup).await.map_err(failed)?
    };
    let text = format!("ends: {}, keys {}", describe(&counts), made.keys);
    journal_command(&store, "backup", None, &text).await?;
    // On standard error: standard output may be the backup.
    errln!(
        "{} of {} in {} ({:.1} s)\nTo restore it you need the sealing keys {}: keep them in another place than the backup.",
        describe(&counts),
        made.created_at,
        if to_stdout { "standard output".to_owned() } else { file.display().to_string() },
        start.elapsed().as_secs_f64(),
        made.keys,
    );
    Ok(())
}

/// The number of rows, in words.
pub(super) fn describe(counts: &RowCounts) -> String {
    let of = |table: &str| counts.get(table).copied().unwrap_or(0);
    format!("{} applications, {} templates, {} samples", of("applications"), of("templates"), of("samples"))
}

/// Writes the file through a temporary one, so that it is never incomplete.
async fn write_file(path: &Path, backup: &dyn BackupStore) -> Result<(Made, RowCounts), BackupError> {
    let partial = path.with_added_extension("part");
    let written = async {
        let _ = std::fs::remove_file(&partial); // of an earlier attempt
        let file = private().create_new(true).open(&partial)?;
        let mut sink = FileSink::new(BufWriter::with_capacity(1 << 20, file));
        let counts = backup.read_all(&mut sink).await?;
        let (out, made) = sink.finish()?;
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        Ok::<_, BackupError>((made, counts))
    };
    let written = written.await;
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    let done = written?;
    std::fs::rename(&partial, path)?;
    // Puts the name on disk.
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()?;
    Ok(done)
}

/// What the header of the file holds.
struct Made {
    created_at: String,
    keys: String,
}

/// Writes records to a file.
struct FileSink<W: Write> {
    out: Option<W>,
    begun: Option<(BackupWriter<W>, Made)>,
}

impl<W: Write> FileSink<W> {
    fn new(out: W) -> Self {
        Self { out: Some(out), begun: None }
    }

    fn finish(self) -> Result<(W, Made), BackupError> {
        let (writer, made) = self.begun.ok_or(BackupError::Stopped)?;
        Ok((writer.finish()?, made))
    }
}

impl<W: Write + Send> BackupSink for FileSink<W> {
    fn begin(&mut self, about: &About) -> Result<(), BackupError> {
        let keys: Vec<String> = about.keys.iter().map(ToString::to_string).collect();
        let made = Made { created_at: about.created_at.clone(), keys: keys.join(", ") };
        let out = self.out.take().ok_or(BackupError::Stopped)?;
        self.begun = Some((BackupWriter::begin(out, about)?, made));
        Ok(())
    }

    fn record(&mut self, record: Record) -> Result<(), BackupError> {
        self.begun.as_mut().ok_or(BackupError::Stopped)?.0.write(&record)
    }
}
