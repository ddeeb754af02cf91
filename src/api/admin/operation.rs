//! How the document of the administration API describes a route.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

/// The schema of a type.
type SchemaFor = fn(&mut SchemaGenerator) -> Schema;

/// A query parameter, as the document describes it. All are optional texts.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct QueryParameter {
    /// Its name.
    pub(in crate::api) name: &'static str,
    /// What it means, with its range and default.
    pub(in crate::api) description: &'static str,
}

impl QueryParameter {
    /// A parameter.
    pub(in crate::api) const fn new(name: &'static str, description: &'static str) -> Self {
        Self { name, description }
    }

    /// The object of the document.
    pub(in crate::api) fn object(&self) -> Value {
        json!({
            "name": self.name, "in": "query", "required": false, "description": self.description,
            "schema": { "type": "string" },
        })
    }
}

/// An operation, with the types of its body and of its `result`.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct Operation {
    /// Its name, as generators of clients use it.
    pub(in crate::api) id: &'static str,
    /// One line.
    pub(in crate::api) summary: &'static str,
    /// The body; `None`: it has none.
    pub(in crate::api) body: Option<SchemaFor>,
    /// The `result` of a success; `None`: it has none.
    pub(in crate::api) result: Option<SchemaFor>,
    /// The media type of its body.
    pub(in crate::api) body_type: &'static str,
    /// The status of a success.
    pub(in crate::api) status: u16,
    /// The media type of a success without envelope, such as a file; `None`: the envelope.
    pub(in crate::api) media_type: Option<&'static str>,
    /// Its query parameters.
    pub(in crate::api) query: &'static [QueryParameter],
    /// Statuses that are special to it, beside those of `reasons`, of a path with ids and of a body.
    pub(in crate::api) statuses: &'static [u16],
    /// The words of `reason` that are special to it.
    pub(in crate::api) reasons: &'static [&'static str],
}

impl Operation {
    /// An operation without body and result.
    pub(in crate::api) const fn new(id: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            summary,
            body: None,
            result: None,
            body_type: "application/json",
            status: 200,
            media_type: None,
            query: &[],
            statuses: &[],
            reasons: &[],
        }
    }

    /// The same, with a body.
    pub(in crate::api) fn takes<T: JsonSchema>(self) -> Self {
        Self { body: Some(|generator| generator.subschema_for::<T>()), ..self }
    }

    /// The same, with a result.
    pub(in crate::api) fn gives<T: JsonSchema>(self) -> Self {
        Self { result: Some(|generator| generator.subschema_for::<T>()), ..self }
    }

    /// The same; a success is 202, with the path of a job in `Location`.
    pub(in crate::api) const fn accepts(self) -> Self {
        Self { status: 202, ..self }
    }

    /// The same; a success is a file without envelope.
    pub(in crate::api) const fn file(self, media_type: &'static str) -> Self {
        Self { media_type: Some(media_type), ..self }
    }

    /// The same, with query parameters.
    pub(in crate::api) const fn query(self, query: &'static [QueryParameter]) -> Self {
        Self { query, ..self }
    }

    /// The same, with more statuses.
    pub(in crate::api) const fn also(self, statuses: &'static [u16]) -> Self {
        Self { statuses, ..self }
    }

    /// The same, with words of `reason` that are special to it.
    pub(in crate::api) const fn refuses(self, reasons: &'static [&'static str]) -> Self {
        Self { reasons, ..self }
    }
}
