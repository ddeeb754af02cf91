//! HTTP, and nothing but HTTP.
//!
//! A request passes, from the outside in: security headers, CORS (only if the settings list origins), the tidying of its
//! path, the envelope (one transaction id, one log line, every failure rendered), a guard around its body, and then a
//! handler of about ten lines. A handler takes what it needs in the order in which a request may be refused: credentials,
//! query, models, room within the limits, and only then the body. Business rules are in `service`, not here.

mod access;
mod admin;
mod admission;
mod answers;
mod asset;
mod audit;
mod body;
mod config;
mod console;
mod cors;
mod drain;
mod envelope;
mod error;
mod extract;
mod forwarded;
mod handlers;
mod machine;
mod openapi;
mod outcome;
mod path;
mod peer;
mod refusal_log;
mod reply;
mod request_log;
mod reserved;
mod routes;
mod schema;
mod sign_in_limits;
mod state;
mod viewer;

pub use access::Access;
pub use admin::{AdminRouteInfo, admin_openapi, admin_routes};
pub use admission::Limiters;
pub use answers::{AnswerPlace, Answers};
pub use axum::http::{Request, Version};
pub use axum::response::Response;
pub use config::{AdminConfig, ApiConfig, MetricsOn, Shape};
pub use drain::Drain;
pub use error::{ApiError, ErrorBody, FieldFault, Forbidden};
pub use forwarded::{ForwardedError, ForwardedHeader};
pub use machine::{BackupView, CheckView, Machine, SettingSource, SettingView, System};
pub use peer::Peer;
pub use refusal_log::WINDOW as REFUSAL_LOG_WINDOW;
pub use reserved::{end_connection, is_health_check, no_place};
pub use routes::{Routes, accesses, openapi, paths, router};
pub use state::ApiState;

use crate::domain::{Analysis, PhotoFault};

/// The reply for a face without an envelope, for the command line.
///
/// # Errors
/// When a number cannot be written as JSON, which no analysis holds.
pub fn analysis_json(analysis: &Analysis, shape: Shape) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::to_value(reply::analyzed(analysis, shape))
}

/// The reply for a photo without an analysis, without an envelope.
pub fn fault_json(fault: PhotoFault) -> serde_json::Value {
    let body = ApiError::from(fault).body();
    serde_json::json!({ "status": "error", "code": body.code, "info": body.info })
}
