//! Snapshots of large galleries in files beside the data, so that a start does not read every row.
//!
//! The database stays the truth: a file is valid only while the database holds its key, and later changes are read from
//! the database. If anything is wrong with a file, the gallery is read from the database instead.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::domain::{AppId, ModelTag, Revision, random_uuid};
use crate::gallery::{Export, MatcherFeed, NotAGallery};
use crate::store::snapshot_file::{self, PARTIAL_EXTENSION, SnapshotError, SnapshotHeader, SnapshotReader};
use crate::store::{Key, SnapshotId, SnapshotStore, StoreError};

/// Where snapshots are kept, and of which galleries.
#[derive(Debug, Clone)]
pub struct SnapshotConfig {
    /// The folder; it is made when the first snapshot is written.
    pub dir: PathBuf,
    /// The least templates of a gallery with a snapshot: smaller ones are read from the database fast enough.
    pub min_templates: usize,
}

/// A snapshot is outdated when the changes since are more than the templates divided by this ...
const OUTDATED_DIVISOR: usize = 20;
/// ... and more than this: catching up takes as long as loading a small gallery.
const OUTDATED_CHANGES: u64 = 10_000;

const EXTENSION: &str = "gallery";

/// A snapshot that is registered in the database and not written yet.
pub(super) struct NewSnapshot {
    pub(super) id: SnapshotId,
    key: Key,
    /// The revision that it must reach.
    pub(super) min_revision: Revision,
}

/// A snapshot that is on disk.
#[derive(Debug, Clone, Copy)]
struct Kept {
    id: SnapshotId,
    revision: Revision,
}

/// Reads and writes snapshots.
pub(super) struct Snapshots {
    config: SnapshotConfig,
    keys: Arc<dyn SnapshotStore>,
    feed: Arc<dyn MatcherFeed>,
    model: ModelTag,
    /// The snapshot of each gallery that was read or written without an error.
    kept: Mutex<HashMap<AppId, Kept>>,
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

    fn path(&self, app: &AppId) -> PathBuf {
        self.config.dir.join(name(app)).with_extension(EXTENSION)
    }

    /// Loads a gallery from its snapshot; `false` when it has no valid one, or the snapshot is ahead of the database's
    /// `current` revision.
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
            tracing::warn!(%app, "the gallery's snapshot is not used: it is of another gallery or model, or ahead of the database");
            return Ok(false);
        }
        let Some(key) = self.key(app, header.id()).await? else {
            tracing::info!(%app, "the gallery's snapshot is not used: its key is gone; templates were removed since");
            return Ok(false);
        };
        let kept = Kept { id: header.id(), revision: header.revision() };
        let feed = Arc::clone(&self.feed);
        let gallery = app.clone();
        let imported = blocking(move || {
            let mut read_error = None;
            let mut frames = reader.frames(&key).map(|frame| {
                frame.map_err(|error| {
                    read_error = Some(error);
                    NotAGallery
                })
            });
            let imported = feed.import(&gallery, kept.revision, &mut frames);
            drop(frames);
            imported.map_err(|_| read_error.unwrap_or(SnapshotError::Damaged))
        });
        match imported.await {
            Ok(()) => {
                self.kept.lock().insert(app.clone(), kept);
                Ok(true)
            }
            Err(error) => {
                tracing::warn!(%app, %error, "the gallery's snapshot is not used");
                Ok(false)
            }
        }
    }

    /// Whether a loaded gallery needs a snapshot, or a newer one.
    pub(super) async fn is_due(&self, app: &AppId) -> Result<bool, StoreError> {
        let templates = self.feed.size(app).templates;
        if templates < self.config.min_templates {
            return Ok(false);
        }
        let Some(revision) = self.feed.revision(app) else { return Ok(false) };
        let Some(kept) = self.kept.lock().get(app).copied() else { return Ok(true) };
        let changes = revision.0.saturating_sub(kept.revision.0);
        let is_outdated = changes > OUTDATED_CHANGES.max((templates / OUTDATED_DIVISOR) as u64);
        Ok(is_outdated || self.key(app, kept.id).await?.is_none())
    }

    /// The key of a snapshot; `None` also when it cannot be read, which must not keep the rows from being loaded.
    async fn key(&self, app: &AppId, id: SnapshotId) -> Result<Option<Key>, StoreError> {
        match self.keys.key(app, id).await {
            Err(error @ (StoreError::Corrupt(_) | StoreError::KeyMissing(_))) => {
                tracing::warn!(%app, %error, "the key of the gallery's snapshot cannot be read");
                Ok(None)
            }
            found => found,
        }
    }

    /// Removes the key of a snapshot that was not written.
    pub(super) async fn discard(&self, app: &AppId, id: SnapshotId) -> Result<(), StoreError> {
        self.keys.discard(app, id).await
    }

    /// Invalidates the snapshot of a gallery that contains what the database no longer has.
    pub(super) async fn invalidate(&self, app: &AppId) -> Result<(), StoreError> {
        let kept = self.kept.lock().remove(app);
        match kept {
            Some(kept) => self.keys.discard(app, kept.id).await,
            None => Ok(()),
        }
    }

    /// Registers a key for the next snapshot of a gallery.
    pub(super) async fn register(&self, app: &AppId) -> Result<NewSnapshot, StoreError> {
        let id = SnapshotId(random_uuid());
        let (key, min_revision) = self.keys.register(app, id).await?;
        Ok(NewSnapshot { id, key, min_revision })
    }

    /// Writes a registered snapshot.
    pub(super) async fn write(&self, app: &AppId, new: NewSnapshot, export: Export) -> Result<(), StoreError> {
        let NewSnapshot { id, key, .. } = new;
        let path = self.path(app);
        let revision = export.revision();
        let header = SnapshotHeader::new(id, app.as_str(), self.model.as_str(), revision, export.frames());
        let dir = self.config.dir.clone();
        let written = blocking(move || {
            private_dir(&dir)?;
            snapshot_file::write(&path, &header, &key, export)
        });
        let outdated = match written.await {
            Ok(()) => {
                tracing::info!(%app, %revision, "the gallery's snapshot was written");
                self.kept.lock().insert(app.clone(), Kept { id, revision }).map(|old| old.id)
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

    /// Removes the files of deleted applications.
    pub(super) async fn remove_others(&self, alive: &HashSet<&AppId>) {
        self.kept.lock().retain(|app, _| alive.contains(app));
        let names: HashSet<String> = alive.iter().map(|app| name(app)).collect();
        let dir = self.config.dir.clone();
        let removed = blocking(move || {
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
        match removed.await {
            Err(SnapshotError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "snapshots of deleted applications could not be removed"),
            Ok(()) => {}
        }
    }
}

/// The file name of a gallery: a hash, because an application id may contain any character.
fn name(app: &AppId) -> String {
    hex::encode(&Sha256::digest(app.as_str())[..16])
}

fn private_dir(dir: &std::path::Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Reads or writes files on a thread that may block.
#[expect(clippy::disallowed_methods, reason = "files, one at a time; nothing that a request brings")]
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, SnapshotError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error).into()))
}
