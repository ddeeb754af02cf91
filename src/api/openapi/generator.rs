//! The schemas of replies, made of the types that write them.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::api::ApiError;
use crate::api::schema::TransactionId;
use crate::domain::{DecodeFault, PhotoFault};

/// A generator of the schemas of what this server writes.
pub(in crate::api) fn generator() -> SchemaGenerator {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    settings.with_transform(RecursiveTransform(tidy)).into_generator()
}

/// A generator of the schemas of what this server reads.
pub(in crate::api) fn body_generator() -> SchemaGenerator {
    let mut settings = SchemaSettings::draft2020_12().for_deserialize();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    settings.with_transform(RecursiveTransform(tidy_body)).into_generator()
}

/// Formats such as `uint32` belong to Rust; their range is stated.
fn tidy_body(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    let max = match object.get("format").and_then(Value::as_str) {
        Some("uint32") => Some(u64::from(u32::MAX)),
        Some("uint" | "uint64") => Some(u64::MAX),
        _ => None,
    };
    if let Some(max) = max {
        object.entry("maximum").or_insert_with(|| max.into());
    }
    let is_number = object.get("type").is_some_and(|kind| kind != "string" && kind != "array" && kind != "object");
    if is_number && object.get("format").is_some() {
        object.remove("format");
    }
    if let Some(Value::String(description)) = object.get_mut("description") {
        *description = description.replace('\n', " ");
    }
}

/// Adds to a schema what holds for every reply: an object has no further keys, and a key that may be absent is never
/// null. Formats such as `uint32` are removed: they belong to Rust, not to JSON.
fn tidy(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::String(format)) = object.get("format")
        && object.get("type").is_some_and(|kind| kind == "integer" || kind == "number")
    {
        if format.starts_with("uint") {
            object.remove("minimum");
        }
        object.remove("format");
    }
    if let Some(Value::String(description)) = object.get_mut("description") {
        *description = description.replace('\n', " ");
    }
    let required = object.get("required").cloned().unwrap_or_default();
    let is_required = |key: &str| required.as_array().is_some_and(|keys| keys.iter().any(|known| known == key));
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        for (key, property) in properties {
            if !is_required(key)
                && let Some(property) = property.as_object_mut()
            {
                remove_null(property);
            }
        }
        object.insert("additionalProperties".to_owned(), false.into());
    }
}

/// `T` in place of `T` or null.
fn remove_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(kinds)) = schema.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [kind] = kinds.as_slice() {
            let kind = kind.clone();
            schema.insert("type".to_owned(), kind);
        }
    }
    if let Some(Value::Array(choices)) = schema.get("anyOf")
        && let [Value::Object(only), null] = choices.as_slice()
        && *null == json!({ "type": "null" })
    {
        let only = only.clone();
        schema.remove("anyOf");
        schema.extend(only);
    }
}

/// A text.
pub(super) fn plain_text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string" })
}

/// A result in its envelope.
#[derive(JsonSchema)]
#[schemars(rename = "{T}Reply", rename_all = "camelCase")]
#[expect(dead_code, reason = "the envelope writes it; this is its schema")]
pub(super) struct Enveloped<T> {
    #[schemars(with = "TransactionId")]
    transaction_id: String,
    result: T,
}

/// Success without a result.
#[derive(JsonSchema)]
#[schemars(rename = "DoneReply", rename_all = "camelCase")]
#[expect(dead_code, reason = "the envelope writes it; this is its schema")]
pub(super) struct Done {
    #[schemars(with = "TransactionId")]
    transaction_id: String,
}

/// The members `reason`, `details` and `fields` of a failure, in both documents.
pub(in crate::api) fn explanations() -> [Value; 3] {
    [
        json!({ "type": "string", "description": "A word for programs; absent for most failures." }),
        json!({ "type": "object", "description": "Members that depend on the reason." }),
        json!({
            "type": "array",
            "description": "The fields at fault, and what each must be.",
            "items": {
                "type": "object",
                "properties": { "field": { "type": "string" }, "info": { "type": "string" } },
                "required": ["field", "info"],
            },
        }),
    ]
}

/// Every failure.
pub(super) enum FailureReply {}

impl JsonSchema for FailureReply {
    fn schema_name() -> Cow<'static, str> {
        "Error".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let transaction_id = generator.subschema_for::<TransactionId>();
        let faults = [
            PhotoFault::Missing,
            PhotoFault::WrongType,
            PhotoFault::Empty,
            PhotoFault::Undecodable(DecodeFault::NotAPhoto),
            PhotoFault::NoFace,
            PhotoFault::ManyFaces,
            PhotoFault::TooSmall,
        ];
        let faults = faults.map(|fault| ApiError::from(fault).body());
        let meanings: Vec<String> = faults.iter().map(|body| format!("{} `{}`", body.code, body.info)).collect();
        let [reason, details, fields] = explanations();
        let codes: Vec<u16> = faults.iter().map(|body| body.code).chain(STATUS_CODES).collect();
        json_schema!({
            "type": "object",
            "description": "Every failure.",
            "properties": {
                "transactionId": transaction_id,
                "result": {
                    "type": "object",
                    "properties": {
                        "status": { "type": "string", "const": "error" },
                        "code": {
                            "type": "integer",
                            "description": format!("{}; otherwise the HTTP status.", meanings.join(", ")),
                            "enum": codes,
                        },
                        "info": { "type": "string", "minLength": 1 },
                        "reason": reason,
                        "details": details,
                        "fields": fields,
                    },
                    "required": ["status", "code", "info"],
                },
            },
            "required": ["transactionId", "result"],
        })
    }
}

/// The codes of failures that repeat their HTTP status.
const STATUS_CODES: [u16; 13] = [400, 401, 403, 404, 405, 409, 412, 413, 422, 429, 500, 501, 503];

/// The answer of `/healthz`.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the handler writes it; this is its schema")]
pub(super) struct Health {
    #[schemars(extend("const" = "ok"))]
    status: String,
}
