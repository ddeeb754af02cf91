//! The journal of a real server, read with the command line.

use serde_json::Value;
use sqlx::Connection as _;

use std::collections::BTreeSet;
use std::time::Duration;

use super::process::{App, Database, Server, try_start};
use super::proxy::{Proxy, Wire};
use crate::support::eventually;

/// The lines of a journal that meet a condition.
fn lines(server: &Server, database: &Database, picks: impl Fn(&Value) -> bool) -> Vec<Value> {
    let printed = server.command(database, &["journal", "export"]);
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).filter(picks).collect()
}

/// (template, reason) of the receipts, without duplicates.
fn receipts(server: &Server, database: &Database) -> BTreeSet<(String, String)> {
    let printed = server.command(database, &["journal", "receipts"]);
    let lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    lines.map(|line| (text(&line["templateId"]), text(&line["outcome"]))).collect()
}

async fn have_receipts(server: &Server, database: &Database, of: &[(&str, &str)]) {
    let due: BTreeSet<_> = of.iter().map(|(template, why)| ((*template).to_owned(), (*why).to_owned())).collect();
    eventually("every erasure has a receipt", async || receipts(server, database) == due).await;
}

fn journal_file(server: &Server) -> std::path::PathBuf {
    let all = std::fs::read_dir(server.dir().join("journal")).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|end| end == "ndjson")).max().unwrap()
}

#[tokio::test]
async fn every_operation_is_journaled_and_chained() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let app = server.app(server.first_credentials());
    let added = app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    let found = app.identify("person_a_2.jpg").await;
    let stranger = app.identify("impostor_1.jpg").await;
    let (_, removed) = app.delete("a").await;
    let (status, missing) = app.delete("a").await;
    assert_eq!(status, 400);
    let wrong = server.app((app.credentials().0, "0".repeat(64)));
    let (status, refused) = wrong.get("templates").await;
    assert_eq!(status, 401);

    have_receipts(&server, &database, &[("a", "delete")]).await;
    let is_request = |line: &Value| line["operation"].as_str().unwrap().contains("/api/");
    eventually("every request has a line", async || lines(&server, &database, is_request).len() >= 6).await;
    let lines = lines(&server, &database, is_request);
    let recorded: Vec<(&Value, &Value, &Value, &Value, &Value)> = lines
        .iter()
        .map(|line| {
            (&line["transactionId"], &line["operation"], &line["status"], &line["outcome"], &line["templateId"])
        })
        .collect();
    let text = |value: &'static str| Value::from(value);
    let (add, identify, delete) =
        (text("POST /api/v1.0/add"), text("POST /api/v1.0/identify"), text("POST /api/v1.0/delete"));
    let (a, null) = (text("a"), Value::Null);
    let (ok, bad, unknown) = (Value::from(200), Value::from(400), Value::from(401));
    let id = |reply: &Value| reply["transactionId"].clone();
    let ids = [&added, &found, &stranger, &removed, &missing, &refused].map(id);
    assert_eq!(
        recorded,
        [
            (&ids[0], &add, &ok, &text("enrolled"), &a),
            (&ids[1], &identify, &ok, &text("found"), &a),
            (&ids[2], &identify, &ok, &text("nobody"), &null),
            (&ids[3], &delete, &ok, &text("removed"), &a),
            (&ids[4], &delete, &bad, &null, &a),
            (&ids[5], &text("GET /api/v1.0/templates"), &unknown, &null, &null),
        ]
    );
    assert_eq!(lines[1]["similarity"], found["result"]["similarity"]);
    assert_eq!((&lines[1]["threshold"], &lines[2]["similarity"]), (&Value::from(0.75), &null));
    assert_eq!((&lines[4]["code"], &lines[5]["app"]), (&Value::from(400), &null));
    assert!(lines.iter().all(|line| line["ms"].as_f64().unwrap() > 0.0 && line["models"].is_string()));
    assert!(lines[0]["models"].as_str().unwrap().starts_with("semblance-"), "{}", lines[0]["models"]);
    let checked = server.command(&database, &["journal", "verify"]);
    // The first application, the first owner, six requests, one erasure.
    assert!(checked.contains("9 lines, numbers 1 to 9") && checked.contains("1 receipts"), "{checked}");

    let file = journal_file(&server);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o077, 0);
    }
    let whole = std::fs::read_to_string(&file).unwrap();
    assert!(!whole.contains(&app.credentials().1), "a key is in the journal");
    std::fs::write(&file, whole.replacen("\"status\":400", "\"status\":200", 1)).unwrap();
    let (code, message) = server.try_command(&database, &["journal", "verify"]);
    assert_eq!(code, Some(1));
    assert!(message.contains(", line "), "{message}");
    let (code, message) = server.try_command(&database, &["journal", "export", "--from", "garbage"]);
    assert!(code != Some(0) && message.contains("is not a time such as"), "{message}");
}

