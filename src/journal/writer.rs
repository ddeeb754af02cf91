//! The writing side.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::chain::{self, Link, ORIGIN};
use super::reader::{files, last_line};
use super::receipt::Signer;
use super::{Entry, JournalConfig, JournalError};
use crate::domain::rfc3339;

#[derive(Debug)]
pub(super) struct Writer {
    config: JournalConfig,
    signer: Signer,
    missed: Arc<AtomicU64>,
    file: Option<(String, File)>,
    /// Bytes of the file that are whole lines.
    length: u64,
    number: u64,
    last: Link,
}

impl Writer {
    pub(super) fn open(config: JournalConfig, missed: Arc<AtomicU64>) -> Result<Self, JournalError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| JournalError::File { path, source }
        };
        private_dir(&config.dir).map_err(failed(&config.dir))?;
        let signer = Signer::new(&config.key).ok_or(JournalError::Signer)?;
        let mut this = Self { config, signer, missed, file: None, length: 0, number: 0, last: ORIGIN };
        // The newest file that has a whole line says where the chain goes on.
        for (day, path) in files(&this.config.dir).map_err(failed(&this.config.dir))?.into_iter().rev() {
            let (line, whole) = last_line(&path).map_err(failed(&path))?;
            let file = OpenOptions::new().append(true).open(&path).map_err(failed(&path))?;
            file.set_len(whole).map_err(failed(&path))?;
            let Some(line) = line else { continue };
            if let Some((_, link)) = chain::split(&line) {
                this.last = link;
            }
            this.number = serde_json::from_str::<Entry>(&line).map_or(0, |entry| entry.n);
            this.length = whole;
            this.file = Some((day, file));
            break;
        }
        Ok(this)
    }

    /// Writes entries and puts them on disk. After an error nothing of them is there, and the same
    /// ones may be given again.
    pub(super) fn write(&mut self, entries: &[Entry]) -> std::io::Result<()> {
        let now = SystemTime::now();
        let day: String = rfc3339(now).chars().take(10).collect();
        if self.file.as_ref().is_none_or(|(of, _)| *of != day) {
            let path = self.config.dir.join(format!("{day}.ndjson"));
            let mut options = OpenOptions::new();
            options.append(true).create(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(path)?;
            self.length = file.seek(SeekFrom::End(0))?;
            self.file = Some((day.clone(), file));
            self.forget(now);
        }
        let Some((_, file)) = &mut self.file else { return Ok(()) };
        let (mut text, mut number, mut last) = (String::new(), self.number, self.last);
        let missed = self.missed.load(Ordering::Relaxed);
        let gap = (missed > 0).then(|| Entry {
            operation: "journal".to_owned(),
            outcome: Some(format!("{missed} lines are missing: they came faster than they could be written")),
            ..Entry::default()
        });
        for entry in gap.iter().chain(entries) {
            number = number.saturating_add(1); // it began with what a file said
            let line = Entry { n: number, time: rfc3339(now), models: self.config.models.clone(), ..entry.clone() };
            let mut object = serde_json::to_string(&line)?;
            if line.is_erasure() {
                object = self.signer.sign(&object).ok_or_else(|| std::io::Error::other("a line cannot be signed"))?;
            }
            let (line, next) = chain::seal(&self.config.key, &last, &object)
                .ok_or_else(|| std::io::Error::other("a line cannot be chained"))?;
            text.push_str(&line);
            last = next;
        }
        if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_data()) {
            let _ = file.set_len(self.length);
            return Err(error);
        }
        self.length += text.len() as u64;
        (self.number, self.last) = (number, last);
        self.missed.fetch_sub(missed, Ordering::Relaxed);
        Ok(())
    }

    /// Removes files that are too old to be kept.
    fn forget(&self, now: SystemTime) {
        if self.config.keep_days == 0 {
            return;
        }
        let span = Duration::from_secs(self.config.keep_days.saturating_mul(86_400));
        let Some(oldest) = now.checked_sub(span) else { return };
        let oldest: String = rfc3339(oldest).chars().take(10).collect();
        let old = files(&self.config.dir).unwrap_or_default().into_iter().filter(|(day, _)| *day < oldest);
        for (_, path) in old {
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "an old file of the journal could not be removed");
            }
        }
    }
}

fn private_dir(dir: &PathBuf) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}
