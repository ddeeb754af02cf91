//! The real server, from outside: the program as a process, real models, real photos, SQLite and
//! Postgres.

mod admin;
mod backup;
mod calibrate;
mod clock;
mod closing;
mod cluster;
mod config;
mod connections;
mod console;
mod continuity;
mod crash;
mod database;
mod detection_measures;
mod egress;
mod ending;
mod erasure;
mod face;
mod fairness;
mod faults;
mod first;
mod hostile;
mod journal;
mod keys;
mod log;
mod looking;
mod measures;
mod metrics;
mod nodes;
mod output;
mod process;
mod proxy;
mod reverse_proxies;
mod signals;
mod stale;
mod template_check;
mod tls;
mod turned;
mod unread;

use crate::support::eventually;
use process::{App, Database, Server, photo};
use serde_json::{Value, json};

const PEOPLE: [(&str, &str, &str); 2] =
    [("person-a", "person_a_1.jpg", "person_a_2.jpg"), ("person-b", "person_b_1.jpg", "person_b_2.jpg")];

/// Each test body runs once per database.
macro_rules! on_both_databases {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        mod sqlite { $( #[tokio::test] async fn $name() { super::$name(super::Database::sqlite()).await } )* }
        mod postgres { $( #[tokio::test] async fn $name() {
            if let Some(database) = super::Database::postgres().await { super::$name(database).await }
        } )* }
    };
}

// Below the macro that they use.
mod app_keys;
mod import;
mod limits;
mod memory;
mod operations;
mod repeated;

on_both_databases! {
    people_are_identified_and_impostors_are_not;
    an_acknowledged_write_survives_a_kill;
    applications_do_not_see_each_other;
    templates_are_managed;
    added_samples_match_and_are_deleted_with_the_template;
    the_command_line_and_the_server_share_the_database;
    a_key_is_rotated_with_an_overlap;
    templates_are_deleted_after_their_retention;
}

async fn a_key_is_rotated_with_an_overlap(database: Database) {
    let server = Server::start(&database).await;
    let old = server.first_app();
    let (id, first) = old.credentials();
    let rotate = |overlap: &str| -> (String, String) {
        let printed = server.command(&database, &["app", "rotate-key", &id, "--overlap", overlap, "--json"]);
        let printed: Value = serde_json::from_str(&printed).unwrap();
        (printed["app_id"].as_str().unwrap().to_owned(), printed["app_key"].as_str().unwrap().to_owned())
    };
    let new = server.app(rotate("1h"));
    eventually("the new key is in force", async || new.get("templates").await.0 == 200).await;
    assert_eq!(old.get("templates").await.0, 200, "and so is the old one");
    let newest = server.app(rotate("0s"));
    eventually("the newest key is in force", async || newest.get("templates").await.0 == 200).await;
    assert_eq!((old.get("templates").await.0, new.get("templates").await.0), (401, 401), "no other is");
    let last = server.app(rotate("2s"));
    eventually("the last key is in force", async || last.get("templates").await.0 == 200).await;
    eventually("an overlap ends", async || newest.get("templates").await.0 == 401).await;
    assert_eq!(last.get("templates").await.0, 200);
    assert_ne!(first, last.credentials().1);
    let (code, message) = server.try_command(&database, &["app", "rotate-key", &id, "--overlap", "soon"]);
    assert!(code != Some(0) && message.contains("is not a duration such as"), "{message}");
}

async fn templates_are_deleted_after_their_retention(database: Database) {
    let server = Server::start(&database).await;
    let app = server.first_app();
    let other = server.app(server.create_app("other", &database).await);
    for app in [&app, &other] {
        app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    }
    let (id, _) = app.credentials();
    server.command(&database, &["app", "retention", &id, "1s"]);
    eventually("its time is over", async || app.get("templates/a").await.0 != 200).await;
    eventually("it is not found", async || app.identify("person_a_1.jpg").await["result"]["templateId"].is_null())
        .await;
    assert_eq!(other.identify("person_a_1.jpg").await["result"]["templateId"], "a", "another's is kept");
    eventually("the journal says so", async || {
        let journal = server.command(&database, &["journal", "export"]);
        journal.lines().any(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["operation"] == "erasure"
                && line["outcome"] == "retention"
                && line["templateId"] == "a"
                && line["app"] == *id
        })
    })
    .await;
    server.command(&database, &["app", "retention", &id, "off"]);
    let listed = server.command(&database, &["app", "list", "--json"]);
    assert!(listed.lines().all(|line| line.contains("\"retention_s\":null")), "{listed}");
}

