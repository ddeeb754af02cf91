//! Converts between columns and values of the domain.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::executor::{DbRow, Value};
use crate::domain::{
    AdminSessionId, AdminTokenId, AdministratorId, AppId, AppState, Guard, ModelTag, ProbeId, Revision, SampleId,
    TemplateId, Verdict, random_uuid,
};
use crate::store::error::StoreError;
use crate::store::record::{KeyHash, SnapshotId};

pub(super) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn time(millis: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

pub(super) fn duration(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// A number that is never negative, as stored.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A stored number that is never negative.
pub(super) fn number(integer: i64) -> u64 {
    u64::try_from(integer).unwrap_or(0)
}

pub(super) fn revision(number: i64) -> Revision {
    Revision(u64::try_from(number).unwrap_or(0))
}

/// A random tag for a change.
pub(super) fn random_tag() -> i64 {
    random_uuid().as_u64_pair().0.cast_signed()
}

/// The hash of an application's key. One that is damaged opens for no key, and other applications still open.
pub(super) fn key_hash(bytes: &[u8], app: &AppId) -> KeyHash {
    bytes.try_into().map_or_else(
        |_| {
            tracing::error!(%app, "the hash of a key of the application is damaged; `semblance app key rotate` replaces the key");
            KeyHash([0; 32])
        },
        KeyHash,
    )
}

/// An unknown guard, of a newer version, counts as `refuse`: the safest choice.
pub(super) fn guard(text: &str, app: &AppId) -> Guard {
    text.parse().unwrap_or_else(|_| {
        tracing::error!(%app, guard = text, "the application's guard is unknown; set it with `semblance app guard`");
        Guard::Refuse
    })
}

/// An unknown state, of a newer version, counts as `suspended`: the safest choice.
pub(super) fn app_state(text: &str, app: &AppId) -> AppState {
    text.parse().unwrap_or_else(|_| {
        tracing::error!(%app, state = text, "the application's state is unknown; set it with `semblance app resume`");
        AppState::Suspended
    })
}

/// A column holds something else than it should.
pub(super) fn corrupt(column: &str) -> StoreError {
    StoreError::Corrupt(format!("column {column}"))
}

impl DbRow {
    pub(super) fn app_id(&self, column: &str) -> Result<AppId, StoreError> {
        self.get::<&str>(column)?.parse().map_err(|_| corrupt(column))
    }

    pub(super) fn administrator_id(&self, column: &str) -> Result<AdministratorId, StoreError> {
        self.get::<&str>(column)?.parse().map_err(|_| corrupt(column))
    }

    pub(super) fn template_id(&self, column: &str) -> Result<TemplateId, StoreError> {
        self.get::<&str>(column)?.parse().map_err(|_| corrupt(column))
    }

    pub(super) fn sample_id(&self, column: &str) -> Result<SampleId, StoreError> {
        self.uuid(column).map(SampleId)
    }

    pub(super) fn probe_id(&self, column: &str) -> Result<ProbeId, StoreError> {
        self.uuid(column).map(ProbeId)
    }

    pub(super) fn snapshot_id(&self, column: &str) -> Result<SnapshotId, StoreError> {
        self.uuid(column).map(SnapshotId)
    }

    pub(super) fn uuid(&self, column: &str) -> Result<Uuid, StoreError> {
        Uuid::from_slice(self.get(column)?).map_err(|_| corrupt(column))
    }

    pub(super) fn optional_uuid(&self, column: &str) -> Result<Option<Uuid>, StoreError> {
        let bytes: Option<&[u8]> = self.get(column)?;
        bytes.map(Uuid::from_slice).transpose().map_err(|_| corrupt(column))
    }

    pub(super) fn time(&self, column: &str) -> Result<SystemTime, StoreError> {
        self.get(column).map(time)
    }

    /// The quality of a sample, with its verdict.
    pub(super) fn quality(&self) -> Result<Option<Verdict>, StoreError> {
        let score: Option<f64> = self.get("quality")?;
        let fine: Option<i64> = self.get("quality_fine")?;
        Ok(score.zip(fine).map(|(score, fine)| Verdict { score, fine: fine != 0 }))
    }

    pub(super) fn revision(&self, column: &str) -> Result<Revision, StoreError> {
        self.get(column).map(revision)
    }
}

/// Converts to a [`Value`].
macro_rules! value_from {
    ($($type:ty: |$value:ident| $converted:expr;)*) => { $(
        impl<'a> From<$type> for Value<'a> {
            fn from($value: $type) -> Self {
                $converted
            }
        }
    )* };
}

value_from! {
    &'a str: |text| Self::Text(Some(text));
    Option<&'a str>: |text| Self::Text(text);
    &'a AppId: |id| Self::Text(Some(id.as_str()));
    &'a TemplateId: |id| Self::Text(Some(id.as_str()));
    &'a AdministratorId: |id| Self::Text(Some(id.as_str()));
    &'a AdminTokenId: |id| Self::Text(Some(id.as_str()));
    &'a AdminSessionId: |id| Self::Text(Some(id.as_str()));
    &'a ModelTag: |model| Self::Text(Some(model.as_str()));
    &'a [u8]: |bytes| Self::Bytes(Some(bytes));
    &'a [u8; 32]: |bytes| Self::Bytes(Some(bytes));
    &'a Vec<u8>: |bytes| Self::Bytes(Some(bytes));
    Option<&'a [u8]>: |bytes| Self::Bytes(bytes);
    &'a Uuid: |id| Self::Bytes(Some(id.as_bytes()));
    Option<&'a Uuid>: |id| Self::Bytes(id.map(|id| id.as_bytes().as_slice()));
    i64: |number| Self::Integer(Some(number));
    Option<i64>: |number| Self::Integer(number);
    u64: |number| Self::Integer(Some(i64::try_from(number).unwrap_or(i64::MAX)));
    usize: |number| Self::Integer(Some(i64::try_from(number).unwrap_or(i64::MAX)));
    Revision: |revision| Self::from(revision.0);
    Option<Revision>: |revision| revision.map_or(Self::Integer(None), Self::from);
    SystemTime: |time| Self::Integer(Some(millis(time)));
    Option<SystemTime>: |time| Self::Integer(time.map(millis));
    Option<f64>: |number| Self::Real(number);
    bool: |boolean| Self::Boolean(boolean);
}
