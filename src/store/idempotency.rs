//! Replies of enrollments that are kept, so that a repeated request is answered again instead of executed again.
//!
//! A reply is written in the transaction of its enrollment, under the digest of the caller's `Idempotency-Key`. The
//! gallery's row is locked then, so of several equal requests one enrolls, on whichever node, and the others read its
//! reply. A reply contains the analysis of a face: it is sealed under a data key of its own, as samples are, and erased
//! with its template.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::error::{InsertError, StoreError};
use super::people::NewTemplate;
use super::record::{EnrolledSample, OnConflict};
use crate::domain::{AppId, IdempotencyKey, Revision, TemplateId, TransactionId};

/// How long a reply is kept at least.
pub const REPLY_MAX_AGE: Duration = Duration::from_secs(86_400);

/// A digest of everything that a request asks for. Equal requests have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// The reply of an enrollment.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrollmentReply {
    /// What the request asked for.
    pub fingerprint: Fingerprint,
    /// The transaction of the request.
    pub transaction: TransactionId,
    /// The `result` of the reply, as JSON.
    pub result: String,
}

/// A reply describes a face.
impl fmt::Debug for EnrollmentReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrollmentReply({}, ..)", self.transaction)
    }
}

/// Precedes the bytes of a reply.
const FORMAT: u8 = 1;

impl EnrollmentReply {
    /// The bytes that are sealed: 1 (1 byte), fingerprint (32), transaction (16), result.
    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(1 + 32 + 16 + self.result.len()));
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.fingerprint.0);
        bytes.extend_from_slice(self.transaction.0.as_bytes());
        bytes.extend_from_slice(self.result.as_bytes());
        bytes
    }

    /// `None` when the bytes are not those of a reply.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (FORMAT, rest) = bytes.split_first().map(|(format, rest)| (*format, rest))? else { return None };
        let (fingerprint, rest) = rest.split_first_chunk::<32>()?;
        let (transaction, result) = rest.split_first_chunk::<16>()?;
        Some(Self {
            fingerprint: Fingerprint(*fingerprint),
            transaction: TransactionId(Uuid::from_bytes(*transaction)),
            result: str::from_utf8(result).ok()?.to_owned(),
        })
    }
}

/// A reply that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptReply {
    /// The template that the request enrolled, or added a sample to.
    pub template: TemplateId,
    /// The revision of the gallery that it made.
    pub revision: Revision,
    /// The reply.
    pub reply: EnrollmentReply,
}

/// The outcome of an enrollment with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executed {
    /// It is done, and its reply is kept.
    Now(Revision),
    /// A request with this key was executed before; nothing was written now.
    Before(KeptReply),
}

/// Enrollments that are executed once, however often they are requested.
#[async_trait]
pub trait IdempotencyStore: Send + Sync {
    /// The reply that is kept under a key; `None` when no request with the key was executed, or its template was erased,
    /// or its reply has expired.
    async fn kept_reply(&self, app: &AppId, key: &IdempotencyKey) -> Result<Option<KeptReply>, StoreError>;

    /// Enrolls a template, and keeps the reply.
    async fn insert_once(
        &self,
        app: &AppId,
        key: &IdempotencyKey,
        new: &NewTemplate<'_>,
        on_conflict: OnConflict,
        reply: &EnrollmentReply,
    ) -> Result<Executed, InsertError>;

    /// Adds a sample to a template, and keeps the reply; `None` when the template does not exist.
    async fn add_sample_once(
        &self,
        app: &AppId,
        key: &IdempotencyKey,
        template: &TemplateId,
        sample: &EnrolledSample,
        reply: &EnrollmentReply,
    ) -> Result<Option<Executed>, InsertError>;

    /// Deletes up to `limit` replies that are older than [`REPLY_MAX_AGE`] and returns how many there were.
    async fn expire_replies(&self, limit: usize) -> Result<u64, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_comes_back_from_its_bytes() {
        let reply = EnrollmentReply {
            fingerprint: Fingerprint([7; 32]),
            transaction: TransactionId::random(),
            result: r#"{"templateId":"ä"}"#.to_owned(),
        };
        let bytes = reply.to_bytes();
        assert_eq!(EnrollmentReply::from_bytes(&bytes), Some(reply.clone()));
        assert!(!format!("{reply:?}").contains("templateId"));
        for broken in [&[][..], &bytes[..48], &[&[2], &bytes[1..]].concat(), &[&bytes[..], &[0xff]].concat()] {
            assert_eq!(EnrollmentReply::from_bytes(broken), None);
        }
    }
}
