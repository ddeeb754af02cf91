//! Credentials: an application's id with one of its keys.

use std::fmt;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::Error;
use crate::domain::{Actor, AppId, AppKeyId, KeySwitch, Scopes, fill_random};
use crate::store::{AppKeyRecord, KeyHash, Replacement};

/// Characters of a key that lists show, so that people can tell keys apart.
const HINT_CHARS: usize = 4;

/// The credentials of an application, shown once when they are made.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The `APP-ID` header.
    pub app_id: AppId,
    /// The public id of the key.
    pub key_id: AppKeyId,
    /// The `APP-KEY` header: 256 random bits as 64 hex digits.
    pub app_key: String,
}

impl Credentials {
    /// Random credentials.
    ///
    /// # Errors
    /// When the system returns no random numbers.
    pub fn random() -> Result<Self, Error> {
        Self::for_app(AppId::random())
    }

    /// A random key for an application.
    ///
    /// # Errors
    /// When the system returns no random numbers.
    pub fn for_app(app_id: AppId) -> Result<Self, Error> {
        Ok(Self { app_id, key_id: AppKeyId::random(), app_key: random_key()? })
    }

    /// The record of the key, as a new one.
    pub(super) fn record(&self, new: &NewKey, created_at: SystemTime, by: &Actor) -> AppKeyRecord {
        AppKeyRecord {
            id: self.key_id,
            name: new.name.clone(),
            hash: hash_key(&self.app_key),
            hint: self.hint(),
            scopes: new.scopes,
            switch: KeySwitch::Active,
            created_at,
            created_by: Some(by.to_string()),
            last_used_at: None,
            ends_at: None,
            expires_at: new.expires_at,
        }
    }

    /// The key as the replacement of another one.
    pub(super) fn replacement(&self, by: &Actor) -> Replacement {
        Replacement {
            id: self.key_id,
            hash: hash_key(&self.app_key),
            hint: self.hint(),
            created_by: Some(by.to_string()),
        }
    }

    fn hint(&self) -> Option<String> {
        self.app_key.len().checked_sub(HINT_CHARS).and_then(|at| self.app_key.get(at..)).map(str::to_owned)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, {}, ..)", self.app_id, self.key_id)
    }
}

/// What a new key is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// A name for people.
    pub name: String,
    /// What it allows.
    pub scopes: Scopes,
    /// Until when it is accepted (whole milliseconds); `None`: without limit.
    pub expires_at: Option<SystemTime>,
}

impl NewKey {
    /// The first key of an application: everything, without limit.
    pub fn first() -> Self {
        Self { name: "first".to_owned(), scopes: Scopes::ALL, expires_at: None }
    }
}

/// The hash of a key that a client sends.
pub fn hash_key(key: &str) -> KeyHash {
    KeyHash(Sha256::digest(key.trim().as_bytes()).into())
}

fn random_key() -> Result<String, Error> {
    let mut bytes = [0u8; 32];
    fill_random(&mut bytes).map_err(|error| Error::Internal(Box::new(error)))?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_show_no_key() {
        let credentials = Credentials::random().unwrap();
        assert!(!format!("{credentials:?}").contains(&credentials.app_key));
        let hint = credentials.hint().unwrap();
        assert!(hint.len() == HINT_CHARS && credentials.app_key.ends_with(&hint));
    }
}