async fn people_are_identified_and_impostors_are_not(database: Database) {
    let server = Server::start(&database).await;
    let app = server.first_app();
    for (id, enrolled, _) in PEOPLE {
        let reply = app.add(enrolled, &[("templateId", id)]).await;
        assert_eq!(reply["result"]["templateId"], id);
        assert_eq!(reply["result"]["enroll"]["templateId"], id);
    }
    for (id, enrolled, other) in PEOPLE {
        let same = app.identify(enrolled).await;
        assert_eq!((&same["result"]["templateId"], &same["result"]["similarity"]), (&json!(id), &json!(1)));
        let found = app.identify(other).await;
        assert_eq!(found["result"]["templateId"], id);
        assert_eq!(found["result"]["search"]["templateId"], id);
        let similarity = found["result"]["similarity"].as_f64().unwrap();
        assert!((0.75..1.0).contains(&similarity), "{id}: {similarity}");
    }
    for impostor in ["impostor_1.jpg", "impostor_2.jpg"] {
        let reply = app.identify(impostor).await;
        assert_eq!(reply["result"]["templateId"], Value::Null, "{reply}");
        assert_eq!(reply["result"]["search"], Value::Null);
        assert!(reply["result"]["face"]["box"]["w"].as_i64().unwrap() > 50);
        let ranked = app.post_photo("identify?threshold=0&candidates=5", impostor, &[]).await.1;
        let candidates = ranked["result"]["candidates"].as_array().unwrap();
        assert_eq!(candidates.len(), 2);
        assert!(candidates[0]["similarity"].as_f64().unwrap() < 0.45, "{ranked}");
    }
    let (status, reply) = app.delete("person-a").await;
    assert_eq!((status, reply.as_object().unwrap().len()), (200, 1), "exactly the transactionId: {reply}");
    assert_eq!(app.identify("person_a_1.jpg").await["result"]["templateId"], Value::Null);
    assert_eq!(app.identify("person_b_2.jpg").await["result"]["templateId"], "person-b");
    let (status, reply) = app.delete("person-a").await;
    assert_eq!((status, &reply["result"]["info"]), (400, &json!("Template not found")));
}

async fn an_acknowledged_write_survives_a_kill(database: Database) {
    let mut server = Server::start(&database).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "kept")]).await;
    app.add("person_b_1.jpg", &[("templateId", "gone")]).await;
    assert_eq!(app.delete("gone").await.0, 200);
    server.kill();
    let server = Server::start_in(server.into_dir(), &database, &[]).await;
    let app = server.app(app.credentials());
    assert_eq!(app.identify("person_a_2.jpg").await["result"]["templateId"], "kept");
    assert_eq!(app.identify("person_b_1.jpg").await["result"]["templateId"], Value::Null);
}

async fn applications_do_not_see_each_other(database: Database) {
    let server = Server::start(&database).await;
    let first = server.first_app();
    let second = server.app(server.create_app("second", &database).await);
    first.add("person_a_1.jpg", &[("templateId", "same-id")]).await;
    assert_eq!(second.identify("person_a_1.jpg").await["result"]["templateId"], Value::Null);
    assert_eq!(second.delete("same-id").await.0, 400);
    second.add("person_b_1.jpg", &[("templateId", "same-id")]).await;
    assert_eq!(second.identify("person_b_2.jpg").await["result"]["templateId"], "same-id");
    assert_eq!(first.identify("person_b_1.jpg").await["result"]["templateId"], Value::Null);
    let mixed = (first.credentials().0, second.credentials().1);
    assert_eq!(server.app(mixed).post_photo("identify", "person_a_1.jpg", &[]).await.0, 401);
}

async fn templates_are_managed(database: Database) {
    let server = Server::start(&database).await;
    let app = server.first_app();
    for id in ["c", "a", "b"] {
        app.add("person_a_1.jpg", &[("templateId", id)]).await;
    }
    let (status, refused) = app.post_photo("add", "person_b_1.jpg", &[("templateId", "b")]).await;
    assert_eq!((status, &refused["result"]["code"]), (400, &json!(400)));
    assert_eq!(app.post_photo("add?replace=true", "person_b_1.jpg", &[("templateId", "b")]).await.0, 200);
    assert_eq!(app.identify("person_b_2.jpg").await["result"]["templateId"], "b");
    let ids = |page: &Value| -> Vec<String> {
        let list = page["result"]["templates"].as_array().unwrap();
        list.iter().map(|t| t["templateId"].as_str().unwrap().to_owned()).collect()
    };
    let page = app.get("templates?limit=2").await.1;
    assert_eq!((ids(&page), &page["result"]["next"]), (vec!["a".into(), "b".into()], &json!("b")));
    let page = app.get("templates?limit=2&after=b").await.1;
    assert_eq!((ids(&page), &page["result"]["next"]), (vec!["c".to_owned()], &Value::Null));
    assert_eq!(app.get("templates/a").await.1["result"]["samples"].as_array().unwrap().len(), 1);
    assert_eq!(app.get("templates/zzz").await.0, 400);
    assert_eq!(app.send_delete("templates/a").await.0, 200);
    assert_eq!(app.get("templates/a").await.0, 400);
}

