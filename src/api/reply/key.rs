//! The key of a request.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::domain::{Scope, Scopes, rfc3339};
use crate::service::CallerKey;

/// The key of the request.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Key")]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct KeyReply {
    /// Its public id, as in the journal. It is no secret.
    #[schemars(regex(pattern = r"^k-[0-9a-f]{8}$"))]
    key_id: String,
    /// What it allows.
    #[schemars(schema_with = "scopes")]
    scopes: Vec<&'static str>,
    /// When it ends, because another key replaces it; null: it is not replaced.
    #[schemars(extend("format" = "date-time"))]
    ends_at: Option<String>,
    /// Until when it is accepted; null: without limit.
    #[schemars(extend("format" = "date-time"))]
    expires_at: Option<String>,
}

fn scopes(_: &mut SchemaGenerator) -> Schema {
    let names = Scope::ALL.map(Scope::as_str);
    json_schema!({ "type": "array", "items": { "type": "string", "enum": names }, "uniqueItems": true })
}

/// Of a caller's key.
pub(in crate::api) fn key(key: CallerKey, scopes: Scopes) -> KeyReply {
    KeyReply {
        key_id: key.id.to_string(),
        scopes: scopes.iter().map(Scope::as_str).collect(),
        ends_at: key.ends_at.map(rfc3339),
        expires_at: key.expires_at.map(rfc3339),
    }
}
