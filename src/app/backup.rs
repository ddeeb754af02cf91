//! Backups as files: written for the command line and the administration API, listed, checked, and restored on trial.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::credentials::write_private;
use super::{StartError, make_private_dir, open_other_store};
use crate::domain::{Clock, random_uuid, rfc3339};
use crate::settings::Settings;
use crate::store::backup::{
    About, BackupError, BackupFile, BackupHeader, BackupReader, BackupSink, BackupWriter, Record, RowCounts,
};
use crate::store::{BackupStore, DatabaseConfig, Key};

/// What a backup that was just written holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenBackup {
    /// Its id.
    pub id: Uuid,
    /// When its state was read (RFC 3339, UTC).
    pub created_at: String,
    /// The ids of the sealing keys that it needs, the active one first.
    pub keys: Vec<String>,
    /// The rows of each table.
    pub rows: RowCounts,
}

/// The number of rows, in words.
pub fn describe(rows: &RowCounts) -> String {
    let of = |table: &str| rows.get(table).copied().unwrap_or(0);
    format!("{} applications, {} templates, {} samples", of("applications"), of("templates"), of("samples"))
}

/// Writes a backup to an output. Returns the output, flushed.
///
/// # Errors
/// When the database cannot be read or the output not written.
pub async fn write_backup<W: Write + Send>(
    out: W,
    backup: &dyn BackupStore,
) -> Result<(W, WrittenBackup), BackupError> {
    let mut sink = FileSink { out: Some(out), begun: None };
    let rows = backup.read_all(&mut sink).await?;
    let (writer, written) = sink.begun.ok_or(BackupError::Stopped)?;
    Ok((writer.finish()?, WrittenBackup { rows, ..written }))
}

/// Writes a backup to a file that only its owner can read, through a temporary one: it is complete under its name, or
/// does not exist.
///
/// # Errors
/// When the database cannot be read or the file not written.
pub async fn write_backup_file(path: &Path, backup: &dyn BackupStore) -> Result<WrittenBackup, BackupError> {
    let partial = path.with_added_extension("part");
    let written = async {
        let _ = std::fs::remove_file(&partial); // of an earlier attempt
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let out = BufWriter::with_capacity(1 << 20, options.open(&partial)?);
        let (out, written) = write_backup(out, backup).await?;
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        Ok::<_, BackupError>(written)
    };
    let written = written.await;
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    let written = written?;
    std::fs::rename(&partial, path)?;
    // Puts the name on disk.
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()?;
    Ok(written)
}

/// Writes records to an output.
struct FileSink<W: Write> {
    out: Option<W>,
    begun: Option<(BackupWriter<W>, WrittenBackup)>,
}

impl<W: Write + Send> BackupSink for FileSink<W> {
    fn begin(&mut self, about: &About) -> Result<(), BackupError> {
        let written = WrittenBackup {
            id: about.id,
            created_at: about.created_at.clone(),
            keys: about.keys.iter().map(ToString::to_string).collect(),
            rows: RowCounts::new(),
        };
        let out = self.out.take().ok_or(BackupError::Stopped)?;
        self.begun = Some((BackupWriter::begin(out, about)?, written));
        Ok(())
    }

    fn record(&mut self, record: Record) -> Result<(), BackupError> {
        self.begun.as_mut().ok_or(BackupError::Stopped)?.0.write(&record)
    }
}

/// Opens a backup with the sealing keys.
///
/// # Errors
/// When it cannot be read, or a key is missing.
pub fn open_backup(path: &Path, keys: &[Key]) -> Result<(BackupHeader, BackupReader<BufReader<File>>), BackupError> {
    let backup = BackupFile::open(BufReader::with_capacity(1 << 20, File::open(path)?))?;
    let header = backup.header().clone();
    Ok((header, backup.unlock(keys)?))
}

/// Reads a backup to its end: nothing of it is damaged or missing. Returns the number of rows.
///
/// # Errors
/// When it is.
pub fn check_backup(reader: &mut BackupReader<BufReader<File>>) -> Result<RowCounts, BackupError> {
    loop {
        match reader.next_record()? {
            Some(Record::End(rows)) => return Ok(rows),
            Some(Record::Table(_) | Record::Row(_)) => {}
            None => return Err(BackupError::CutOff),
        }
    }
}

