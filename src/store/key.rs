//! Sealing keys, and the file that holds them.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::domain::{fill_random, random_uuid};

/// Identifies a sealing key without revealing it: the beginning of its digest, displayed as eight hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub(super) [u8; KeyId::BYTES]);

impl KeyId {
    pub(super) const BYTES: usize = 4;
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let digits = text.len() == 2 * Self::BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u32::from_str_radix(text, 16).ok().filter(|_| digits);
        number.map(|number| Self(number.to_be_bytes())).ok_or(KeyError::IdShape)
    }
}

/// A 256-bit sealing key. It is wiped from memory when it is dropped, and `Debug` does not show it.
#[derive(Clone)]
pub struct Key(pub(super) Zeroizing<[u8; 32]>);

/// Why a sealing key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is not a key.
    #[error("a sealing key is 64 hex digits; several keys are separated by white space")]
    Shape,
    /// The text is not the id of a key.
    #[error("the id of a sealing key is 8 hex digits")]
    IdShape,
    /// The key file cannot be read or created.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process is changing the key file.
    #[error("{0}: another command is changing the keys; try again when it has ended")]
    Busy(PathBuf),
    /// The file does not contain the key.
    #[error("there is no key {0}")]
    Unknown(KeyId),
    /// The operating system returned no random bytes.
    #[error("the operating system returned no random bytes")]
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
        let mut key = Zeroizing::new([0u8; 32]);
        hex::decode_to_slice(text.trim(), key.as_mut()).map_err(|_| KeyError::Shape)?;
        Ok(Self(key))
    }

    /// Reads one or more keys, oldest first, separated by white space.
    ///
    /// # Errors
    /// [`KeyError::Shape`], also when the text is empty.
    pub fn all_from_text(text: &str) -> Result<Vec<Self>, KeyError> {
        let keys: Vec<Self> = text.split_whitespace().map(Self::from_text).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(KeyError::Shape) } else { Ok(keys) }
    }

    fn hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.as_ref()))
    }

    /// Makes a random key.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub(super) fn random() -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0u8; 32]);
        fill_random(key.as_mut()).map_err(|_| KeyError::Random)?;
        Ok(Self(key))
    }

    /// Derives a key for another purpose: the digest of a label and this key. It is one-way, as in HKDF; both lengths are
    /// fixed, so nothing can be extended.
    pub(super) fn derived(&self, label: &'static [u8; 17]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(Sha256::new().chain_update(label).chain_update(self.0.as_ref()).finalize().into())
    }

    /// The id of the key.
    pub fn id(&self) -> KeyId {
        let digest = Sha256::new().chain_update(b"semblance sealing key id").chain_update(self.0.as_ref()).finalize();
        let mut id = [0; KeyId::BYTES];
        id.copy_from_slice(&digest[..KeyId::BYTES]);
        KeyId(id)
    }
}

/// A file with sealing keys, one a line, oldest first. Only its owner can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile(PathBuf);

/// A [`KeyFile`] that no other command can change.
#[derive(Debug)]
pub struct LockedKeyFile<'a> {
    file: &'a KeyFile,
    _lock: File,
}

impl KeyFile {
    /// The file at a path. It need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether users other than its owner can read it. A secret of a container, in `/run/secrets`, counts as private.
    pub fn is_exposed(&self) -> bool {
        #[cfg(unix)]
        let readable = std::fs::metadata(&self.0)
            .is_ok_and(|found| std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o077 != 0);
        #[cfg(not(unix))]
        let readable = false;
        readable && !self.0.starts_with("/run/secrets")
    }

    fn failed(&self) -> impl FnOnce(std::io::Error) -> KeyError {
        let path = self.0.clone();
        move |source| KeyError::File { path, source }
    }

    /// Its keys.
    ///
    /// # Errors
    /// When it cannot be read, or contains something else.
    pub fn load(&self) -> Result<Vec<Key>, KeyError> {
        let text = Zeroizing::new(std::fs::read_to_string(&self.0).map_err(self.failed())?);
        Key::all_from_text(&text)
    }

