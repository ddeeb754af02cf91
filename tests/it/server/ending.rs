//! The end that is asked for: what was admitted is finished, and nothing else begins.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::process::{Database, Server, photo};
use crate::support::{Form, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

/// SIGTERM while a photo is looked at and another one has come by half: both get their answer.
#[tokio::test(flavor = "multi_thread")]
async fn admitted_requests_finish_before_shutdown() {
    let database = Database::sqlite();
    let mut server = Server::start(&database).await;
    let app = server.first_app();
    let enrolled = app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    let (id, key) = app.credentials();
    let form = Form::new().photo(&photo("person_a_2.jpg"));
    let body = form.finished();
    let request = format!(
        "POST /api/v1.0/identify HTTP/1.1\r\nHost: x\r\nAPP-ID: {id}\r\nAPP-KEY: {key}\r\nConnection: close\r\n\
         Content-Type: {}\r\nContent-Length: {}\r\n\r\n",
        form.content_type(),
        body.len()
    );
    let (sent, later) = body.split_at(body.len() / 2);
    let mut whole = TcpStream::connect(&address).await.unwrap();
    let mut half = TcpStream::connect(&address).await.unwrap();
    half.write_all(&[request.as_bytes(), sent].concat()).await.unwrap();
    eventually("the partial upload is admitted", async || server.metric("semblance_upload_memory_bytes").await > 0.0)
        .await;
    whole.write_all(&[request.as_bytes(), &body[..]].concat()).await.unwrap();
    let answered = async || tokio::time::timeout(Duration::ZERO, whole.readable()).await.is_ok();
    eventually("the other request is admitted or answered", async || {
        server.metric("semblance_tickets_in_use").await > 0.0 || answered().await
    })
    .await;
    server.terminate();
    eventually("new connections are refused", async || TcpStream::connect(&address).await.is_err()).await;
    half.write_all(later).await.unwrap();
    let mut ids = vec![enrolled["transactionId"].clone()];
    for mut stream in [whole, half] {
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
        let (head, reply) = answer.split_once("\r\n\r\n").expect("a whole answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        let reply: Value = serde_json::from_str(reply).unwrap();
        assert_eq!(reply["result"]["templateId"], "a");
        ids.push(reply["transactionId"].clone());
    }
    let (server, code) = tokio::task::spawn_blocking(move || {
        let code = server.code();
        (server, code)
    })
    .await
    .unwrap();
    assert_eq!(code, Some(0), "{}", server.log());
    let printed = server.command(&database, &["journal", "export"]);
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for id in ids {
        assert!(lines.iter().any(|line| line["transactionId"] == id && line["status"] == 200), "{id}: {printed}");
    }
    server.command(&database, &["journal", "verify"]);
}
