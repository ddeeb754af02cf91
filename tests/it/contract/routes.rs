use std::collections::BTreeSet;

use semblance::api::{ApiConfig, paths};

use crate::support::{Form, Server, Setup, photo};

#[tokio::test]
async fn slashes_are_tidied_without_a_redirect() {
    let server = Server::start().await;
    for target in ["/api/v1.0/identify/", "//api/v1.0//identify", "/api//v1.0/identify//?check_liveness=true"] {
        let answer = server.call("POST", target).form(&Form::new().photo(&photo("ann"))).send().await;
        assert_eq!(answer.status, 200, "{target}");
    }
    assert_eq!(server.call("GET", "//healthz//").send().await.status, 200);
}

#[tokio::test]
async fn unknown_paths_are_not_found() {
    let server = Server::start().await;
    for target in ["/", "/api/v1.0", "/api/v1.0/unknown", "/api/v2.0/identify", "/identify", "/api/v1.0/identify/x"] {
        for method in ["GET", "POST", "OPTIONS", "BREW"] {
            let answer = server.call(method, target).without("APP-ID").send().await;
            assert_eq!(answer.error(), (404, 404, "no such endpoint".to_owned()), "{method} {target}");
        }
    }
    assert_eq!(server.call("HEAD", "/unknown").send().await.status, 404);
}

#[tokio::test]
async fn other_methods_get_405_with_allow() {
    let server = Server::start().await;
    for (target, allowed, others) in [
        ("/api/v1.0/identify", "POST", ["GET", "PUT", "DELETE"]),
        ("/api/v1.0/flow/sessions/token", "GET,HEAD", ["POST", "PUT", "PATCH"]),
        ("/api/v1.0/templates/ann", "GET,HEAD,PATCH,DELETE", ["POST", "PUT", "TRACE"]),
        ("/healthz", "GET,HEAD", ["POST", "PUT", "TRACE"]),
    ] {
        for method in others {
            let answer = server.call(method, target).send().await;
            assert_eq!(answer.error(), (405, 405, "method not allowed".to_owned()), "{method} {target}");
            assert_eq!(answer.header("allow"), Some(allowed), "{method} {target}");
        }
        let options = server.call("OPTIONS", target).without("APP-ID").send().await;
        assert_eq!((options.status, options.header("allow")), (204, Some(allowed)), "{target}");
        assert!(options.body.is_empty() && options.header("x-transaction-id").is_some());
    }
}

#[tokio::test]
async fn head_is_answered_without_a_body() {
    let server = Server::start().await;
    let answer = server.call("HEAD", "/api/v1.0/identify").send().await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    assert!(answer.header("x-transaction-id").is_some());
    assert_eq!(server.call("HEAD", "/healthz").send().await.status, 200);
}

#[tokio::test]
async fn unsupported_endpoints_answer_501() {
    let server = Server::start().await;
    for (method, endpoint) in [
        ("POST", "doc/identify"),
        ("POST", "doc/compare"),
        ("POST", "recognize"),
        ("POST", "audio/deepfake"),
        ("POST", "audio/deepafake"),
        ("POST", "flow/sessions"),
        ("GET", "flow/sessions/token"),
    ] {
        let answer = server.call(method, &format!("/api/v1.0/{endpoint}")).send().await;
        let info = "this endpoint is not supported by this server".to_owned();
        assert_eq!(answer.error(), (501, 501, info), "{endpoint}");
    }
}

#[tokio::test]
async fn every_request_has_a_unique_id() {
    let server = Server::start().await;
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        ids.insert(server.get("templates").await.transaction());
        ids.insert(server.get("unknown").await.transaction());
    }
    assert_eq!(ids.len(), 6);
    assert!(server.call("GET", "/healthz").send().await.header("x-transaction-id").is_some());
}

#[tokio::test]
async fn the_document_and_the_routes_agree() {
    let server = Server::start().await;
    let document = server.call("GET", "/openapi.json").send().await;
    let document: serde_json::Value = serde_json::from_slice(&document.body).unwrap();
    let documented: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(documented, paths());
    for path in paths() {
        let target = path.replace(['{', '}'], "x");
        let options = server.call("OPTIONS", &target).send().await;
        let mut allowed: BTreeSet<String> =
            options.header("allow").unwrap().split(',').map(str::to_lowercase).collect();
        // Comes with every GET.
        allowed.remove("head");
        let methods: BTreeSet<String> = document["paths"][path].as_object().unwrap().keys().cloned().collect();
        // Beside the search, this path is that of the template with the id `search`.
        if path == "/api/v1.0/templates/search" {
            allowed.retain(|method| method == "post");
        }
        assert_eq!(methods, allowed, "{path}");
    }
}

#[tokio::test]
async fn cross_origin_calls_are_off_unless_opted_in() {
    let server = Server::start().await;
    let answer = server.call("GET", "/healthz").header("Origin", "https://a.example").send().await;
    assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("access-control") && name != "vary"));

    let config = ApiConfig { cors_origins: vec!["https://a.example".into()], ..ApiConfig::default() };
    let server = Server::with(Setup { config, ..Setup::default() }).await;
    let preflight = |origin| {
        server
            .call("OPTIONS", "/api/v1.0/identify")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "app-id,app-key")
    };
    let answer = preflight("https://a.example").send().await;
    for header in ["x-content-type-options", "content-security-policy", "cache-control", "referrer-policy"] {
        assert!(answer.header(header).is_some(), "{header}");
    }
    assert_eq!(answer.header("strict-transport-security"), None, "that is for HTTPS");
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(
        answer.header("access-control-allow-headers"),
        Some("app-id,app-key,idempotency-key,content-type,if-match")
    );
    assert_eq!(preflight("https://b.example").send().await.header("access-control-allow-origin"), None);
    let answer = server.get("templates").await;
    assert_eq!(answer.header("access-control-allow-origin"), None, "no browser asked");
    let answer = server.post("identify").header("Origin", "https://a.example").without("APP-ID").send().await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"), "failures are read, too");
}
