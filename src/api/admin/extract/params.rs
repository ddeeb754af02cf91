//! The ids in a path.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::api::{ApiError, ApiState};

/// Begins an id that is written in base64url. URL libraries rewrite ids such as `.` and `..`, which are written so.
const ENCODED: char = '~';

/// The parameters of a path, decoded.
pub(in crate::api) struct Params(Vec<(String, String)>);

impl Params {
    /// The id of this name.
    ///
    /// # Errors
    /// 400 when it cannot be an id.
    pub(in crate::api) fn id<T>(&self, name: &'static str) -> Result<T, ApiError>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap_or_default();
        let text = decoded(text).ok_or_else(|| ApiError::field(name, "must be base64url of UTF-8 after ~"))?;
        text.parse().map_err(|error: T::Err| ApiError::field(name, error.to_string()))
    }
}

fn decoded(text: &str) -> Option<String> {
    let Some(encoded) = text.strip_prefix(ENCODED) else { return Some(text.to_owned()) };
    String::from_utf8(URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?).ok()
}

impl FromRequestParts<ApiState> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &ApiState) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, api).await;
        let params = params.map_err(|_| ApiError::bad_request("the path must be percent-encoded UTF-8"))?;
        Ok(Self(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TemplateId;

    fn id(text: &str) -> Result<String, u16> {
        let params = Params(vec![("templateId".to_owned(), text.to_owned())]);
        let id = params.id::<TemplateId>("templateId");
        id.map(|id| id.as_str().to_owned()).map_err(|error| error.body().status.as_u16())
    }

    #[test]
    fn ids_are_read_plain_or_in_base64url() {
        assert_eq!(id("ada-01"), Ok("ada-01".to_owned()));
        assert_eq!(id("~Lg"), Ok(".".to_owned()));
        assert_eq!(id("~Lg=="), Ok(".".to_owned()));
        assert_eq!(id("~fg"), Ok("~".to_owned()));
        assert_eq!(id(&format!("~{}", URL_SAFE_NO_PAD.encode("é/é"))), Ok("é/é".to_owned()));
        for text in ["", "~", "~?", "~/w", "~_w", "a\u{0}"] {
            assert_eq!(id(text), Err(400), "{text:?}");
        }
    }
}
