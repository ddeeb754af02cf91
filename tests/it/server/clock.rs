//! Servers whose clock is wrong (libfaketime): they erase nothing.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::process::{App, Database, Server, command};
use crate::support::{eventually, figure, skipped};

/// A period that does not end while a test runs. Expiry looks every 20 s.
const PERIOD: &str = "400s";

const AHEAD: &str = "+100d";

/// The library that changes what a process sees as the time; `None`, reported as skipped, where it is not installed.
fn faketime() -> Option<&'static str> {
    let found = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"]
        .iter()
        .map(|folder| format!("{folder}/faketime/libfaketime.so.1"))
        .find(|path| Path::new(path).exists());
    if found.is_none() {
        skipped("servers with a wrong clock", "libfaketime is not installed");
    }
    found.map(|path| &*path.leak())
}

/// The monotonic clock stays as it is, as on a machine whose clock is wrong.
fn environment<'a>(library: &'a str, time: (&'a str, &'a str)) -> Vec<(&'a str, &'a str)> {
    vec![
        ("LD_PRELOAD", library),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_NO_CACHE", "1"),
        time,
    ]
}

async fn metric(server: &Server, name: &str) -> f64 {
    let text = server.text("/metrics").await;
    let value = text.lines().find_map(|line| line.strip_prefix(&format!("semblance_{name} ")).map(str::to_owned));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// So long that every server has looked for expired templates since.
async fn a_round_passes() {
    tokio::time::sleep(Duration::from_secs(25)).await;
}

async fn has_three(app: &App) {
    let (_, listed) = app.get("templates").await;
    assert_eq!(listed["result"]["templates"].as_array().map(Vec::len), Some(3), "{listed}");
}

async fn enroll_three(app: &App) {
    for id in ["a", "b", "c"] {
        app.add("person_a_1.jpg", &[("templateId", id)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_whose_clock_is_ahead_erases_nothing() {
    let (Some(library), Some(database)) = (faketime(), Database::postgres().await) else { return };
    let key = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    let one = Server::start_in(tempfile::tempdir().unwrap(), &database, &[("SEMBLANCE_KEY", &key)]).await;
    let app = one.first_app();
    enroll_three(&app).await;
    let (id, _) = app.credentials();
    one.command_in(&database, &[("SEMBLANCE_KEY", &key)], &["app", "retention", &id, PERIOD]);
    let ahead = [environment(library, ("FAKETIME", AHEAD)), vec![("SEMBLANCE_KEY", &key)]].concat();
    let two = Server::start_in(tempfile::tempdir().unwrap(), &database, &ahead).await;
    assert_eq!(metric(&two, "expiry_paused").await, 1.0);
    let offset = metric(&two, "clock_offset_seconds").await;
    assert!((offset - 8_640_000.0).abs() < 60.0, "{offset}");
    // What the wrong node enrolls gets the time of the database.
    let at_two = two.app(app.credentials());
    at_two.delete("c").await;
    at_two.add("person_a_1.jpg", &[("templateId", "c")]).await;
    let (_, one_template) = app.get("templates/c").await;
    let created = one_template["result"]["createdAt"].as_str().unwrap_or_else(|| panic!("{one_template}")).to_owned();
    let now = semblance::domain::rfc3339(std::time::SystemTime::now());
    assert_eq!(created[..7], now[..7], "{created}");
    a_round_passes().await;
    has_three(&app).await;
    assert_eq!(metric(&one, "expiry_paused").await, 0.0);
    let ready = two.text("/readyz").await;
    assert!(
        ready.contains("expiry is paused: the clock of this node is") && ready.contains("\"ready\":true"),
        "{ready}"
    );
    eventually("the log reports it", async || two.log().contains("expiry is paused on this node")).await;
    // The other node goes on.
    one.command_in(&database, &[("SEMBLANCE_KEY", &key)], &["app", "retention", &id, "1s"]);
    eventually("the node with the right clock erases", async || app.get("templates/a").await.0 != 200).await;
    figure(
        "two nodes on Postgres, the clock of the second 100 days ahead, retention 400 s",
        &format!(
            "0 of 3 templates erased; offset {offset:.0} s; createdAt of an enrollment on the second node is right"
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_with_a_clock_that_is_ahead_at_start_waits_for_a_confirmation() {
    let Some(library) = faketime() else { return };
    let database = Database::sqlite();
    let mut server = Server::start(&database).await;
    let app = server.first_app();
    enroll_three(&app).await;
    let credentials = app.credentials();
    server.command(&database, &["app", "retention", &credentials.0, PERIOD]);
    server.stop();
    let ahead = environment(library, ("FAKETIME", AHEAD));
    let server = Server::start_in(server.into_dir(), &database, &ahead).await;
    let app = server.app(credentials);
    assert_eq!(metric(&server, "expiry_paused").await, 1.0);
    a_round_passes().await;
    has_three(&app).await;
    let ready = server.text("/readyz").await;
    assert!(ready.contains("expiry is paused: the clock is 3months"), "{ready}");
    let status = server.command_in(&database, &ahead, &["retention", "status"]);
    assert!(status.contains("last seen by a server") && status.contains("6m 40s"), "{status}");
    let confirmed = server.command_in(&database, &ahead, &["retention", "confirm-clock"]);
    assert!(confirmed.contains("the clock is confirmed"), "{confirmed}");
    eventually("they are erased", async || app.get("templates/a").await.0 != 200).await;
    assert_eq!(metric(&server, "expiry_paused").await, 0.0);
    eventually("the confirmation is in the journal", async || {
        server.command_in(&database, &ahead, &["journal", "export"]).contains("retention confirm-clock")
    })
    .await;
    figure(
        "SQLite, started with a clock 100 days ahead, retention 400 s",
        "0 of 3 templates erased in 25 s; 3 of 3 after `retention confirm-clock`",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_whose_clock_is_set_while_it_runs_erases_nothing() {
    let Some(library) = faketime() else { return };
    let database = Database::sqlite();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("time");
    // Replaced as a whole: the library reads it at any moment.
    let set = |time: &str| {
        let next = folder.path().join("next");
        std::fs::write(&next, time).unwrap();
        std::fs::rename(&next, &file).unwrap();
    };
    set("+0");
    let path = file.to_str().unwrap();
    let environment = environment(library, ("FAKETIME_TIMESTAMP_FILE", path));
    let server = Server::start_in(tempfile::tempdir().unwrap(), &database, &environment).await;
    let app = server.first_app();
    enroll_three(&app).await;
    let (id, _) = app.credentials();
    server.command(&database, &["app", "retention", &id, PERIOD]);
    let printed = server.command(&database, &["app", "rotate-key", &id, "--overlap", "1h", "--json"]);
    assert!(printed.contains("app_key"));
    set(AHEAD);
    eventually("the jump is seen", async || metric(&server, "expiry_paused").await == 1.0).await;
    let offset = metric(&server, "clock_offset_seconds").await;
    a_round_passes().await;
    has_three(&app).await; // with the previous key
    let ready = server.text("/readyz").await;
    assert!(ready.contains("expiry is paused: the clock was set") && ready.contains("forward"), "{ready}");
    set("+0");
    eventually("expiry continues", async || metric(&server, "expiry_paused").await == 0.0).await;
    has_three(&app).await;
    figure(
        "SQLite, clock set 100 days ahead while the server runs, then back, retention 400 s",
        &format!(
            "0 of 3 templates erased; jump seen: {offset:.0} s; the previous key is still accepted within its overlap"
        ),
    );
}

/// `1s` instead of `1y`.
async fn a_wrong_period_is_held(database: Database) {
    let server = Server::start(&database).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "0")]).await;
    let (id, _) = app.credentials();
    // 149 more templates of the same face.
    let export = server.dir().join("export.ndjson");
    server.command(&database, &["gallery", "export", export.to_str().unwrap()]);
    let mut line: serde_json::Value = serde_json::from_slice(&std::fs::read(&export).unwrap()).unwrap();
    let lines: Vec<String> = (1..150)
        .map(|number| {
            line["templateId"] = number.to_string().into();
            line["samples"][0]["sampleId"] = uuid::Uuid::new_v4().to_string().into();
            line.to_string()
        })
        .collect();
    let import = server.dir().join("import.ndjson");
    std::fs::write(&import, lines.join("\n")).unwrap();
    server.command(&database, &["gallery", "import", import.to_str().unwrap()]);
    server.command(&database, &["app", "retention", &id, "1s"]);
    let held = async || {
        let text = server.text("/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix("semblance_retention_held_templates{app=\"all\"} "));
        line.map_or(0, |number| number.parse().unwrap())
    };
    eventually("they are held", async || held().await == 150).await;
    // Expiry looks every second.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(held().await, 150);
    assert!(app.identify("person_a_2.jpg").await["result"]["templateId"].is_string(), "they are still found");
    let status = server.command(&database, &["retention", "status"]);
    assert!(status.contains("150 templates enrolled before") && status.contains(&id), "{status}");
    let ready = server.text("/readyz").await;
    assert!(ready.contains("150 templates past their retention wait for a confirmation"), "{ready}");
    assert!(server.log().contains(&format!("semblance retention confirm {id}")), "{}", server.log());
    server.command(&database, &["retention", "confirm", &id]);
    eventually("they are erased", async || app.identify("person_a_2.jpg").await["result"]["templateId"].is_null())
        .await;
    assert_eq!(held().await, 0);
    eventually("the journal has the confirmation and each receipt", async || {
        let journal = server.command(&database, &["journal", "export"]);
        let receipts =
            journal.lines().filter(|line| line.contains("\"retention\"") && line.contains("erasure")).count();
        receipts == 150 && journal.contains("confirmed: 150 templates enrolled before")
    })
    .await;
    figure(
        &format!("retention of 1 s by mistake, 150 templates, {}", database.name()),
        "0 of 150 erased in 5 s, 150 held; after `retention confirm` 150 erased with 150 receipts",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_period_is_held_on_sqlite() {
    a_wrong_period_is_held(Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_period_is_held_on_postgres() {
    if let Some(database) = Database::postgres().await {
        a_wrong_period_is_held(database).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_commands_report_mistakes() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let (id, _) = server.first_credentials();
    for (arguments, expected) in [
        (vec!["retention", "confirm", &id], "nothing is held"),
        (vec!["retention", "confirm", "unknown"], "nothing is held"),
        (vec!["retention", "limit", "unknown", "50"], "there is no application unknown"),
        (vec!["retention", "limit", &id, "0"], "neither `default` nor a percentage"),
        (vec!["retention", "limit", &id, "101"], "neither `default` nor a percentage"),
    ] {
        let (code, message) = server.try_command(&database, &arguments);
        assert!(code != Some(0) && message.contains(expected), "{arguments:?}: {message}");
    }
    server.command(&database, &["app", "retention", &id, "90d"]);
    server.command(&database, &["retention", "limit", &id, "35%"]);
    let status = server.command(&database, &["retention", "status", "--json"]);
    let lines: Vec<serde_json::Value> = status.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines[0]["clock"]["seen"].is_string(), "{status}");
    assert_eq!((&lines[1]["app_id"], &lines[1]["share"], &lines[1]["held"]), (&id.into(), &35.into(), &0.into()));
}

impl Database {
    fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(_) => "Postgres",
        }
    }
}

impl Server {
    /// Runs a command with more environment variables and returns its output.
    fn command_in(&self, database: &Database, environment: &[(&str, &str)], arguments: &[&str]) -> String {
        let mut command: Command = command(self.dir(), database);
        let done = command.envs(environment.iter().copied()).args(arguments).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }
}
