//! A node that is cut off from its database serves from memory for `database.max_stale_s`, and then refuses requests:
//! what was revoked meanwhile must not be served for ever.

use std::time::{Duration, Instant};

use super::process::{App, Database, Server};
use super::proxy::{Proxy, Wire};
use crate::support::{eventually, eventually_some};

/// Seconds.
const MAX_STALE: &str = "8";

async fn identify(app: &App) -> (u16, serde_json::Value) {
    let (status, reply) = app.post_photo("identify", "person_a_2.jpg", &[]).await;
    (status, reply["result"]["templateId"].clone())
}

async fn cut_off(fault: Wire) {
    let Some(Database::Postgres(url)) = Database::postgres().await else { return };
    let direct = Database::Postgres(url.clone());
    let wire = Proxy::before(&url).await;
    let environment = [("SEMBLANCE_DATABASE_TIMEOUT_MS", "1000"), ("SEMBLANCE_DATABASE_MAX_STALE_S", MAX_STALE)];
    let database = Database::Postgres(wire.url().to_owned());
    let node = Server::start_in(tempfile::tempdir().unwrap(), &database, &environment).await;
    let app = node.first_app();
    app.add("person_a_1.jpg", &[("templateId", "person-a")]).await;
    let (id, _) = app.credentials();
    wire.set(fault);
    let cut = Instant::now();
    // Past the node that is cut off: the person is erased, and the key is revoked.
    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
    for sql in [
        "DELETE FROM templates WHERE template_id = 'person-a'",
        "WITH raised AS (UPDATE applications SET revision = revision + 1 RETURNING app_id, revision)
         INSERT INTO changes (app_id, revision, template_id, tag) SELECT app_id, revision, 'person-a', 1 FROM raised",
    ] {
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
    let printed = node.command(&direct, &["app", "rotate-key", &id, "--json"]);
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let new = node.app((id, printed["app_key"].as_str().unwrap().to_owned()));
    // Within the limit the node goes on from memory.
    let (mut named, mut last_named) = (0, Duration::ZERO);
    let refused_after = eventually_some("the old key is refused", async || match identify(&app).await {
        (200, template) => {
            assert_eq!(template, "person-a");
            (named, last_named) = (named + 1, cut.elapsed());
            None
        }
        (503, _) => Some(cut.elapsed()),
        other => panic!("{other:?}"),
    })
    .await;
    assert!(named > 0, "identify continues from memory within the limit");
    for _ in 0..10 {
        assert_eq!(identify(&app).await.0, 503);
        assert_eq!(identify(&new).await.0, 503);
    }
    assert_eq!(app.get("templates").await.0, 503);
    let ready = node.text("/readyz").await;
    assert!(ready.contains("the database has not been read for too long"), "{ready}");
    eventually("the log reports it", async || node.log().contains("database.max_stale_s")).await;
    wire.set(Wire::Whole);
    eventually("the node serves again", async || identify(&new).await.0 == 200).await;
    assert_eq!(identify(&app).await.0, 401, "the old key is revoked");
    eventually("the person is not found", async || identify(&new).await.1.is_null()).await;
    crate::support::figure(
        &format!("a node cut off ({fault:?}), limit {MAX_STALE} s, key revoked and person erased meanwhile"),
        &format!(
            "{named} requests served from memory, the last after {:.1} s; first refusal (503) after {:.1} s; after the \
             limit 0 of 20 served",
            last_named.as_secs_f64(),
            refused_after.as_secs_f64()
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_ends_service_after_the_limit() {
    cut_off(Wire::Cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_database_ends_service_after_the_limit() {
    cut_off(Wire::Silent).await;
}
