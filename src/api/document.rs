//! `/openapi.json`: the document of the API, with this server's limits.

use axum::body::Bytes;

use super::ApiConfig;

/// The document with the limits of the default settings.
const TEMPLATE: &str = include_str!("openapi.json");

/// A value in the text of the document: behind the second text that follows the first.
///
/// The text is changed, not its parsed form: generators of clients take the first media type of a request body, so
/// the order of keys must stay.
struct Place(&'static str, &'static str);

/// The document of a server with these limits.
pub(super) fn document(config: &ApiConfig, max_candidates: usize) -> Bytes {
    let mut text = TEMPLATE.to_owned();
    for (place, value) in limits(config, max_candidates) {
        if let Some(range) = find(&text, &place) {
            text.replace_range(range, &value);
        }
    }
    text.into()
}

/// Where a value is, up to the end of its line.
fn find(text: &str, place: &Place) -> Option<std::ops::Range<usize>> {
    let first = text.find(place.0)?;
    let start = first + text[first..].find(place.1)? + place.1.len();
    let length = text[start..].find('\n')?;
    Some(start..start + text[start..start + length].trim_end_matches(',').len())
}

/// Where the document names a limit that is a setting, and its value as JSON.
fn limits(config: &ApiConfig, max_candidates: usize) -> [(Place, String); 4] {
    let bytes = config.max_body_bytes;
    [
        (Place(r#""name": "candidates""#, r#""maximum": "#), max_candidates.max(1).to_string()),
        (Place(r#""name": "limit""#, r#""maximum": "#), config.page_max.max(1).to_string()),
        (Place(r#""name": "limit""#, r#""default": "#), config.page_default.max(1).to_string()),
        (
            Place(r#""TooLarge": {"#, r#""description": "#),
            format!(r#""The body is larger than {bytes} bytes, or than twice that where two photos are expected.""#),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_committed_document_has_the_limits_of_the_default_settings() {
        assert_eq!(document(&ApiConfig::default(), 100), TEMPLATE);
        for (place, value) in limits(&ApiConfig::default(), 100) {
            assert_eq!(find(TEMPLATE, &place).map(|range| &TEMPLATE[range]), Some(value.as_str()));
        }
    }

    #[test]
    fn the_document_has_the_limits_of_the_server() {
        let config = ApiConfig { max_body_bytes: 12345, page_max: 7, page_default: 3, ..ApiConfig::default() };
        let document: Value = serde_json::from_slice(&document(&config, 5)).unwrap();
        let parameters = &document["components"]["parameters"];
        assert_eq!(parameters["candidates"]["schema"]["maximum"], 5);
        assert_eq!(parameters["limit"]["schema"]["maximum"], 7);
        assert_eq!(parameters["limit"]["schema"]["default"], 3);
        let too_large = document["components"]["responses"]["TooLarge"]["description"].as_str().unwrap();
        assert!(too_large.contains(" 12345 bytes"), "{too_large}");
    }
}
