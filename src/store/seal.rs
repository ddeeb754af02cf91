//! Embeddings sealed at rest.
//!
//! A stored template can be turned back into a face good enough to fool another matcher, so it is never written plain.
//! Each sample is sealed with AES-256-GCM under a random key of its own, its data key, and the data key under the
//! sealing key. The associated data of both names application, template, sample and model, so a row that was moved does
//! not open. Destroying the few bytes of a wrapped data key destroys the sample, also where its ciphertext is still
//! kept. A new sealing key costs only a new wrapping of the data keys. The crop of a face, where one is kept, is sealed
//! under the data key of its sample, and ends with it.
//!
//! Formats: sealed under a sealing key: 1 (1 byte), key id (4), nonce (12), ciphertext, tag. Sealed under
//! a data key: 2 (1 byte), nonce (12), ciphertext, tag. An embedding is its f32 little-endian numbers.
//! The version before data keys sealed embeddings under the sealing key; such rows still open.

use std::fmt;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::Zeroizing;

use super::error::StoreError;
use super::key::{Key, KeyId};
use super::record::SnapshotId;
use crate::domain::{AppId, Embedding, ModelTag, ProbeId, SampleId, TemplateId, fill_random};

const UNDER_SEALING_KEY: u8 = 1;
const UNDER_DATA_KEY: u8 = 2;
const NONCE: usize = 12;
const TAG: usize = 16;

const KNOWN_TEXT: &[u8] = b"semblance";

/// The sample that a sealed embedding belongs to. It opens for no other.
#[derive(Debug, Clone, Copy)]
pub(super) struct SampleRef<'a> {
    pub(super) app: &'a AppId,
    pub(super) template: &'a TemplateId,
    pub(super) sample: SampleId,
    pub(super) model: &'a ModelTag,
}

/// Precedes the associated data of a data key; the rest is that of the sealed text.
const DATA_KEY: &[u8] = b"data key ";

impl SampleRef<'_> {
    /// The associated data of its data key.
    pub(super) fn data_key_aad(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(192);
        data.extend_from_slice(DATA_KEY);
        for part in [self.app.as_str(), self.template.as_str(), self.model.as_str()] {
            // With the length before each part, no two samples have the same associated data.
            data.extend_from_slice(&(part.len() as u64).to_le_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data.extend_from_slice(self.sample.0.as_bytes());
        data
    }
}

/// The associated data of the data key of a kept reply: its application, its template, and the digest of the request's
/// key.
pub(super) fn reply_key_aad(app: &AppId, template: &TemplateId, key: &[u8; 32]) -> Vec<u8> {
    let mut data = DATA_KEY.to_vec();
    data.extend_from_slice(b"reply ");
    for part in [app.as_str(), template.as_str()] {
        data.extend_from_slice(&(part.len() as u64).to_le_bytes());
        data.extend_from_slice(part.as_bytes());
    }
    data.extend_from_slice(key);
    data
}

/// The associated data of the data key of a template's details: its application and its template.
pub(super) fn details_key_aad(app: &AppId, template: &TemplateId) -> Vec<u8> {
    let mut data = DATA_KEY.to_vec();
    data.extend_from_slice(b"details ");
    for part in [app.as_str(), template.as_str()] {
        data.extend_from_slice(&(part.len() as u64).to_le_bytes());
        data.extend_from_slice(part.as_bytes());
    }
    data
}

/// The associated data of the data key of a held probe: its application, its id and the model of its embedding.
pub(super) fn probe_key_aad(app: &AppId, probe: ProbeId, model: &ModelTag) -> Vec<u8> {
    let mut data = DATA_KEY.to_vec();
    data.extend_from_slice(b"probe ");
    for part in [app.as_str(), model.as_str()] {
        data.extend_from_slice(&(part.len() as u64).to_le_bytes());
        data.extend_from_slice(part.as_bytes());
    }
    data.extend_from_slice(probe.0.as_bytes());
    data
}

/// The associated data of a text: that of its data key, without the label.
fn text_aad(data_key_aad: &[u8]) -> &[u8] {
    data_key_aad.get(DATA_KEY.len()..).unwrap_or_default()
}

/// The associated data of a crop: it differs from that of the embedding under the same data key.
fn crop_aad(data_key_aad: &[u8]) -> Vec<u8> {
    [b"crop ", text_aad(data_key_aad)].concat()
}

/// The associated data of a snapshot's key.
pub(super) fn snapshot_key_aad(app: &AppId, id: SnapshotId) -> Vec<u8> {
    [b"snapshot key ", id.0.as_bytes().as_slice(), app.as_str().as_bytes()].concat()
}

/// Why something cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SealError {
    #[error("an unknown format")]
    Format,
    #[error("sealed with the key {0}, which is not among those given")]
    OtherKey(KeyId),
    #[error("changed, or moved to another row")]
    Damaged,
    #[error("the operating system returned no random bytes")]
    Random,
}

