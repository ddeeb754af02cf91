//! Templates: list, get and remove.

use super::{Caller, Error, Service};
use crate::domain::TemplateId;
use crate::store::{ErasureReason, TemplateList, TemplateRecord};

impl Service {
    /// One template.
    ///
    /// # Errors
    /// [`Error::TemplateNotFound`], store failures.
    pub async fn template(&self, caller: &Caller, id: &TemplateId) -> Result<TemplateRecord, Error> {
        self.store.templates.get(&caller.app, id).await?.ok_or(Error::TemplateNotFound)
    }

    /// Up to `limit` templates after an id, in byte order of the ids; fewer where they have many samples.
    ///
    /// # Errors
    /// Store failures.
    pub async fn templates(
        &self,
        caller: &Caller,
        after: Option<&TemplateId>,
        limit: usize,
    ) -> Result<TemplateList, Error> {
        Ok(self.store.templates.page(&caller.app, after, limit).await?)
    }

    /// Removes a template with all its samples, for good. The next search does not find it.
    ///
    /// # Errors
    /// [`Error::TemplateNotFound`], store failures.
    pub async fn remove(&self, caller: &Caller, id: &TemplateId) -> Result<(), Error> {
        let reason = ErasureReason::delete(caller.transaction, caller.actor.clone());
        let removed = self.store.templates.remove(&caller.app, id, reason).await?;
        let revision = removed.ok_or(Error::TemplateNotFound)?;
        self.replicator.publish(&caller.app, revision).await;
        Ok(())
    }
}
