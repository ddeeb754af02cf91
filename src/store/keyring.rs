//! The sealing keys of a process.
//!
//! Sealed data names its key, so several keys may be in use at once. The row [`SEAL_CHECK`] of the database says which
//! key is active, and every write reads it in its own transaction. So a new key is active for all nodes from one
//! commit on, without a restart. A node that does not have a key reads its key file again.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use zeroize::Zeroizing;

use super::config::KeySource;
use super::error::{OpenError, StoreError};
use super::key::{Key, KeyError, KeyId};
use super::record::SnapshotId;
use super::seal::{SampleRef, SealError, Sealer, embedding, sealed_under, snapshot_key_aad};
use crate::domain::{AppId, Embedding, ModelTag};

/// The row of `meta` that says which key is active: a known text, sealed under it, so that a wrong key is detected at
/// once.
pub(super) const SEAL_CHECK: &str = "sealing check";

/// The row of `meta` with the sealed key of the journal.
pub(super) const JOURNAL_KEY: &str = "journal key";

/// The row of `meta` with the sealed key of cursors.
pub(super) const CURSOR_KEY: &str = "cursor key";

/// The row of `meta` with the sealed key of the hashes by which external ids are found.
pub(super) const LOOKUP_KEY: &str = "lookup key";

/// The row of `meta` with the id of the database: random, and kept by a backup and a copy.
pub(super) const DATABASE_ID: &str = "database id";

/// The row of `meta` with the ids of the keys that are no longer active, but under which something may still be
/// sealed: the rotation that replaced them is not complete.
pub(super) const SUPERSEDED: &str = "superseded keys";

/// Derives the first journal key of older versions from the sealing key.
const JOURNAL_LABEL: &[u8; 17] = b"semblance journal";

type Sealers = HashMap<KeyId, Arc<Sealer>>;

/// The keys that this process was given.
pub(super) struct Keyring {
    source: KeySource,
    sealers: ArcSwap<Sealers>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(..)")
    }
}

impl Keyring {
    /// The keys of a source.
    pub(super) fn new(source: KeySource, is_sealed: bool) -> Result<Self, OpenError> {
        let sealers = sealers(&source.keys(is_sealed)?);
        Ok(Self { source, sealers: ArcSwap::from_pointee(sealers) })
    }

    /// The check of a database without sealed data: the newest key is active.
    pub(super) fn first_check(&self) -> Result<Vec<u8>, OpenError> {
        let newest = self.source.keys(true)?.pop().ok_or(KeyError::Shape)?;
        Ok(Sealer::new(&newest).check().map_err(StoreError::from)?)
    }

    /// The active key, if it is among those given.
    pub(super) fn unlock(&self, check: &[u8]) -> Result<Key, OpenError> {
        let active = sealed_under(check).map_err(|_| OpenError::DamagedCheck)?;
        let keys = self.source.keys(true)?;
        let Some(key) = keys.iter().find(|key| key.id() == active) else {
            let given = keys.iter().map(|key| key.id().to_string()).collect::<Vec<_>>().join(", ");
            return Err(OpenError::WrongKey { active, given });
        };
        self.active_sealer(check).map_err(|_| OpenError::DamagedCheck)?;
        Ok(key.clone())
    }

    /// Reads the source again and returns how many keys it has.
    pub(super) fn reload(&self) -> Result<usize, StoreError> {
        let keys = self.source.keys(true).map_err(|error| StoreError::Failed(Box::new(error)))?;
        self.sealers.store(Arc::new(sealers(&keys)));
        Ok(keys.len())
    }

    /// The keys of the source now, oldest first.
    pub(super) fn ids(&self) -> Result<Vec<KeyId>, StoreError> {
        let keys = self.source.keys(true).map_err(|error| StoreError::Failed(Box::new(error)))?;
        Ok(keys.iter().map(Key::id).collect())
    }

    /// The sealer of a key.
    pub(super) fn sealer(&self, id: KeyId) -> Result<Arc<Sealer>, SealError> {
        if let Some(sealer) = self.sealers.load().get(&id) {
            return Ok(Arc::clone(sealer));
        }
        // This reads a few bytes, and only after another process has activated a new key.
        match self.source.keys(true) {
            Ok(keys) => self.sealers.store(Arc::new(sealers(&keys))),
            Err(error) => tracing::warn!(%error, "the sealing keys cannot be reloaded"),
        }
        self.sealers.load().get(&id).cloned().ok_or(SealError::OtherKey(id))
    }