impl From<SealError> for StoreError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::OtherKey(id) => Self::KeyMissing(id),
            SealError::Random => Self::Failed(Box::new(error)),
            SealError::Format | SealError::Damaged => Self::Corrupt(error.to_string()),
        }
    }
}

/// A text that is sealed under a data key of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    /// The text, under its data key.
    pub(super) text: Vec<u8>,
    /// The data key, under the sealing key.
    pub(super) data_key: Vec<u8>,
}

/// An embedding with the crop of its face, sealed under one data key.
pub(super) struct SealedFace {
    /// The embedding, under the data key.
    pub(super) embedding: Vec<u8>,
    /// The crop, under the data key.
    pub(super) crop: Option<Vec<u8>>,
    /// The data key, under the sealing key.
    pub(super) data_key: Vec<u8>,
}

/// The id of the sealing key that opens sealed bytes.
pub(super) fn sealed_under(sealed: &[u8]) -> Result<KeyId, SealError> {
    let [UNDER_SEALING_KEY, rest @ ..] = sealed else { return Err(SealError::Format) };
    rest.first_chunk::<{ KeyId::BYTES }>().map(|id| KeyId(*id)).ok_or(SealError::Format)
}

/// Seals and opens with one key.
pub(super) struct Sealer {
    cipher: Aes256Gcm,
    key_id: KeyId,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

pub(super) fn cipher(key: &Key) -> Aes256Gcm {
    Aes256Gcm::new((&*key.0).into())
}

/// Appends a random nonce, the ciphertext and the tag.
pub(super) fn encrypt(cipher: &Aes256Gcm, aad: &[u8], text: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
    let mut nonce = [0u8; NONCE];
    fill_random(&mut nonce).map_err(|_| SealError::Random)?;
    out.reserve_exact(NONCE + text.len() + TAG);
    out.extend_from_slice(&nonce);
    let start = out.len();
    out.extend_from_slice(text);
    let sealed = cipher.encrypt_inout_detached(&Nonce::from(nonce), aad, (&mut out[start..]).into());
    out.extend_from_slice(&sealed.map_err(|_| SealError::Damaged)?);
    Ok(())
}

/// Opens what [`encrypt`] appended. The buffer is wiped when it is dropped.
pub(super) fn decrypt(cipher: &Aes256Gcm, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE>().ok_or(SealError::Format)?;
    let (text, tag) = rest.split_last_chunk::<TAG>().ok_or(SealError::Format)?;
    let mut plain = Zeroizing::new(text.to_vec());
    let opened = cipher.decrypt_inout_detached(&Nonce::from(*nonce), aad, plain.as_mut_slice().into(), &(*tag).into());
    opened.map_err(|_| SealError::Damaged)?;
    Ok(plain)
}

/// Seals a text under a data key.
fn seal_under(key: &Key, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut sealed = vec![UNDER_DATA_KEY];
    encrypt(&cipher(key), aad, plain, &mut sealed)?;
    Ok(sealed)
}

fn embedding_bytes(embedding: &Embedding) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(embedding.values().iter().flat_map(|v| v.to_le_bytes()).collect())
}