/// The person whose template was erased can verify the receipt without the server.
#[tokio::test]
async fn a_receipt_verifies_without_the_server() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let app = server.app(server.first_credentials());
    for id in ["a", "b"] {
        app.add("person_a_1.jpg", &[("templateId", id)]).await;
    }
    let (_, removed) = app.delete("a").await;
    have_receipts(&server, &database, &[("a", "delete")]).await;
    let receipt = server.command(&database, &["journal", "receipts", "--template", "a"]);
    let line: Value = serde_json::from_str(&receipt).unwrap();
    assert_eq!((&line["transactionId"], &line["templateId"]), (&removed["transactionId"], &Value::from("a")));
    assert_eq!(line["app"], Value::from(app.credentials().0));
    assert_eq!(server.command(&database, &["journal", "receipts", "--template", "b"]), "", "b is there still");

    let key = server.command(&database, &["journal", "receipt-key"]);
    let key = key.trim();
    let file = server.dir().join("receipt.ndjson");
    std::fs::write(&file, &receipt).unwrap();
    // On a machine without a journal and a database.
    let elsewhere = Server::start(&Database::sqlite()).await;
    let check = ["journal", "check-receipts", key, file.to_str().unwrap()];
    assert_eq!(elsewhere.command(&database, &check).trim(), "1 receipts are valid");
    for forged in [receipt.replace("\"templateId\":\"a\"", "\"templateId\":\"b\""), receipt.replace("delete", "listed")]
    {
        std::fs::write(&file, forged).unwrap();
        let (code, message) = elsewhere.try_command(&database, &check);
        assert_eq!(code, Some(1));
        assert!(message.contains("line 1: it was changed"), "{message}");
    }
    let others = elsewhere.command(&database, &["journal", "receipt-key"]);
    assert_ne!(others.trim(), key, "every database signs with a key of its own");
}

/// Templates that are deleted, replaced, replaced by an import, or deleted with their application while no server runs.
#[tokio::test]
async fn every_erasure_has_a_receipt() {
    let database = Database::sqlite();
    let mut server = Server::start(&database).await;
    let app = server.first_app();
    for id in ["a", "b", "c"] {
        app.add("person_a_1.jpg", &[("templateId", id)]).await;
    }
    let export = server.dir().join("export");
    server.command(&database, &["gallery", "export", export.to_str().unwrap()]);
    let (status, replaced) = app.post_photo("add?replace=true", "person_a_2.jpg", &[("templateId", "a")]).await;
    assert_eq!(status, 200);
    app.delete("b").await;
    let mut due = vec![("a", "replace"), ("b", "delete")];
    have_receipts(&server, &database, &due).await;
    let of_a: Value =
        serde_json::from_str(&server.command(&database, &["journal", "receipts", "--template", "a"])).unwrap();
    assert_eq!(of_a["transactionId"], replaced["transactionId"]);
    assert_eq!(of_a["revision"], Value::from(4));

    assert_eq!(server.stop(), Some(0));
    server.command(&database, &["gallery", "import", export.to_str().unwrap(), "--replace"]);
    server.command(&database, &["app", "delete", &app.credentials().0]);
    let server = Server::start_in(server.into_dir(), &database, &[]).await;
    due.extend([("a", "import"), ("c", "import"), ("a", "application"), ("b", "application"), ("c", "application")]);
    have_receipts(&server, &database, &due).await;
    let file = server.dir().join("receipts");
    std::fs::write(&file, server.command(&database, &["journal", "receipts"])).unwrap();
    let key = server.command(&database, &["journal", "receipt-key"]);
    let checked = server.command(&database, &["journal", "check-receipts", key.trim(), file.to_str().unwrap()]);
    assert_eq!(checked.trim(), "7 receipts are valid");
    assert!(server.command(&database, &["journal", "verify"]).contains("7 receipts of erasures"));
}

/// The commit succeeds but its response is lost, by a 503 or because the client disconnected. The receipt exists
/// nevertheless.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_without_a_response_has_a_receipt() {
    let Some(Database::Postgres(url)) = Database::postgres().await else { return };
    let wire = Proxy::before(&url).await;
    let database = Database::Postgres(wire.url().to_owned());
    let soon = [("SEMBLANCE_DATABASE_TIMEOUT_MS", "1000")];
    let server = Server::start_in(tempfile::tempdir().unwrap(), &database, &soon).await;
    let app = server.first_app();
    for id in ["a", "b"] {
        app.add("person_a_1.jpg", &[("templateId", id)]).await;
    }
    wire.set(Wire::SilentAfterCommit);
    assert_eq!(app.delete("a").await.0, 503);
    let hung_up = tokio::time::timeout(Duration::from_millis(300), app.try_delete("b")).await;
    assert!(hung_up.is_err(), "{hung_up:?}");
    wire.set(Wire::Cut);
    tokio::time::sleep(Duration::from_millis(100)).await;
    wire.set(Wire::Whole);
    have_receipts(&server, &database, &[("a", "delete"), ("b", "delete")]).await;
    assert_eq!(app.get("templates/a").await.1["result"]["code"], 400, "it is gone");
    assert!(server.command(&database, &["journal", "verify"]).contains("2 receipts"));
}

