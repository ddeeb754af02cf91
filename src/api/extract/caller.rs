//! Who calls, from the two credential headers.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::api::audit::Audit;
use crate::api::{Access, ApiError, ApiState};
use crate::domain::TransactionId;
use crate::service::{Caller, Error, Refused};

/// A caller whose credentials were right and whose key allows the route. Taken before anything else of a request, and without
/// its body.
pub(in crate::api) struct Authenticated {
    pub(in crate::api) caller: Caller,
    /// Where the request is noted for the journal.
    pub(in crate::api) audit: Audit,
}

impl FromRequestParts<ApiState> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, ApiError> {
        let Ok(audit) = Audit::from_request_parts(parts, api).await;
        // Official clients without configuration send empty values: empty is the same as missing.
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let app_id = header("app-id");
        let app_key = header("app-key");
        if !app_id.is_empty() && !app_key.is_empty() {
            api.service().require_fresh_keys()?;
        }
        let transaction = parts.extensions.get().copied().unwrap_or_else(TransactionId::random);
        match api.service().applications().authenticate(app_id, app_key, transaction) {
            Ok(caller) => {
                tracing::Span::current().record("app", caller.app.as_str());
                audit.caller(&caller);
                api.check_rate(&caller)?;
                let access = parts.extensions.get::<Access>().copied().unwrap_or(Access::Open);
                access.check(&caller)?;
                Ok(Self { caller, audit })
            }
            // Before the first read of the store no application is known: the client is to try again, not to give up.
            Err(_) if !app_id.is_empty() && !app_key.is_empty() && !api.service().replicator().is_loaded() => {
                Err(Error::Loading.into())
            }
            Err(refused) => {
                if let Refused { key: Some((app, key, fault)) } = &refused {
                    audit.refused_key(app, *key, *fault);
                }
                if let Some(client) = parts.extensions.get() {
                    api.check_unauthenticated(*client)?;
                }
                Err(Error::from(refused).into())
            }
        }
    }
}