/// The embedding of its bytes.
pub(super) fn embedding(plain: &[u8], model: &ModelTag) -> Result<Embedding, SealError> {
    let (numbers, rest) = plain.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(SealError::Format);
    }
    let values: Zeroizing<Vec<f32>> = Zeroizing::new(numbers.iter().map(|b| f32::from_le_bytes(*b)).collect());
    Embedding::new(&values, model.clone()).map_err(|_| SealError::Format)
}

impl Sealer {
    pub(super) fn new(key: &Key) -> Self {
        Self { cipher: cipher(key), key_id: key.id() }
    }

    pub(super) fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Seals an embedding under a data key of its own.
    pub(super) fn seal(&self, sample: &SampleRef<'_>, embedding: &Embedding) -> Result<Sealed, SealError> {
        self.seal_text(&sample.data_key_aad(), &embedding_bytes(embedding))
    }

    /// Seals an embedding and the crop of its face under one data key of their own. `data_key_aad` is the associated data
    /// of that key.
    pub(super) fn seal_face(
        &self,
        data_key_aad: &[u8],
        embedding: &Embedding,
        crop: Option<&[u8]>,
    ) -> Result<SealedFace, SealError> {
        let (key, data_key) = self.new_data_key(data_key_aad)?;
        let sealed = seal_under(&key, text_aad(data_key_aad), &embedding_bytes(embedding))?;
        let crop = crop.map(|crop| seal_under(&key, &crop_aad(data_key_aad), crop)).transpose()?;
        Ok(SealedFace { embedding: sealed, crop, data_key })
    }

    /// Opens a crop with the wrapped data key of its embedding.
    pub(super) fn open_crop(
        &self,
        data_key_aad: &[u8],
        sealed: &[u8],
        data_key: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let [UNDER_DATA_KEY, sealed @ ..] = sealed else { return Err(SealError::Format) };
        decrypt(&cipher(&self.open_key(data_key_aad, data_key)?), &crop_aad(data_key_aad), sealed)
    }

    /// A random data key, and the same sealed under the sealing key.
    fn new_data_key(&self, data_key_aad: &[u8]) -> Result<(Key, Vec<u8>), SealError> {
        let key = Key::random().map_err(|_| SealError::Random)?;
        let sealed = self.seal_bytes(data_key_aad, key.0.as_ref())?;
        Ok((key, sealed))
    }

    /// Seals plain bytes under a data key of their own. `data_key_aad` is the associated data of that key.
    pub(super) fn seal_text(&self, data_key_aad: &[u8], plain: &[u8]) -> Result<Sealed, SealError> {
        let (key, data_key) = self.new_data_key(data_key_aad)?;
        Ok(Sealed { text: seal_under(&key, text_aad(data_key_aad), plain)?, data_key })
    }

    /// Opens what [`Sealer::seal_text`] sealed.
    pub(super) fn open_text(
        &self,
        data_key_aad: &[u8],
        sealed: &[u8],
        data_key: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let [UNDER_DATA_KEY, sealed @ ..] = sealed else { return Err(SealError::Format) };
        decrypt(&cipher(&self.open_key(data_key_aad, data_key)?), text_aad(data_key_aad), sealed)
    }

    /// Opens an embedding with its wrapped data key. One of the version before data keys has none.
    pub(super) fn open(
        &self,
        sample: &SampleRef<'_>,
        sealed: &[u8],
        data_key: Option<&[u8]>,
    ) -> Result<Embedding, SealError> {
        let data_key_aad = sample.data_key_aad();
        let plain = match data_key {
            None => self.open_bytes(text_aad(&data_key_aad), sealed)?,
            Some(data_key) => self.open_text(&data_key_aad, sealed, data_key)?,
        };
        embedding(&plain, sample.model)
    }

    /// Opens a sealed key.
    pub(super) fn open_key(&self, aad: &[u8], sealed: &[u8]) -> Result<Key, SealError> {
        let plain = self.open_bytes(aad, sealed)?;
        plain.as_slice().try_into().map(|key| Key(Zeroizing::new(key))).map_err(|_| SealError::Format)
    }

