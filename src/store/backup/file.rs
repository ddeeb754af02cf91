//! The file of a backup: a header in clear text, then sealed chunks.
//!
//! The content is sealed under a random key of the file, and that key under the active sealing key. Header, position
//! and whether a chunk is the last one are the associated data of each chunk; so chunks that were changed, exchanged,
//! left out, added or taken from another file do not open, and a file that was cut off is noticed.
//!
//! Format: seven magic bytes and the version of the format (1 byte); the length of the header (u32, little-endian) and
//! the header as JSON; then for each chunk whether it is the last (1 byte), its length (u32) and the sealed bytes (see
//! `seal.rs`). The content is a stream of records (see `record.rs`).

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::error::{BackupError, BrokenSeal};
use super::record::Record;
use super::{About, RecordSource, RowCounts};
use crate::store::key::Key;
use crate::store::seal::{Sealer, sealed_under};

const MAGIC: &[u8; 7] = b"smblbak";
const FORMAT: u8 = 1;
const MAX_HEADER_BYTES: usize = 1 << 20;
const CHUNK_BYTES: usize = 64 << 10;
/// A chunk, and what sealing adds.
const MAX_SEALED_BYTES: usize = CHUNK_BYTES + 1024;

/// What a backup is, in clear text. A reader ignores fields that it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupHeader {
    /// The id of the backup.
    pub id: Uuid,
    /// The id of the database, which the restored one keeps.
    pub database: Uuid,
    /// When its state was read (RFC 3339, UTC).
    pub created_at: String,
    /// The version of Semblance that made it.
    pub product: String,
    /// The newest migration of the database.
    pub schema: i64,
    /// The ids of the sealing keys that it needs.
    pub keys: Vec<String>,
    /// The key of the file, sealed, in hex digits.
    file_key: String,
}

/// The associated data of the sealed key of a file.
fn file_key_aad(id: Uuid) -> Vec<u8> {
    [b"backup key ".as_slice(), id.as_bytes()].concat()
}

/// The associated data of a chunk.
fn chunk_aad(header_digest: &[u8], at: u64, is_last: bool) -> Vec<u8> {
    let mut aad = header_digest.to_vec();
    aad.extend_from_slice(&at.to_le_bytes());
    aad.push(u8::from(is_last));
    aad
}

/// A new key for a file, sealed under the active sealing key.
pub(in crate::store) fn new_file_key(active: &Sealer, id: Uuid) -> Result<(Key, Vec<u8>), BackupError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| BackupError::Io(std::io::Error::other(error));
    let key = Key::random().map_err(|error| failed(Box::new(error)))?;
    let sealed = active.seal_bytes(&file_key_aad(id), key.0.as_ref()).map_err(|error| failed(Box::new(error)))?;
    Ok((key, sealed))
}

/// Writes a backup.
pub struct BackupWriter<W> {
    out: W,
    sealer: Sealer,
    header_digest: Vec<u8>,
    chunk: Zeroizing<Vec<u8>>,
    chunks: u64,
}

impl<W: Write> BackupWriter<W> {
    /// Begins a backup and writes its header.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn begin(mut out: W, about: &About) -> Result<Self, BackupError> {
        let header = BackupHeader {
            id: about.id,
            database: about.database,
            created_at: about.created_at.clone(),
            product: env!("CARGO_PKG_VERSION").to_owned(),
            schema: about.schema,
            keys: about.keys.iter().map(ToString::to_string).collect(),
            file_key: hex::encode(&about.sealed_file_key),
        };
        let header = serde_json::to_vec(&header).map_err(std::io::Error::from)?;
        out.write_all(MAGIC)?;
        out.write_all(&[FORMAT])?;
        out.write_all(&(header.len() as u32).to_le_bytes())?;
        out.write_all(&header)?;
        Ok(Self {
            out,
            sealer: Sealer::new(&about.file_key),
            header_digest: Sha256::digest(&header).to_vec(),
            chunk: Zeroizing::new(Vec::with_capacity(2 * CHUNK_BYTES)),
            chunks: 0,
        })
    }

    /// Writes a record.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn write(&mut self, record: &Record) -> Result<(), BackupError> {
        record.write(&mut self.chunk)?;
        while self.chunk.len() > CHUNK_BYTES {
            self.seal(CHUNK_BYTES, false)?;
        }
        Ok(())
    }

    /// Writes the last chunk and returns the output.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn finish(mut self) -> Result<W, BackupError> {
        self.seal(self.chunk.len(), true)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn seal(&mut self, length: usize, is_last: bool) -> Result<(), BackupError> {
        let rest = self.chunk.split_off(length);
        let aad = chunk_aad(&self.header_digest, self.chunks, is_last);
        let sealed = self.sealer.seal_bytes(&aad, &self.chunk).map_err(std::io::Error::other)?;
        self.out.write_all(&[u8::from(is_last)])?;
        self.out.write_all(&(sealed.len() as u32).to_le_bytes())?;
        self.out.write_all(&sealed)?;
        self.chunk = Zeroizing::new(rest);
        self.chunks += 1;
        Ok(())
    }
}

/// A backup whose header is read. Only [`BackupFile::unlock`] proves the header.
pub struct BackupFile<R> {
    header: BackupHeader,
    header_digest: Vec<u8>,
    input: R,
}

