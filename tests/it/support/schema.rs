//! Checks answers against the document of the API.

use std::sync::LazyLock;

use jsonschema::Draft;
use semblance::api::{ApiConfig, admin_openapi, openapi};
use serde_json::Value;

use super::Answer;

/// The document of a server with default settings.
static DOCUMENT: LazyLock<Schema> =
    LazyLock::new(|| Schema(serde_json::from_slice(&openapi(&ApiConfig::default(), 100)).unwrap()));

/// The document of the administration API.
static ADMIN_DOCUMENT: LazyLock<Schema> = LazyLock::new(|| Schema(serde_json::from_slice(&admin_openapi()).unwrap()));

/// The document of a server.
pub struct Schema(pub Value);

/// Checks that an answer is as documented. A path or a method that the document does not have is left out.
pub fn assert_documented(method: &str, target: &str, answer: &Answer) {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    if answer.header("content-type") == Some("application/json") {
        let is_admin = path.starts_with("/api/admin/");
        let document = if is_admin { &*ADMIN_DOCUMENT } else { &*DOCUMENT };
        document.check_known(method, path, answer.status, &answer.body);
    }
}

/// Checks that an answer of the administration API is as documented.
pub fn assert_admin_documented(method: &str, path: &str, status: u16, body: &[u8]) {
    assert!(ADMIN_DOCUMENT.path_of(path).is_some(), "{path} is not documented");
    ADMIN_DOCUMENT.check_known(method, path, status, body);
}

impl Schema {
    /// Checks a body, if the document has its path and method.
    fn check_known(&self, method: &str, path: &str, status: u16, body: &[u8]) {
        if let Some(path) = self.path_of(path)
            && self.0["paths"][path].get(method.to_lowercase()).is_some()
        {
            self.check(method, path, status, body);
        }
    }

    /// The documented path that a path belongs to.
    fn path_of(&self, path: &str) -> Option<&str> {
        let segments = |path: &str| -> Vec<String> {
            path.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
        };
        let requested = segments(path);
        let fits = |known: &str| {
            let known = segments(known);
            known.len() == requested.len()
                && known.iter().zip(&requested).all(|(known, requested)| known.starts_with('{') || known == requested)
        };
        self.0["paths"].as_object().unwrap().keys().map(String::as_str).find(|known| fits(known))
    }

    /// Checks that a body is what the document promises for a method, a path and a status.
    pub fn check(&self, method: &str, path: &str, status: u16, body: &[u8]) {
        let response = &self.0["paths"][path][method.to_lowercase()]["responses"][status.to_string()];
        assert!(response.is_object(), "{method} {path} answers an undocumented {status}");
        let mut schema = self.resolve(response)["content"]["application/json"]["schema"].clone();
        assert!(schema.is_object(), "{method} {path} {status} has no schema");
        // Its references lead there.
        schema["components"] = self.0["components"].clone();
        let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
        let validator = options.build(&schema).unwrap();
        let body = serde_json::from_slice(body).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{method} {path} {status}: {errors:#?} in {body}");
        // The administration API names the words of `reason` for each failure.
        if path.starts_with("/api/admin/")
            && let Some(reason) = body["result"].get("reason").filter(|_| status >= 400)
        {
            let known = self.resolve(response)["x-reasons"].as_array();
            assert!(
                known.is_some_and(|known| known.contains(reason)),
                "{method} {path} {status}: the reason {reason} is not documented"
            );
        }
    }

    /// Follows references.
    pub fn resolve<'a>(&'a self, mut value: &'a Value) -> &'a Value {
        while let Some(reference) = value.get("$ref") {
            let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
            value = self.0.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"));
        }
        value
    }
}
