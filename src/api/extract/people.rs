//! Details of people in bodies and headers.

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use serde_json::{Map, Value};

use super::people_query::PeopleSearch;
use super::stream::{Capped, capped, collect};
use crate::api::ApiError;
use crate::domain::{DetailsPatch, Field, Revision};
use crate::service::{Error, PersonChange};

/// Largest body with details, or with a search: the largest details with white space and escapes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Reads the change of a person: a JSON merge patch, and the revision of `If-Match`.
pub(in crate::api) async fn read_change(request: Request) -> Result<PersonChange, ApiError> {
    let Capped { headers, body, .. } = capped(request, MAX_BODY_BYTES)?;
    let expected = if_match(&headers)?;
    let patch = details_patch(object(&collect(body, Vec::new()).await?)?)?;
    Ok(PersonChange { patch, expected })
}

/// Reads a search of people.
pub(in crate::api) async fn read_search(request: Request) -> Result<PeopleSearch, ApiError> {
    let Capped { body, .. } = capped(request, MAX_BODY_BYTES)?;
    let object = Value::Object(object(&collect(body, Vec::new()).await?)?);
    // The text of the deserializer may repeat what the caller sent.
    let unreadable =
        |_| ApiError::bad_request("request body is not a search: see POST /templates/search in /openapi.json");
    serde_json::from_value(object).map_err(unreadable)
}

/// A body that is a JSON object.
fn object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(ApiError::bad_request("request body must be a JSON object")),
        Err(_) => Err(ApiError::bad_request("request body is not valid JSON")),
    }
}

/// The change of details in a merge patch. Unknown members are refused: a typing error would change nothing silently.
fn details_patch(members: Map<String, Value>) -> Result<DetailsPatch, ApiError> {
    let mut patch = DetailsPatch::default();
    for (name, value) in members {
        let Some(field) = Field::ALL.into_iter().find(|field| field.as_str() == name) else {
            let known = Field::ALL.map(Field::as_str).join(", ");
            return Err(ApiError::bad_request(format!("request body has an unknown member; known are {known}")));
        };
        patch.set(field, value).map_err(Error::from)?;
    }
    Ok(patch)
}

/// The revision of `If-Match: "r12"`; `None` when absent, or for `*`.
pub(in crate::api) fn if_match(headers: &HeaderMap) -> Result<Option<Revision>, ApiError> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let tag = value.to_str().unwrap_or_default().trim();
    if tag == "*" {
        return Ok(None);
    }
    let number = tag.strip_prefix("\"r").and_then(|rest| rest.strip_suffix('"')).and_then(|number| number.parse().ok());
    number.map(|number| Some(Revision(number))).ok_or_else(|| {
        ApiError::bad_request("If-Match must be the quoted letter r and the revision of the template, such as \"r12\"")
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn if_match_is_a_quoted_revision() {
        let read = |value: &'static str| {
            let headers = HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static(value))]);
            if_match(&headers).ok().map(|revision| revision.map(|revision| revision.0))
        };
        assert_eq!(read("\"r12\""), Some(Some(12)));
        assert_eq!(read("*"), Some(None));
        for junk in ["r12", "\"12\"", "\"r\"", "\"r-1\"", "W/\"r1\"", "\"r1\", \"r2\""] {
            assert_eq!(read(junk), None, "{junk}");
        }
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
    }
}
