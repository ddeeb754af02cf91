//! Writes the journal.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::chain::{self, Link, ORIGIN};
use super::reader::{files, first_line, last_line};
use super::receipt::Signer;
use super::{ERASURE, Entry, JournalConfig, JournalError, start};
use crate::domain::{JournalPosition, rfc3339};

#[derive(Debug)]
pub(super) struct Writer {
    config: JournalConfig,
    signer: Signer,
    file: Option<(String, File)>,
    /// The length of the complete lines of the file, in bytes.
    length: u64,
    /// Whether the file may hold more than the complete lines.
    torn: bool,
    /// Whether files may be too old since the last look.
    removal_due: bool,
    number: u64,
    last: Link,
}

impl Writer {
    pub(super) fn open(config: JournalConfig) -> Result<Self, JournalError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| JournalError::File { path, source }
        };
        private_dir(&config.dir).map_err(failed(&config.dir))?;
        let signer = Signer::new(&config.key).ok_or(JournalError::Signer)?;
        let mut this =
            Self { config, signer, file: None, length: 0, torn: false, removal_due: false, number: 0, last: ORIGIN };
        let all = files(&this.config.dir).map_err(failed(&this.config.dir))?;
        // The chain continues after the last line of the newest file that has a complete line.
        for (day, path) in all.iter().rev() {
            let (line, whole) = last_line(path).map_err(failed(path))?;
            let found = match &line {
                Some(line) => Some(this.position_of(line).ok_or_else(|| JournalError::Damaged(path.clone()))?),
                None => None,
            };
            let file = OpenOptions::new().append(true).open(path).map_err(failed(path))?;
            file.set_len(whole).map_err(failed(path))?;
            let Some(found) = found else { continue };
            this.number = found.line;
            this.last = found.mac;
            this.length = whole;
            this.file = Some((day.clone(), file));
            break;
        }
        this.init_start(&all).map_err(failed(&this.config.dir))?;
        if let Some(known) = this.config.known.filter(|known| known.line > this.number) {
            // Continues after the line that the database knows, so the gap stays visible to `verify`.
            tracing::error!(
                last_line = this.number,
                known_line = known.line,
                "lines at the end of the journal are missing"
            );
            this.number = known.line;
            this.last = known.mac;
        }
        Ok(this)
    }

    /// The position of a line that was made with this journal key, or is of the first version.
    fn position_of(&self, line: &str) -> Option<JournalPosition> {
        let entry: Entry = serde_json::from_str(line).ok()?;
        let parts = chain::split(line)?;
        if parts.prev.is_some() {
            chain::follows(&self.config.key, None, line)?;
        }
        Some(JournalPosition { line: entry.n, mac: parts.mac })
    }

    /// Writes the start of a journal of the first version, which had none.
    fn init_start(&self, files: &[(String, PathBuf)]) -> std::io::Result<()> {
        let Some(line) = first_line(files)? else { return Ok(()) };
        let is_first_version = chain::split(&line).is_some_and(|parts| parts.prev.is_none());
        let first = serde_json::from_str::<Entry>(&line).map_or(1, |entry| entry.n);
        let dir = &self.config.dir;
        let key = &self.config.key;
        if is_first_version && first > start::read(dir, key)? { start::write(dir, key, first) } else { Ok(()) }
    }

    /// The last line that is on disk.
    pub(super) fn position(&self) -> JournalPosition {
        JournalPosition { line: self.number, mac: self.last }
    }

    /// Writes entries and puts them on disk. After an error none of them is written, and the call can be repeated.
    pub(super) fn write(&mut self, entries: &[&Entry], now: SystemTime) -> std::io::Result<()> {
        let day: String = rfc3339(now).chars().take(10).collect();
        // A clock that was set back does not open an older file: a chain is read in the order of the days.
        if self.file.as_ref().is_none_or(|(current, _)| *current < day) {
            self.open_day(day)?;
        }
        if self.removal_due && self.config.clock_trust.is_trusted() {
            self.removal_due = false;
            if let Err(error) = self.remove_old_files(now) {
                tracing::warn!(%error, "old journal files could not be removed");
            }
        }
        let mut text = String::new();
        let mut number = self.number;
        let mut last = self.last;
        for entry in entries {
            number = number.saturating_add(1); // its start was read from a file
            let line = Entry { n: number, models: self.config.models.clone(), ..(*entry).clone() };
            let mut object = serde_json::to_string(&line)?;
            if line.operation == ERASURE {
                object = self.signer.sign(&object).ok_or_else(|| std::io::Error::other("a line cannot be signed"))?;
            }
            let (line, next) = chain::seal(&self.config.key, &last, &object)
                .ok_or_else(|| std::io::Error::other("a line cannot be chained"))?;
            text.push_str(&line);
            last = next;
        }
        let Some((_, file)) = &mut self.file else { return Ok(()) };
        if self.torn {
            file.set_len(self.length)?;
        }
        self.torn = true;
        if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_data()) {
            self.torn = file.set_len(self.length).is_err();
            return Err(error);
        }
        self.torn = false;
        self.length += text.len() as u64;
        self.number = number;
        self.last = last;
        Ok(())
    }

    /// Opens the file of a day.
    fn open_day(&mut self, day: String) -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(self.config.dir.join(format!("{day}.ndjson")))?;
        start::sync(&self.config.dir)?;
        self.length = file.seek(SeekFrom::End(0))?;
        self.file = Some((day, file));
        self.removal_due = true;
        Ok(())
    }

    /// Removes the files that are too old, never the current one. First it allows their lines to be missing.
    fn remove_old_files(&self, now: SystemTime) -> std::io::Result<()> {
        let span = Duration::from_secs(self.config.keep_days.saturating_mul(86_400));
        let Some(oldest) = now.checked_sub(span).filter(|_| self.config.keep_days > 0) else { return Ok(()) };
        let oldest: String = rfc3339(oldest).chars().take(10).collect();
        let (old, kept): (Vec<_>, Vec<_>) = files(&self.config.dir)?
            .into_iter()
            .partition(|(day, _)| *day < oldest && self.file.as_ref().is_some_and(|(current, _)| day < current));
        if old.is_empty() {
            return Ok(());
        }
        let first = first_line(&kept)?.and_then(|line| serde_json::from_str::<Entry>(&line).ok());
        let first = first.map_or(self.number.saturating_add(1), |entry| entry.n);
        start::write(&self.config.dir, &self.config.key, first)?;
        old.iter().try_for_each(|(_, path)| std::fs::remove_file(path))
    }
}

fn private_dir(dir: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}
