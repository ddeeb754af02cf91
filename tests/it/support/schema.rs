//! Checks answers against `/openapi.json`, with as much of JSON Schema as that document uses.

use serde_json::Value;

/// The document of a server.
pub struct Schema(pub Value);

impl Schema {
    /// Checks that a body is what the document promises for a method, a path and a status.
    pub fn check(&self, method: &str, path: &str, status: u16, body: &[u8]) {
        let response = &self.0["paths"][path][method.to_lowercase()]["responses"][status.to_string()];
        assert!(response.is_object(), "{method} {path} answers an undocumented {status}");
        let schema = &self.resolve(response)["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path} {status} has no schema");
        let body = serde_json::from_slice(body).unwrap();
        if let Err(error) = self.fits(schema, &body) {
            panic!("{method} {path} {status}: {error}");
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

    fn fits(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let schema = self.resolve(schema);
        if let Some(choices) = schema["oneOf"].as_array() {
            let fitting = choices.iter().filter(|choice| self.fits(choice, value).is_ok()).count();
            return if fitting == 1 { Ok(()) } else { Err(format!("{value} fits {fitting} of {schema}")) };
        }
        let right = match schema["type"].as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            Some("null") => value.is_null(),
            other => return Err(format!("an unknown type {other:?} in {schema}")),
        };
        if !right {
            return Err(format!("{value} is not of {schema}"));
        }
        if schema.get("const").is_some_and(|only| only != value)
            || schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value))
        {
            return Err(format!("{value} is not among {schema}"));
        }
        for required in schema["required"].as_array().into_iter().flatten() {
            if value.get(required.as_str().unwrap()).is_none() {
                return Err(format!("{required} is missing in {value}"));
            }
        }
        for (key, value) in value.as_object().into_iter().flatten() {
            match schema["properties"].get(key) {
                Some(schema) => self.fits(schema, value).map_err(|error| format!("{key}: {error}"))?,
                None if schema["additionalProperties"] == false => return Err(format!("{key} is undocumented")),
                None => {}
            }
        }
        for item in value.as_array().into_iter().flatten() {
            self.fits(&schema["items"], item)?;
        }
        Ok(())
    }
}
