//! A node that is behind reads each template once, however often it changed and however many samples it has, and
//! answers while it does so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Connection as _;

use super::process::{Database, Server, reqwest_client};
use crate::support::{figure, skipped};

on_both_databases! {
    a_node_that_is_behind_stays_small_and_answers;
}

const SAMPLES: usize = 2000;
const CHANGES: usize = 500;

/// The most memory that catching up may take, in MiB.
const MAX_GROWTH_MIB: u64 = 200;

/// Far above the 20 ms of an idle machine: tests run beside others.
const MAX_LATENCY: Duration = Duration::from_secs(1);

/// Runs statements past the server, in one transaction, as another node does.
async fn write(server: &Server, database: &Database, statements: &[String]) {
    match database {
        Database::Sqlite => {
            let url = format!("sqlite://{}", server.dir().join("semblance.db").display());
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            let mut tx = connection.begin().await.unwrap();
            for sql in statements {
                sqlx::query(sqlx::AssertSqlSafe(sql.clone())).execute(&mut *tx).await.unwrap();
            }
            tx.commit().await.unwrap();
        }
        Database::Postgres(url) => {
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            let mut tx = connection.begin().await.unwrap();
            for sql in statements {
                sqlx::query(sqlx::AssertSqlSafe(sql.clone())).execute(&mut *tx).await.unwrap();
            }
            tx.commit().await.unwrap();
        }
    }
}

/// What another node leaves that changed a template many times.
fn many_changes(app: &str, template: &str) -> [String; 2] {
    [
        format!("UPDATE applications SET revision = revision + {CHANGES} WHERE app_id = '{app}'"),
        format!(
            "INSERT INTO changes (app_id, revision, template_id, tag)
             WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {CHANGES})
             SELECT app_id, revision - {CHANGES} + n, '{template}', n FROM applications, numbers
             WHERE app_id = '{app}'"
        ),
    ]
}

/// Turns an export of one template into one with many samples, each a little different.
fn with_many_samples(export: &str) -> String {
    let mut line: Value = serde_json::from_str(export.lines().next().unwrap()).unwrap();
    let first = line["samples"][0].clone();
    let embedding: Vec<f64> = serde_json::from_value(first["embedding"].clone()).unwrap();
    let sample = |n: usize| {
        let mut changed = embedding.clone();
        let at = n % changed.len();
        changed[at] += 0.01 * (1 + n / changed.len()) as f64;
        json!({ "sampleId": uuid::Uuid::new_v4(), "model": first["model"], "embedding": changed })
    };
    line["templateId"] = json!("large");
    line["samples"] = (0..SAMPLES).map(sample).collect();
    format!("{line}\n")
}

async fn a_node_that_is_behind_stays_small_and_answers(database: Database) {
    let raised = [("SEMBLANCE_LIMITS_SAMPLES_PER_TEMPLATE", "10000")];
    let server = Server::start_in(tempfile::tempdir().unwrap(), &database, &raised).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    let file = server.dir().join("export.ndjson");
    let path = file.to_str().unwrap().to_owned();
    server.command(&database, &["gallery", "export", &path]);
    let large = with_many_samples(&std::fs::read_to_string(&file).unwrap());
    std::fs::write(&file, large).unwrap();
    let imported = super::process::command(server.dir(), &database)
        .env(raised[0].0, raised[0].1)
        .args(["gallery", "import", &path])
        .output()
        .unwrap();
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    app.add("person_b_1.jpg", &[("templateId", "b")]).await; // the import is applied before it
    let before = server.memory().filter(|_| server.reset_peak());

    let stop = Arc::new(AtomicBool::new(false));
    let pings = tokio::spawn(ping(format!("{}/healthz", server.url()), Arc::clone(&stop)));
    let id = app.credentials().0;
    write(&server, &database, &many_changes(&id, "large")).await;
    let start = Instant::now();
    // A 200 means that this node shows every change before it.
    app.add("impostor_1.jpg", &[("templateId", "c")]).await;
    let took = start.elapsed();
    for _ in 0..5 {
        write(&server, &database, &many_changes(&id, "large")).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    app.add("impostor_2.jpg", &[("templateId", "d")]).await;
    stop.store(true, Ordering::Release);
    let mut latencies = pings.await.unwrap();
    latencies.sort();
    let p99 = latencies[latencies.len() * 99 / 100];
    let scene = match database {
        Database::Sqlite => "behind by 500 changes of a template with 2000 samples, SQLite",
        Database::Postgres(_) => "behind by 500 changes of a template with 2000 samples, Postgres",
    };
    match before.zip(server.memory()) {
        Some(((before, _), (_, peak))) => {
            let growth = peak.saturating_sub(before);
            figure(
                scene,
                &format!(
                    "memory {before} MiB, peak {peak} MiB (+{growth}); shown {} ms after; /healthz p50 {:.1} ms, p99 {:.1} \
                     ms of {} requests meanwhile",
                    took.as_millis(),
                    latencies[latencies.len() / 2].as_secs_f64() * 1e3,
                    p99.as_secs_f64() * 1e3,
                    latencies.len()
                ),
            );
            assert!(growth <= MAX_GROWTH_MIB, "catching up took {growth} MiB");
        }
        None => skipped("the memory of a node that is behind", "this system does not report it"),
    }
    assert!(latencies.len() >= 20 && p99 < MAX_LATENCY, "{} requests, p99 {p99:?}", latencies.len());
    let found = app.identify("person_a_1.jpg").await;
    assert!(found["result"]["templateId"].is_string(), "{found}");
}

/// How long each request took, one after the other.
async fn ping(url: String, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let client = reqwest_client();
    let mut latencies = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let start = Instant::now();
        assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
        latencies.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    latencies
}
