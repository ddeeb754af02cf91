//! Enrollments that are sent again because their answer was lost.

use std::time::Duration;

use serde_json::Value;
use sqlx::Connection as _;

use super::process::{App, Database, Server};
use super::proxy::{Proxy, Wire};
use crate::support::{eventually, figure};

/// A database timeout of one second, so that the tests are short.
const SHORT_TIMEOUT: [(&str, &str); 1] = [("SEMBLANCE_DATABASE_TIMEOUT_MS", "1000")];

async fn templates(app: &App) -> Vec<Value> {
    let (status, listed) = app.get("templates").await;
    assert_eq!(status, 200, "{listed}");
    listed["result"]["templates"].as_array().unwrap().clone()
}

/// A server behind a wire to Postgres, and the database without the wire.
async fn behind_a_wire() -> Option<(Server, Database, Proxy, String)> {
    let Some(Database::Postgres(url)) = Database::postgres().await else { return None };
    let wire = Proxy::before(&url).await;
    let database = Database::Postgres(wire.url().to_owned());
    let server = Server::start_in(tempfile::tempdir().unwrap(), &database, &SHORT_TIMEOUT).await;
    Some((server, database, wire, url))
}

/// Sends an enrollment until it is answered with 200, as a client does.
async fn send_until_answered(app: &App, key: Option<&str>) -> (bool, Value) {
    loop {
        let (status, repeated, reply) = app.try_add_with_key("person_a_1.jpg", key).await.unwrap();
        if status == 200 {
            return (repeated, reply);
        }
        assert!([409, 503].contains(&status), "{reply}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The answer of the COMMIT is lost, so the request is answered with 503 and sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_commit_answer_enrolls_once_with_a_key() {
    let mut counts = Vec::new();
    for key in [None, Some("5f0c2a4e-1b1d-4c39-9a52-0d8f3f1c2b6a")] {
        let Some((server, _, wire, _)) = behind_a_wire().await else { return };
        let app = server.first_app();
        wire.set(Wire::SilentAfterCommit);
        let (status, _, reply) = app.try_add_with_key("person_a_1.jpg", key).await.unwrap();
        assert_eq!(status, 503, "{reply}");
        wire.set(Wire::Cut);
        tokio::time::sleep(Duration::from_millis(100)).await;
        wire.set(Wire::Whole);
        let (repeated, reply) = send_until_answered(&app, key).await;
        assert_eq!(repeated, key.is_some(), "{reply}");
        let found = templates(&app).await;
        counts.push(found.len());
        if key.is_some() {
            assert_eq!(found[0]["templateId"], reply["result"]["templateId"]);
            let found = app.identify("person_a_2.jpg").await;
            assert_eq!(found["result"]["templateId"], reply["result"]["templateId"], "the next search finds it");
        }
    }
    assert_eq!(counts, [2, 1], "without a key, the documents say how to avoid the second template");
    figure(
        "an add whose commit answer is lost (503), sent again",
        &format!("{} templates without Idempotency-Key, {} with it", counts[0], counts[1]),
    );
}

/// The server dies between the commit and the reply.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_the_reply_enrolls_once() {
    let Some((mut server, _, wire, url)) = behind_a_wire().await else { return };
    let app = server.first_app();
    let credentials = app.credentials();
    let direct = Database::Postgres(url.clone());
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    for round in 1..=2 {
        let key = format!("key-{round}");
        wire.set(Wire::SilentAfterCommit);
        let app = server.app(credentials.clone());
        let sent = {
            let key = key.clone();
            tokio::spawn(async move { app.try_add_with_key("person_a_1.jpg", Some(&key)).await.map(|_| ()) })
        };
        eventually("the template is committed", async || {
            let sql = "SELECT count(*) FROM templates";
            let (count,): (i64,) = sqlx::query_as(sql).fetch_one(&mut connection).await.unwrap();
            count == round
        })
        .await;
        server.kill();
        let _ = sent.await.unwrap();
        server = Server::start_in(server.into_dir(), &direct, &SHORT_TIMEOUT).await;
        let app = server.app(credentials.clone());
        let (repeated, reply) = send_until_answered(&app, Some(&key)).await;
        assert!(repeated, "{reply}");
        assert_eq!(templates(&app).await.len(), usize::try_from(round).unwrap());
        server.kill();
        wire.set(Wire::Whole);
        let behind = Database::Postgres(wire.url().to_owned());
        server = Server::start_in(server.into_dir(), &behind, &SHORT_TIMEOUT).await;
    }
    figure("SIGKILL between the commit of an add and its reply, then sent again with its key", "2 kills, 2 templates");
}

/// The request is sent again to another node, which has not seen the template yet.
#[tokio::test(flavor = "multi_thread")]
async fn another_node_sends_the_reply_again() {
    let Some(database) = Database::postgres().await else { return };
    // The other node would poll for changes only after a minute.
    let slow = [("SEMBLANCE_DATABASE_POLL_MS", "60000")];
    let first = Server::start(&database).await;
    let app = first.first_app();
    let key_file = first.dir().join("sealing.key");
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(key_file, dir.path().join("sealing.key")).unwrap();
    let second = Server::start_in(dir, &database, &slow).await;
    let other = second.app(app.credentials());
    let (_, reply) = send_until_answered(&app, Some("k")).await;
    let (repeated, again) = send_until_answered(&other, Some("k")).await;
    assert!(repeated);
    assert_eq!(again, reply);
    let found = other.identify("person_a_2.jpg").await;
    assert_eq!(found["result"]["templateId"], reply["result"]["templateId"], "the next search there finds it");
}

on_both_databases! {
    expired_replies_are_deleted;
}

async fn expired_replies_are_deleted(database: Database) {
    let server = Server::start(&database).await;
    let app = server.first_app();
    send_until_answered(&app, Some("k")).await;
    assert!(send_until_answered(&app, Some("k")).await.0);
    let sql = "UPDATE idempotency SET expires_at = 0";
    if let Database::Postgres(url) = &database {
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    } else {
        let url = format!("sqlite://{}", server.dir().join("semblance.db").display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
    eventually("the reply is deleted, and the request is executed again", async || {
        !send_until_answered(&app, Some("k")).await.0
    })
    .await;
    assert_eq!(templates(&app).await.len(), 2);
}
