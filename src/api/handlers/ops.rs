//! Endpoints for operators and orchestrators: no credentials, no envelope.

use std::borrow::Cow;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::openapi::OpenApi;
use crate::api::outcome::Outcome;
use crate::api::reply::Readiness;
use crate::api::{ApiError, ApiState, MetricsOn};
use crate::service::{Error, Service};
use crate::telemetry::Metrics;

/// The parameter that asks for writes.
const FOR_WRITE: (Cow<'static, str>, Cow<'static, str>) = (Cow::Borrowed("for"), Cow::Borrowed("write"));

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The process runs.
pub(in crate::api) async fn healthz() -> Response {
    Outcome::plain(([(header::CONTENT_TYPE, JSON)], r#"{"status":"ok"}"#))
}

/// Identify can be served; with `?for=write`, writes can be served, too.
pub(in crate::api) async fn readyz(State(api): State<ApiState>, RawQuery(query): RawQuery) -> Response {
    let service = api.service();
    let loaded = service.replicator().is_loaded();
    let lacks_key = service.replicator().lacks_key();
    let write_fault = service.writability().fault();
    let for_write = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).any(|pair| pair == FOR_WRITE);
    let reasons: Vec<_> = [
        (api.is_stopping(), "server is stopping"),
        (!loaded && !lacks_key, "galleries are being loaded"),
        (!loaded && lacks_key, "a sealing key is missing"),
        (loaded && !service.is_engine_ready(), "engine is not ready"),
        (loaded && service.replicator().is_stale(), "the database has not been read for too long"),
    ]
    .into_iter()
    .filter_map(|(holds, reason)| holds.then_some(reason))
    .chain(write_fault.filter(|_| for_write))
    .collect();
    let store_reachable = service.replicator().is_store_reachable();
    let loading = (!loaded).then(|| service.replicator().loading());
    let readiness = Readiness {
        ready: reasons.is_empty(),
        reasons,
        notes: notes(service),
        loaded: loading.map(|loading| loading.loaded),
        templates: loading.map(|loading| loading.templates),
        store_reachable,
        writable: write_fault.is_none(),
        write_fault,
    };
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_string(&readiness) {
        Ok(json) => {
            let mut answer = Outcome::plain((status, [(header::CONTENT_TYPE, JSON)], json));
            if !readiness.ready {
                answer.headers_mut().insert(header::RETRY_AFTER, api.config().retry_after_s.max(1).into());
            }
            answer
        }
        Err(error) => ApiError::from(Error::Internal(error.into())).into_response(),
    }
}

fn notes(service: &Service) -> Vec<String> {
    let doubt = service.applications().store_clock().doubt();
    let clock = doubt.map(|doubt| format!("expiry is paused: {doubt}"));
    let held: u64 = service.held().iter().filter_map(|record| record.hold).map(|hold| hold.templates).sum();
    let held = (held > 0).then(|| format!("{held} templates past their retention wait for a confirmation"));
    clock.into_iter().chain(held).collect()
}

pub(in crate::api) async fn metrics(State(api): State<ApiState>, Extension(on): Extension<MetricsOn>) -> Response {
    match api.metrics().render(&api.gauges(on == MetricsOn::ByApplication)) {
        Ok(text) => Outcome::plain(([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], text)),
        Err(error) => ApiError::from(Error::Internal(error.into())).into_response(),
    }
}

pub(in crate::api) async fn openapi(Extension(OpenApi(document)): Extension<OpenApi>) -> Response {
    Outcome::plain(([(header::CONTENT_TYPE, JSON)], document))
}

pub(in crate::api) async fn licences(State(api): State<ApiState>) -> Response {
    Outcome::plain(([(header::CONTENT_TYPE, JSON)], api.licences()))
}

/// axum adds `Allow` to this response.
pub(in crate::api) async fn other_method(method: Method) -> Response {
    if method == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        ApiError::NoSuchMethod.into_response()
    }
}
