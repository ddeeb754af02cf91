//! The document of the API: complete, and the same as the reviewed one.

use std::collections::BTreeSet;

use semblance::api::{ApiConfig, openapi};
use semblance::domain::Measure;
use serde_json::Value;

fn document(config: &ApiConfig, max_candidates: usize) -> Value {
    serde_json::from_slice(&openapi(config, max_candidates)).unwrap()
}

/// A deliberate change of the API is reviewed in the difference of this snapshot.
#[test]
fn the_document_is_the_reviewed_one() {
    insta::assert_json_snapshot!(document(&ApiConfig::default(), 100), { ".info.version" => "[version]" });
}

#[test]
fn the_document_has_the_limits_of_the_server() {
    let config = ApiConfig { max_body_bytes: 12345, page_max: 7, page_default: 3, ..ApiConfig::default() };
    let document = document(&config, 5);
    let parameters = &document["components"]["parameters"];
    assert_eq!(parameters["candidates"]["schema"]["maximum"], 5);
    assert_eq!(parameters["limit"]["schema"]["maximum"], 7);
    assert_eq!(parameters["limit"]["schema"]["default"], 3);
    let too_large = document["components"]["responses"]["TooLarge"]["description"].as_str().unwrap();
    assert!(too_large.contains(" 12345 bytes"), "{too_large}");
}

/// Generators of clients take the first media type.
#[test]
fn a_form_is_the_first_media_type_of_a_photo() {
    let text = String::from_utf8(openapi(&ApiConfig::default(), 100).to_vec()).unwrap();
    let identify = &text[text.find(r#""operationId":"identify""#).unwrap()..];
    assert!(identify.find("multipart/form-data").unwrap() < identify.find("image/jpeg").unwrap());
}

#[test]
fn both_layouts_have_every_measure() {
    let document = document(&ApiConfig::default(), 100);
    let keys = |schema: &str| -> BTreeSet<String> {
        document["components"]["schemas"][schema]["properties"].as_object().unwrap().keys().cloned().collect()
    };
    let seed = keys("SeedQuality");
    let modern = keys("ModernQuality");
    for row in Measure::ALL.map(Measure::row) {
        assert!(seed.contains(row.name) && modern.contains(row.newer_name), "{}", row.name);
    }
}