/// An application whose templates cannot be removed does not block the removals and receipts of others.
#[tokio::test]
async fn retention_continues_when_one_application_fails() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let mut apps = vec![server.first_app()];
    for name in ["second", "third"] {
        apps.push(server.app(server.create_app(name, &database).await));
    }
    for (app, template) in apps.iter().zip(["a", "b", "c"]) {
        app.add("person_a_1.jpg", &[("templateId", template)]).await;
    }
    let url = format!("sqlite://{}", server.dir().join("semblance.db").display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let fails = "CREATE TRIGGER fails BEFORE DELETE ON templates WHEN old.template_id = 'b' \
                 BEGIN SELECT RAISE(ABORT, 'no'); END";
    sqlx::query(fails).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    for app in &apps {
        server.command(&database, &["app", "retention", &app.credentials().0, "1s"]);
    }
    have_receipts(&server, &database, &[("a", "retention"), ("c", "retention")]).await;
    assert_eq!(apps[1].get("templates/b").await.0, 200);
}

/// The running server journals commands.
#[tokio::test]
async fn commands_are_journaled() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let (id, _) = server.create_app("clinic", &database).await;
    let file = server.dir().join("export");
    for command in [
        &["app", "rotate-key", &id, "--overlap", "1h"][..],
        &["app", "attributes", &id, "off"],
        &["app", "retention", &id, "90d"],
        &["gallery", "export", file.to_str().unwrap(), "--app", &id],
        &["gallery", "import", file.to_str().unwrap(), "--app", &id],
        &["key", "rotate"],
        &["app", "delete", &id],
    ] {
        server.command(&database, command);
    }
    let of_app = |line: &Value| line["app"] == *id && !line["id"].is_null();
    eventually("each command has its lines", async || lines(&server, &database, of_app).len() >= 9).await;
    let recorded: Vec<(String, String)> = lines(&server, &database, of_app)
        .iter()
        .map(|line| (line["operation"].as_str().unwrap().to_owned(), line["outcome"].as_str().unwrap().to_owned()))
        .collect();
    let recorded: Vec<(&str, &str)> = recorded.iter().map(|(what, how)| (what.as_str(), how.as_str())).collect();
    assert_eq!(
        recorded,
        [
            ("app create", "clinic"),
            ("app rotate-key", "overlap: 3600 s"),
            ("app attributes", "not reported"),
            ("app retention", "for 7776000 seconds"),
            ("gallery export", "begins"),
            ("gallery export", "ends: 0 templates"),
            ("gallery import", "begins"),
            ("gallery import", "ends: 0 templates with 0 samples, 0 refused"),
            ("app delete", "templates: 0"),
        ]
    );
    assert_eq!(lines(&server, &database, |line| line["operation"] == "key rotate").len(), 2);
}

/// The line of a failed request names its subject, but no text that the client made up.
#[tokio::test]
async fn a_failure_is_journaled_with_its_subject() {
    let database = Database::sqlite();
    let mut server = Server::start(&database).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    assert_eq!(app.post_photo("add", "person_a_1.jpg", &[("templateId", "a")]).await.0, 400);
    assert_eq!(app.get("templates/unknown").await.0, 400);
    assert_eq!(app.post_bytes("identify?threshold=0.5", vec![1, 2, 3]).await.0, 400);
    let made_up = reqwest::Method::from_bytes(&[b'X'; 20_000]).unwrap();
    let made_up = reqwest::Client::new().request(made_up, format!("{}/api/v1.0/identify", server.url()));
    assert_eq!(made_up.send().await.unwrap().status(), 405);
    for _ in 0..200 {
        let unknown = server.app(("unknown".to_owned(), "0".repeat(64)));
        assert_eq!(unknown.get("templates").await.0, 401);
    }
    assert_eq!(server.stop(), Some(0));
    let failed = |line: &Value| line["status"] == 400;
    let failed = lines(&server, &database, failed);
    assert_eq!((&failed[0]["templateId"], &failed[1]["templateId"]), (&"a".into(), &"unknown".into()));
    assert_eq!(failed[2]["threshold"], 0.5);
    let other = lines(&server, &database, |line| line["operation"] == "OTHER /api/v1.0/identify");
    assert_eq!(other.len(), 1);
    // Many unauthenticated requests have few lines.
    let strangers = lines(&server, &database, |line| line["app"].is_null());
    let counted = strangers.iter().filter(|line| line["operation"] == "journal").count();
    assert!(counted >= 1 && strangers.len() < 150, "{}", strangers.len());
    assert!(server.command(&database, &["journal", "verify"]).contains("each follows"));
}

