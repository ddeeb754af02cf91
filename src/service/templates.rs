//! Templates: list, get and remove.

use super::{Caller, Error, Service};
use crate::domain::TemplateId;
use crate::store::{ErasureReason, TemplateRecord};

/// The most expired templates of an application that are removed in one transaction.
const EXPIRE_BATCH: usize = 500;

impl Service {
    /// One template.
    ///
    /// # Errors
    /// [`Error::TemplateNotFound`], store failures.
    pub async fn template(&self, caller: &Caller, id: &TemplateId) -> Result<TemplateRecord, Error> {
        self.store.templates.get(&caller.app, id).await?.ok_or(Error::TemplateNotFound)
    }

    /// Up to `limit` templates after an id, in byte order of the ids.
    ///
    /// # Errors
    /// Store failures.
    pub async fn templates(
        &self,
        caller: &Caller,
        after: Option<&TemplateId>,
        limit: usize,
    ) -> Result<Vec<TemplateRecord>, Error> {
        Ok(self.store.templates.page(&caller.app, after, limit).await?)
    }

    /// Removes a template with all its samples, for good. The next search does not find it.
    ///
    /// # Errors
    /// [`Error::TemplateNotFound`], store failures.
    pub async fn remove(&self, caller: &Caller, id: &TemplateId) -> Result<(), Error> {
        let removed = self.store.templates.remove(&caller.app, id, ErasureReason::delete(caller.transaction)).await?;
        let revision = removed.ok_or(Error::TemplateNotFound)?;
        self.replicator.publish(&caller.app, revision).await;
        Ok(())
    }

    /// Removes expired templates, for good; a bounded number for each application. Returns how many were removed.
    ///
    /// # Errors
    /// Store failures, when nothing was removed: an application that fails does not delay the others.
    pub async fn remove_expired(&self) -> Result<usize, Error> {
        let mut removed = 0;
        let mut failed = None;
        for (app, retention) in self.applications.retentions() {
            let Some(oldest) = self.clock.now().checked_sub(retention) else { continue };
            match self.store.templates.remove_older(&app, oldest, EXPIRE_BATCH, ErasureReason::RETENTION).await {
                Ok(expired) => {
                    if let Some((_, revision)) = expired.last() {
                        self.replicator.publish(&app, *revision).await;
                    }
                    removed += expired.len();
                }
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if removed == 0 => Err(error.into()),
            _ => Ok(removed),
        }
    }
}