async fn added_samples_match_and_are_deleted_with_the_template(database: Database) {
    let server = Server::start(&database).await;
    let app = server.first_app();
    app.add("person_b_1.jpg", &[("templateId", "b")]).await;
    assert_ne!(app.identify("person_b_2.jpg").await["result"]["similarity"], 1);
    let (status, reply) = app.post_photo("templates/b/samples", "person_b_2.jpg", &[]).await;
    assert_eq!(status, 200, "{reply}");
    assert_eq!(app.identify("person_b_2.jpg").await["result"]["similarity"], 1);
    assert_eq!(app.identify("person_b_1.jpg").await["result"]["similarity"], 1);
    assert_eq!(app.delete("b").await.0, 200);
    assert_eq!(app.identify("person_b_2.jpg").await["result"]["templateId"], Value::Null);
    assert_eq!(app.post_photo("templates/b/samples", "person_b_2.jpg", &[]).await.0, 400);
}

async fn the_command_line_and_the_server_share_the_database(database: Database) {
    let server = Server::start(&database).await;
    let app = server.first_app();
    let people = tempfile::tempdir().unwrap();
    for (id, first, second) in PEOPLE {
        let dir = people.path().join(id);
        std::fs::create_dir(&dir).unwrap();
        for name in [first, second] {
            std::fs::write(dir.join(name), photo(name)).unwrap();
        }
    }
    let imported = server.command(&database, &["gallery", "import", people.path().to_str().unwrap()]);
    assert!(imported.contains("2 templates with 4 samples imported"), "{imported}");
    eventually("the server sees the import", async || {
        app.identify("person_a_1.jpg").await["result"]["templateId"] == "person-a"
    })
    .await;
    let checked = server.command(&database, &["gallery", "check"]);
    assert!(checked.contains("2 searches agree with brute force"), "{checked}");

    let file = people.path().join("export.ndjson");
    server.command(&database, &["gallery", "export", file.to_str().unwrap()]);
    assert_eq!(app.send_delete("templates/person-a").await.0, 200);
    let again = server.command(&database, &["gallery", "import", file.to_str().unwrap()]);
    assert!(
        again.contains("1 templates with 2 samples imported")
            && again.contains("1 existing templates were not changed"),
        "{again}"
    );
}

#[tokio::test]
async fn first_run_credentials_are_readable_by_the_owner_only() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let file = server.dir().join("credentials.json");
    let saved: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(saved["app_key"].as_str().unwrap().len(), 64);
    #[cfg(unix)]
    for secret in ["credentials.json", "sealing.key", "semblance.db"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(server.dir().join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{secret} has mode {mode:o}");
    }
    assert_eq!(server.app((saved["app_id"].as_str().unwrap().into(), "0".repeat(64))).get("templates").await.0, 401);
}

#[tokio::test]
async fn a_database_sealed_with_another_key_is_refused_at_start() {
    let database = Database::sqlite();
    let mut server = Server::start(&database).await;
    server.first_app().add("person_a_1.jpg", &[]).await;
    server.kill();
    let dir = server.into_dir();
    std::fs::remove_file(dir.path().join("sealing.key")).unwrap();
    let (status, message) = process::try_start(&dir, &database);
    assert_eq!(status, Some(1));
    assert!(message.contains("sealed with another key"), "{message}");
    std::fs::write(dir.path().join("sealing.key"), format!("{}\n", "5a".repeat(32))).unwrap();
    let (status, message) = process::try_start(&dir, &database);
    assert_eq!(status, Some(1));
    assert!(message.contains("is not among those given") && !message.contains("5a5a5a5a5a"), "{message}");
}

