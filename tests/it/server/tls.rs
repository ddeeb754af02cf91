//! Certificates.

use super::process::{Database, Server};
use crate::support::eventually;

#[tokio::test]
async fn a_renewed_certificate_is_served() {
    crate::support::crypto();
    let dir = tempfile::tempdir().unwrap();
    let cert = dir.path().join("cert.pem");
    let key = dir.path().join("key.pem");
    let make = || rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let old = make();
    let new = make();
    let put = |made: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    };
    let client = |made: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
        reqwest::Client::builder().tls_certs_only([root]).build().unwrap()
    };
    let status = async |url: &str, made: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        let answer = client(made).get(format!("{url}/healthz")).send().await.ok()?;
        assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
        Some(answer.status().as_u16())
    };
    put(&old);
    let cert_path = cert.to_str().unwrap().to_owned();
    let key_path = key.to_str().unwrap().to_owned();
    let tls = [
        ("SEMBLANCE_LOG_LEVEL", "warn"),
        ("SEMBLANCE_TLS_CERT", cert_path.as_str()),
        ("SEMBLANCE_TLS_KEY", key_path.as_str()),
        ("SEMBLANCE_TLS_RELOAD_S", "1"),
        ("SEMBLANCE_ADMIN_LISTEN", "127.0.0.1:0"),
    ];
    let server = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &tls).await;
    for url in [server.url(), server.operators()] {
        assert_eq!((status(url, &old).await, status(url, &new).await), (Some(200), None), "{url}");
    }
    let metrics =
        client(&old).get(format!("{}/metrics", server.operators())).send().await.unwrap().text().await.unwrap();
    let expiry = metrics.lines().find_map(|line| line.strip_prefix("semblance_certificate_expiry_timestamp_seconds "));
    let expiry: u64 = expiry.unwrap().parse().unwrap();
    assert!(expiry > 4_000_000_000, "the test's certificates are valid for centuries: {expiry}");
    // What does not fit changes nothing.
    std::fs::write(&key, "not a key").unwrap();
    eventually("the invalid key is reported", async || server.log().contains("changed certificate")).await;
    assert_eq!(status(server.url(), &old).await, Some(200));
    put(&new);
    eventually("the renewed certificate is served", async || status(server.url(), &new).await == Some(200)).await;
    assert_eq!(status(server.operators(), &new).await, Some(200));
    for url in [server.url(), server.operators()] {
        assert_eq!(status(url, &old).await, None, "{url}");
    }
}
