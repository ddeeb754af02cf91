//! `/openapi.json`: the document of the API, made of the route table, the types of replies and this server's limits.

mod body;
mod generator;
mod operation;
mod parameter;
mod template_operation;

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::http::Method;
use schemars::SchemaGenerator;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Access, ApiConfig};
pub(super) use body::{details_properties, photo_part};
pub(super) use generator::{body_generator, explanations, generator as reply_generator};
pub(super) use operation::{
    ADD, DEEPFAKE, DELETE, DOC_VERIFY, HEALTHZ, IDENTIFY, KEY, LICENCES, LIVENESS, METRICS, OPENAPI, Operation, READYZ,
    VERIFY, unsupported,
};
use operation::{Failure, Tag};
pub(super) use parameter::Parameter;
pub(super) use template_operation::{
    ADD_SAMPLE, CHANGE_TEMPLATE, MERGE_TEMPLATES, MOVE_SAMPLE, REMOVE_SAMPLE, REMOVE_TEMPLATE, RENAME_TEMPLATE,
    SEARCH_TEMPLATES, TEMPLATE, TEMPLATES, VERIFY_TEMPLATE,
};

/// The limits that the document names.
struct Limits {
    max_candidates: usize,
    page_default: usize,
    page_max: usize,
    max_body_bytes: usize,
}

#[derive(Serialize)]
struct Document {
    openapi: &'static str,
    info: Value,
    servers: Value,
    security: Value,
    tags: Vec<Value>,
    paths: BTreeMap<&'static str, BTreeMap<String, OperationObject>>,
    components: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OperationObject {
    operation_id: &'static str,
    tags: [&'static str; 1],
    summary: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'static str>,
    /// Empty: no credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    security: Option<[Value; 0]>,
    /// The key needs one of these.
    #[serde(rename = "x-scopes", skip_serializing_if = "Vec::is_empty")]
    scopes: Vec<&'static str>,
    /// The key needs all of these.
    #[serde(rename = "x-all-scopes", skip_serializing_if = "Vec::is_empty")]
    all_scopes: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parameters: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_body: Option<body::RequestBodyObject>,
    responses: BTreeMap<&'static str, Value>,
}

/// A route, as the document describes it.
pub(super) struct Endpoint {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) operation: Operation,
}

/// The document as it is served.
#[derive(Clone)]
pub(super) struct OpenApi(pub(super) Bytes);

/// The document of a server with these endpoints and limits.
pub(super) fn document<'a>(
    endpoints: impl Iterator<Item = &'a Endpoint>,
    config: &ApiConfig,
    max_candidates: usize,
) -> Bytes {
    let limits = Limits {
        max_candidates: max_candidates.max(1),
        page_default: config.page_default.max(1),
        page_max: config.page_max.max(1),
        max_body_bytes: config.max_body_bytes,
    };
    let mut generator = generator::generator();
    let mut paths: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for Endpoint { method, path, access, operation } in endpoints {
        let object = operation_object(operation, *access, &mut generator);
        paths.entry(*path).or_default().insert(method.as_str().to_ascii_lowercase(), object);
    }
    let document = Document {
        openapi: "3.1.0",
        info: info(),
        servers: json!([{ "url": "/" }]),
        security: json!([{ "appId": [], "appKey": [] }]),
        tags: Tag::ALL.map(|tag| json!({ "name": tag.name(), "description": tag.description() })).to_vec(),
        paths,
        components: components(&limits, &mut generator),
    };
    // Every key is a text, so there is nothing that cannot be written.
    serde_json::to_vec(&document).unwrap_or_default().into()
}

fn info() -> Value {
    json!({
        "title": "Semblance",
        "version": env!("CARGO_PKG_VERSION"),
        "summary": "A self-hosted face identification server that speaks the OOTO face API.",
        "description": "Trailing and doubled slashes in paths are accepted. Unknown query parameters and form fields \
                        are ignored; of a repeated query parameter the last counts, of a repeated photo the first. A \
                        wrong method is answered with 405 and `Allow`, an unknown path with 404, both in the form of \
                        every other failure. A key needs one of the scopes in `x-scopes`, or all of those in `x-all-scopes`, of an operation. A key that \
                        another one replaces gets the header `X-Key-Ends-At` (RFC 3339) with every response, until it \
                        ends.",
        "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
    })
}