/// A whole run at the chattiest level: keys, passwords and embeddings are nowhere in what it says.
#[tokio::test]
async fn no_secret_is_printed() {
    let database = Database::sqlite();
    let dir = tempfile::tempdir().unwrap();
    let chatty = [("SEMBLANCE_LOG_LEVEL", "trace"), ("SEMBLANCE_LOG_FORMAT", "json")];
    let server = Server::start_in(dir, &database, &chatty).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    app.identify("person_a_2.jpg").await;
    app.verify("verify", ("first_photo", "person_a_1.jpg"), ("second_photo", "person_b_1.jpg")).await;
    app.post_photo("liveness", "person_b_1.jpg", &[]).await;
    app.post_bytes("identify", b"\xff\xd8\xff nonsense".to_vec()).await;
    server.app((app.credentials().0, "f".repeat(64))).get("templates").await;
    let file = server.dir().join("export.ndjson");
    server.command(&database, &["gallery", "export", file.to_str().unwrap()]);
    app.delete("a").await;

    let key = std::fs::read_to_string(server.dir().join("sealing.key")).unwrap();
    let exported: Value =
        serde_json::from_str(std::fs::read_to_string(&file).unwrap().lines().next().unwrap()).unwrap();
    let embedding = exported["samples"][0]["embedding"].as_array().unwrap();
    let mut secrets = vec![app.credentials().1, "f".repeat(64), key.trim().to_owned()];
    // Six digits of a number identify it.
    secrets.extend(embedding.iter().take(20).map(|v| format!("{:.6}", v.as_f64().unwrap().abs())));
    eventually("the log shows the last request", async || server.log().contains("/api/v1.0/delete")).await;
    let mut output = server.log();
    for path in ["/metrics", "/readyz", "/healthz", "/licences", "/openapi.json"] {
        output += &server.text(path).await;
    }
    output += &server.command(&database, &["journal", "export"]);
    output += &server.command(&database, &["journal", "receipts"]);
    output += &server.command(&database, &["key", "status"]);
    output += &server.command(&database, &["doctor"]);
    for secret in secrets {
        assert!(!output.contains(&secret), "{secret} was printed");
    }
}

#[tokio::test]
async fn two_nodes_share_one_postgres() {
    let Some(database) = Database::postgres().await else { return };
    let first = Server::start(&database).await;
    let app = first.first_app();
    let key = std::fs::read_to_string(first.dir().join("sealing.key")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let second = Server::start_in(dir, &database, &[("SEMBLANCE_KEY", key.trim())]).await;
    let other = second.app(app.credentials());
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    let template_id = async || other.identify("person_a_2.jpg").await["result"]["templateId"].clone();
    eventually("the second node sees the template", async || template_id().await == json!("a")).await;
    assert_eq!(app.delete("a").await.0, 200);
    eventually("the second node sees the delete", async || template_id().await == Value::Null).await;
}

#[tokio::test]
async fn verify_accepts_both_spellings_in_query_and_form() {
    let server = Server::start(&Database::sqlite()).await;
    let app = server.first_app();
    for path in ["verify", "doc/verify"] {
        for (first, second) in [("first_selfie", "second_selfie"), ("first_photo", "second_photo")] {
            let (status, reply) = app.verify(path, (first, "person_a_1.jpg"), (second, "person_a_2.jpg")).await;
            assert_eq!(status, 200, "{reply}");
            assert_eq!(reply["result"]["comparison"]["same"], true);
            assert!(reply["result"]["firstFace"]["quality"]["yaw"].is_number());
        }
    }
    let (_, reply) = app.verify("verify", ("first_photo", "person_a_1.jpg"), ("second_photo", "impostor_1.jpg")).await;
    assert_eq!(reply["result"]["comparison"]["same"], false);
}

#[tokio::test]
async fn analyze_prints_the_result_of_the_server() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let path = process::photo_path("person_b_2.jpg");
    let printed = server.command(&database, &["analyze", "--json", path.to_str().unwrap()]);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    let asked = "identify?check_liveness=true&check_deepfake=true";
    let (_, served) = server.first_app().post_photo(asked, "person_b_2.jpg", &[]).await;
    for place in ["box", "landmarks", "quality", "face"] {
        assert_eq!(printed["result"][place], served["result"][place], "{place}");
    }
}

#[tokio::test]
async fn photos_without_a_single_face_get_their_code() {
    let server = Server::start(&Database::sqlite()).await;
    let app = server.first_app();
    let (a, b) = (process::decode("person_a_2.jpg"), process::decode("person_b_1.jpg"));
    let code = |reply: (u16, Value)| (reply.0, reply.1["result"]["code"].clone());

    let blank = process::png(&image::RgbImage::from_pixel(400, 300, image::Rgb([120, 130, 140])));
    assert_eq!(code(app.post_bytes("identify", blank).await), (400, json!(5)));
    let mut both = image::RgbImage::new(a.width() + b.width(), a.height().max(b.height()));
    image::imageops::replace(&mut both, &a, 0, 0);
    image::imageops::replace(&mut both, &b, i64::from(a.width()), 0);
    assert_eq!(code(app.post_bytes("identify", process::png(&both)).await), (400, json!(6)));
    assert_eq!(code(app.post_bytes("identify", b"\xff\xd8\xff nonsense".to_vec()).await), (400, json!(4)));
    assert_eq!(code(app.post_bytes("identify", Vec::new()).await), (400, json!(3)));
}

impl Server {
    fn first_app(&self) -> App {
        self.app(self.first_credentials())
    }
}
