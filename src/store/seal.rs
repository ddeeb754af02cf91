//! Embeddings sealed at rest.
//!
//! A stored template can be turned back into a face good enough to fool another matcher, so it is
//! never written plain. Each sample is sealed with AES-256-GCM under a random nonce; the associated
//! data names application, template, sample and model, so a row that was moved does not open.
//!
//! Format: version (1 byte), key id (4), nonce (12), ciphertext of the f32 little-endian numbers, tag.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::SnapshotId;
use crate::domain::{AppId, Embedding, ModelTag, SampleId, TemplateId};

const VERSION: u8 = 1;
const KEY_ID: usize = 4;
const NONCE: usize = 12;
const HEAD: usize = 1 + KEY_ID + NONCE;

const KNOWN_TEXT: &[u8] = b"semblance";

/// A 256-bit sealing key. Wiped from memory when dropped; shows nothing.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; 32]>);

/// Why there is no sealing key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A text that is not a key.
    #[error("a sealing key is 64 hex digits")]
    Shape,
    /// The key file cannot be read or made.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The machine has no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// Reads a key as text: 64 hex digits, white space around them allowed.
    ///
    /// # Errors
    /// [`KeyError::Shape`].
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let digits = text.trim().as_bytes();
        if digits.len() != 64 {
            return Err(KeyError::Shape);
        }
        let mut key = Zeroizing::new([0u8; 32]);
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| pair.get(at).and_then(|d| char::from(*d).to_digit(16)).ok_or(KeyError::Shape);
            *byte = (digit(0)? * 16 + digit(1)?) as u8;
        }
        Ok(Self(key))
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// When it cannot be read or holds no key.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = std::fs::read_to_string(path).map_err(|source| KeyError::File { path: path.to_owned(), source })?;
        Self::from_text(&Zeroizing::new(text))
    }

    /// Makes a random key and writes it to a new file that only its owner can read. The file is
    /// whole and on disk when this returns, or it is not there.
    ///
    /// # Errors
    /// When the file exists or cannot be written, or there are no random numbers.
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        let key = Self::random()?;
        let text: Zeroizing<String> = Zeroizing::new(key.0.iter().map(|b| format!("{b:02x}")).collect());
        write_private(path, text.as_bytes()).map_err(|source| KeyError::File { path: path.to_owned(), source })?;
        Ok(key)
    }

    /// Makes a random key.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub(super) fn random() -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0u8; 32]);
        getrandom::fill(key.as_mut()).map_err(|_| KeyError::Random)?;
        Ok(Self(key))
    }

    /// Another key for another purpose: the digest of a label and this one (one-way, as HKDF's use of
    /// a hash; both lengths are fixed, so nothing can be extended).
    pub(super) fn derived(&self, label: &'static [u8; 17]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(Sha256::new().chain_update(label).chain_update(self.0.as_ref()).finalize().into())
    }

    /// Names the key without telling it.
    fn id(&self) -> [u8; KEY_ID] {
        let digest = Sha256::new().chain_update(b"semblance sealing key id").chain_update(self.0.as_ref()).finalize();
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&digest[..KEY_ID]);
        id
    }
}

/// Writes a new file of mode 0600 by way of a temporary one: never half there, never over another.
fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let partial = path.with_extension(format!("part-{}", uuid::Uuid::new_v4()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&partial).and_then(|mut file| {
        file.write_all(content)?;
        file.write_all(b"\n")?;
        file.sync_all()
    });
    // A link fails when the name is taken, so of two servers that start at once one key wins.
    let linked = written.and_then(|()| std::fs::hard_link(&partial, path));
    let _ = std::fs::remove_file(&partial);
    linked?;
    std::fs::File::open(dir)?.sync_all()
}

/// What a sealed embedding belongs to: it opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) app: &'a AppId,
    pub(super) template: &'a TemplateId,
    pub(super) sample: SampleId,
    pub(super) model: &'a ModelTag,
}

impl Place<'_> {
    fn associated_data(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(160);
        for part in [self.app.as_str(), self.template.as_str(), self.model.as_str()] {
            // With its length before it, no two places read the same.
            data.extend_from_slice(&(part.len() as u64).to_le_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data.extend_from_slice(self.sample.0.as_bytes());
        data
    }
}

fn key_place(app: &AppId, id: SnapshotId) -> Vec<u8> {
    [b"snapshot key ", id.0.as_bytes().as_slice(), app.as_str().as_bytes()].concat()
}

/// What could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SealError {
    #[error("an unknown format")]
    Format,
    #[error("sealed with another key")]
    OtherKey,
    #[error("changed, or moved to another place")]
    Damaged,
    #[error("the system gives no random numbers")]
    Random,
}

