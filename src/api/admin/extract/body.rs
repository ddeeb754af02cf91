//! Bodies of JSON. An unknown member is refused, and an error names the field at fault without its value.

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::field::Object;
use crate::api::extract::read_capped;
use crate::api::{ApiError, ApiState};

/// Largest body of JSON in bytes.
const MAX_JSON_BYTES: usize = 256 * 1024;

const JSON: &str = "application/json";

const MERGE_PATCH: &str = "application/merge-patch+json";

/// The most characters of a member's name in an error.
const MAX_NAME_CHARS: usize = 64;

/// A body of JSON. The type refuses unknown members: `#[serde(deny_unknown_fields)]`.
pub(in crate::api) struct JsonBody<T>(pub(in crate::api) T);

/// A merge patch (RFC 7396), with members of type [`Field`](super::Field).
pub(in crate::api) struct PatchBody<T>(pub(in crate::api) T);

impl<T: DeserializeOwned> FromRequest<ApiState> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &ApiState) -> Result<Self, ApiError> {
        if !is_of_type(request.headers(), &[JSON]) {
            return Err(ApiError::WrongMediaType(JSON));
        }
        parse(&read_capped(request, MAX_JSON_BYTES).await?).map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<ApiState> for PatchBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &ApiState) -> Result<Self, ApiError> {
        if !is_of_type(request.headers(), &[JSON, MERGE_PATCH]) {
            return Err(ApiError::WrongMediaType(MERGE_PATCH));
        }
        parse(&read_capped(request, MAX_JSON_BYTES).await?).map(Self)
    }
}

/// Whether the declared media type is one of these.
fn is_of_type(headers: &HeaderMap, types: &[&str]) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    types.iter().any(|known| essence.eq_ignore_ascii_case(known))
}

/// Reads JSON. The error names the field, and repeats nothing of what the caller sent but that name.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut deserializer);
    let Object(value) = parsed.map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() { fault(&path, &inner.to_string()) } else { not_json() }
    })?;
    deserializer.end().map_err(|_| not_json())?;
    Ok(value)
}

fn not_json() -> ApiError {
    ApiError::bad_request("request body is not valid JSON")
}

/// The fault of a field, from the text of a deserializer.
fn fault(path: &str, text: &str) -> ApiError {
    let text = text.split(" at line ").next().unwrap_or_default();
    let named = |prefix: &str| text.strip_prefix(prefix)?.split('`').nth(1).map(cut);
    let inside = |name: String| match path.rsplit_once('.') {
        Some((outer, last)) if last == name => format!("{outer}.{name}"),
        _ if path == "." || path == name => name,
        _ => format!("{path}.{name}"),
    };
    if let Some(name) = named("unknown field ") {
        return ApiError::field(inside(name), "is not a field of this request");
    }
    if let Some(name) = named("missing field ") {
        return ApiError::field(inside(name), "is missing");
    }
    let field = if path == "." { "body".to_owned() } else { cut(path) };
    // "invalid type: string \"x\", expected u64": what stands before is of the caller.
    let info = match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("must be {expected}"),
        None if text.starts_with("must ") => text.to_owned(),
        None => "cannot be used".to_owned(),
    };
    ApiError::field(field, info)
}

fn cut(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::{Field, object};
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Body {
        name: String,
        #[serde(default)]
        may_change: Field<bool>,
        #[serde(default, deserialize_with = "object")]
        inner: Field<Inner>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        count: u8,
    }

    fn read(text: &str) -> Result<Body, Vec<(String, String)>> {
        parse(text.as_bytes()).map_err(|error| {
            let body = error.body();
            assert_eq!(body.status.as_u16(), 400);
            assert!(!body.info.contains("secret"), "{}", body.info);
            body.fields.into_iter().map(|fault| (fault.field, fault.info)).collect()
        })
    }

    #[test]
    fn a_field_at_fault_is_named_without_its_value() {
        let body = |may_change| Body { name: "x".to_owned(), may_change, inner: Field::Keep };
        assert_eq!(read(r#"{"name":"x"}"#), Ok(body(Field::Keep)));
        assert_eq!(read(r#"{"name":"x","mayChange":null}"#), Ok(body(Field::Clear)));
        assert_eq!(read(r#" {"name":"x","mayChange":true} "#), Ok(body(Field::Set(true))));
        let fault = |field: &str, info: &str| Err(vec![(field.to_owned(), info.to_owned())]);
        assert_eq!(read(r#"{"name":"x","extra":"secret"}"#), fault("extra", "is not a field of this request"));
        assert_eq!(read("{}"), fault("name", "is missing"));
        assert_eq!(read(r#"{"name":7}"#), fault("name", "must be a string"));
        assert_eq!(read(r#"{"name":"x","mayChange":"secret"}"#), fault("mayChange", "must be a boolean"));
        assert_eq!(read(r#"{"name":"x","inner":{"count":"secret"}}"#), fault("inner.count", "must be u8"));
        assert_eq!(read(r#"{"name":"x","inner":{"x":1}}"#), fault("inner.x", "is not a field of this request"));
        assert_eq!(read(r#"{"name":"x","inner":{}}"#), fault("inner.count", "is missing"));
        assert_eq!(read(r#"{"name":"x","inner":["secret"]}"#), fault("inner", "must be an object"));
        for text in ["\"secret\"", "[\"secret\"]", "null", "7"] {
            assert_eq!(read(text), fault("body", "must be an object"), "{text}");
        }
        for text in ["", "{", "{\"name\":\"secret\"", "{\"name\":\"x\"} secret", "{\"name\":secret}"] {
            assert_eq!(read(text), Err(Vec::new()), "{text}");
        }
    }
}
