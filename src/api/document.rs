//! `/openapi.json`: the document of the API, with this server's limits.

use axum::body::Bytes;
use serde_json::Value;

use super::ApiConfig;

/// The document with the limits of the default settings.
const TEMPLATE: &str = include_str!("openapi.json");

/// The document of a server with these limits.
pub(super) fn document(config: &ApiConfig, max_candidates: usize) -> Bytes {
    // That the committed document is JSON, a test checks; were it not, it would be served as it is.
    with_limits(config, max_candidates).unwrap_or(Bytes::from_static(TEMPLATE.as_bytes()))
}

fn with_limits(config: &ApiConfig, max_candidates: usize) -> Result<Bytes, serde_json::Error> {
    let mut document: Value = serde_json::from_str(TEMPLATE)?;
    for (pointer, value) in limits(config, max_candidates) {
        if let Some(place) = document.pointer_mut(pointer) {
            *place = value;
        }
    }
    serde_json::to_vec_pretty(&document).map(Bytes::from)
}

/// Where the document names a limit that is a setting, and its value.
fn limits(config: &ApiConfig, max_candidates: usize) -> [(&'static str, Value); 4] {
    let bytes = config.max_body_bytes;
    let too_large = format!("The body is larger than {bytes} bytes, or than twice that where two photos are expected.");
    [
        ("/components/parameters/candidates/schema/maximum", max_candidates.max(1).into()),
        ("/components/parameters/limit/schema/maximum", config.page_max.max(1).into()),
        ("/components/parameters/limit/schema/default", config.page_default.max(1).into()),
        ("/components/responses/TooLarge/description", too_large.into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_has_the_limits_of_the_default_settings() {
        let committed: Value = serde_json::from_str(TEMPLATE).unwrap();
        for (pointer, value) in limits(&ApiConfig::default(), 100) {
            assert_eq!(committed.pointer(pointer), Some(&value), "{pointer}");
        }
    }

    #[test]
    fn the_document_has_the_limits_of_the_server() {
        let config = ApiConfig { max_body_bytes: 12345, page_max: 7, page_default: 3, ..ApiConfig::default() };
        let document: Value = serde_json::from_slice(&document(&config, 5)).unwrap();
        for (pointer, value) in limits(&config, 5) {
            assert_eq!(document.pointer(pointer), Some(&value), "{pointer}");
        }
        let text = document.pointer("/components/responses/TooLarge/description").and_then(Value::as_str);
        assert!(text.unwrap().contains("12345"));
    }
}
