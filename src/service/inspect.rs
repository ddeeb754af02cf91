//! Inspect: the analysis of a photo alone, for the liveness and deepfake endpoints.

use super::{Caller, Error, PhotoOptions, Service};
use crate::domain::Analysis;
use crate::image::Photo;

impl Service {
    /// Analyzes a photo without computing an embedding.
    ///
    /// # Errors
    /// Photo faults, [`Error::NotInstalled`], [`Error::Busy`].
    pub async fn inspect(&self, caller: &Caller, photo: Photo, options: PhotoOptions) -> Result<Analysis, Error> {
        self.analyze(caller, photo, options, false).await
    }
}
