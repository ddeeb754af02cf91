//! Snapshot files: a gallery at one revision, sealed, so that a start does not read every row.
//!
//! A file is valid only while the database has its key ([`SnapshotStore`](super::SnapshotStore)). Its header names the
//! gallery in clear text. Header and position are the associated data of each frame, so frames that were changed,
//! exchanged, left out or taken from another file do not open.
//!
//! Format: eight magic bytes; the length of the header (u32, little-endian) and the header as JSON; then for each frame
//! its length (u32) and the sealed bytes (see `seal.rs`).

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::key::Key;
use super::record::SnapshotId;
use super::seal::Sealer;
use crate::domain::Revision;

/// First bytes of a file; the last one is the version of the format.
const MAGIC: &[u8; 8] = b"smblnce\x02";

/// The extension of a file that is being written.
pub const PARTIAL_EXTENSION: &str = "part";

/// The longest header or frame: 256 MiB, for rows of any size.
const MAX_PART_BYTES: usize = 256 << 20;

/// What a snapshot contains.
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
    /// The header of a snapshot.
    pub fn new(id: SnapshotId, app: &str, model: &str, revision: Revision, frames: usize) -> Self {
        Self { id: id.0, app: app.to_owned(), model: model.to_owned(), revision: revision.0, frames }
    }

    /// The id of the snapshot.
    pub fn id(&self) -> SnapshotId {
        SnapshotId(self.id)
    }

    /// The revision it shows.
    pub fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    /// Whether the snapshot is of this application and model.
    pub fn matches(&self, app: &str, model: &str) -> bool {
        self.app == app && self.model == model
    }
}

/// The associated data of a frame: it opens only in its file, at its position.
fn frame_aad(header: &[u8], at: usize) -> Vec<u8> {
    let mut aad = Sha256::digest(header).to_vec();
    aad.extend_from_slice(&(at as u64).to_le_bytes());
    aad
}

/// Writes a snapshot. It is complete and on disk when this returns.
///
/// # Errors
/// When the file cannot be written. A previous file of that name stays.
pub fn write(
    path: &Path,
    header: &SnapshotHeader,
    key: &Key,
    frames: impl Iterator<Item = Vec<u8>>,
) -> Result<(), SnapshotError> {
    let partial = path.with_extension(PARTIAL_EXTENSION);
    let written = write_all(&partial, header, key, frames);
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    written?;
    std::fs::rename(&partial, path)?;
    // Puts the name on disk.
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}

fn write_all(
    path: &Path,
    header: &SnapshotHeader,
    key: &Key,
    frames: impl Iterator<Item = Vec<u8>>,
) -> Result<(), SnapshotError> {
    let _ = std::fs::remove_file(path);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = BufWriter::with_capacity(1 << 20, options.open(path)?);
    let header = serde_json::to_vec(header).map_err(std::io::Error::from)?;
    out.write_all(MAGIC)?;
    out.write_all(&(header.len() as u32).to_le_bytes())?;
    out.write_all(&header)?;
    let sealer = Sealer::new(key);
    for (at, frame) in frames.enumerate() {
        let frame = Zeroizing::new(frame);
        let sealed = sealer.seal_bytes(&frame_aad(&header, at), &frame).map_err(std::io::Error::other)?;
        out.write_all(&(sealed.len() as u32).to_le_bytes())?;
        out.write_all(&sealed)?;
    }
    let file = out.into_inner().map_err(|error| SnapshotError::Io(error.into_error()))?;
    file.sync_all()?;
    Ok(())
}

/// An open snapshot file, whose header is read.
#[derive(Debug)]
pub struct SnapshotReader {
    header: SnapshotHeader,
    bytes: Vec<u8>,
    file: BufReader<File>,
}

impl SnapshotReader {
    /// Opens a snapshot.
    ///
    /// # Errors
    /// When the file does not exist or its header cannot be read.
    pub fn open(path: &Path) -> Result<Self, SnapshotError> {
        let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic).map_err(cut_off)?;
        if magic != *MAGIC {
            return Err(SnapshotError::Damaged);
        }
        let bytes = part(&mut file)?;
        let header = serde_json::from_slice(&bytes).map_err(|_| SnapshotError::Damaged)?;
        Ok(Self { header, bytes, file })
    }

    /// The header. Only a frame that opens proves it.
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// As many frames as the header says. After the first frame that does not open, none does.
    pub fn frames(mut self, key: &Key) -> impl Iterator<Item = Result<Vec<u8>, SnapshotError>> + use<> {
        let sealer = Sealer::new(key);
        let mut intact = true;
        (0..self.header.frames).map(move |at| {
            let sealed = if intact { part(&mut self.file) } else { Err(SnapshotError::Damaged) };
            let frame = sealed.and_then(|sealed| {
                let plain = sealer.open_bytes(&frame_aad(&self.bytes, at), &sealed).map_err(|_| SnapshotError::Damaged);
                plain.map(|mut plain| std::mem::take(&mut *plain))
            });
            intact = frame.is_ok();
            frame
        })
    }
}

/// Reads a length and that many bytes.
fn part(file: &mut impl Read) -> Result<Vec<u8>, SnapshotError> {
    let mut length = [0; 4];
    file.read_exact(&mut length).map_err(cut_off)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_PART_BYTES {
        return Err(SnapshotError::Damaged);
    }
    // Grows with the bytes that are there, not with the length that the file claims.
    let mut bytes = Vec::with_capacity(length.min(1 << 20));
    let read = file.take(length as u64).read_to_end(&mut bytes)?;
    if read == length { Ok(bytes) } else { Err(SnapshotError::Damaged) }
}

fn cut_off(error: std::io::Error) -> SnapshotError {
    if error.kind() == std::io::ErrorKind::UnexpectedEof { SnapshotError::Damaged } else { SnapshotError::Io(error) }
}
