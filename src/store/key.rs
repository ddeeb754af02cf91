//! The sealing key, and where it is kept.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Names a sealing key without telling it: the beginning of a digest of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct KeyId(pub(super) [u8; KeyId::BYTES]);

impl KeyId {
    pub(super) const BYTES: usize = 4;
}

/// A 256-bit sealing key. Wiped from memory when dropped; shows nothing.
#[derive(Clone)]
pub struct Key(pub(super) Zeroizing<[u8; 32]>);

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
    pub(super) fn id(&self) -> KeyId {
        let digest = Sha256::new().chain_update(b"semblance sealing key id").chain_update(self.0.as_ref()).finalize();
        let mut id = [0; KeyId::BYTES];
        id.copy_from_slice(&digest[..KeyId::BYTES]);
        KeyId(id)
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

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

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