/// The database knows the last lines.
#[tokio::test]
async fn missing_last_lines_are_detected() {
    let database = Database::sqlite();
    let mut server = Server::start(&database).await;
    let app = server.first_app();
    for _ in 0..5 {
        app.get("templates").await;
    }
    assert_eq!(server.stop(), Some(0));
    let verify = |server: &Server| server.try_command(&database, &["journal", "verify"]);
    assert_eq!(verify(&server).0, Some(0));
    let file = journal_file(&server);
    let node = server.dir().join("node");
    let whole = std::fs::read_to_string(&file).unwrap();
    let cut = |lines: usize| whole.lines().take(lines).map(|line| format!("{line}\n")).collect::<String>();
    for left in [cut(4), String::new()] {
        std::fs::write(&file, left).unwrap();
        let (code, message) = verify(&server);
        assert!(code == Some(1) && message.contains("line number 7 is missing"), "{message}");
    }
    std::fs::write(&file, whole.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    assert!(verify(&server).1.contains("the lines before number 2 were removed"));
    std::fs::write(&file, &whole).unwrap();
    let id = std::fs::read_to_string(&node).unwrap();
    std::fs::remove_file(&node).unwrap();
    assert_eq!(verify(&server).0, Some(1), "whose it is, is not known");
    std::fs::write(&node, id).unwrap();
    assert_eq!(verify(&server).0, Some(0));
    // A server that continues after them does not close the gap.
    std::fs::write(&file, cut(4)).unwrap();
    let mut server = Server::start_in(server.into_dir(), &database, &[]).await;
    server.first_app().get("templates").await;
    assert_eq!(server.stop(), Some(0));
    assert_eq!(verify(&server).0, Some(1));
}

/// Two servers would write to one journal, and cut off the lines of each other.
#[tokio::test]
async fn a_data_folder_has_one_server() {
    let database = Database::sqlite();
    let mut server = Server::start(&database).await;
    let (code, message) = server.try_command(&database, &["serve"]);
    assert_eq!(code, Some(1));
    assert!(message.contains("is another server's, which is running"), "{message}");
    let app: App = server.first_app();
    assert_eq!(app.get("templates").await.0, 200);
    server.command(&database, &["app", "list"]);
    server.kill();
    let server = Server::start_in(server.into_dir(), &database, &[]).await;
    assert!(server.command(&database, &["journal", "verify"]).contains("each follows"));
    // A damaged last line is reported, and the journal does not continue after it.
    let mut server = server;
    server.kill();
    let file = journal_file(&server);
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + "{}\n").unwrap();
    let (code, message) = try_start(&server.into_dir(), &database);
    assert!(code == Some(1) && message.contains("is damaged"), "{message}");
}

/// The response has only the text of the contract; the log and the journal have the limit and the values.
#[tokio::test]
async fn a_photo_over_a_limit_is_journaled_with_the_limit() {
    let database = Database::sqlite();
    let settings = [
        ("SEMBLANCE_LIMITS_PHOTO_PIXELS", "100"),
        ("SEMBLANCE_PHOTO_FORMATS", "jpeg,webp"),
        ("SEMBLANCE_LOG_LEVEL", "info"),
    ];
    let server = Server::start_in(tempfile::tempdir().unwrap(), &database, &settings).await;
    let app = server.first_app();
    let picture = image::RgbImage::new(20, 10);
    let mut webp = Vec::new();
    image::codecs::webp::WebPEncoder::new_lossless(&mut webp)
        .encode(&picture, 20, 10, image::ExtendedColorType::Rgb8)
        .unwrap();
    let expected = [
        (webp, "20 x 10 = 200 pixels exceed limits.photo_pixels = 100; send a smaller photo, or raise the limit"),
        (
            super::process::png(&picture),
            "PNG is not in photo.formats; convert the photo to JPEG or PNG, or add the format to photo.formats",
        ),
    ];
    for (bytes, reason) in expected {
        let (status, reply) = app.post_bytes("identify", bytes).await;
        assert_eq!(status, 400);
        assert_eq!(reply["result"]["code"], 4);
        assert_eq!(reply["result"]["info"], "can not decode image, check it is valid jpeg or png file");
        let found = |line: &Value| line["reason"] == reason && line["code"] == 4;
        eventually(reason, async || lines(&server, &database, found).len() == 1 && server.log().contains(reason)).await;
    }
}
