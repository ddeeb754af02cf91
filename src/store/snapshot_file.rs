//! Snapshot files: a gallery at one revision, sealed, so that a start need not read every row.
//!
//! A file counts only while the database holds its key ([`SnapshotStore`](super::SnapshotStore)). Its
//! head says in clear which gallery it is of; head and position are part of what seals each frame, so
//! frames that were changed, exchanged, left out or taken from another file do not open.
//!
//! Format: eight bytes that say so; length of the head (u32, little-endian) and the head as JSON; then each frame
//! as its length (u32) and the sealed bytes (see `seal.rs`).

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::seal::Sealer;
use super::{Key, SnapshotId};
use crate::domain::Revision;

/// First bytes of a file; the last one is the version of the format.
const MAGIC: &[u8; 8] = b"smblnce\x01";

/// The extension of a file that is being written.
pub const PARTIAL_EXTENSION: &str = "part";

/// No head and no frame is longer than this: 256 MiB, for rows of any size.
const MAX_PART_BYTES: usize = 256 << 20;

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotHeader {
    id: uuid::Uuid,
    app: String,
    model: String,
    revision: u64,
    frames: usize,
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file is of another version, cut off, or changed.
    #[error("it is damaged or of another version")]
    Damaged,
}

impl SnapshotHeader {
    /// The head of a snapshot.
    pub fn new(id: SnapshotId, app: &str, model: &str, revision: Revision, frames: usize) -> Self {
        Self { id: id.0, app: app.to_owned(), model: model.to_owned(), revision: revision.0, frames }
    }

    /// The snapshot's name.
    pub fn id(&self) -> SnapshotId {
        SnapshotId(self.id)
    }

    /// The revision it shows.
    pub fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    /// Whether it is of this application's templates of this model.
    pub fn matches(&self, app: &str, model: &str) -> bool {
        self.app == app && self.model == model
    }
}

/// What ties a frame to its file and its place.
fn place(head: &[u8], at: usize) -> Vec<u8> {
    let mut place = Sha256::digest(head).to_vec();
    place.extend_from_slice(&(at as u64).to_le_bytes());
    place
}

/// Writes a snapshot; it is whole and on disk when this returns.
///
/// # Errors
/// When the file cannot be written. What was there before stays.
pub fn write(
    path: &Path,
    head: &SnapshotHeader,
    key: &Key,
    frames: impl Iterator<Item = Vec<u8>>,
) -> Result<(), SnapshotError> {
    let partial = path.with_extension(PARTIAL_EXTENSION);
    let written = write_all(&partial, head, key, frames);
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    written?;
    std::fs::rename(&partial, path)?;
    // The name, too, is on disk then.
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}

fn write_all(
    path: &Path,
    head: &SnapshotHeader,
    key: &Key,
    frames: impl Iterator<Item = Vec<u8>>,
) -> Result<(), SnapshotError> {
    let _ = std::fs::remove_file(path);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = BufWriter::with_capacity(1 << 20, options.open(path)?);
    let head = serde_json::to_vec(head).map_err(std::io::Error::from)?;
    out.write_all(MAGIC)?;
    out.write_all(&(head.len() as u32).to_le_bytes())?;
    out.write_all(&head)?;
    let sealer = Sealer::new(key);
    for (at, frame) in frames.enumerate() {
        let frame = Zeroizing::new(frame);
        let sealed = sealer.seal_bytes(&place(&head, at), &frame).map_err(std::io::Error::other)?;
        out.write_all(&(sealed.len() as u32).to_le_bytes())?;
        out.write_all(&sealed)?;
    }
    let file = out.into_inner().map_err(|error| SnapshotError::Io(error.into_error()))?;
    file.sync_all()?;
    Ok(())
}

/// A snapshot file that was opened; its head is read.
#[derive(Debug)]
pub struct SnapshotReader {
    head: SnapshotHeader,
    bytes: Vec<u8>,
    file: BufReader<File>,
}

impl SnapshotReader {
    /// Opens a snapshot.
    ///
    /// # Errors
    /// When the file is not there or its head cannot be read.
    pub fn open(path: &Path) -> Result<Self, SnapshotError> {
        let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic).map_err(cut_off)?;
        if magic != *MAGIC {
            return Err(SnapshotError::Damaged);
        }
        let bytes = part(&mut file)?;
        let head = serde_json::from_slice(&bytes).map_err(|_| SnapshotError::Damaged)?;
        Ok(Self { head, bytes, file })
    }

    /// What it says that it is of. Nothing proves it but a frame that opens.
    pub fn header(&self) -> &SnapshotHeader {
        &self.head
    }

    /// The frames, as many as the head says. After the first that does not open none does.
    pub fn frames(mut self, key: &Key) -> impl Iterator<Item = Result<Vec<u8>, SnapshotError>> + use<> {
        let sealer = Sealer::new(key);
        let mut whole = true;
        (0..self.head.frames).map(move |at| {
            let sealed = if whole { part(&mut self.file) } else { Err(SnapshotError::Damaged) };
            let frame = sealed.and_then(|sealed| {
                let plain = sealer.open_bytes(&place(&self.bytes, at), &sealed).map_err(|_| SnapshotError::Damaged);
                plain.map(|mut plain| std::mem::take(&mut *plain))
            });
            whole = frame.is_ok();
            frame
        })
    }
}

/// A length and so many bytes.
fn part(file: &mut impl Read) -> Result<Vec<u8>, SnapshotError> {
    let mut length = [0; 4];
    file.read_exact(&mut length).map_err(cut_off)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_PART_BYTES {
        return Err(SnapshotError::Damaged);
    }
    // Grows with what is really there, whatever the length says.
    let mut bytes = Vec::with_capacity(length.min(1 << 20));
    let read = file.take(length as u64).read_to_end(&mut bytes)?;
    if read == length { Ok(bytes) } else { Err(SnapshotError::Damaged) }
}

fn cut_off(error: std::io::Error) -> SnapshotError {
    if error.kind() == std::io::ErrorKind::UnexpectedEof { SnapshotError::Damaged } else { SnapshotError::Io(error) }
}