/// Seals and opens.
pub(super) struct Sealer {
    journal_key: Zeroizing<[u8; 32]>,
    cipher: Aes256Gcm,
    key_id: [u8; KEY_ID],
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl Sealer {
    pub(super) fn new(key: &Key) -> Self {
        Self {
            journal_key: key.derived(b"semblance journal"),
            cipher: Aes256Gcm::new((&*key.0).into()),
            key_id: key.id(),
        }
    }

    pub(super) fn journal_key(&self) -> Zeroizing<[u8; 32]> {
        self.journal_key.clone()
    }

    pub(super) fn seal(&self, place: &Place<'_>, embedding: &Embedding) -> Result<Vec<u8>, SealError> {
        let plain: Zeroizing<Vec<u8>> =
            Zeroizing::new(embedding.values().iter().flat_map(|v| v.to_le_bytes()).collect());
        self.seal_bytes(&place.associated_data(), &plain)
    }

    pub(super) fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Embedding, SealError> {
        let plain = Zeroizing::new(self.open_bytes(&place.associated_data(), sealed)?);
        let (numbers, rest) = plain.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(SealError::Format);
        }
        let values: Zeroizing<Vec<f32>> = Zeroizing::new(numbers.iter().map(|b| f32::from_le_bytes(*b)).collect());
        Embedding::new(&values, place.model.clone()).map_err(|_| SealError::Format)
    }

    /// Seals the key of a snapshot.
    pub(super) fn seal_key(&self, app: &AppId, id: SnapshotId, key: &Key) -> Result<Vec<u8>, SealError> {
        self.seal_bytes(&key_place(app, id), key.0.as_ref())
    }

    pub(super) fn open_key(&self, app: &AppId, id: SnapshotId, sealed: &[u8]) -> Result<Key, SealError> {
        let plain = Zeroizing::new(self.open_bytes(&key_place(app, id), sealed)?);
        plain.as_slice().try_into().map(|key| Key(Zeroizing::new(key))).map_err(|_| SealError::Format)
    }

    /// A known text, sealed: what opens it is the same key.
    pub(super) fn check(&self) -> Result<Vec<u8>, KeyError> {
        self.seal_bytes(KNOWN_TEXT, KNOWN_TEXT).map_err(|_| KeyError::Random)
    }

    pub(super) fn opens_check(&self, sealed: &[u8]) -> bool {
        self.open_bytes(KNOWN_TEXT, sealed).is_ok_and(|text| text == KNOWN_TEXT)
    }

    pub(super) fn seal_bytes(&self, aad: &[u8], msg: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0u8; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| SealError::Random)?;
        let body = self.cipher.encrypt(&Nonce::from(nonce), Payload { msg, aad }).map_err(|_| SealError::Damaged)?;
        let mut sealed = Vec::with_capacity(HEAD + body.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.key_id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    pub(super) fn open_bytes(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (head, msg) = sealed.split_first_chunk::<HEAD>().ok_or(SealError::Format)?;
        let [VERSION, rest @ ..] = head else { return Err(SealError::Format) };
        let (key_id, nonce) = rest.split_at(KEY_ID);
        if key_id != self.key_id {
            return Err(SealError::OtherKey);
        }
        let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| SealError::Format)?;
        self.cipher.decrypt(&Nonce::from(nonce), Payload { msg, aad }).map_err(|_| SealError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn place<'a>(app: &'a AppId, template: &'a TemplateId, model: &'a ModelTag) -> Place<'a> {
        Place { app, template, sample: SampleId(uuid::Uuid::from_u128(7)), model }
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_only() {
        let sealer = Sealer::new(&Key::from_text(KEY).unwrap());
        let (app, other): (AppId, AppId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let (template, model) = ("t".parse().unwrap(), ModelTag::new("m"));
        let embedding = Embedding::new(&[0.1, -0.7, 0.3], model.clone()).unwrap();
        let here = place(&app, &template, &model);
        let sealed = sealer.seal(&here, &embedding).unwrap();
        assert_eq!(sealer.open(&here, &sealed), Ok(embedding.clone()));
        assert_ne!(sealed, sealer.seal(&here, &embedding).unwrap(), "a nonce is never used twice");
        assert!(!sealed.windows(4).any(|w| w == embedding.values()[0].to_le_bytes()));
        assert_eq!(sealer.open(&place(&other, &template, &model), &sealed), Err(SealError::Damaged));
        let moved = Place { sample: SampleId(uuid::Uuid::from_u128(8)), ..here };
        assert_eq!(sealer.open(&moved, &sealed), Err(SealError::Damaged));
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(sealer.open(&here, &flipped).is_err(), "byte {at}");
            assert!(sealer.open(&here, &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn another_key_is_told_from_damage() {
        let (one, two) = (Key::from_text(KEY).unwrap(), Key::from_text(&KEY.replace('0', "f")).unwrap());
        let sealed = Sealer::new(&one).seal_bytes(b"x", b"text").unwrap();
        assert_eq!(Sealer::new(&two).open_bytes(b"x", &sealed), Err(SealError::OtherKey));
    }

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sealing.key");
        let made = Key::create(&path).unwrap();
        assert_eq!(Key::load(&path).unwrap().id(), made.id());
        assert!(Key::create(&path).is_err());
        assert_eq!(Key::load(&path).unwrap().id(), made.id());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left lying about");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_text_that_is_no_key_is_refused() {
        for text in ["", "abc", &KEY[1..], &KEY.replace('a', "g"), &format!("{KEY}00")] {
            assert!(Key::from_text(text).is_err());
        }
        assert!(Key::from_text(&format!(" {KEY}\n")).is_ok());
    }
}
