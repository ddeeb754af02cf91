//! Every route, in one table.

use axum::Router;
use axum::http::{Method, StatusCode};
use axum::middleware::{from_fn_with_state, map_response_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use tower::Layer;
use tower::util::{MapRequestLayer, option_layer};

use super::handlers::{add, delete, identify, inspect, ops, templates, unsupported, verify};
use super::{ApiError, ApiState, cors, envelope, path};

/// Which part of the table a listener has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routes {
    /// All of it.
    All,
    /// What is for clients: all but what is for operators.
    Public,
    /// What is for operators, and what tells whether the server lives.
    Operators,
}

impl Routes {
    fn has(self, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Public => !OPERATORS.contains(&path),
            Self::Operators => OPERATORS.contains(&path) || ALIVE.contains(&path),
        }
    }
}

/// What tells of all applications.
const OPERATORS: [&str; 1] = ["/metrics"];

/// What any listener answers.
const ALIVE: [&str; 2] = ["/healthz", "/readyz"];

/// The table. `/openapi.json` describes the same routes; a test compares the two.
fn table() -> Vec<(&'static str, MethodRouter<ApiState>)> {
    vec![
        // The vendor's.
        ("/api/v1.0/identify", post(identify::identify)),
        ("/api/v1.0/add", post(add::add)),
        ("/api/v1.0/delete", post(delete::delete)),
        ("/api/v1.0/verify", post(verify::verify)),
        ("/api/v1.0/doc/verify", post(verify::verify)),
        ("/api/v1.0/liveness", post(inspect::liveness)),
        ("/api/v1.0/deepfake", post(inspect::deepfake)),
        // The vendor's, which this server does not have.
        ("/api/v1.0/doc/identify", post(unsupported::unsupported)),
        ("/api/v1.0/doc/compare", post(unsupported::unsupported)),
        ("/api/v1.0/recognize", post(unsupported::unsupported)),
        ("/api/v1.0/audio/deepfake", post(unsupported::unsupported)),
        ("/api/v1.0/audio/deepafake", post(unsupported::unsupported)),
        ("/api/v1.0/flow/sessions", post(unsupported::unsupported)),
        ("/api/v1.0/flow/sessions/{token}", get(unsupported::unsupported)),
        // Ours.
        ("/api/v1.0/templates", get(templates::list)),
        ("/api/v1.0/templates/{templateId}", get(templates::one).delete(templates::remove)),
        ("/api/v1.0/templates/{templateId}/samples", post(add::add_sample)),
        // For operators and orchestrators: no credentials, no envelope.
        ("/healthz", get(ops::healthz)),
        ("/readyz", get(ops::readyz)),
        ("/metrics", get(ops::metrics)),
        ("/openapi.json", get(ops::openapi)),
        ("/licences", get(ops::licences)),
    ]
}

/// The paths of the table.
pub fn paths() -> impl Iterator<Item = &'static str> {
    table().into_iter().map(|(path, _)| path)
}

/// The HTTP side of a listener. What its part of the table lacks is no such endpoint there.
pub fn router(api: ApiState, part: Routes) -> Router {
    let routes = table()
        .into_iter()
        .filter(|(path, _)| part.has(path))
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods.fallback(other_method)))
        .fallback(|| async { ApiError::NoSuchEndpoint })
        .layer(from_fn_with_state(api.clone(), envelope::wrap))
        .layer(option_layer(cors::layer(&api.config().cors_origins)))
        .layer(map_response_with_state(api.clone(), envelope::security_headers))
        .with_state(api);
    // Routing happens before the layers of a router, so the path is tidied around the router.
    Router::new().fallback_service(MapRequestLayer::new(path::tidy).layer(routes))
}

/// axum adds `Allow` to whatever this answers.
async fn other_method(method: Method) -> Response {
    if method == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        ApiError::NoSuchMethod.into_response()
    }
}
