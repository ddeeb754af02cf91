//! How the document of the administration API describes a route.

use schemars::{JsonSchema, Schema, SchemaGenerator};

/// The schema of a type.
type SchemaFor = fn(&mut SchemaGenerator) -> Schema;

/// An operation, with the types of its body and of its `result`.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "read by the document of the administration API")]
pub(in crate::api) struct Operation {
    /// Its name, as generators of clients use it.
    pub(in crate::api) id: &'static str,
    /// One line.
    pub(in crate::api) summary: &'static str,
    /// The body; `None`: it has none.
    pub(in crate::api) body: Option<SchemaFor>,
    /// The `result` of a success; `None`: it has none.
    pub(in crate::api) result: Option<SchemaFor>,
    /// The words of `reason` that are special to it.
    pub(in crate::api) reasons: &'static [&'static str],
}

impl Operation {
    /// An operation without body and result.
    pub(in crate::api) const fn new(id: &'static str, summary: &'static str) -> Self {
        Self { id, summary, body: None, result: None, reasons: &[] }
    }

    /// The same, with a body.
    pub(in crate::api) fn takes<T: JsonSchema>(self) -> Self {
        Self { body: Some(|generator| generator.subschema_for::<T>()), ..self }
    }

    /// The same, with a result.
    pub(in crate::api) fn gives<T: JsonSchema>(self) -> Self {
        Self { result: Some(|generator| generator.subschema_for::<T>()), ..self }
    }

    /// The same, with words of `reason` that are special to it.
    pub(in crate::api) const fn refuses(self, reasons: &'static [&'static str]) -> Self {
        Self { reasons, ..self }
    }
}
