//! What a route of the public API needs of its caller.

use axum::Extension;
use axum::routing::MethodRouter;

use super::ApiState;
use crate::domain::Scope;
use crate::service::{Caller, Error};

/// What a route needs. Each row of the route table has one, and the extractor of callers refuses a route without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// No credentials.
    Open,
    /// A key, whatever it allows.
    AnyKey,
    /// A key with one of these scopes.
    Scopes(&'static [Scope]),
    /// A key with all of these scopes.
    AllScopes(&'static [Scope]),
}

impl Access {
    pub(super) const IDENTIFY: Self = Self::Scopes(&[Scope::Identify]);
    pub(super) const ENROLL: Self = Self::Scopes(&[Scope::Enroll]);
    pub(super) const READ: Self = Self::Scopes(&[Scope::Read]);
    pub(super) const DELETE: Self = Self::Scopes(&[Scope::Delete]);
    /// What takes from one template and gives to another.
    pub(super) const REARRANGE: Self = Self::AllScopes(&[Scope::Enroll, Scope::Delete]);
    /// Checks of a photo alone: before an enrollment as well as before an identification.
    pub(super) const CHECK: Self = Self::Scopes(&[Scope::Identify, Scope::Enroll]);

    /// Refuses a caller whose key does not allow it.
    ///
    /// # Errors
    /// [`Error::MissingScope`]; an internal error on a route that reads no credentials.
    pub(super) fn check(self, caller: &Caller) -> Result<(), Error> {
        match self {
            Self::Open => Err(Error::Internal("a route without credentials reads them".into())),
            Self::AnyKey => Ok(()),
            Self::Scopes(scopes) => caller.require_any(scopes),
            Self::AllScopes(scopes) => scopes.iter().try_for_each(|scope| caller.require(*scope)),
        }
    }

    /// Makes it known to the extractor of callers.
    pub(super) fn guard(self, handler: MethodRouter<ApiState>) -> MethodRouter<ApiState> {
        handler.route_layer(Extension(self))
    }
}
