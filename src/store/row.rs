//! Between columns and values of the domain.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::keyring::Keyring;
use super::seal::{SampleRef, SealError};
use super::{KeyHash, OutboxEvent, SampleFault, SnapshotId, StoreError, UnreadableSample};
use crate::domain::{AppId, Guard, ModelTag, Revision, SampleId, TemplateId};
use crate::gallery::{IndexedTemplate, Sample};

pub(super) fn now() -> i64 {
    millis(SystemTime::now())
}

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

pub(super) fn number(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

pub(super) fn revision(number: i64) -> Revision {
    Revision(u64::try_from(number).unwrap_or(0))
}

pub(super) fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn app_id(text: &str) -> Result<AppId, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt("an application id".to_owned()))
}

pub(super) fn template_id(text: &str) -> Result<TemplateId, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt("a template id".to_owned()))
}

pub(super) fn sample_id(bytes: &[u8]) -> Result<SampleId, StoreError> {
    Uuid::from_slice(bytes).map(SampleId).map_err(|_| StoreError::Corrupt("a sample id".to_owned()))
}

pub(super) fn snapshot_id(bytes: &[u8]) -> Result<SnapshotId, StoreError> {
    Uuid::from_slice(bytes).map(SnapshotId).map_err(|_| StoreError::Corrupt("a snapshot's id".to_owned()))
}

/// No key opens an application whose hash is damaged; it is no reason to shut out the others.
pub(super) fn key_hash(bytes: &[u8], app: &str) -> KeyHash {
    bytes.try_into().map_or_else(
        |_| {
            tracing::error!(app, "the hash of the application's key is damaged; `semblance app rotate-key` mends it");
            KeyHash([0; 32])
        },
        KeyHash,
    )
}

/// An unknown guard, written by a newer version, counts as `refuse`: the safest choice.
pub(super) fn guard(text: &str, app: &str) -> Guard {
    text.parse().unwrap_or_else(|_| {
        tracing::error!(app, guard = text, "the application's guard is not known; `semblance app guard` sets it");
        Guard::Refuse
    })
}

pub(super) fn uuid(bytes: &[u8]) -> Result<Uuid, StoreError> {
    Uuid::from_slice(bytes).map_err(|_| StoreError::Corrupt("an id".to_owned()))
}

/// A event: id, moment, operation, transaction, application, template, revision, detail.
pub(super) type EventRow = (Vec<u8>, i64, String, Option<Vec<u8>>, Option<String>, Option<String>, Option<i64>, String);

pub(super) fn event(row: EventRow) -> Result<OutboxEvent, StoreError> {
    let (id, at, operation, transaction, app, template, number, detail) = row;
    Ok(OutboxEvent {
        id: uuid(&id)?,
        at: time(at),
        operation,
        transaction: transaction.as_deref().map(uuid).transpose()?,
        app,
        template,
        revision: number.map(|number| revision(number).0),
        detail,
    })
}

/// The columns of a sample, as they lie in a row.
pub(super) struct SampleColumns<'a> {
    pub(super) sample: &'a [u8],
    pub(super) sealed: &'a [u8],
    pub(super) data_key: Option<&'a [u8]>,
}

/// A change, its template and, unless it has none, a sample of it: revision, template, sample, sealed, data key; the
/// tag of the change, and of the one that all of them come after.
pub(super) type ChangeRow = (i64, String, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>, Option<i64>);

/// A random number for a change.
pub(super) fn tag() -> i64 {
    Uuid::new_v4().as_u64_pair().0.cast_signed()
}

/// Opens the rows of samples one by one and gathers those of one template, which follow each other.
pub(super) struct Gather<'a> {
    keys: &'a Keyring,
    app: &'a AppId,
    model: &'a ModelTag,
    templates: Vec<IndexedTemplate>,
    unreadable: Vec<UnreadableSample>,
}

impl<'a> Gather<'a> {
    pub(super) fn new(keys: &'a Keyring, app: &'a AppId, model: &'a ModelTag) -> Self {
        Self { keys, app, model, templates: Vec::new(), unreadable: Vec::new() }
    }

    /// Takes the next row: a template and, unless it has none, a sample of it.
    pub(super) fn take(&mut self, template: &str, columns: Option<SampleColumns<'_>>) -> Result<(), StoreError> {
        if self.templates.last().is_none_or(|last| last.id.as_str() != template) {
            self.templates.push(IndexedTemplate { id: template_id(template)?, samples: Vec::new() });
        }
        let (Some(last), Some(columns)) = (self.templates.last_mut(), columns) else { return Ok(()) };
        match self.keys.open_sample(self.app, &last.id, self.model, &columns) {
            Ok(sample) => last.samples.push(sample),
            Err(fault) => self.unreadable.push(UnreadableSample { template: last.id.clone(), fault }),
        }
        Ok(())
    }

    /// What was gathered since the last time.
    pub(super) fn finish(&mut self) -> Vec<IndexedTemplate> {
        std::mem::take(&mut self.templates)
    }

    /// What could not be opened since the last time.
    pub(super) fn unreadable(&mut self) -> Vec<UnreadableSample> {
        std::mem::take(&mut self.unreadable)
    }
}

impl Keyring {
    fn open_sample(
        &self,
        app: &AppId,
        template: &TemplateId,
        model: &ModelTag,
        columns: &SampleColumns<'_>,
    ) -> Result<Sample, SampleFault> {
        let id = sample_id(columns.sample).map_err(|error| SampleFault::Damaged(error.to_string()))?;
        let place = SampleRef { app, template, sample: id, model };
        match self.open(&place, columns.sealed, columns.data_key) {
            Ok(embedding) => Ok(Sample { id, embedding }),
            Err(SealError::OtherKey(key)) => Err(SampleFault::KeyMissing(key)),
            Err(error) => Err(SampleFault::Damaged(format!("sample {id} is {error}"))),
        }
    }
}
