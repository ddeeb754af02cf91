//! `/api/admin/v1/openapi.json`: the document of the administration API, made of its table of routes and the types of its
//! bodies and replies.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::operation::{Operation, QueryParameter};
use super::{AdminRoute, BASE};
use crate::api::openapi::{body_generator, explanations, reply_generator};
use crate::api::schema::TransactionId;

/// Statuses that every route may answer with.
const COMMON: [u16; 10] = [400, 401, 403, 404, 409, 412, 421, 429, 500, 503];

/// Statuses that a route with a body may answer with, too.
const WITH_BODY: [u16; 4] = [413, 415, 422, 501];

/// The document of these routes.
pub(super) fn document(routes: &[AdminRoute]) -> Value {
    let mut replies = reply_generator();
    let mut bodies = body_generator();
    let transaction_id = replies.subschema_for::<TransactionId>();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let Operation { body, result, media_type, .. } = route.operation;
        let content = match (media_type, result) {
            (Some("application/json"), _) => json!({ "application/json": { "schema": { "type": "object" } } }),
            (Some(media_type), _) => json!({ media_type: { "schema": { "type": "string", "format": "binary" } } }),
            (None, result) => {
                let mut properties = json!({ "transactionId": &transaction_id });
                let mut required = vec!["transactionId"];
                if let Some(result) = result {
                    properties["result"] = json!(result(&mut replies));
                    required.push("result");
                }
                let envelope = json!({ "type": "object", "properties": properties, "required": required });
                json!({ "application/json": { "schema": envelope } })
            }
        };
        let mut object = operation(route, content);
        if let Some(body) = body {
            let media_type = route.operation.body_type;
            object["requestBody"] =
                json!({ "required": true, "content": { media_type: { "schema": body(&mut bodies) } } });
        }
        let methods = paths.entry(format!("{BASE}{}", route.path)).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_ascii_lowercase()] = object;
    }
    let mut schemas: Map<String, Value> = replies.take_definitions(true);
    schemas.insert("Error".to_owned(), error_schema(&transaction_id));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Semblance administration",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Applications, people, the journal and the server itself.",
            "description": "Version 1 grows by addition only: ignore unknown members, and treat an unknown value of an \
                            enumeration as another one. A segment of a path that begins with `~` is the id in base64url. \
                            `x-roles` names who may call an operation, `x-fresh` says that the token or the sign-in must \
                            be of the last ten minutes.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }, { "session": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "A token of an administrator." },
                "session": {
                    "type": "apiKey", "in": "cookie", "name": "__Host-semblance",
                    "description": "The session of a console. Every method but GET and HEAD needs `X-CSRF-Token`, too.",
                },
            },
            "schemas": schemas,
        },
    })
}

fn operation(route: &AdminRoute, content: Value) -> Value {
    let operation = &route.operation;
    let info = route.info();
    let mut statuses: Vec<u16> = COMMON.to_vec();
    if !matches!(route.method, Method::GET | Method::DELETE) {
        statuses.extend(WITH_BODY);
    }
    statuses.extend(operation.statuses);
    statuses.sort_unstable();
    statuses.dedup();
    let failure = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } });
    let mut responses = Map::new();
    let success = json!({ "description": "Done.", "headers": transaction_header(), "content": content });
    // A POST that declares nothing either creates something or not.
    if route.method == Method::POST && operation.status == 200 && operation.media_type.is_none() {
        responses.insert("201".to_owned(), success.clone());
    }
    responses.insert(operation.status.to_string(), success);
    for status in statuses {
        let description = describe(status, operation.reasons);
        responses.insert(
            status.to_string(),
            json!({ "description": description, "headers": transaction_header(), "content": failure }),
        );
    }
    let path_parameters = route.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let path_parameters = path_parameters.map(
        |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }),
    );
    let parameters: Vec<Value> = path_parameters.chain(operation.query.iter().map(QueryParameter::object)).collect();
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

/// The resource that a path is of.
fn tag(path: &str) -> &str {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty() && !segment.starts_with('{'));
    let first = segments.next().unwrap_or_default();
    match (first, segments.next()) {
        ("applications", Some(inner)) => inner,
        _ => first,
    }
}

fn transaction_header() -> Value {
    json!({ "X-Transaction-Id": { "description": "The id of the request.", "schema": { "type": "string" } } })
}

fn describe(status: u16, reasons: &[&str]) -> String {
    let text = match status {
        400 => "A parameter, a field or the body cannot be used.",
        401 => "No token or session, or one that is not valid.",
        403 => "The role may not, or the session has to be confirmed.",
        404 => "It does not exist, or this administrator may not see it.",
        409 => "The state does not allow it.",
        412 => "It has changed since the revision of `If-Match`.",
        413 => "The body is too large.",
        415 => "The body is of another media type.",
        421 => "The name of the host is not allowed.",
        422 => "The `Idempotency-Key` was used for another request.",
        429 => "Too many requests.",
        501 => "The model that it needs is not installed.",
        503 => "The database is away, or the server is busy, starting or stopping.",
        _ => "An internal error.",
    };
    if status == 409 && !reasons.is_empty() {
        format!("{text} `reason`: {}.", reasons.join(", "))
    } else {
        text.to_owned()
    }
}

fn error_schema(transaction_id: &schemars::Schema) -> Value {
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