fn operation_object(operation: &Operation, access: Access, generator: &mut SchemaGenerator) -> OperationObject {
    let is_enveloped = operation.tag != Tag::Machines;
    let replies = operation.replies.iter().map(|reply| {
        let schema = (reply.schema)(generator);
        let mut object = json!({
            "description": reply.description,
            "content": { reply.media_type: { "schema": schema } },
        });
        if is_enveloped {
            object["headers"] = transaction_header();
        }
        if reply.may_be_repeated {
            object["headers"]["Idempotency-Replayed"] = reference("headers", "Idempotency-Replayed");
        }
        (reply.status, object)
    });
    let mut responses: BTreeMap<_, _> = replies.collect();
    responses
        .extend(operation.failures.iter().map(|failure| (failure.status(), reference("responses", failure.name()))));
    OperationObject {
        operation_id: operation.id,
        tags: [operation.tag.name()],
        summary: operation.summary,
        description: operation.description,
        security: (access == Access::Open).then_some([]),
        scopes: match access {
            Access::Open | Access::AnyKey | Access::AllScopes(_) => Vec::new(),
            Access::Scopes(scopes) => scopes.iter().map(|scope| scope.as_str()).collect(),
        },
        all_scopes: match access {
            Access::Open | Access::AnyKey | Access::Scopes(_) => Vec::new(),
            Access::AllScopes(scopes) => scopes.iter().map(|scope| scope.as_str()).collect(),
        },
        parameters: operation.parameters.iter().map(|known| reference("parameters", known.name())).collect(),
        request_body: operation.body.map(operation::RequestBody::object),
        responses,
    }
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn transaction_header() -> Value {
    json!({ "X-Transaction-Id": reference("headers", "X-Transaction-Id") })
}

impl Failure {
    const ALL: [Self; 14] = [
        Self::BadRequest,
        Self::Unauthenticated,
        Self::MissingScope,
        Self::TooLarge,
        Self::TooMany,
        Self::Internal,
        Self::NotInstalled,
        Self::NotBuilt,
        Self::Unavailable,
        Self::InProgress,
        Self::KeyReused,
        Self::Changed,
        Self::IndexOff,
        Self::Elsewhere,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::Unauthenticated => "Unauthenticated",
            Self::MissingScope => "MissingScope",
            Self::TooLarge => "TooLarge",
            Self::TooMany => "TooMany",
            Self::Internal => "Internal",
            Self::NotInstalled => "NotInstalled",
            Self::NotBuilt => "NotBuilt",
            Self::Unavailable => "Unavailable",
            Self::InProgress => "InProgress",
            Self::KeyReused => "KeyReused",
            Self::Changed => "Changed",
            Self::IndexOff => "IndexOff",
            Self::Elsewhere => "Elsewhere",
        }
    }

    fn status(self) -> &'static str {
        match self {
            Self::BadRequest => "400",
            Self::Unauthenticated => "401",
            Self::MissingScope => "403",
            Self::TooLarge => "413",
            Self::TooMany => "429",
            Self::Internal => "500",
            Self::NotInstalled | Self::NotBuilt => "501",
            Self::Unavailable => "503",
            Self::Elsewhere => "404",
            Self::InProgress | Self::IndexOff => "409",
            Self::KeyReused => "422",
            Self::Changed => "412",
        }
    }

    fn description(self, limits: &Limits) -> String {
        let text = match self {
            Self::BadRequest => "The photo or another part of the request is at fault.",
            Self::Unauthenticated => "APP-ID or APP-KEY is missing or wrong.",
            Self::MissingScope => {
                "The key does not allow it: `reason` is `missingScope`, `details.scope` names the scope."
            }
            Self::TooLarge => {
                let bytes = limits.max_body_bytes;
                return format!(
                    "The body is larger than {bytes} bytes, or than twice that where two photos are expected."
                );
            }
            Self::TooMany => "Rate limit or concurrency share of the application exceeded.",
            Self::Internal => "The server failed; its log has the cause under the transaction id.",
            Self::NotInstalled => "No model for a requested check is installed.",
            Self::NotBuilt => "This server does not have this endpoint.",
            Self::InProgress => "An equal request with the same Idempotency-Key is executed at this moment.",
            Self::KeyReused => "The Idempotency-Key was used for another request.",
            Self::Elsewhere => "The address of `admin.listen` serves it.",
            Self::IndexOff => "Names of this application are not searched.",
            Self::Changed => "The template has another revision than `If-Match` names.",
            Self::Unavailable => "Too busy, still starting, stopping, or without its database.",
        };
        text.to_owned()
    }

    /// Its object in the document.
    fn object(self, limits: &Limits, schema: &Value) -> Value {
        let mut headers = transaction_header();
        if matches!(self, Self::TooMany | Self::Unavailable | Self::InProgress) {
            headers["Retry-After"] =
                json!({ "description": "Seconds to wait; never 0.", "schema": { "type": "integer", "minimum": 1 } });
        }
        json!({
            "description": self.description(limits),
            "headers": headers,
            "content": { "application/json": { "schema": schema } },
        })
    }
}

fn components(limits: &Limits, generator: &mut SchemaGenerator) -> Value {
    let failure = generator.subschema_for::<generator::FailureReply>().to_value();
    let parameters: Map<String, Value> =
        Parameter::ALL.iter().map(|known| (known.name().to_owned(), known.object(limits))).collect();
    let responses: Map<String, Value> =
        Failure::ALL.iter().map(|known| (known.name().to_owned(), known.object(limits, &failure))).collect();
    let mut schemas = generator.take_definitions(true);
    schemas.insert("TemplateChange".to_owned(), body::template_change());
    let api_key = |name: &str| json!({ "type": "apiKey", "in": "header", "name": name });
    json!({
        "securitySchemes": { "appId": api_key("APP-ID"), "appKey": api_key("APP-KEY") },
        "headers": {
            "X-Transaction-Id": {
                "description": "The transaction id of the body.",
                "schema": reference("schemas", "TransactionId"),
            },
            "Idempotency-Replayed": {
                "description": "The reply, its transaction id included, is that of an equal request before with the same \
                                `Idempotency-Key`.",
                "schema": { "type": "string", "const": "true" },
            },
        },
        "parameters": parameters,
        "responses": responses,
        "schemas": schemas,
    })
}
