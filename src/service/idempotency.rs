//! Enrollments with an `Idempotency-Key`: a repeated request is answered again instead of executed again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::{Caller, Error, Service};
use crate::domain::{AppId, Details, IdempotencyKey, PhotoOptions, Subject, TemplateId};
use crate::image::Photo;
use crate::store::{EnrollmentReply, Fingerprint, KeptReply};

/// Everything that an enrollment asks for. Two requests with one key must be equal in it.
#[derive(Debug, Clone, Copy)]
pub struct EnrollmentRequest<'a> {
    /// Whether it adds a sample to a template.
    pub extends: bool,
    /// The template that it names.
    pub template: Option<&'a TemplateId>,
    /// Whether an existing template is replaced.
    pub replace: bool,
    /// The details of the template.
    pub details: &'a Details,
    /// Whose face, and which checks.
    pub photo_options: PhotoOptions,
}

/// Bytes of a photo that are hashed before other tasks have their turn: some tenths of a millisecond.
const HASH_BLOCK: usize = 128 * 1024;

impl EnrollmentRequest<'_> {
    /// A digest of it and its photo, independent of how the request was written: boundaries, order of parts and spelling of flags do not count.
    pub async fn fingerprint(&self, photo: &Photo) -> Fingerprint {
        let mut digest = Sha256::new();
        for block in photo.bytes().chunks(HASH_BLOCK) {
            digest.update(block);
            tokio::task::yield_now().await;
        }
        let PhotoOptions { subject, checks } = self.photo_options;
        let subject = match subject {
            Subject::Only => 0,
            Subject::Largest => 1,
            Subject::Central => 2,
        };
        let flags = [self.extends, self.replace, checks.liveness, checks.deepfake].map(u8::from);
        let template = self.template.map(TemplateId::as_str).unwrap_or_default();
        let mut request = Sha256::new();
        request.update(flags);
        request.update([subject]);
        request.update(digest.finalize());
        request.update(template);
        if !self.details.is_empty() {
            // After a byte that no text has: the id has no fixed length.
            request.update([0xff]);
            request.update(self.details.to_full_json().to_string());
        }
        Fingerprint(request.finalize().into())
    }
}

/// The requests with a key that this process executes now, with what they ask for.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<HashMap<(AppId, IdempotencyKey), Fingerprint>>);

/// An enrollment that is executed once. While it exists, an equal request is refused.
#[derive(Debug)]
pub struct Once {
    in_flight: Arc<InFlight>,
    id: (AppId, IdempotencyKey),
    fingerprint: Fingerprint,
}

impl Once {
    fn begin(in_flight: &Arc<InFlight>, id: (AppId, IdempotencyKey), fingerprint: Fingerprint) -> Result<Self, Error> {
        match in_flight.0.lock().entry(id.clone()) {
            Entry::Occupied(other) if *other.get() == fingerprint => Err(Error::RequestInProgress),
            Entry::Occupied(_) => Err(Error::KeyReused),
            Entry::Vacant(place) => {
                place.insert(fingerprint);
                Ok(Self { in_flight: Arc::clone(in_flight), id, fingerprint })
            }
        }
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(super) fn key(&self) -> &IdempotencyKey {
        &self.id.1
    }

    /// The reply that is kept.
    pub(super) fn reply(&self, caller: &Caller, result: &str) -> EnrollmentReply {
        EnrollmentReply { fingerprint: self.fingerprint, transaction: caller.transaction, result: result.to_owned() }
    }
}

impl Drop for Once {
    fn drop(&mut self) {
        self.in_flight.0.lock().remove(&self.id);
    }
}

impl Service {
    /// The reply that is kept for requests with a key, if one was executed.
    ///
    /// # Errors
    /// Store failures.
    pub async fn kept_reply(&self, caller: &Caller, key: &IdempotencyKey) -> Result<Option<KeptReply>, Error> {
        Ok(self.store.idempotency.kept_reply(&caller.app, key).await?)
    }

    /// Begins an enrollment that is executed once, however often it is requested.
    ///
    /// # Errors
    /// [`Error::RequestInProgress`], [`Error::KeyReused`].
    pub fn begin_once(&self, caller: &Caller, key: IdempotencyKey, fingerprint: Fingerprint) -> Result<Once, Error> {
        Once::begin(&self.in_flight, (caller.app.clone(), key), fingerprint)
    }

    /// Checks that a kept reply is that of an equal request. Another node may have executed it, so its template is made
    /// visible to the next search on this one.
    ///
    /// # Errors
    /// [`Error::KeyReused`].
    pub async fn repeat(&self, caller: &Caller, fingerprint: Fingerprint, kept: KeptReply) -> Result<KeptReply, Error> {
        if kept.reply.fingerprint != fingerprint {
            return Err(Error::KeyReused);
        }
        tracing::info!(original = %kept.reply.transaction, "the reply of an earlier request is sent again");
        self.replicator.publish(&caller.app, kept.revision).await;
        Ok(kept)
    }

    /// The reply of an equal request that was executed since this one began.
    pub(super) async fn repeated_meanwhile(&self, caller: &Caller, once: &Once) -> Result<Option<KeptReply>, Error> {
        match self.kept_reply(caller, once.key()).await? {
            Some(kept) => self.repeat(caller, once.fingerprint, kept).await.map(Some),
            None => Ok(None),
        }
    }

    /// Deletes expired replies, a bounded number. Returns how many there were.
    ///
    /// # Errors
    /// Store failures.
    pub async fn expire_replies(&self) -> Result<u64, Error> {
        Ok(self.store.idempotency.expire_replies(EXPIRE_BATCH).await?)
    }
}

/// The most expired replies that are deleted in one transaction.
const EXPIRE_BATCH: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Checks;

    #[tokio::test]
    async fn a_fingerprint_depends_on_everything_that_is_asked_for() {
        let (photo, other) = (Photo::new(vec![7; 300_000]), Photo::new(vec![8; 300_000]));
        let (one, two): (TemplateId, TemplateId) = ("one".parse().unwrap(), "two".parse().unwrap());
        let photo_options = PhotoOptions::default();
        let none = &Details::default();
        let named = &Details { name: Some("Ada".to_owned()), ..Details::default() };
        let first = EnrollmentRequest { extends: false, template: None, replace: false, details: none, photo_options };
        let with = |subject, checks| EnrollmentRequest { photo_options: PhotoOptions { subject, checks }, ..first };
        let all = [
            (first, &photo),
            (EnrollmentRequest { extends: true, ..first }, &photo),
            (EnrollmentRequest { replace: true, ..first }, &photo),
            (EnrollmentRequest { template: Some(&one), ..first }, &photo),
            (EnrollmentRequest { template: Some(&two), ..first }, &photo),
            (EnrollmentRequest { details: named, ..first }, &photo),
            (first, &other),
            (with(Subject::Largest, Checks::default()), &photo),
            (with(Subject::Central, Checks::default()), &photo),
            (with(Subject::Only, Checks { liveness: true, deepfake: false }), &photo),
            (with(Subject::Only, Checks { liveness: false, deepfake: true }), &photo),
        ];
        for (n, (one, photo)) in all.iter().enumerate() {
            for (m, (other, other_photo)) in all.iter().enumerate() {
                let equal = one.fingerprint(photo).await == other.fingerprint(other_photo).await;
                assert_eq!(equal, n == m, "{n} and {m}");
            }
        }
        let equal = Photo::new(vec![7; 300_000]);
        assert_eq!(first.fingerprint(&equal).await, first.fingerprint(&photo).await);
    }
}