    /// Creates it with a random key. It is complete and on disk when this returns, or does not exist.
    ///
    /// # Errors
    /// When it exists or cannot be written, or there are no random bytes.
    pub fn create(&self) -> Result<Key, KeyError> {
        let key = Key::random()?;
        // A link fails when the name is taken, so of two servers that start at once one creates the file.
        write_private(&self.0, std::slice::from_ref(&key), |partial, path| std::fs::hard_link(partial, path))
            .map_err(self.failed())?;
        Ok(key)
    }

    /// Keeps other commands from changing it until the lock is dropped.
    ///
    /// # Errors
    /// [`KeyError::Busy`], or when the lock file cannot be created beside it.
    pub fn lock(&self) -> Result<LockedKeyFile<'_>, KeyError> {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let path = self.0.with_added_extension("lock");
        let lock = options.open(&path).map_err(self.failed())?;
        // Root must not leave a lock file that the owner of the keys cannot open. Others cannot give a file away.
        if let Ok(keys) = std::fs::metadata(&self.0) {
            let _ = copy_ownership(&keys, &path);
        }
        match lock.try_lock() {
            Ok(()) => Ok(LockedKeyFile { file: self, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(KeyError::Busy(self.0.clone())),
            Err(TryLockError::Error(error)) => Err(self.failed()(error)),
        }
    }
}

impl LockedKeyFile<'_> {
    /// Appends a random key.
    ///
    /// # Errors
    /// When the file cannot be read or written, or there are no random bytes. The file is then unchanged.
    pub fn add(&self) -> Result<Key, KeyError> {
        let mut keys = self.file.load()?;
        let key = Key::random()?;
        keys.push(key.clone());
        self.replace(&keys)?;
        Ok(key)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// When it does not exist, or the file cannot be read or written. The file is then unchanged.
    pub fn remove(&self, id: KeyId) -> Result<(), KeyError> {
        let mut keys = self.file.load()?;
        let before = keys.len();
        keys.retain(|key| key.id() != id);
        if keys.len() == before {
            return Err(KeyError::Unknown(id));
        }
        self.replace(&keys)
    }

    /// Owner, group and mode stay: a server that runs as another user must still be able to read the file.
    fn replace(&self, keys: &[Key]) -> Result<(), KeyError> {
        let replaced = || {
            // A link stays a link.
            let path = std::fs::canonicalize(&self.file.0)?;
            let before = std::fs::metadata(&path)?;
            write_private(&path, keys, |partial, path| {
                copy_ownership(&before, partial)?;
                std::fs::rename(partial, path)
            })
        };
        replaced().map_err(self.file.failed())
    }
}

/// Gives a file the owner, the group and the mode of another.
#[cfg(unix)]
fn copy_ownership(from: &std::fs::Metadata, to: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let now = std::fs::metadata(to)?;
    if (from.uid(), from.gid()) != (now.uid(), now.gid()) {
        let error = |error: std::io::Error| {
            std::io::Error::new(
                error.kind(),
                format!(
                    "its owner and group ({}:{}) cannot be kept: {error}; run this as its owner or as root",
                    from.uid(),
                    from.gid()
                ),
            )
        };
        std::os::unix::fs::chown(to, Some(from.uid()), Some(from.gid())).map_err(error)?;
    }
    std::fs::set_permissions(to, from.permissions())?;
    File::open(to)?.sync_all()
}

#[cfg(not(unix))]
fn copy_ownership(from: &std::fs::Metadata, to: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(to, from.permissions())
}

/// Writes a file of mode 0600 through a temporary file, so that it is never incomplete.
fn write_private(
    path: &Path,
    keys: &[Key],
    publish: impl FnOnce(&Path, &Path) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let partial = path.with_extension(format!("part-{}", random_uuid()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&partial).and_then(|mut file| {
        for key in keys {
            file.write_all(key.hex().as_bytes())?;
            file.write_all(b"\n")?;
        }
        file.sync_all()
    });
    let published = written.and_then(|()| publish(&partial, path));
    let _ = std::fs::remove_file(&partial);
    published?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[cfg(unix)]
    fn mode(file: &KeyFile) -> u32 {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(file.path()).unwrap().permissions().mode() & 0o777
    }

    fn ids(file: &KeyFile) -> Vec<KeyId> {
        file.load().unwrap().iter().map(Key::id).collect()
    }

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::new(dir.path().join("sealing.key"));
        let made = file.create().unwrap();
        assert_eq!(ids(&file), [made.id()]);
        assert!(file.create().is_err());
        assert_eq!(ids(&file), [made.id()]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
        #[cfg(unix)]
        {
            assert_eq!((mode(&file), file.is_exposed()), (0o600, false));
            let readable = std::os::unix::fs::PermissionsExt::from_mode(0o640);
            std::fs::set_permissions(file.path(), readable).unwrap();
            assert!(file.is_exposed());
        }
    }

    #[test]
    fn one_command_at_a_time_changes_a_key_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::new(dir.path().join("sealing.key"));
        let first = file.create().unwrap().id();
        let locked = file.lock().unwrap();
        assert!(matches!(file.lock(), Err(KeyError::Busy(_))));
        let second = locked.add().unwrap().id();
        assert_eq!(ids(&file), [first, second]);
        locked.remove(first).unwrap();
        assert!(matches!(locked.remove(first), Err(KeyError::Unknown(id)) if id == first));
        assert_eq!(ids(&file), [second]);
        drop(locked);
        assert!(file.lock().is_ok());
        #[cfg(unix)]
        assert_eq!(mode(&file), 0o600);
    }

    /// As when root changes the key file of a server that runs as another user, in its group.
    #[cfg(unix)]
    #[test]
    fn owner_group_mode_and_link_of_a_key_file_stay() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real.key");
        let link = KeyFile::new(dir.path().join("sealing.key"));
        KeyFile::new(&real).create().unwrap();
        std::os::unix::fs::symlink(&real, link.path()).unwrap();
        let is_root = std::os::unix::fs::chown(&real, Some(10_001), Some(10_002)).is_ok();
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
        let before = std::fs::metadata(&real).unwrap();
        let locked = link.lock().unwrap();
        locked.add().unwrap();
        let after = std::fs::metadata(&real).unwrap();
        assert_ne!(after.ino(), before.ino(), "it was replaced");
        assert_eq!((after.uid(), after.gid(), after.mode()), (before.uid(), before.gid(), before.mode()));
        assert!(!is_root || (after.uid(), after.gid()) == (10_001, 10_002));
        assert!(link.path().is_symlink());
        assert_eq!(ids(&link).len(), 2);
    }

    #[test]
    fn invalid_keys_are_refused() {
        for text in ["", "abc", &KEY[1..], &KEY.replace('a', "g"), &format!("{KEY}00")] {
            assert!(Key::from_text(text).is_err());
            assert!(Key::all_from_text(text).is_err());
        }
        assert!(Key::from_text(&format!(" {KEY}\n")).is_ok());
        let two = Key::all_from_text(&format!("{KEY}\n{}\n", KEY.replace('0', "f"))).unwrap();
        assert_eq!(two.len(), 2);
        assert!(Key::all_from_text(&format!("{KEY} x")).is_err());
    }

    #[test]
    fn a_key_id_parses_as_it_is_displayed() {
        let id = Key::from_text(KEY).unwrap().id();
        assert_eq!(id.to_string().parse::<KeyId>().unwrap(), id);
        for text in ["", "1234567", "123456789", "1234567g", "+1234567"] {
            assert!(text.parse::<KeyId>().is_err(), "{text}");
        }
    }
}