impl<R: Read> BackupFile<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// When the input is no backup, or one of a later format.
    pub fn open(mut input: R) -> Result<Self, BackupError> {
        let mut magic = [0; MAGIC.len() + 1];
        input.read_exact(&mut magic).map_err(|error| match BackupError::from(error) {
            BackupError::CutOff => BackupError::Foreign,
            error => error,
        })?;
        match magic {
            [magic @ .., FORMAT] if magic == *MAGIC => {}
            [magic @ .., format] if magic == *MAGIC => return Err(BackupError::Format(format)),
            _ => return Err(BackupError::Foreign),
        }
        let bytes = part(&mut input, MAX_HEADER_BYTES)?;
        let header = serde_json::from_slice(&bytes).map_err(|_| BackupError::Damaged)?;
        Ok(Self { header, header_digest: Sha256::digest(&bytes).to_vec(), input })
    }

    /// The header.
    pub fn header(&self) -> &BackupHeader {
        &self.header
    }

    /// Opens the content with the sealing keys, all of which have to be given.
    ///
    /// # Errors
    /// [`BackupError::KeysMissing`], or when the key of the file does not open.
    pub fn unlock(self, keys: &[Key]) -> Result<BackupReader<R>, BackupError> {
        let sealed = hex::decode(&self.header.file_key).map_err(|_| BackupError::Damaged)?;
        let opens = sealed_under(&sealed).map_err(|_| BackupError::Damaged)?;
        let given: Vec<String> = keys.iter().map(|key| key.id().to_string()).collect();
        let mut needed = self.header.keys.clone();
        needed.push(opens.to_string());
        needed.sort();
        needed.dedup();
        let missing: Vec<&str> = needed.iter().filter(|id| !given.contains(id)).map(String::as_str).collect();
        let key = keys.iter().find(|key| key.id() == opens);
        let (Some(key), true) = (key, missing.is_empty()) else {
            return Err(BackupError::KeysMissing {
                missing: missing.join(", "),
                needed: needed.join(", "),
                given: if given.is_empty() { "none".to_owned() } else { given.join(", ") },
            });
        };
        let file_key = Sealer::new(key).open_key(&file_key_aad(self.header.id), &sealed);
        let file_key = file_key.map_err(|_| BackupError::Damaged)?;
        let content = Content {
            input: self.input,
            sealer: Sealer::new(&file_key),
            header_digest: self.header_digest,
            chunk: Zeroizing::default(),
            read: 0,
            chunks: 0,
            is_over: false,
        };
        Ok(BackupReader { content, table: String::new(), counts: RowCounts::new(), has_ended: false })
    }
}

/// Reads a length and that many bytes.
fn part(input: &mut impl Read, max_bytes: usize) -> Result<Vec<u8>, BackupError> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > max_bytes {
        return Err(BackupError::Damaged);
    }
    let mut bytes = Vec::with_capacity(length.min(CHUNK_BYTES));
    if input.take(length as u64).read_to_end(&mut bytes)? == length { Ok(bytes) } else { Err(BackupError::CutOff) }
}

/// The opened chunks, as one stream.
struct Content<R> {
    input: R,
    sealer: Sealer,
    header_digest: Vec<u8>,
    chunk: Zeroizing<Vec<u8>>,
    /// How much of the chunk is read.
    read: usize,
    chunks: u64,
    is_over: bool,
}

impl<R: Read> Content<R> {
    fn next_chunk(&mut self) -> Result<(), BackupError> {
        let mut last = [0];
        self.input.read_exact(&mut last)?;
        let is_last = match last {
            [0] => false,
            [1] => true,
            _ => return Err(BackupError::Damaged),
        };
        let sealed = part(&mut self.input, MAX_SEALED_BYTES)?;
        let aad = chunk_aad(&self.header_digest, self.chunks, is_last);
        self.chunk = self.sealer.open_bytes(&aad, &sealed).map_err(|_| BackupError::Damaged)?;
        self.read = 0;
        self.chunks += 1;
        self.is_over = is_last;
        if is_last && self.input.read(&mut [0])? != 0 {
            return Err(BackupError::Damaged);
        }
        Ok(())
    }
}

impl<R: Read> Read for Content<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.read == self.chunk.len() && !self.is_over {
            self.next_chunk().map_err(|error| match error {
                BackupError::Io(error) => error,
                BackupError::CutOff => std::io::ErrorKind::UnexpectedEof.into(),
                _ => std::io::Error::other(BrokenSeal),
            })?;
        }
        let count = (&self.chunk[self.read..]).read(buffer)?;
        self.read += count;
        Ok(count)
    }
}

/// The records of a backup.
pub struct BackupReader<R> {
    content: Content<R>,
    /// The present table.
    table: String,
    /// The rows so far.
    counts: RowCounts,
    has_ended: bool,
}

impl<R: Read> BackupReader<R> {
    /// The next record; `None` after the end. The end is the last thing in an intact file.
    ///
    /// # Errors
    /// When the file is damaged, cut off, or of a later version.
    pub fn next_record(&mut self) -> Result<Option<Record>, BackupError> {
        if self.has_ended {
            return Ok(None);
        }
        let record = Record::read(&mut self.content)?;
        match &record {
            Record::Table(table) => {
                self.table.clone_from(&table.name);
                self.counts.insert(table.name.clone(), 0);
            }
            Record::Row(_) => *self.counts.get_mut(&self.table).ok_or(BackupError::Damaged)? += 1,
            Record::End(counts) => {
                self.has_ended = true;
                // Opens what is left, so that the whole file is proven.
                if self.content.read(&mut [0])? != 0 || *counts != self.counts {
                    return Err(BackupError::Damaged);
                }
            }
        }
        Ok(Some(record))
    }
}

#[async_trait::async_trait]
impl<R: Read + Send> RecordSource for BackupReader<R> {
    async fn next(&mut self) -> Result<Option<Record>, BackupError> {
        self.next_record()
    }
}