/// Restores a backup into a database that is deleted afterwards, so that it is known to be of use. Returns the number of
/// rows. The database lies beside the backup and needs about as much room.
///
/// # Errors
/// When the backup cannot be restored.
pub async fn try_backup(settings: &Settings, path: &Path, keys: &[Key]) -> Result<RowCounts, StartError> {
    let failed = |error: BackupError| StartError::Data { path: path.to_owned(), source: std::io::Error::other(error) };
    let (_, mut reader) = open_backup(path, keys).map_err(failed)?;
    let parent = path.parent().unwrap_or(Path::new("."));
    remove_abandoned_trials(parent);
    let dir = parent.join(format!("{TRIAL_PREFIX}{}", random_uuid().simple()));
    let unusable = |source| StartError::Data { path: dir.clone(), source };
    make_private_dir(&dir).map_err(unusable)?;
    let restored = async {
        let store = open_other_store(settings, DatabaseConfig::Sqlite(dir.join("trial.db"))).await?;
        let rows = store.backup.write_all(&mut reader).await.map_err(failed)?;
        store.scrubber.close().await?;
        Ok(rows)
    };
    let restored: Result<RowCounts, StartError> = restored.await;
    let removed = std::fs::remove_dir_all(&dir);
    let rows = restored?;
    removed.map_err(unusable)?;
    Ok(rows)
}

/// The beginning of the names of folders in which backups are restored on trial.
const TRIAL_PREFIX: &str = ".trial-";

/// How long a trial lasts at most. A folder that is older was left by a process that was killed.
const MAX_TRIAL_TIME: Duration = Duration::from_secs(86_400);

fn remove_abandoned_trials(dir: &Path) {
    let is_abandoned = |path: &Path| {
        let is_trial =
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(TRIAL_PREFIX));
        let modified = path.metadata().and_then(|folder| folder.modified()).ok();
        let age = modified.and_then(|at| Clock::system().now().duration_since(at).ok());
        is_trial && age.is_some_and(|age| age > MAX_TRIAL_TIME)
    };
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in entries.filter(|path| is_abandoned(path)) {
        if let Err(error) = std::fs::remove_dir_all(&path) {
            tracing::warn!(path = %path.display(), %error, "the folder of an interrupted trial of a backup is not deleted");
        }
    }
}

/// A trial of a backup, as the file beside it records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trial {
    backup: Uuid,
    tested_at: String,
}

/// A backup in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBackup {
    /// The file.
    pub path: PathBuf,
    /// Its header.
    pub header: BackupHeader,
    /// Its size.
    pub bytes: u64,
    /// When it was last restored on trial (RFC 3339, UTC).
    pub tested_at: Option<String>,
}

/// The ending of the names of backups that the server makes.
const EXTENSION: &str = "backup";

/// The most files of a folder that are listed.
const MAX_FILES: usize = 10_000;

/// The name of a backup that is made now.
pub fn backup_name(now: SystemTime) -> String {
    format!("semblance-{}.{EXTENSION}", rfc3339(now).replace(':', "-"))
}

/// The backups of a folder, newest first. Files that are no backups are passed over. A folder that does not exist has
/// none.
///
/// # Errors
/// When the folder cannot be read.
pub fn list_backups(dir: &Path) -> std::io::Result<Vec<KeptBackup>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries.take(MAX_FILES) {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != EXTENSION) {
            continue;
        }
        let Ok(file) = File::open(&path) else { continue };
        let bytes = file.metadata()?.len();
        let Ok(backup) = BackupFile::open(BufReader::new(file)) else { continue };
        let header = backup.header().clone();
        let tested_at = read_trial(&path).filter(|trial| trial.backup == header.id).map(|trial| trial.tested_at);
        found.push(KeptBackup { path, header, bytes, tested_at });
    }
    found.sort_by(|one, other| other.header.created_at.cmp(&one.header.created_at));
    Ok(found)
}

fn trial_path(backup: &Path) -> PathBuf {
    backup.with_added_extension("tested")
}

fn read_trial(backup: &Path) -> Option<Trial> {
    serde_json::from_str(&std::fs::read_to_string(trial_path(backup)).ok()?).ok()
}

/// Records that a backup was restored on trial.
///
/// # Errors
/// When the folder cannot be written.
pub fn record_trial(backup: &KeptBackup, now: SystemTime) -> std::io::Result<()> {
    let trial = Trial { backup: backup.header.id, tested_at: rfc3339(now) };
    write_private(&trial_path(&backup.path), &serde_json::to_vec(&trial)?)
}

/// Deletes a backup, and the record of its trial.
///
/// # Errors
/// When it cannot be deleted.
pub fn remove_backup(backup: &KeptBackup) -> std::io::Result<()> {
    std::fs::remove_file(&backup.path)?;
    match std::fs::remove_file(trial_path(&backup.path)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
