//! Every route, in one table.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Bytes;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{from_fn_with_state, map_response_with_state};
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Extension, Router};
use tower::Layer;
use tower::util::{MapRequestLayer, option_layer};

use super::handlers::{
    add, delete as delete_template, identify, inspect, ops, samples, templates, unsupported, verify,
};
use super::openapi::{self, Endpoint, OpenApi, Operation, Parameter};
use super::{ApiConfig, ApiError, ApiState, MetricsOn, admin, console, cors, envelope, path};

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

/// One route: how the document describes it, and its handler.
struct Route {
    endpoint: Endpoint,
    handler: MethodRouter<ApiState>,
}

impl Route {
    fn get<T: 'static>(path: &'static str, handler: impl Handler<T, ApiState>, operation: Operation) -> Self {
        Self { endpoint: Endpoint { method: Method::GET, path, operation }, handler: get(handler) }
    }

    fn post<T: 'static>(path: &'static str, handler: impl Handler<T, ApiState>, operation: Operation) -> Self {
        Self { endpoint: Endpoint { method: Method::POST, path, operation }, handler: post(handler) }
    }

    fn delete<T: 'static>(path: &'static str, handler: impl Handler<T, ApiState>, operation: Operation) -> Self {
        Self { endpoint: Endpoint { method: Method::DELETE, path, operation }, handler: delete(handler) }
    }

    /// An endpoint of the vendor that this server does not have.
    fn unsupported(path: &'static str, id: &'static str) -> Self {
        Self::post(path, unsupported::unsupported, openapi::unsupported(id, &[]))
    }
}

/// The table.
fn table() -> Vec<Route> {
    let token = openapi::unsupported("session", &[Parameter::Token]);
    vec![
        // The vendor's.
        Route::post("/api/v1.0/identify", identify::identify, openapi::IDENTIFY),
        Route::post("/api/v1.0/add", add::add, openapi::ADD),
        Route::post("/api/v1.0/delete", delete_template::delete, openapi::DELETE),
        Route::post("/api/v1.0/verify", verify::verify, openapi::VERIFY),
        Route::post("/api/v1.0/doc/verify", verify::verify, openapi::DOC_VERIFY),
        Route::post("/api/v1.0/liveness", inspect::liveness, openapi::LIVENESS),
        Route::post("/api/v1.0/deepfake", inspect::deepfake, openapi::DEEPFAKE),
        // The vendor's, which this server does not have.
        Route::unsupported("/api/v1.0/doc/identify", "docIdentify"),
        Route::unsupported("/api/v1.0/doc/compare", "docCompare"),
        Route::unsupported("/api/v1.0/recognize", "recognize"),
        Route::unsupported("/api/v1.0/audio/deepfake", "audioDeepfake"),
        Route::unsupported("/api/v1.0/audio/deepafake", "audioDeepafake"),
        Route::unsupported("/api/v1.0/flow/sessions", "createSession"),
        Route::get("/api/v1.0/flow/sessions/{token}", unsupported::unsupported, token),
        // Of this server only.
        Route::get("/api/v1.0/templates", templates::list, openapi::TEMPLATES),
        Route::get("/api/v1.0/templates/{templateId}", templates::one, openapi::TEMPLATE),
        Route::delete("/api/v1.0/templates/{templateId}", templates::remove, openapi::REMOVE_TEMPLATE),
        Route::post("/api/v1.0/templates/{templateId}/samples", add::add_sample, openapi::ADD_SAMPLE),
        Route::post("/api/v1.0/templates/{templateId}/verify", samples::verify, openapi::VERIFY_TEMPLATE),
        Route::post("/api/v1.0/templates/{templateId}/merge", samples::merge, openapi::MERGE_TEMPLATES),
        Route::delete("/api/v1.0/templates/{templateId}/samples/{sampleId}", samples::remove, openapi::REMOVE_SAMPLE),
        Route::post(
            "/api/v1.0/templates/{templateId}/samples/{sampleId}/move",
            samples::move_sample,
            openapi::MOVE_SAMPLE,
        ),
        // For operators and orchestrators.
        Route::get("/healthz", ops::healthz, openapi::HEALTHZ),
        Route::get("/readyz", ops::readyz, openapi::READYZ),
        Route::get("/metrics", ops::metrics, openapi::METRICS),
        Route::get("/openapi.json", ops::openapi, openapi::OPENAPI),
        Route::get("/licences", ops::licences, openapi::LICENCES),
    ]
}

/// The paths of the table.
pub fn paths() -> BTreeSet<&'static str> {
    table().into_iter().map(|route| route.endpoint.path).collect()
}

/// The OpenAPI document of a server with these limits.
pub fn openapi(config: &ApiConfig, max_candidates: usize) -> Bytes {
    openapi::document(table().iter().map(|route| &route.endpoint), config, max_candidates)
}

/// The HTTP side of a listener. A route that it does not serve does not exist there.
pub fn router(api: ApiState, part: Routes) -> Router {
    let document = openapi(api.config(), api.service().policy().max_candidates);
    let mut methods: BTreeMap<_, MethodRouter<ApiState>> = BTreeMap::new();
    for Route { endpoint: Endpoint { path, .. }, handler } in table() {
        if part.has(path) {
            let others = methods.remove(path).unwrap_or_default();
            methods.insert(path, others.merge(handler));
        }
    }
    let enveloped = from_fn_with_state(api.clone(), envelope::wrap);
    let public = methods
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods.fallback(ops::other_method)))
        .fallback(|| async { ApiError::NoSuchEndpoint })
        .layer(Extension(OpenApi(document)))
        .layer(Extension(part.metrics))
        .layer(enveloped.clone())
        .layer(option_layer(cors::layer(&api.config().cors_origins)));
    // Never with CORS: pages of other origins have no business there.
    let administration = || admin::routes(&api).merge(console::routes()).layer(enveloped);
    let administration = if part.administration { administration() } else { Router::new() };
    let routes = public
        .merge(administration)
        .layer(map_response_with_state(api.clone(), envelope::security_headers))
        .with_state(api);
    // Routing happens before the layers of a router, so the path is tidied around the router.
    Router::new().fallback_service(MapRequestLayer::new(path::tidy).layer(routes))
}
