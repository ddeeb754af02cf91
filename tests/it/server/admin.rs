//! What is for operators can have an address of its own.

use std::io::{Read, Write};
use std::net::TcpStream;

use reqwest::{Client, Response};

use super::process::{Database, Server};

async fn apart() -> Server {
    let own = [("SEMBLANCE_ADMIN_LISTEN", "127.0.0.1:0")];
    Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &own).await
}

async fn get(base: &str, path: &str) -> Response {
    Client::new().get(format!("{base}{path}")).send().await.unwrap()
}

/// The answer to anything that is not there, in its envelope.
async fn is_unknown(answer: Response) {
    assert_eq!(answer.status(), 404, "{}", answer.url());
    let reply: serde_json::Value = answer.json().await.unwrap();
    assert_eq!((&reply["result"]["status"], &reply["result"]["code"]), (&"error".into(), &404.into()), "{reply}");
}

#[tokio::test]
async fn metrics_are_served_to_operators_only() {
    let server = apart().await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    for path in ["/metrics", "/metrics/", "//metrics", "/metrics?x=1", "/%6detrics"] {
        is_unknown(get(server.url(), path).await).await;
    }
    let answer = get(server.operators(), "/metrics").await;
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap();
    let added = r#"semblance_requests_total{route="/api/v1.0/add",status="200",code="0"} 1"#;
    assert!(text.lines().any(|line| line == added), "both are one server:\n{text}");
}

#[tokio::test]
async fn the_operator_address_does_not_serve_the_api() {
    let server = apart().await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    let (id, key) = app.credentials();
    for path in ["/api/v1.0/templates", "/api/v1.0/templates/a", "/openapi.json", "/licences", "/"] {
        let request = Client::new().get(format!("{}{path}", server.operators()));
        is_unknown(request.header("APP-ID", &id).header("APP-KEY", &key).send().await.unwrap()).await;
    }
    let request = Client::new().post(format!("{}/api/v1.0/delete", server.operators()));
    let request = request.header("APP-ID", &id).header("APP-KEY", &key).body(r#"{"templateId":"a"}"#);
    is_unknown(request.header("Content-Type", "application/json").send().await.unwrap()).await;
    assert_eq!(app.identify("person_a_2.jpg").await["result"]["templateId"], "a", "nothing was deleted");
}

#[tokio::test]
async fn both_addresses_apply_the_limits() {
    let server = apart().await;
    for base in [server.url(), server.operators()] {
        for path in ["/healthz", "/readyz"] {
            assert_eq!(get(base, path).await.status(), 200, "{base}{path}");
        }
        for path in ["/healthz", "/nowhere"] {
            let answer = get(base, path).await;
            for header in ["x-transaction-id", "x-content-type-options", "content-security-policy", "cache-control"] {
                assert!(answer.headers().contains_key(header), "{base}{path}: no {header}");
            }
        }
        assert_eq!(Client::new().post(format!("{base}/healthz")).send().await.unwrap().status(), 405);
        // Request heads are limited; an oversized one gets a 431.
        let many = (0..101).map(|n| format!("X-{n}: 1\r\n")).collect::<String>();
        let long = format!("X: {}\r\n", "1".repeat(64 * 1024));
        let fits = (0..90).map(|n| format!("X-{n}: {}\r\n", "1".repeat(200))).collect::<String>();
        for (headers, status) in [(many, 431), (long, 431), (fits, 200)] {
            let mut stream = TcpStream::connect(base.strip_prefix("http://").unwrap()).unwrap();
            let head = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"), "{base}");
        }
    }
    // What is not set apart is where it always was.
    let whole = Server::start(&Database::sqlite()).await;
    assert_eq!(get(whole.url(), "/metrics").await.status(), 200);
}

#[tokio::test]
async fn both_addresses_shut_down_together() {
    let mut server = apart().await;
    let app = server.first_app();
    let public = server.url().to_owned();
    let operators = server.operators().to_owned();
    // Connections that are kept open, with nothing under way.
    let client = Client::new();
    for url in [format!("{public}/healthz"), format!("{operators}/metrics")] {
        assert!(!client.get(url).send().await.unwrap().text().await.unwrap().is_empty());
    }
    app.add("person_a_1.jpg", &[]).await;
    assert_eq!(tokio::task::spawn_blocking(move || server.stop()).await.unwrap(), Some(0));
    for url in [format!("{public}/healthz"), format!("{operators}/healthz")] {
        assert!(client.get(&url).send().await.is_err(), "{url} still answers");
    }
}