    /// A known text, sealed: only the same key opens it.
    pub(super) fn check(&self) -> Result<Vec<u8>, SealError> {
        self.seal_bytes(KNOWN_TEXT, KNOWN_TEXT)
    }

    pub(super) fn opens_check(&self, sealed: &[u8]) -> bool {
        self.open_bytes(KNOWN_TEXT, sealed).is_ok_and(|text| *text == KNOWN_TEXT)
    }

    pub(super) fn seal_bytes(&self, aad: &[u8], msg: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut sealed = Vec::with_capacity(1 + KeyId::BYTES + NONCE + msg.len() + TAG);
        sealed.push(UNDER_SEALING_KEY);
        sealed.extend_from_slice(&self.key_id.0);
        encrypt(&self.cipher, aad, msg, &mut sealed)?;
        Ok(sealed)
    }

    pub(super) fn open_bytes(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let id = sealed_under(sealed)?;
        if id != self.key_id {
            return Err(SealError::OtherKey(id));
        }
        let rest = sealed.get(1 + KeyId::BYTES..).ok_or(SealError::Format)?;
        decrypt(&self.cipher, aad, rest)
    }
}

/// The sample that a row belongs to. Seals and opens the row without a database, as the store does.
#[derive(Debug, Clone)]
pub struct SealedRow {
    /// The application.
    pub app: AppId,
    /// The template.
    pub template: TemplateId,
    /// The sample.
    pub sample: SampleId,
    /// The model of its embedding.
    pub model: ModelTag,
}

