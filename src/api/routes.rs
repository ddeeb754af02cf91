//! Every route, in one table.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Bytes;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{from_fn_with_state, map_response_with_state};
use axum::routing::{MethodRouter, delete, get, patch, post};
use axum::{Extension, Router};
use tower::Layer;
use tower::util::{MapRequestLayer, option_layer};

use super::handlers::{
    add, delete as delete_template, identify, inspect, key, ops, samples, templates, unsupported, verify,
};
use super::openapi::{self, Endpoint, OpenApi, Operation, Parameter};
use super::{Access, ApiConfig, ApiError, ApiState, MetricsOn, admin, console, cors, envelope, path, viewer};

/// What a listener serves. Health checks are everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routes {
    /// Whether it serves the public API.
    pub api: bool,
    /// Whether it serves the administration: its API and the console.
    pub administration: bool,
    /// Whether it serves `/metrics`.
    pub metrics: MetricsOn,
}

impl Routes {
    /// Everything.
    pub const ALL: Self = Self { api: true, administration: true, metrics: MetricsOn::ByApplication };

    fn has(self, path: &str) -> bool {
        match path {
            path if HEALTH_PATHS.contains(&path) => true,
            METRICS_PATH => self.metrics != MetricsOn::Absent,
            _ => self.api,
        }
    }
}

const METRICS_PATH: &str = "/metrics";

/// Routes that every listener serves.
pub(super) const HEALTH_PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// One route: how the document describes it, what it needs of its caller included, and its handler.
struct Route {
    endpoint: Endpoint,
    handler: MethodRouter<ApiState>,
    is_hidden: bool,
}

impl Route {
    fn new(
        method: Method,
        path: &'static str,
        access: Access,
        handler: MethodRouter<ApiState>,
        operation: Operation,
    ) -> Self {
        Self {
            endpoint: Endpoint { method, path, access, operation },
            handler: access.guard(handler),
            is_hidden: false,
        }
    }

    fn get<T: 'static>(
        path: &'static str,
        access: Access,
        handler: impl Handler<T, ApiState>,
        operation: Operation,
    ) -> Self {
        Self::new(Method::GET, path, access, get(handler), operation)
    }

    fn post<T: 'static>(
        path: &'static str,
        access: Access,
        handler: impl Handler<T, ApiState>,
        operation: Operation,
    ) -> Self {
        Self::new(Method::POST, path, access, post(handler), operation)
    }

    fn delete<T: 'static>(
        path: &'static str,
        access: Access,
        handler: impl Handler<T, ApiState>,
        operation: Operation,
    ) -> Self {
        Self::new(Method::DELETE, path, access, delete(handler), operation)
    }

    fn patch<T: 'static>(
        path: &'static str,
        access: Access,
        handler: impl Handler<T, ApiState>,
        operation: Operation,
    ) -> Self {
        Self::new(Method::PATCH, path, access, patch(handler), operation)
    }

    /// The same, without an operation in the document.
    fn hidden(self) -> Self {
        Self { is_hidden: true, ..self }
    }

    /// An endpoint of the vendor that this server does not have.
    fn unsupported(path: &'static str, id: &'static str) -> Self {
        Self::post(path, Access::AnyKey, unsupported::unsupported, openapi::unsupported(id, &[]))
    }
}

