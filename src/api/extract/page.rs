//! Pages of lists, and their cursors.
//!
//! A cursor holds the key of the last item of a page, sealed: a key can be a name. It is valid for the path and the
//! filter that it was made for, for a day, on every node.

use std::convert::Infallible;
use std::time::{Duration, UNIX_EPOCH};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Query;
use crate::api::{ApiError, ApiState};
use crate::domain::Clock;
use crate::service::Error;

/// Items on a page without `limit`, and the most.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// How long a cursor is valid.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// The most characters of a cursor: the sealed form of the longest name and the longest id.
const MAX_CURSOR_CHARS: usize = 2048;

/// The path that cursors are valid for. For lists whose `limit` and `cursor` come in a body.
#[derive(Debug, Clone)]
pub(in crate::api) struct CursorPath(String);

/// The page that is requested.
#[derive(Debug, Clone)]
pub(in crate::api) struct Page {
    /// The most items, 1 to 1000.
    pub(in crate::api) limit: usize,
    cursor: Option<String>,
    path: CursorPath,
}

/// What is sealed in a cursor.
#[derive(Serialize, Deserialize)]
struct Content<K> {
    /// When it was made, in seconds since 1970.
    issued: u64,
    /// The key of the last item.
    key: K,
}

impl CursorPath {
    /// The page of a body.
    ///
    /// # Errors
    /// 400 when the limit is out of range.
    pub(in crate::api) fn page(self, limit: Option<usize>, cursor: Option<String>) -> Result<Page, ApiError> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(ApiError::field("limit", format!("must be a whole number from 1 to {MAX_LIMIT}")));
        }
        Ok(Page { limit, cursor, path: self })
    }

    /// What a cursor is bound to.
    fn usage(&self, filter: &impl Serialize) -> Result<Vec<u8>, ApiError> {
        let filter = serde_json::to_vec(filter).map_err(|error| Error::Internal(error.into()))?;
        let digest = Sha256::new()
            .chain_update((self.0.len() as u64).to_le_bytes())
            .chain_update(self.0.as_bytes())
            .chain_update(&filter)
            .finalize();
        Ok([b"cursor ".as_slice(), digest.as_slice()].concat())
    }
}

impl Page {
    /// The key after which the page begins; `None`: at the beginning.
    ///
    /// # Errors
    /// [`ApiError::BadCursor`].
    pub(in crate::api) fn after<K: DeserializeOwned>(
        &self,
        api: &ApiState,
        filter: &impl Serialize,
    ) -> Result<Option<K>, ApiError> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        if cursor.len() > MAX_CURSOR_CHARS {
            return Err(ApiError::BadCursor);
        }
        let sealed = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| ApiError::BadCursor)?;
        let usage = self.path.usage(filter)?;
        let opened = api.service().cursor_key().open(&usage, &sealed).map_err(|_| ApiError::BadCursor)?;
        let content: Content<K> = serde_json::from_slice(&opened).map_err(|_| ApiError::BadCursor)?;
        let age = now().saturating_sub(content.issued);
        if age > MAX_AGE.as_secs() { Err(ApiError::BadCursor) } else { Ok(Some(content.key)) }
    }

    /// The cursor of the page after the item with this key.
    ///
    /// # Errors
    /// When the key cannot be written, or the system returns no random numbers.
    pub(in crate::api) fn next<K: Serialize>(
        &self,
        api: &ApiState,
        filter: &impl Serialize,
        key: K,
    ) -> Result<String, ApiError> {
        let content = Content { issued: now(), key };
        let text = serde_json::to_vec(&content).map_err(|error| Error::Internal(error.into()))?;
        let sealed = api.service().cursor_key().seal(&self.path.usage(filter)?, &text);
        Ok(URL_SAFE_NO_PAD.encode(sealed.map_err(|error| Error::Internal(error.into()))?))
    }
}

fn now() -> u64 {
    Clock::system().now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl FromRequestParts<ApiState> for CursorPath {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Infallible> {
        Ok(Self(parts.uri.path().to_owned()))
    }
}

impl FromRequestParts<ApiState> for Page {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, ApiError> {
        let Ok(path) = CursorPath::from_request_parts(parts, api).await;
        let Ok(query) = Query::from_request_parts(parts, api).await;
        let limit = query.count("limit", 1..=MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
        Ok(Self { limit, cursor: query.text("cursor").map(str::to_owned), path })
    }
}
