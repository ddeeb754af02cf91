//! `/api/admin/v1/openapi.json`: the document of the administration API, made of its table of routes and the types of its
//! bodies and replies.

use std::collections::BTreeSet;

use axum::http::Method;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::operation::{Form, Operation, QueryParameter};
use super::statuses::failures;
use super::{AdminRoute, BASE};
use crate::api::openapi::{body_generator, details_properties, explanations, photo_part, reply_generator};
use crate::api::schema::{TemplateId, TransactionId};

/// The document of these routes.
pub(super) fn document(routes: &[AdminRoute]) -> Value {
    let mut replies = reply_generator();
    let mut bodies = body_generator();
    let mut envelopes = Map::new();
    let transaction_id = replies.subschema_for::<TransactionId>();
    bodies.subschema_for::<TemplateId>();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let mut object = operation(route, success_content(&route.operation, &mut replies, &mut envelopes));
        if let Some(content) = body_content(route, &mut bodies) {
            object["requestBody"] = json!({ "required": true, "content": content });
        }
        let methods = paths.entry(format!("{BASE}{}", route.path)).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_ascii_lowercase()] = object;
    }
    let mut schemas: Map<String, Value> = replies.take_definitions(true);
    schemas.extend(bodies.take_definitions(true));
    schemas.extend(envelopes);
    schemas.extend(forms().map(|(name, schema)| (name.to_owned(), schema)));
    schemas.insert("Error".to_owned(), error_schema(&transaction_id));
    let tags: BTreeSet<&str> = routes.iter().map(|route| tag(route.path)).collect();
    let tags: Vec<Value> = tags.iter().map(|name| json!({ "name": name, "description": describe_tag(name) })).collect();
    let shared: Map<String, Value> = SHARED
        .iter()
        .map(|shared| (shared.name.to_owned(), failure(shared.status, shared.reasons.iter().copied())))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Semblance administration",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Applications, people, the journal and the server itself.",
            "description": "Version 1 grows by addition only: ignore unknown members, and treat an unknown value of an \
                            enumeration as another one. A segment of a path that begins with `~` is the id in base64url. \
                            `x-roles` names who may call an operation, `x-fresh` says that the token or the sign-in must \
                            be of the last ten minutes, and `x-reasons` lists the words of `reason` of a failure.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }, { "session": [] }],
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "A token of an administrator." },
                "session": {
                    "type": "apiKey", "in": "cookie", "name": "__Host-semblance",
                    "description": "The session of a console. Every method but GET and HEAD needs `X-CSRF-Token`, too.",
                },
            },
            "headers": {
                "X-Transaction-Id": { "description": "The id of the request.", "schema": { "type": "string" } },
            },
            "responses": shared,
            "schemas": schemas,
        },
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// What a success carries: a file, or the envelope with a result. Envelopes are named, as clients name their types.
fn success_content(operation: &Operation, replies: &mut SchemaGenerator, envelopes: &mut Map<String, Value>) -> Value {
    if let Some(media_type) = operation.media_type {
        let schema = match media_type {
            "application/json" => json!({ "type": "object" }),
            media_type if is_text(media_type) => json!({ "type": "string" }),
            _ => json!({ "type": "string", "format": "binary" }),
        };
        let mut content = json!({ media_type: { "schema": schema } });
        if let Some(other) = operation.other_media_type {
            content[other] = json!({ "schema": { "type": "string" } });
        }
        return content;
    }
    let mut properties = json!({ "transactionId": replies.subschema_for::<TransactionId>() });
    let mut required = vec!["transactionId"];
    let mut name = "DoneReply".to_owned();
    if let Some(result) = operation.result {
        let result = result(replies);
        name = format!("{}Reply", name_of(&result));
        properties["result"] = json!(result);
        required.push("result");
    }
    let envelope =
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    let content = json!({ "application/json": { "schema": reference(&name) } });
    envelopes.insert(name, envelope);
    content
}

fn is_text(media_type: &str) -> bool {
    media_type.starts_with("text/") || media_type == "application/x-ndjson"
}

/// The name of the type that a schema refers to.
fn name_of(schema: &Schema) -> &str {
    let reference = schema.get("$ref").and_then(Value::as_str).unwrap_or_default();
    reference.rsplit('/').next().unwrap_or_default()
}