    /// The sealer of the active key, whose check this is.
    pub(super) fn active_sealer(&self, check: &[u8]) -> Result<Arc<Sealer>, SealError> {
        let sealer = self.sealer(sealed_under(check)?)?;
        if sealer.opens_check(check) { Ok(sealer) } else { Err(SealError::Damaged) }
    }

    /// Opens an embedding with its wrapped data key; one of the version before data keys has none.
    pub(super) fn open(
        &self,
        sample: &SampleRef<'_>,
        sealed: &[u8],
        data_key: Option<&[u8]>,
    ) -> Result<Embedding, SealError> {
        let id = sealed_under(data_key.unwrap_or(sealed))?;
        match self.sealers.load().get(&id) {
            Some(sealer) => sealer.open(sample, sealed, data_key),
            None => self.sealer(id)?.open(sample, sealed, data_key),
        }
    }

    /// Opens the crop of a sample with the sample's wrapped data key.
    pub(super) fn open_crop(
        &self,
        data_key_aad: &[u8],
        sealed: &[u8],
        data_key: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.sealer(sealed_under(data_key)?)?.open_crop(data_key_aad, sealed, data_key)
    }

    /// Opens an embedding that is not that of a sample. `data_key_aad` is the associated data of its data key.
    pub(super) fn open_embedding(
        &self,
        data_key_aad: &[u8],
        sealed: &[u8],
        data_key: &[u8],
        model: &ModelTag,
    ) -> Result<Embedding, SealError> {
        embedding(&self.open_text(data_key_aad, sealed, data_key)?, model)
    }

    /// Opens a text with its wrapped data key.
    pub(super) fn open_text(
        &self,
        data_key_aad: &[u8],
        sealed: &[u8],
        data_key: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.sealer(sealed_under(data_key)?)?.open_text(data_key_aad, sealed, data_key)
    }

    /// Opens the key of a snapshot.
    pub(super) fn open_snapshot_key(&self, app: &AppId, id: SnapshotId, sealed: &[u8]) -> Result<Key, SealError> {
        self.sealer(sealed_under(sealed)?)?.open_key(&snapshot_key_aad(app, id), sealed)
    }

    /// Opens the key of the journal.
    pub(super) fn open_journal_key(&self, sealed: &[u8]) -> Result<Key, SealError> {
        self.open_key(JOURNAL_KEY.as_bytes(), sealed)
    }

    /// Opens a key that is sealed with this associated data.
    pub(super) fn open_key(&self, aad: &[u8], sealed: &[u8]) -> Result<Key, SealError> {
        self.sealer(sealed_under(sealed)?)?.open_key(aad, sealed)
    }

    /// Opens the key of cursors.
    pub(super) fn open_cursor_key(&self, sealed: &[u8]) -> Result<Key, SealError> {
        self.open_key(CURSOR_KEY.as_bytes(), sealed)
    }

    /// Seals sealed bytes under another key; `None` when they are under it already.
    pub(super) fn rewrap(&self, to: &Sealer, aad: &[u8], sealed: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        let from = sealed_under(sealed)?;
        if from == to.key_id() {
            return Ok(None);
        }
        to.seal_bytes(aad, &self.sealer(from)?.open_bytes(aad, sealed)?).map(Some)
    }
}

fn sealers(keys: &[Key]) -> Sealers {
    keys.iter().map(|key| (key.id(), Arc::new(Sealer::new(key)))).collect()
}

/// A random cursor key, sealed.
pub(super) fn new_cursor_key(active: &Key) -> Result<Vec<u8>, StoreError> {
    let key = Key::random().map_err(|error| StoreError::Failed(Box::new(error)))?;
    Ok(Sealer::new(active).seal_bytes(CURSOR_KEY.as_bytes(), key.0.as_ref())?)
}

/// The sealed journal key of a database that has none: random for a new database. Older versions derived it from the
/// sealing key, so an older journal continues with that one.
pub(super) fn first_journal_key(active: &Key, is_new: bool) -> Result<Vec<u8>, StoreError> {
    let random = || Key::random().map_err(|error| StoreError::Failed(Box::new(error)));
    let key = if is_new { random()?.0 } else { active.derived(JOURNAL_LABEL) };
    Ok(Sealer::new(active).seal_bytes(JOURNAL_KEY.as_bytes(), key.as_ref())?)
}
