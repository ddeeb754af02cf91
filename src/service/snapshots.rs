//! Snapshots of large galleries in files beside the data, so that a start need not read every row.
//!
//! The database stays the truth: a file counts only while the database holds its key, what was
//! changed since is read from the database as always, and whatever is wrong with a file, the
//! gallery is then read from the database instead.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::domain::{AppId, ModelTag, Revision};
use crate::gallery::{Export, MatcherFeed, NotAGallery};
use crate::store::snapshot_file::{self, PARTIAL_EXTENSION, SnapshotError, SnapshotHeader, SnapshotReader};
use crate::store::{Key, SnapshotId, SnapshotStore, StoreError};

/// Where snapshots are kept, and of which galleries.
#[derive(Debug, Clone)]
pub struct SnapshotConfig {
    /// The folder; made when the first one is written.
    pub dir: PathBuf,
    /// Galleries with fewer templates have none: they are read from the database in no time.
    pub least: usize,
}

/// A snapshot is written anew when it lacks more than this share of the templates ...
const BEHIND_SHARE: usize = 20;
/// ... and this many changes: they take as long to catch up as a small gallery takes to load.
const BEHIND: u64 = 10_000;

const EXTENSION: &str = "gallery";

/// Reads and writes snapshots.
pub(super) struct Snapshots {
    config: SnapshotConfig,
    keys: Arc<dyn SnapshotStore>,
    feed: Arc<dyn MatcherFeed>,
    model: ModelTag,
    /// The snapshot of each gallery that is known to be whole, and the revision it shows.
    kept: Mutex<HashMap<AppId, (SnapshotId, Revision)>>,
}

