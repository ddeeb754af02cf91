//! The vendor's endpoints that this server does not have.

use crate::api::ApiError;
use crate::api::extract::Authenticated;

pub(in crate::api) async fn unsupported(_: Authenticated) -> ApiError {
    ApiError::NotBuilt
}