/// What a request carries. Generators of clients take the first media type.
fn body_content(route: &AdminRoute, bodies: &mut SchemaGenerator) -> Option<Value> {
    let Operation { body, form, .. } = route.operation;
    if let Some(form) = form {
        return Some(json!({ "multipart/form-data": { "schema": reference(form_name(form)) } }));
    }
    let schema = body?(bodies);
    let mut content = json!({ "application/json": { "schema": &schema } });
    if route.method == Method::PATCH {
        content["application/merge-patch+json"] = json!({ "schema": schema });
    }
    Some(content)
}

fn form_name(form: Form) -> &'static str {
    match form {
        Form::Photo => "PhotoForm",
        Form::PhotoOfPerson => "PhotoOfPersonForm",
        Form::NewPerson => "NewPersonForm",
    }
}

/// The schemas of the forms.
fn forms() -> [(&'static str, Value); 3] {
    let mut person = details_properties();
    person.insert("templateId".to_owned(), reference("TemplateId"));
    person.insert("photo".to_owned(), json!({ "type": "array", "items": photo_part(), "minItems": 1, "maxItems": 16 }));
    [
        (
            form_name(Form::Photo),
            json!({ "type": "object", "properties": { "photo": photo_part() }, "required": ["photo"] }),
        ),
        (
            form_name(Form::PhotoOfPerson),
            json!({
                "type": "object",
                "properties": { "photo": photo_part(), "templateId": reference("TemplateId") },
                "required": ["photo", "templateId"],
            }),
        ),
        (
            form_name(Form::NewPerson),
            json!({
                "type": "object",
                "description": "Photos of one person with its details; without `templateId` the id is a random one.",
                "properties": person,
                "required": ["photo"],
            }),
        ),
    ]
}

fn operation(route: &AdminRoute, content: Value) -> Value {
    let operation = &route.operation;
    let info = route.info();
    let mut headers = transaction_header();
    if operation.has_etag {
        headers["ETag"] = json!({
            "description": "The revision, for `If-Match`.", "schema": { "type": "string" },
        });
    }
    let mut success = json!({ "description": "Done.", "headers": &headers, "content": content });
    let mut responses = Map::new();
    if operation.may_be_ok {
        responses.insert("200".to_owned(), success.clone());
    }
    if let Some(location) = match operation.status {
        201 => Some("The path of what was created."),
        202 => Some("The path of the job."),
        _ => None,
    } {
        success["headers"]["Location"] = json!({ "description": location, "schema": { "type": "string" } });
    }
    responses.insert(operation.status.to_string(), success);
    for (status, reasons) in failures(route) {
        let shared = SHARED.iter().find(|shared| shared.status == status && reasons.iter().eq(shared.reasons));
        let failure = match shared {
            Some(shared) => json!({ "$ref": format!("#/components/responses/{}", shared.name) }),
            None => failure(status, reasons.iter().copied()),
        };
        responses.insert(status.to_string(), failure);
    }
    let mut parameters: Vec<Value> = path_names(route.path).map(path_parameter).collect();
    parameters.extend(operation.query.iter().map(QueryParameter::object));
    if operation.is_conditional {
        parameters.push(json!({
            "name": "If-Match", "in": "header", "required": false,
            "description": "The revision that it must have, as in `ETag`: the quoted letter r and a number. 412 if it was \
                            changed since.",
            "schema": { "type": "string", "pattern": r#"^("r[0-9]{1,19}"|\*)$"# },
        }));
    }
    let mut object = json!({
        "operationId": operation.id,
        "tags": [tag(route.path)],
        "summary": operation.summary,
        "parameters": parameters,
        "responses": responses,
        "x-roles": info.roles,
        "x-fresh": info.is_fresh,
    });
    if info.roles.is_empty() {
        object["security"] = json!([]);
    }
    object
}

/// A failure that is the same in most operations.
struct Shared {
    name: &'static str,
    status: u16,
    reasons: &'static [&'static str],
}

const SHARED: [Shared; 9] = [
    Shared { name: "Invalid", status: 400, reasons: &["invalidFields"] },
    Shared { name: "Unauthenticated", status: 401, reasons: &["signInRequired"] },
    Shared { name: "NotFound", status: 404, reasons: &["notFound"] },
    Shared { name: "TooLarge", status: 413, reasons: &[] },
    Shared { name: "WrongMediaType", status: 415, reasons: &[] },
    Shared { name: "WrongHost", status: 421, reasons: &["wrongHost"] },
    Shared { name: "TooMany", status: 429, reasons: &[] },
    Shared { name: "Internal", status: 500, reasons: &[] },
    Shared { name: "Unavailable", status: 503, reasons: &[] },
];

/// A failure. `x-reasons` has the words of its `reason`; without them it has no `reason`.
fn failure(status: u16, reasons: impl Iterator<Item = &'static str>) -> Value {
    let reasons: Vec<&str> = reasons.collect();
    let mut description = describe(status).to_owned();
    if !reasons.is_empty() {
        let words: Vec<String> = reasons.iter().map(|reason| format!("`{reason}`")).collect();
        description = format!("{description} `reason`: {}.", words.join(", "));
    }
    let content = json!({ "application/json": { "schema": reference("Error") } });
    let mut failure = json!({ "description": description, "headers": transaction_header(), "content": content });
    if !reasons.is_empty() {
        failure["x-reasons"] = json!(reasons);
    }
    failure
}

fn path_names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

/// An id in a path. One that begins with `~` is left out of the schema: it is read as base64url.
fn path_parameter(name: &str) -> Value {
    let text = |max: u16| {
        json!({
            "type": "string", "minLength": 1, "maxLength": max,
            "pattern": r"^[^~\s\u0000-\u001F\u007F-\u009F]([^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F])?$",
        })
    };
    let (description, schema) = match name {
        "appId" => ("The application.", text(512)),
        "templateId" => ("The person.", text(128)),
        "adminId" => ("The administrator.", text(64)),
        "tokenId" => ("The token.", text(32)),
        "sessionId" => ("The session.", text(64)),
        "keyId" => ("The key.", json!({ "type": "string", "pattern": "^k-[0-9a-f]{8}$" })),
        "sampleId" => ("The sample.", json!({ "type": "string", "format": "uuid" })),
        "jobId" => ("The job.", json!({ "type": "string", "format": "uuid" })),
        "backupId" => ("The backup.", json!({ "type": "string", "format": "uuid" })),
        "erasureId" => ("The erasure.", json!({ "type": "string", "format": "uuid" })),
        _ => ("The id.", text(512)),
    };
    json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema })
}

