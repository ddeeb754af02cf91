//! Who calls, and for which application.

use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::Params;
use crate::api::admin::gate::Passed;
use crate::api::admin::transport::Transport;
use crate::api::audit::Audit;
use crate::api::peer::Client;
use crate::api::{ApiError, ApiState};
use crate::domain::{Actor, AppId, TransactionId};
use crate::service::{AdminError, Caller, Error, SignedIn};

/// The administrator of a request, whom the route's access rule admits.
pub(in crate::api) struct Admin {
    /// Who, and how.
    pub(in crate::api) signed_in: SignedIn,
    /// Where the request is noted for the journal.
    pub(in crate::api) audit: Audit,
    /// The transaction of the request.
    pub(in crate::api) transaction: TransactionId,
    /// The secret in the cookie of its session.
    pub(in crate::api::admin) secret: Option<String>,
    /// The client of the request.
    pub(in crate::api) client: Option<Client>,
    /// How the request came.
    pub(in crate::api::admin) transport: Transport,
}

impl Admin {
    /// Who acts.
    pub(in crate::api) fn actor(&self) -> Actor {
        self.signed_in.actor()
    }

    /// The administrator as the caller of an application.
    ///
    /// # Errors
    /// 404 when the application does not exist, or this administrator may not see it.
    pub(in crate::api) fn caller(&self, api: &ApiState, app: &AppId) -> Result<Caller, ApiError> {
        let id = self.signed_in.administrator.id.clone();
        let caller = api.service().applications().act_for(app, id, self.transaction);
        let caller = caller.filter(|_| self.signed_in.may_see(app)).ok_or_else(|| ApiError::no_such("application"))?;
        self.audit.app(&caller.app);
        Ok(caller)
    }
}

impl FromRequestParts<ApiState> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, ApiError> {
        let Ok(audit) = Audit::from_request_parts(parts, api).await;
        let Passed { signed_in, secret } =
            parts.extensions.get::<Passed>().cloned().ok_or(Error::from(AdminError::Unauthenticated))?;
        let transport = parts.extensions.get::<Transport>().cloned().ok_or(ApiError::WrongHost)?;
        let transaction = parts.extensions.get().copied().unwrap_or_else(TransactionId::random);
        let client = parts.extensions.get().copied();
        Ok(Self { signed_in, audit, transaction, secret, client, transport })
    }
}

/// The administrator of a request, and the application that its path names (`{appId}`).
pub(in crate::api) struct ForApp {
    /// The administrator as the caller of the application.
    pub(in crate::api) caller: Caller,
    /// The administrator.
    pub(in crate::api) admin: Admin,
}

impl Deref for ForApp {
    type Target = Admin;

    fn deref(&self) -> &Admin {
        &self.admin
    }
}

impl FromRequestParts<ApiState> for ForApp {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, ApiError> {
        let admin = Admin::from_request_parts(parts, api).await?;
        let params = Params::from_request_parts(parts, api).await?;
        // An id that cannot exist is treated as one that does not.
        let app = params.id::<AppId>("appId").map_err(|_| ApiError::no_such("application"))?;
        Ok(Self { caller: admin.caller(api, &app)?, admin })
    }
}
