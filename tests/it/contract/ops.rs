use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use semblance::domain::{Embedding, ModelTag, Revision, SampleId};
use semblance::gallery::Sample;
use semblance::store::{OnConflict, TemplateStore as _};

use semblance::api::{MetricsOn, Routes};

use crate::support::schema::Schema;
use crate::support::{Answer, Form, Server, Setup, eventually, photo};

async fn ready(server: &Server) -> (u16, String) {
    let answer = server.call("GET", "/readyz").without("APP-ID").without("APP-KEY").send().await;
    assert_eq!(answer.header("retry-after").is_some(), answer.status == 503);
    (answer.status, answer.json().to_string())
}

#[tokio::test]
async fn health_needs_no_credentials() {
    let server = Server::start().await;
    let answer = server.call("GET", "/healthz").without("APP-ID").without("APP-KEY").send().await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, br#"{"status":"ok"}"#.as_slice()));
}

#[tokio::test]
async fn readiness_has_its_reasons() {
    let server = Server::with(Setup { loaded: false, ..Setup::default() }).await;
    let shown = |ready: bool, reason: &str, store: bool| {
        let reason = if reason.is_empty() { String::new() } else { format!("{reason:?}") };
        format!(
            "{{\n  \"ready\": {ready},\n  \"reasons\": [{reason}],\n  \"storeReachable\": {store},\n  \"writable\": true\n}}"
        )
    };
    let loading = "{\n  \"ready\": false,\n  \"reasons\": [\"galleries are being loaded\"],\n  \"loaded\": 0,\n  \
                   \"templates\": 0,\n  \"storeReachable\": false,\n  \"writable\": true\n}";
    assert_eq!(ready(&server).await, (503, loading.to_owned()));
    server.service.replicator().poll().await.unwrap();
    assert_eq!(ready(&server).await, (200, shown(true, "", true)));
    server.engine.ready.store(false, Ordering::SeqCst);
    assert_eq!(ready(&server).await, (503, shown(false, "engine is not ready", true)));
    server.engine.ready.store(true, Ordering::SeqCst);
    server.store.down.store(true, Ordering::SeqCst);
    server.service.replicator().poll().await.unwrap_err();
    assert_eq!(ready(&server).await, (200, shown(true, "", false)), "it still identifies");
    server.limiters.photos.close();
    assert_eq!(ready(&server).await, (503, shown(false, "server is stopping", false)));
    let answer = server.send_photo("identify", &photo("ann")).await;
    assert_eq!(answer.error(), (503, 503, "server is stopping, try again later".to_owned()));
}

/// A server that cannot write identifies; whether it is ready depends on what it is asked for.
#[tokio::test]
async fn readiness_for_writes() {
    let server = Server::start().await;
    let readyz = async |query: &str| {
        let answer = server.call("GET", &format!("/readyz{query}")).send().await;
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        (answer.status, body)
    };
    assert_eq!(readyz("?for=write").await.0, 200);
    server.store.down.store(true, Ordering::SeqCst);
    server.service.writability().check().await;
    let (status, body) = readyz("").await;
    assert_eq!((status, &body["writable"], &body["reasons"]), (200, &false.into(), &serde_json::json!([])));
    assert_eq!(body["writeFault"], "the database is not available");
    let (status, body) = readyz("?for=write").await;
    assert_eq!((status, &body["reasons"][0]), (503, &body["writeFault"]));
    server.store.down.store(false, Ordering::SeqCst);
    server.service.writability().check().await;
    let (status, body) = readyz("?for=write").await;
    assert_eq!((status, &body["writable"], body.get("writeFault")), (200, &true.into(), None));
}

