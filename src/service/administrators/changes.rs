//! Changes of administrators.

use std::sync::Arc;

use super::{AdminError, Administrators, Error};
use crate::domain::{Actor, AdministratorId, AppId, Role, TransactionId};
use crate::store::{AdminChange, AdministratorRecord};

/// An administrator to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAdministrator {
    /// The name, 1 to 200 characters.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The applications that it may see; `None`: all of them.
    pub applications: Option<Vec<AppId>>,
    /// Whether it may change people.
    pub may_change: bool,
}

/// What changes of an administrator; `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdministratorPatch {
    /// The name, 1 to 200 characters.
    pub name: Option<String>,
    /// What it may do.
    pub role: Option<Role>,
    /// The applications that it may see; `Some(None)`: all of them.
    pub applications: Option<Option<Vec<AppId>>>,
    /// Whether it may change people.
    pub may_change: Option<bool>,
    /// Whether it may sign in.
    pub is_active: Option<bool>,
}

impl Administrators {
    /// Creates an administrator. It cannot sign in before it has a token or a one-time code.
    ///
    /// # Errors
    /// [`AdminError::NameTaken`], store failures.
    pub async fn create(
        &self,
        new: NewAdministrator,
        by: Actor,
        transaction: TransactionId,
    ) -> Result<Arc<AdministratorRecord>, Error> {
        let NewAdministrator { name, role, applications, may_change } = new;
        let record = AdministratorRecord {
            id: AdministratorId::random(),
            name,
            role,
            applications,
            may_change,
            is_active: true,
            is_bootstrap: false,
            created_at: self.now(),
            last_sign_in_at: None,
        };
        let detail = format!("{role} {}", record.id);
        let event = self.event("administrator create", &detail).by(by).within(transaction);
        if !self.store.create_administrator(&record, &event).await? {
            return Err(AdminError::NameTaken.into());
        }
        self.refresh_cache().await;
        Ok(Arc::new(record))
    }

    /// Changes an administrator. Where it may do less afterwards, its sessions end. The first owner counts as named once
    /// it has another name.
    ///
    /// # Errors
    /// [`AdminError::NotFound`], [`AdminError::NameTaken`], [`AdminError::LastOwner`], store failures.
    pub async fn change(
        &self,
        id: &AdministratorId,
        patch: AdministratorPatch,
        by: Actor,
        transaction: TransactionId,
    ) -> Result<Arc<AdministratorRecord>, Error> {
        self.refresh().await?;
        let known = self.get(id)?;
        let mut new = (*known).clone();
        if let Some(name) = patch.name {
            new.is_bootstrap &= name == new.name;
            new.name = name;
        }
        new.role = patch.role.unwrap_or(new.role);
        new.applications = patch.applications.unwrap_or(new.applications);
        new.may_change = patch.may_change.unwrap_or(new.may_change);
        new.is_active = patch.is_active.unwrap_or(new.is_active);
        let changed: Vec<&str> = [
            ("name", new.name != known.name),
            ("role", new.role != known.role),
            ("applications", new.applications != known.applications),
            ("mayChange", new.may_change != known.may_change),
            ("state", new.is_active != known.is_active),
        ]
        .into_iter()
        .filter_map(|(name, is_changed)| is_changed.then_some(name))
        .collect();
        if changed.is_empty() {
            return Ok(known);
        }
        let event = self
            .event("administrator change", &format!("administrator {id}"))
            .by(by)
            .within(transaction)
            .changing(&changed);
        match self.store.update_administrator(&new, is_narrower(&new, &known), &event).await? {
            AdminChange::Done => {}
            AdminChange::NotFound => return Err(AdminError::NotFound("administrator").into()),
            AdminChange::NameTaken => return Err(AdminError::NameTaken.into()),
            AdminChange::LastOwner => return Err(AdminError::LastOwner.into()),
        }
        self.refresh_cache().await;
        Ok(Arc::new(new))
    }

    /// Deletes an administrator with its tokens and sessions.
    ///
    /// # Errors
    /// [`AdminError::NotFound`], [`AdminError::LastOwner`], store failures.
    pub async fn delete(&self, id: &AdministratorId, by: Actor, transaction: TransactionId) -> Result<(), Error> {
        let event = self.event("administrator delete", &format!("administrator {id}")).by(by).within(transaction);
        let outcome = self.store.delete_administrator(id, &event).await?;
        self.refresh_cache().await;
        match outcome {
            AdminChange::Done => Ok(()),
            AdminChange::LastOwner => Err(AdminError::LastOwner.into()),
            AdminChange::NotFound | AdminChange::NameTaken => Err(AdminError::NotFound("administrator").into()),
        }
    }
}

/// Whether an administrator may do less than before.
fn is_narrower(new: &AdministratorRecord, known: &AdministratorRecord) -> bool {
    let sees_less = match (&new.applications, &known.applications) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(new), Some(known)) => known.iter().any(|app| !new.contains(app)),
    };
    let other_role = new.role != known.role && new.role != Role::Owner;
    other_role || sees_less || (known.may_change && !new.may_change) || (known.is_active && !new.is_active)
}
