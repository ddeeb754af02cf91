//! Seals the cursors of pages: a cursor may hold a name, so a client sees only sealed bytes.

use std::fmt;

use aes_gcm::Aes256Gcm;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::key::Key;
use super::seal::{cipher, decrypt, encrypt};
use crate::domain::RandomError;

/// The version of the format.
const VERSION: u8 = 1;

/// The bytes that name the key.
const KEY_NAME: usize = 4;

/// A cursor that this database did not make, or not for this use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is foreign, altered, or of another use")]
pub struct CursorError;

/// The key that seals cursors.
#[derive(Clone)]
pub struct CursorKey {
    cipher: Aes256Gcm,
    name: [u8; KEY_NAME],
}

impl fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorKey(..)")
    }
}

impl CursorKey {
    pub(super) fn new(key: &Key) -> Self {
        let digest: [u8; 32] = Sha256::digest(key.0.as_ref()).into();
        Self { cipher: cipher(key), name: [digest[0], digest[1], digest[2], digest[3]] }
    }

    /// A random key, for one process.
    ///
    /// # Errors
    /// [`RandomError`] when the operating system returns no random bytes.
    pub fn random() -> Result<Self, RandomError> {
        Key::random().map(|key| Self::new(&key)).map_err(|_| RandomError)
    }

    /// Seals a text for one use. The use is not part of the result.
    ///
    /// # Errors
    /// [`RandomError`] when the operating system returns no random bytes.
    pub fn seal(&self, usage: &[u8], text: &[u8]) -> Result<Vec<u8>, RandomError> {
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&self.name);
        encrypt(&self.cipher, usage, text, &mut sealed).map_err(|_| RandomError)?;
        Ok(sealed)
    }

    /// Opens what was sealed for a use.
    ///
    /// # Errors
    /// [`CursorError`] when it was not.
    pub fn open(&self, usage: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CursorError> {
        let [VERSION, rest @ ..] = sealed else { return Err(CursorError) };
        let rest = rest.strip_prefix(&self.name).ok_or(CursorError)?;
        decrypt(&self.cipher, usage, rest).map_err(|_| CursorError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_opens_for_its_use_only() {
        let key = CursorKey::random().unwrap();
        let sealed = key.seal(b"people", b"Ada").unwrap();
        assert_eq!(key.open(b"people", &sealed).unwrap().as_slice(), b"Ada");
        assert_ne!(key.seal(b"people", b"Ada").unwrap(), sealed, "no nonce is used twice");
        assert!(!sealed.windows(3).any(|window| window == b"Ada"));
        assert_eq!(key.open(b"groups", &sealed), Err(CursorError));
        assert_eq!(CursorKey::random().unwrap().open(b"people", &sealed), Err(CursorError));
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert_eq!(key.open(b"people", &flipped), Err(CursorError), "byte {at}");
            assert_eq!(key.open(b"people", &sealed[..at]), Err(CursorError), "cut at {at}");
        }
    }
}