impl SealedRow {
    fn sample(&self) -> SampleRef<'_> {
        SampleRef { app: &self.app, template: &self.template, sample: self.sample, model: &self.model }
    }

    /// Opens the sealed embedding of a row with its data key. A row of the version before data keys has none.
    ///
    /// # Errors
    /// [`StoreError::KeyMissing`] when it is sealed under another key, [`StoreError::Corrupt`] when it is damaged, was
    /// moved, or is not an embedding.
    pub fn open(&self, key: &Key, sealed: &[u8], data_key: Option<&[u8]>) -> Result<Embedding, StoreError> {
        Ok(Sealer::new(key).open(&self.sample(), sealed, data_key)?)
    }

    /// Seals the plain bytes of a row. Returns the sealed bytes and the data key.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the system gives no random numbers.
    pub fn seal(&self, key: &Key, text: &[u8]) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
        let sealed = Sealer::new(key).seal_text(&self.sample().data_key_aad(), text)?;
        Ok((sealed.text, sealed.data_key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn sample<'a>(app: &'a AppId, template: &'a TemplateId, model: &'a ModelTag) -> SampleRef<'a> {
        SampleRef { app, template, sample: SampleId(uuid::Uuid::from_u128(7)), model }
    }

    #[test]
    fn a_sealed_embedding_opens_for_its_sample_only() {
        let sealer = Sealer::new(&Key::from_text(KEY).unwrap());
        let (app, other): (AppId, AppId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let (template, model) = ("t".parse().unwrap(), ModelTag::new("m"));
        let embedding = Embedding::new(&[0.1, -0.7, 0.3], model.clone()).unwrap();
        let here = sample(&app, &template, &model);
        let Sealed { text: sealed, data_key } = sealer.seal(&here, &embedding).unwrap();
        assert_eq!(sealer.open(&here, &sealed, Some(&data_key)), Ok(embedding.clone()));
        let again = sealer.seal(&here, &embedding).unwrap();
        assert!(sealed != again.text && data_key != again.data_key, "no nonce and no key is used twice");
        assert!(!sealed.windows(4).any(|w| w == embedding.values()[0].to_le_bytes()));
        assert_eq!(sealer.open(&here, &sealed, Some(&again.data_key)), Err(SealError::Damaged));
        assert_eq!(sealer.open(&here, &sealed, None), Err(SealError::Format));
        let there = sample(&other, &template, &model);
        assert_eq!(sealer.open(&there, &sealed, Some(&data_key)), Err(SealError::Damaged));
        let (other_template, other_model) = ("u".parse().unwrap(), ModelTag::new("n"));
        for moved in [
            SampleRef { sample: SampleId(uuid::Uuid::from_u128(8)), ..here },
            sample(&app, &other_template, &model),
            sample(&app, &template, &other_model),
        ] {
            assert_eq!(sealer.open(&moved, &sealed, Some(&data_key)), Err(SealError::Damaged));
        }
        let each = |of: &[u8], opens: &dyn Fn(&[u8]) -> bool| {
            for at in 0..of.len() {
                let mut flipped = of.to_vec();
                flipped[at] ^= 1;
                assert!(!opens(&flipped), "byte {at}");
                assert!(!opens(&of[..at]), "cut at {at}");
            }
        };
        each(&sealed, &|sealed| sealer.open(&here, sealed, Some(&data_key)).is_ok());
        each(&data_key, &|data_key| sealer.open(&here, &sealed, Some(data_key)).is_ok());
    }

    #[test]
    fn a_crop_opens_for_its_sample_only_and_is_no_embedding() {
        let sealer = Sealer::new(&Key::from_text(KEY).unwrap());
        let (app, template, other): (AppId, TemplateId, TemplateId) =
            ("a".parse().unwrap(), "t".parse().unwrap(), "u".parse().unwrap());
        let model = ModelTag::new("m");
        let embedding = Embedding::new(&[0.1, -0.7, 0.3], model.clone()).unwrap();
        let here = sample(&app, &template, &model);
        let sealed = sealer.seal_face(&here.data_key_aad(), &embedding, Some(b"a small jpeg")).unwrap();
        let crop = sealed.crop.unwrap();
        assert_eq!(
            sealer.open_crop(&here.data_key_aad(), &crop, &sealed.data_key).unwrap().as_slice(),
            b"a small jpeg"
        );
        assert_eq!(sealer.open(&here, &sealed.embedding, Some(&sealed.data_key)), Ok(embedding));
        let swapped = sealer.open_crop(&here.data_key_aad(), &sealed.embedding, &sealed.data_key);
        assert_eq!(swapped.unwrap_err(), SealError::Damaged);
        assert_eq!(sealer.open(&here, &crop, Some(&sealed.data_key)), Err(SealError::Damaged));
        let there = sample(&app, &other, &model);
        assert_eq!(sealer.open_crop(&there.data_key_aad(), &crop, &sealed.data_key).unwrap_err(), SealError::Damaged);
        assert_eq!(sealer.open_crop(&here.data_key_aad(), &[], &sealed.data_key).unwrap_err(), SealError::Format);
    }

    /// Rows of the version before data keys.
    #[test]
    fn an_embedding_sealed_under_the_sealing_key_itself_opens() {
        let sealer = Sealer::new(&Key::from_text(KEY).unwrap());
        let (app, template, model) = ("a".parse().unwrap(), "t".parse().unwrap(), ModelTag::new("m"));
        let here = sample(&app, &template, &model);
        let plain: Vec<u8> = [0.6f32, 0.8].iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut data = Vec::new();
        for part in ["a", "t", "m"] {
            data.extend_from_slice(&1u64.to_le_bytes());
            data.extend_from_slice(part.as_bytes());
        }
        data.extend_from_slice(here.sample.0.as_bytes());
        let sealed = sealer.seal_bytes(&data, &plain).unwrap();
        assert_eq!(sealer.open(&here, &sealed, None).unwrap().values(), [0.6, 0.8]);
    }

    #[test]
    fn a_wrong_key_is_distinguished_from_damage() {
        let (one, two) = (Key::from_text(KEY).unwrap(), Key::from_text(&KEY.replace('0', "f")).unwrap());
        let sealed = Sealer::new(&one).seal_bytes(b"x", b"text").unwrap();
        assert_eq!(Sealer::new(&two).open_bytes(b"x", &sealed), Err(SealError::OtherKey(one.id())));
    }
}