impl Snapshots {
    pub(super) fn new(
        config: SnapshotConfig,
        keys: Arc<dyn SnapshotStore>,
        feed: Arc<dyn MatcherFeed>,
        model: ModelTag,
    ) -> Self {
        Self { config, keys, feed, model, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<AppId, (SnapshotId, Revision)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, app: &AppId) -> PathBuf {
        self.config.dir.join(name(app)).with_extension(EXTENSION)
    }

    /// Loads a gallery from its snapshot, unless there is none that counts or it shows more than
    /// the database's `current` revision. Whether it did.
    pub(super) async fn restore(&self, app: &AppId, current: Revision) -> Result<bool, StoreError> {
        let path = self.path(app);
        let reader = match blocking(move || SnapshotReader::open(&path)).await {
            Ok(reader) => reader,
            Err(SnapshotError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => {
                tracing::warn!(%app, %error, "the gallery's snapshot is not used");
                return Ok(false);
            }
        };
        let header = reader.header().clone();
        if !header.matches(app.as_str(), self.model.as_str()) || header.revision() > current {
            tracing::warn!(%app, "the gallery's snapshot is not used: it is of something else");
            return Ok(false);
        }
        let Some(key) = self.key(app, header.id()).await? else {
            tracing::info!(%app, "the gallery's snapshot is not used: its key is gone; templates were removed since");
            return Ok(false);
        };
        let (feed, of) = (Arc::clone(&self.feed), app.clone());
        let imported = blocking(move || {
            let mut wrong = None;
            let mut frames = reader.frames(&key).map(|frame| {
                frame.map_err(|error| {
                    wrong = Some(error);
                    NotAGallery
                })
            });
            let imported = feed.import(&of, header.revision(), &mut frames);
            drop(frames);
            imported.map_err(|_| wrong.unwrap_or(SnapshotError::Damaged)).map(|()| header)
        });
        match imported.await {
            Ok(header) => {
                self.kept().insert(app.clone(), (header.id(), header.revision()));
                Ok(true)
            }
            Err(error) => {
                tracing::warn!(%app, %error, "the gallery's snapshot is not used");
                Ok(false)
            }
        }
    }

    /// Whether a loaded gallery wants a snapshot, or a newer one.
    pub(super) async fn is_due(&self, app: &AppId) -> Result<bool, StoreError> {
        let templates = self.feed.size(app).templates;
        let Some(shown) = self.feed.revision(app).filter(|_| templates >= self.config.least) else { return Ok(false) };
        let Some((id, kept)) = self.kept().get(app).copied() else { return Ok(true) };
        let behind = shown.0.saturating_sub(kept.0);
        Ok(behind > BEHIND.max((templates / BEHIND_SHARE) as u64) || self.key(app, id).await?.is_none())
    }

    /// The key of a snapshot, if there is one that can be read: rows that are fine must not wait for it.
    async fn key(&self, app: &AppId, id: SnapshotId) -> Result<Option<Key>, StoreError> {
        match self.keys.key(app, id).await {
            Err(error @ (StoreError::Corrupt(_) | StoreError::KeyMissing(_))) => {
                tracing::warn!(%app, %error, "the key of the gallery's snapshot cannot be read");
                Ok(None)
            }
            found => found,
        }
    }

    /// Forgets a snapshot that was not written.
    pub(super) async fn discard(&self, app: &AppId, id: SnapshotId) -> Result<(), StoreError> {
        self.keys.discard(app, id).await
    }

    /// Forgets the snapshot of a gallery: it shows what the database no longer has.
    pub(super) async fn invalidate(&self, app: &AppId) -> Result<(), StoreError> {
        let known = self.kept().remove(app);
        match known {
            Some((id, _)) => self.keys.discard(app, id).await,
            None => Ok(()),
        }
    }

    /// Makes a key for the next snapshot of a gallery, and says which revision it must show.
    pub(super) async fn register(&self, app: &AppId) -> Result<(SnapshotId, Key, Revision), StoreError> {
        let id = SnapshotId(uuid::Uuid::new_v4());
        let (key, least) = self.keys.register(app, id).await?;
        Ok((id, key, least))
    }

    /// Writes a snapshot under a key that was made for it.
    pub(super) async fn write(
        &self,
        app: &AppId,
        (id, key): (SnapshotId, Key),
        export: Export,
    ) -> Result<(), StoreError> {
        let (path, revision) = (self.path(app), export.revision());
        let header = SnapshotHeader::new(id, app.as_str(), self.model.as_str(), revision, export.frames());
        let dir = self.config.dir.clone();
        let written = blocking(move || {
            private_dir(&dir)?;
            snapshot_file::write(&path, &header, &key, export)
        });
        let outdated = match written.await {
            Ok(()) => {
                tracing::info!(%app, %revision, "the gallery's snapshot was written");
                self.kept().insert(app.clone(), (id, revision)).map(|(old, _)| old)
            }
            Err(error) => {
                tracing::warn!(%app, %error, "the gallery's snapshot could not be written; the next start takes longer");
                Some(id)
            }
        };
        match outdated {
            Some(id) => self.keys.discard(app, id).await,
            None => Ok(()),
        }
    }

    /// Removes the files of applications that are gone.
    pub(super) async fn tidy(&self, alive: &HashSet<&AppId>) {
        self.kept().retain(|app, _| alive.contains(app));
        let names: HashSet<String> = alive.iter().map(|app| name(app)).collect();
        let dir = self.config.dir.clone();
        let tidied = blocking(move || {
            for entry in std::fs::read_dir(dir)? {
                let path = entry?.path();
                let known = path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| names.contains(stem));
                let ours =
                    path.extension().is_some_and(|extension| extension == EXTENSION || extension == PARTIAL_EXTENSION);
                if ours && !known {
                    std::fs::remove_file(path)?;
                }
            }
            Ok(())
        });
        match tidied.await {
            Err(SnapshotError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "snapshots of deleted applications could not be removed"),
            Ok(()) => {}
        }
    }
}

/// A file name that every application id can have.
fn name(app: &AppId) -> String {
    Sha256::digest(app.as_str()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn private_dir(dir: &std::path::Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Runs what reads and writes files where it holds up nobody.
#[expect(clippy::disallowed_methods, reason = "files, one at a time; nothing that a request brings")]
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, SnapshotError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error).into()))
}
