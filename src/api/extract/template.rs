//! The template id in the body of `/delete`.

use std::borrow::Cow;

use axum::extract::Request;

use super::boundary::boundary;
use super::form::read_text_field;
use super::stream::{Capped, capped, collect};
use super::template_id::{NAME, audited_template_id};
use crate::api::audit::Audit;
use crate::api::{ApiError, ApiState};
use crate::domain::TemplateId;

/// Largest body of `/delete`.
const MAX_DELETE_BODY_BYTES: usize = 64 * 1024;

/// Reads the template id from the body of `/delete`, whatever its declared media type: the documented curl command
/// declares JSON as a form, the oldest clients send a multipart form.
pub(in crate::api) async fn read_template_id(
    api: &ApiState,
    audit: &Audit,
    request: Request,
) -> Result<TemplateId, ApiError> {
    let Capped { headers, body, .. } = capped(request, MAX_DELETE_BODY_BYTES)?;
    let bytes = match boundary(&headers) {
        Some(boundary) => read_text_field(body, boundary, NAME, api.config().max_parts).await?,
        None => {
            let body = collect(body, Vec::new()).await?;
            text_of(&body)?.map(Cow::into_owned).map(String::into_bytes)
        }
    };
    let bytes = bytes.unwrap_or_default();
    let text = str::from_utf8(&bytes).map_err(|_| ApiError::bad_request(format!("{NAME} must be UTF-8 text")))?;
    audited_template_id(audit, text)
}

/// The template id in a JSON or urlencoded body; `None` in a body without one.
fn text_of(body: &[u8]) -> Result<Option<Cow<'_, str>>, ApiError> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii();
    if !matches!(body.first(), Some(b'{' | b'[' | b'"')) {
        return Ok(form_urlencoded::parse(body).find(|(key, _)| key == NAME).map(|(_, value)| value));
    }
    let json: serde_json::Value =
        serde_json::from_slice(body).map_err(|_| ApiError::bad_request("request body is not valid JSON"))?;
    match json.get(NAME) {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(serde_json::Value::String(id)) => Ok(Some(Cow::Owned(id.clone()))),
        Some(_) => Err(ApiError::bad_request(format!("{NAME} must be a string"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(body: &str) -> Result<Option<String>, String> {
        match text_of(body.as_bytes()) {
            Ok(id) => Ok(id.map(Cow::into_owned)),
            Err(error) => Err(error.body().info.into_owned()),
        }
    }

    #[test]
    fn json_and_forms_are_distinguished_by_their_text() {
        assert_eq!(id(r#" {"templateId": "a"} "#), Ok(Some("a".into())));
        assert_eq!(id("\u{feff}{\"templateId\":\"a\"}"), Ok(Some("a".into())));
        assert_eq!(id("templateId=a%20b&x=1"), Ok(Some("a b".into())));
        assert_eq!(id("x=1"), Ok(None));
        assert_eq!(id(""), Ok(None));
        assert_eq!(id("{}"), Ok(None));
        assert_eq!(id("[]"), Ok(None));
        assert_eq!(id(r#"{"templateId":null}"#), Ok(None));
        assert_eq!(id(r#"{"templateId":7}"#), Err("templateId must be a string".into()));
        assert_eq!(id(r#"{"templateId":"#), Err("request body is not valid JSON".into()));
    }
}