/// The table.
fn table() -> Vec<Route> {
    let token = openapi::unsupported("session", &[Parameter::Token]);
    vec![
        // The vendor's.
        Route::post("/api/v1.0/identify", Access::IDENTIFY, identify::identify, openapi::IDENTIFY),
        Route::post("/api/v1.0/add", Access::ENROLL, add::add, openapi::ADD),
        Route::post("/api/v1.0/delete", Access::DELETE, delete_template::delete, openapi::DELETE),
        Route::post("/api/v1.0/verify", Access::IDENTIFY, verify::verify, openapi::VERIFY),
        Route::post("/api/v1.0/doc/verify", Access::IDENTIFY, verify::verify, openapi::DOC_VERIFY),
        Route::post("/api/v1.0/liveness", Access::CHECK, inspect::liveness, openapi::LIVENESS),
        Route::post("/api/v1.0/deepfake", Access::CHECK, inspect::deepfake, openapi::DEEPFAKE),
        // The vendor's, which this server does not have.
        Route::unsupported("/api/v1.0/doc/identify", "docIdentify"),
        Route::unsupported("/api/v1.0/doc/compare", "docCompare"),
        Route::unsupported("/api/v1.0/recognize", "recognize"),
        Route::unsupported("/api/v1.0/audio/deepfake", "audioDeepfake"),
        Route::unsupported("/api/v1.0/audio/deepafake", "audioDeepafake"),
        Route::unsupported("/api/v1.0/flow/sessions", "createSession"),
        Route::get("/api/v1.0/flow/sessions/{token}", Access::AnyKey, unsupported::unsupported, token),
        // Of this server only.
        Route::get("/api/v1.0/key", Access::AnyKey, key::key, openapi::KEY),
        Route::get("/api/v1.0/templates", Access::READ, templates::list, openapi::TEMPLATES),
        Route::get("/api/v1.0/templates/{templateId}", Access::READ, templates::one, openapi::TEMPLATE),
        Route::post("/api/v1.0/templates/search", Access::READ, templates::search, openapi::SEARCH_TEMPLATES),
        // The template with the id `search`.
        Route::get("/api/v1.0/templates/search", Access::READ, templates::one, openapi::TEMPLATE).hidden(),
        Route::patch("/api/v1.0/templates/search", Access::ENROLL, templates::change, openapi::CHANGE_TEMPLATE)
            .hidden(),
        Route::delete("/api/v1.0/templates/search", Access::DELETE, templates::remove, openapi::REMOVE_TEMPLATE)
            .hidden(),
        Route::patch("/api/v1.0/templates/{templateId}", Access::ENROLL, templates::change, openapi::CHANGE_TEMPLATE),
        Route::delete("/api/v1.0/templates/{templateId}", Access::DELETE, templates::remove, openapi::REMOVE_TEMPLATE),
        Route::post("/api/v1.0/templates/{templateId}/samples", Access::ENROLL, add::add_sample, openapi::ADD_SAMPLE),
        Route::post(
            "/api/v1.0/templates/{templateId}/verify",
            Access::IDENTIFY,
            samples::verify,
            openapi::VERIFY_TEMPLATE,
        ),
        Route::post(
            "/api/v1.0/templates/{templateId}/merge",
            Access::REARRANGE,
            samples::merge,
            openapi::MERGE_TEMPLATES,
        ),
        Route::post(
            "/api/v1.0/templates/{templateId}/rename",
            Access::REARRANGE,
            samples::rename,
            openapi::RENAME_TEMPLATE,
        ),
        Route::delete(
            "/api/v1.0/templates/{templateId}/samples/{sampleId}",
            Access::DELETE,
            samples::remove,
            openapi::REMOVE_SAMPLE,
        ),
        Route::post(
            "/api/v1.0/templates/{templateId}/samples/{sampleId}/move",
            Access::REARRANGE,
            samples::move_sample,
            openapi::MOVE_SAMPLE,
        ),
        // For operators and orchestrators.
        Route::get("/healthz", Access::Open, ops::healthz, openapi::HEALTHZ),
        Route::get("/readyz", Access::Open, ops::readyz, openapi::READYZ),
        Route::get("/metrics", Access::Open, ops::metrics, openapi::METRICS),
        Route::get("/openapi.json", Access::Open, ops::openapi, openapi::OPENAPI),
        Route::get("/licences", Access::Open, ops::licences, openapi::LICENCES),
    ]
}

/// What each route of the table needs of its caller.
pub fn accesses() -> Vec<(Method, &'static str, Access)> {
    let access = |Route { endpoint: Endpoint { method, path, access, .. }, .. }| (method, path, access);
    table().into_iter().map(access).collect()
}

/// The paths of the table.
pub fn paths() -> BTreeSet<&'static str> {
    table().into_iter().map(|route| route.endpoint.path).collect()
}

/// The OpenAPI document of a server with these limits.
pub fn openapi(config: &ApiConfig, max_candidates: usize) -> Bytes {
    openapi::document(
        table().iter().filter(|route| !route.is_hidden).map(|route| &route.endpoint),
        config,
        max_candidates,
    )
}

/// The HTTP side of a listener. A route that it does not serve does not exist there.
pub fn router(api: ApiState, part: Routes) -> Router {
    let document = openapi(api.config(), api.service().policy().max_candidates);
    let mut methods: BTreeMap<_, MethodRouter<ApiState>> = BTreeMap::new();
    for Route { endpoint: Endpoint { path, .. }, handler, .. } in table() {
        if part.has(path) {
            let others = methods.remove(path).unwrap_or_default();
            methods.insert(path, others.merge(handler));
        }
    }
    let enveloped = from_fn_with_state(api.clone(), envelope::wrap);
    let public = methods
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods.fallback(ops::other_method)))
        .merge(if part.api { viewer::routes() } else { Router::new() })
        .fallback(|| async { ApiError::NoSuchEndpoint })
        .layer(Extension(OpenApi(document)))
        .layer(Extension(part.metrics))
        .layer(enveloped.clone())
        .layer(option_layer(cors::layer(&api.config().cors_origins)));
    // Never with CORS: pages of other origins have no business there.
    let administration = || admin::routes(&api).merge(console::routes()).merge(viewer::admin_routes()).layer(enveloped);
    let administration = if part.administration { administration() } else { Router::new() };
    let routes = public
        .merge(administration)
        .layer(map_response_with_state(api.clone(), envelope::security_headers))
        .with_state(api);
    // Routing happens before the layers of a router, so the path is tidied around the router.
    Router::new().fallback_service(MapRequestLayer::new(path::tidy).layer(routes))
}
