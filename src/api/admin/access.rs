//! Who may call a route.

use crate::api::{ApiError, Forbidden};
use crate::domain::Role;
use crate::service::SignedIn;

/// The access rule of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct Access {
    who: Who,
    changes: bool,
    fresh: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Public,
    Any,
    Owner,
    Operator,
    Auditor,
}

impl Access {
    /// No credentials are needed.
    pub(in crate::api) const PUBLIC: Self = Self::new(Who::Public);
    /// Every administrator.
    pub(in crate::api) const ANY: Self = Self::new(Who::Any);
    /// Owners.
    pub(in crate::api) const OWNER: Self = Self::new(Who::Owner);
    /// Owners and operators.
    pub(in crate::api) const OPERATOR: Self = Self::new(Who::Operator);
    /// Owners and auditors.
    pub(in crate::api) const AUDITOR: Self = Self::new(Who::Auditor);

    const fn new(who: Who) -> Self {
        Self { who, changes: false, fresh: false }
    }

    /// The same, without operators who may not change anything, and without auditors.
    pub(in crate::api) const fn changing(self) -> Self {
        Self { changes: true, ..self }
    }

    /// The same, with a token that was presented within the last ten minutes.
    pub(in crate::api) const fn fresh(self) -> Self {
        Self { fresh: true, ..self }
    }

    /// Whether no credentials are needed.
    pub(super) fn is_public(self) -> bool {
        self.who == Who::Public
    }

    /// Whether an operator who may not change anything is refused.
    pub(super) fn is_changing(self) -> bool {
        self.changes
    }

    /// Whether a fresh session is needed.
    pub(super) fn is_fresh(self) -> bool {
        self.fresh
    }

    /// The names of the roles that may.
    pub(super) fn roles(self) -> &'static [&'static str] {
        match self.who {
            Who::Public => &[],
            Who::Any => &["owner", "operator", "auditor"],
            Who::Owner => &["owner"],
            Who::Operator => &["owner", "operator"],
            Who::Auditor => &["owner", "auditor"],
        }
    }

    /// Admits an administrator.
    pub(super) fn admit(self, signed_in: &SignedIn) -> Result<(), ApiError> {
        let has_role = match (self.who, signed_in.role()) {
            (_, Role::Owner) | (Who::Public | Who::Any, _) => true,
            (Who::Operator, role) => role == Role::Operator,
            (Who::Auditor, role) => role == Role::Auditor,
            (Who::Owner, _) => false,
        };
        if !has_role {
            return Err(Forbidden::Role.into());
        }
        if self.changes && !signed_in.may_change() {
            let is_auditor = signed_in.role() == Role::Auditor;
            return Err(if is_auditor { Forbidden::Role } else { Forbidden::Change }.into());
        }
        if self.fresh && !signed_in.is_fresh {
            return Err(Forbidden::NotFresh.into());
        }
        Ok(())
    }
}