/// The group of a path: clients make a module of each.
fn tag(path: &str) -> &'static str {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty() && !segment.starts_with('{'));
    let first = segments.next().unwrap_or_default();
    let name = if first == "applications" { segments.next().unwrap_or(first) } else { first };
    match name {
        "session" | "sessions" => "sessions",
        "administrators" | "tokens" => "administrators",
        "applications" | "expiry" => "applications",
        "keys" => "keys",
        "people" | "groups" => "people",
        "identify" | "verify" | "inspect" => "photos",
        "journal" => "journal",
        "receipts" | "receipt-key" => "receipts",
        "jobs" => "jobs",
        "backups" => "backups",
        _ => "server",
    }
}

/// What the operations of a group are about.
fn describe_tag(name: &str) -> &'static str {
    match name {
        "sessions" => "Sign in, and the sessions of all.",
        "administrators" => "The people who run the installation, and their tokens.",
        "applications" => "Applications and their rules.",
        "keys" => "The keys of an application.",
        "people" => "The people of an application, and their samples.",
        "photos" => "What the console does with a photo.",
        "journal" => "The journal of this node.",
        "receipts" => "The receipts of erasures.",
        "jobs" => "Work that takes longer than a request.",
        "backups" => "The backups of this node.",
        _ => "The server itself.",
    }
}

fn transaction_header() -> Value {
    json!({ "X-Transaction-Id": { "$ref": "#/components/headers/X-Transaction-Id" } })
}

fn describe(status: u16) -> &'static str {
    match status {
        400 => "A parameter, a field or the body cannot be used.",
        401 => "No token or session, or one that is not valid.",
        403 => "This administrator may not, or not in this way.",
        404 => "It does not exist, or this administrator may not see it.",
        409 => "The state does not allow it.",
        412 => "It has changed since the revision of `If-Match`.",
        413 => "The body is too large.",
        415 => "The body is of another media type.",
        421 => "The name of the host is not allowed.",
        429 => "Too many requests.",
        501 => "The model that it needs is not installed.",
        503 => "The database is away, or the server is busy, starting or stopping.",
        _ => "An internal error.",
    }
}

fn error_schema(transaction_id: &Schema) -> Value {
    let [reason, details, fields] = explanations();
    json!({
        "type": "object",
        "properties": {
            "transactionId": transaction_id,
            "result": {
                "type": "object",
                "properties": {
                    "status": { "const": "error" },
                    "code": { "type": "integer", "description": "The HTTP status, or 1 to 9 for a fault of a photo." },
                    "info": { "type": "string" },
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
