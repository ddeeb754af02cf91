//! One person: read, and details changed.

use crate::domain::{DetailError, DetailFault, Details, DetailsPatch, Field, Revision, TemplateId};
use crate::service::{Caller, Error, Service};
use crate::store::{ErasedPerson, ErasureReason, PersonRecord};

/// A change of a person's details.
#[derive(Debug, Clone, PartialEq)]
pub struct PersonChange {
    /// What is changed.
    pub patch: DetailsPatch,
    /// The revision that the template must have; `None`: any.
    pub expected: Option<Revision>,
}

impl Service {
    /// One template with its details.
    ///
    /// # Errors
    /// [`Error::TemplateNotFound`], store failures.
    pub async fn person(&self, caller: &Caller, id: &TemplateId) -> Result<PersonRecord, Error> {
        let found = self.store.people.people(&caller.app, std::slice::from_ref(id)).await?;
        found.into_iter().next().ok_or(Error::TemplateNotFound)
    }

    /// Changes the details of a template. The next search of people finds them on this node.
    ///
    /// # Errors
    /// [`Error::TemplateNotFound`], [`Error::TemplateChanged`], [`Error::ExternalIdTaken`], [`Error::Detail`],
    /// [`Error::ConsentMissing`] when the application requires a consent and the change removes it, store failures.
    pub async fn change_details(
        &self,
        caller: &Caller,
        id: &TemplateId,
        change: &PersonChange,
    ) -> Result<PersonRecord, Error> {
        let of_patch = change.patch.apply(&Details::default())?;
        self.check_expiry(&of_patch)?;
        if caller.rules.require_consent
            && change.patch.fields().any(|field| field == Field::ConsentReference)
            && of_patch.consent_reference.is_none()
        {
            return Err(Error::ConsentMissing);
        }
        let revision = self.store.people.update(&caller.app, id, &change.patch, change.expected).await?;
        self.replicator.publish(&caller.app, revision).await;
        self.person(caller, id).await
    }

    /// Erases a template. The next search does not find it.
    ///
    /// # Errors
    /// [`Error::TemplateNotFound`], [`Error::TemplateChanged`], [`Error::CountDiffers`], store failures.
    pub async fn erase_person(
        &self,
        caller: &Caller,
        id: &TemplateId,
        expected: Option<Revision>,
        samples: Option<u64>,
    ) -> Result<ErasedPerson, Error> {
        let reason = ErasureReason::delete(caller.transaction, caller.actor.clone());
        let erased = self.store.people.erase(&caller.app, id, &reason, expected, samples).await?;
        self.replicator.publish(&caller.app, erased.revision).await;
        Ok(erased)
    }

    /// Refuses details that a new template of the caller must not have.
    ///
    /// # Errors
    /// [`Error::ConsentMissing`], [`Error::Detail`].
    pub fn check_details(&self, caller: &Caller, details: &Details) -> Result<(), Error> {
        if caller.rules.require_consent && details.consent_reference.is_none() {
            return Err(Error::ConsentMissing);
        }
        self.check_expiry(details)
    }

    /// A time in the past is a mistake: the template would be erased at once.
    fn check_expiry(&self, details: &Details) -> Result<(), Error> {
        match details.expires_at {
            Some(at) if at <= self.applications.store_clock().now() => {
                Err(DetailError { field: Field::ExpiresAt, fault: DetailFault::Past }.into())
            }
            Some(_) | None => Ok(()),
        }
    }
}
