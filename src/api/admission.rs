//! What a request takes of the server's limits, and when it gives it back.
//!
//! Three limits, each fair between applications. Memory for bodies: taken before a body is read, by its announced length
//! or as it arrives. Photos: counted once a body is there, so an upload, however slow, keeps no other photo waiting; a
//! request is refused by its head where too many photos wait already. A photo keeps both until its analysis has ended,
//! and not while its template is written. Calls of the store: counted while they wait
//! for a connection in turn, or use it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::ApiError;
use crate::compute::{FairLimiter, FairSlots, MemoryBudget, Refusal, Reservation, Slot, Ticket};
use crate::domain::TenantKey;
use crate::image::Photo;
use crate::service::{Caller, Error};

/// The least memory that a body counts for: the buffers of its connection and of the form's parser. Also the step in
/// which the memory of a body of unknown length grows.
const MIN_UPLOAD_BYTES: usize = 64 * 1024;

/// The limits on requests in progress. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Limiters {
    /// Photos that wait for their analysis, or are analyzed.
    pub photos: FairLimiter,
    /// Requests that wait for the store, or use it.
    pub store: FairLimiter,
    /// Those that use the store: about as many as it has connections.
    pub store_slots: FairSlots,
    /// Bytes of bodies and photos in memory.
    pub uploads: MemoryBudget,
}

/// Admits requests within the limits.
pub(super) struct Admission {
    limiters: Limiters,
    /// For a caller that has its share.
    retry_after: Duration,
}

/// The memory of a body.
#[derive(Clone)]
pub(super) struct Upload(Arc<Mutex<Reservation>>);

/// A place at the store.
pub(super) struct StorePlace {
    _slot: Slot,
    _ticket: Ticket,
}

/// What a photo keeps until it is dropped.
struct PhotoPlace {
    _ticket: Ticket,
    _upload: Upload,
}

impl Admission {
    pub(super) fn new(limiters: Limiters, retry_after: Duration) -> Self {
        Self { limiters, retry_after }
    }

    /// The limits.
    pub(super) fn limiters(&self) -> &Limiters {
        &self.limiters
    }

    /// Refuses a caller whose photo would wait behind too many, before a byte of it is read.
    pub(super) fn check_photos(&self, caller: &Caller) -> Result<(), ApiError> {
        self.limiters.photos.check(caller.app.as_str()).map_err(|refusal| self.refused(refusal))
    }

    /// Refuses a caller that will need the store, before its body is read.
    pub(super) fn check_store(&self, caller: &Caller) -> Result<(), ApiError> {
        self.limiters.store.check(caller.app.as_str()).map_err(|refusal| self.refused(refusal))
    }

    /// Waits for a place at the store, in turn with other applications. A store that does not answer keeps its callers
    /// for seconds: nothing else may be held meanwhile that others need.
    pub(super) async fn enter_store(&self, caller: &Caller) -> Result<StorePlace, ApiError> {
        let entered = self.limiters.store.try_enter(caller.app.as_str());
        let ticket = entered.map_err(|refusal| self.refused(refusal))?;
        let slot =
            self.limiters.store_slots.take_within(TenantKey::new(&caller.app).number(), caller.limits.share).await;
        Ok(StorePlace { _slot: slot.ok_or(Error::Busy)?, _ticket: ticket })
    }

    /// Memory for a body of this length, if it is announced.
    pub(super) fn upload(&self, caller: &Caller, announced: Option<usize>) -> Result<Upload, ApiError> {
        let bytes = announced.unwrap_or_default().max(MIN_UPLOAD_BYTES);
        let reserved = self.limiters.uploads.reserve_within(caller.app.as_str(), bytes, caller.limits.share);
        Ok(Upload(Arc::new(Mutex::new(reserved.map_err(|refusal| self.refused(refusal))?))))
    }

    /// Makes an upload's memory large enough for so many bytes.
    pub(super) fn grow(&self, upload: &Upload, bytes: usize) -> Result<(), ApiError> {
        let grown = upload.0.lock().grow_to(bytes.next_multiple_of(MIN_UPLOAD_BYTES));
        grown.map_err(|refusal| self.refused(refusal))
    }

    /// Counts a photo, until it is dropped, as waiting for its analysis.
    pub(super) fn enter_photo(&self, caller: &Caller, upload: &Upload, photo: &mut Photo) {
        let ticket = self.limiters.photos.enter(caller.app.as_str());
        photo.keep(Arc::new(PhotoPlace { _ticket: ticket, _upload: upload.clone() }));
    }

    /// Whether the server is stopping and admits no more photos.
    pub(super) fn is_stopping(&self) -> bool {
        self.limiters.photos.is_closed()
    }

    fn refused(&self, refusal: Refusal) -> ApiError {
        match refusal {
            Refusal::Full if self.is_stopping() => ApiError::Stopping,
            Refusal::Full => Error::Busy.into(),
            Refusal::ShareUsed => ApiError::TooMany(self.retry_after),
        }
    }
}
