//! Inspect: a photo's analysis alone, for the liveness and deepfake endpoints.

use super::{Caller, Error, Service};
use crate::domain::{Analysis, Checks};
use crate::image::Photo;

impl Service {
    /// Analyses a photo without computing an embedding.
    ///
    /// # Errors
    /// Photo faults, [`Error::NotInstalled`], [`Error::Busy`].
    pub async fn inspect(&self, caller: &Caller, photo: Photo, checks: Checks) -> Result<Analysis, Error> {
        self.analyze(caller, photo, checks, false).await
    }
}