#[tokio::test]
async fn metrics_count_requests_and_stages() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    server.send_photo("identify", &photo("ann")).await;
    server.send_photo("identify", &photo("nobody")).await;
    server.get("unknown/path").await;
    let answer = server.call("GET", "/metrics").send().await;
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = String::from_utf8(answer.body).unwrap();
    let app = server.app.app_id.as_str();
    for line in [
        r#"semblance_requests_total{route="/api/v1.0/identify",status="200",code="0"} 1"#.to_owned(),
        r#"semblance_requests_total{route="/api/v1.0/identify",status="400",code="5"} 1"#.to_owned(),
        r#"semblance_requests_total{route="none",status="404",code="404"} 1"#.to_owned(),
        r#"semblance_request_duration_seconds_count{route="/api/v1.0/identify"} 2"#.to_owned(),
        r#"semblance_stage_duration_seconds_count{stage="decode"} 2"#.to_owned(),
        r#"semblance_stage_duration_seconds_bucket{le="0.005",stage="decode"} 2"#.to_owned(),
        "semblance_search_duration_seconds_count 1".to_owned(),
        "semblance_tickets_in_use 0".to_owned(),
        "semblance_tickets_capacity 8".to_owned(),
        "semblance_ready 1".to_owned(),
        "semblance_store_reachable 1".to_owned(),
        format!(r#"semblance_gallery_templates{{app="{app}"}} 1"#),
        format!(r#"semblance_gallery_samples{{app="{app}"}} 1"#),
        format!(r#"semblance_gallery_size_bytes{{app="{app}"}} 512"#),
        format!(r#"semblance_build_info{{version="{}"}} 1"#, env!("CARGO_PKG_VERSION")),
    ] {
        assert!(text.lines().any(|known| known == line), "no {line} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn public_metrics_hide_app_ids() {
    let routes = Routes { metrics: MetricsOn::Totals, ..Routes::ALL };
    let server = Server::with(Setup { routes, ..Setup::default() }).await;
    let other = server.service.applications().create("other").await.unwrap();
    server.service.replicator().poll().await.unwrap();
    server.enroll("ann", &photo("ann")).await;
    let add = server.post("add").header("APP-ID", other.app_id.as_str()).header("APP-KEY", &other.app_key);
    assert_eq!(add.form(&Form::new().photo(&photo("bob"))).send().await.status, 200);
    for _ in 0..2 {
        let text = String::from_utf8(server.call("GET", "/metrics").send().await.body).unwrap();
        assert!(text.lines().any(|line| line == r#"semblance_gallery_templates{app="all"} 2"#), "{text}");
        assert!(!text.contains(server.app.app_id.as_str()) && !text.contains(other.app_id.as_str()), "{text}");
    }
}

#[tokio::test]
async fn licences_are_served() {
    let server = Server::start().await;
    let answer = server.call("GET", "/licences").send().await;
    assert_eq!(answer.json().at("models").to_string(), r#"[{ "licence": "none", "name": "scripted" }]"#);
}

async fn schema(server: &Server) -> Schema {
    let answer = server.call("GET", "/openapi.json").send().await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    Schema(serde_json::from_slice(&answer.body).unwrap())
}

#[tokio::test]
async fn references_of_the_document_resolve() {
    let server = Server::start().await;
    let schema = schema(&server).await;
    assert_eq!(schema.0["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut open = vec![&schema.0];
    let mut operations = Vec::new();
    while let Some(value) = open.pop() {
        schema.resolve(value);
        operations.extend(value.get("operationId"));
        open.extend(value.as_object().into_iter().flat_map(|object| object.values()));
        open.extend(value.as_array().into_iter().flatten());
    }
    let count = operations.len();
    operations.sort_by_key(|id| id.to_string());
    operations.dedup();
    assert_eq!(operations.len(), count, "every operation has a name of its own");
}

#[tokio::test]
async fn every_kind_of_answer_is_as_documented() {
    let server = Server::start().await;
    let schema = schema(&server).await;
    let check = |method: &str, path: &str, answer: &Answer| {
        schema.check(method, path, answer.status, &answer.body);
    };
    let form = Form::new().photo(&photo("ann")).text("templateId", "ann");
    let checks = "check_liveness=true&check_deepfake=true";
    for (path, query) in [
        ("/api/v1.0/identify", "candidates=2"),
        ("/api/v1.0/add", checks),
        ("/api/v1.0/add", ""),
        ("/api/v1.0/identify", checks),
        ("/api/v1.0/identify", "candidates=2"),
        ("/api/v1.0/liveness", checks),
        ("/api/v1.0/deepfake", ""),
        ("/api/v1.0/recognize", ""),
        ("/api/v1.0/verify", ""),
    ] {
        check("POST", path, &server.call("POST", &format!("{path}?{query}")).form(&form).send().await);
    }
    check("POST", "/api/v1.0/identify", &server.send_photo("identify", &photo("plain")).await);
    check("POST", "/api/v1.0/identify", &server.post("identify").without("APP-ID").send().await);
    check("POST", "/api/v1.0/identify", &server.send_photo("identify", &photo("fails")).await);
    check("POST", "/api/v1.0/identify", &server.send_photo("identify", &photo("busy")).await);
    let two = Form::new().file("first_photo", "", &photo("ann")).file("second_photo", "", &photo("bob"));
    check("POST", "/api/v1.0/verify", &server.post("verify").form(&two).send().await);
    let path = "/api/v1.0/templates/{templateId}";
    check("POST", &format!("{path}/samples"), &server.send_photo("templates/ann/samples", &photo("ann.2")).await);
    check("GET", path, &server.get("templates/ann").await);
    check("GET", path, &server.get("templates/unknown").await);
    check("GET", "/api/v1.0/templates", &server.get("templates").await);
    check("DELETE", path, &server.call("DELETE", "/api/v1.0/templates/ann").send().await);
    check("POST", "/api/v1.0/delete", &server.post("delete").send().await);
    check("GET", "/healthz", &server.call("GET", "/healthz").send().await);
    check("GET", "/readyz", &server.call("GET", "/readyz").send().await);
    server.limiters.photos.close();
    check("GET", "/readyz", &server.call("GET", "/readyz").send().await);
    check("POST", "/api/v1.0/add", &server.send_photo("add", &photo("ann")).await);
}

/// While one tenant's gallery is still loading, the changes of others become visible.
#[tokio::test]
async fn a_slow_gallery_does_not_delay_others() {
    let server = Server::start().await;
    let replicator = server.service.replicator();
    let feed = server.service.feed();
    let slow = server.service.applications().create("slow").await.unwrap().app_id;
    *server.store.slow.lock().unwrap() = Some(slow.clone());
    let soon = Duration::from_millis(20);
    for round in 1..=3 {
        let embedding = Embedding::new(&[0.6, 0.8], ModelTag::new("scripted")).unwrap();
        let sample = Sample { id: SampleId::random(), embedding };
        let id = format!("t{round}").parse().unwrap();
        server
            .store
            .insert(&server.app.app_id, &id, &crate::support::enrolled(sample.clone()), OnConflict::Refuse)
            .await
            .unwrap();
        let start = Instant::now();
        while feed.revision(&server.app.app_id) != Some(Revision(round)) {
            assert!(start.elapsed() < Duration::from_secs(20), "another's change is not seen");
            replicator.poll_within(soon).await.unwrap();
        }
        assert_eq!(feed.revision(&slow), None);
    }
    *server.store.slow.lock().unwrap() = None;
    eventually("the slow gallery is loaded", async || feed.revision(&slow).is_some()).await;
}
