//! A request without credentials.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use crate::api::admin::transport::Transport;
use crate::api::audit::Audit;
use crate::api::peer::Client;
use crate::api::{ApiError, ApiState};
use crate::domain::TransactionId;
use crate::service::SignInFrom;

/// Someone who is about to sign in.
pub(in crate::api) struct Guest {
    /// Where the request is noted for the journal.
    pub(in crate::api) audit: Audit,
    /// The transaction of the request.
    pub(in crate::api) transaction: TransactionId,
    /// The client of the request.
    pub(in crate::api) client: Option<Client>,
    /// What a session records of it.
    pub(in crate::api) from: SignInFrom,
    /// How the request came.
    pub(in crate::api::admin) transport: Transport,
}

impl FromRequestParts<ApiState> for Guest {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, ApiError> {
        let Ok(audit) = Audit::from_request_parts(parts, api).await;
        let transport = parts.extensions.get::<Transport>().cloned().ok_or(ApiError::WrongHost)?;
        let transaction = parts.extensions.get().copied().unwrap_or_else(TransactionId::random);
        let client: Option<Client> = parts.extensions.get().copied();
        let program = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let from =
            SignInFrom { address: client.map(|client| client.address.to_string()), client: program.map(str::to_owned) };
        Ok(Self { audit, transaction, client, from, transport })
    }
}
