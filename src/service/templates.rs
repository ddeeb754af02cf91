//! Manage: list, look at and remove templates.

use std::time::SystemTime;

use super::{Caller, Error, Service};
use crate::domain::TemplateId;
use crate::store::{ErasureReason, TemplateRecord};

/// Most templates of an application that are removed in one transaction because their time is over.
const EXPIRED: usize = 500;

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

    /// Removes a template with all its samples, for good. Not found by the next search.
    ///
    /// # Errors
    /// [`Error::TemplateNotFound`], store failures.
    pub async fn remove(&self, caller: &Caller, id: &TemplateId) -> Result<(), Error> {
        let removed = self.store.templates.remove(&caller.app, id, ErasureReason::delete(caller.transaction)).await?;
        let revision = removed.ok_or(Error::TemplateNotFound)?;
        self.replicator.publish(&caller.app, revision).await;
        Ok(())
    }

    /// Removes the templates whose time is over, for good; a bounded number, and how many they were.
    ///
    /// # Errors
    /// Store failures, when nothing was removed: an application that fails keeps no other waiting.
    pub async fn remove_expired(&self) -> Result<usize, Error> {
        let (mut removed, mut failed) = (0, None);
        for (app, retention) in self.applications.retentions() {
            let Some(moment) = SystemTime::now().checked_sub(retention) else { continue };
            match self.store.templates.remove_older(&app, moment, EXPIRED, ErasureReason::RETENTION).await {
                Ok(gone) => {
                    if let Some((_, last)) = gone.last() {
                        self.replicator.publish(&app, *last).await;
                    }
                    removed += gone.len();
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
