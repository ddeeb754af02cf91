//! What an application may store, from outside: samples of a template, and quotas.

use serde_json::Value;

use super::process::{Database, Server, photo};

on_both_databases! {
    a_template_takes_samples_up_to_the_limit;
    a_quota_refuses_further_templates;
    an_import_reports_what_a_limit_leaves_out;
}

const LIMIT: [(&str, &str); 1] = [("SEMBLANCE_LIMITS_SAMPLES_PER_TEMPLATE", "2")];

async fn start(database: &Database) -> Server {
    Server::start_in(tempfile::tempdir().unwrap(), database, &LIMIT).await
}

/// The text of a refusal with status and code 400.
fn refusal((status, reply): (u16, Value)) -> String {
    assert_eq!((status, &reply["result"]["code"]), (400, &Value::from(400)), "{reply}");
    reply["result"]["info"].as_str().unwrap().to_owned()
}

async fn a_template_takes_samples_up_to_the_limit(database: Database) {
    let server = start(&database).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    assert_eq!(app.post_photo("templates/a/samples", "person_a_2.jpg", &[]).await.0, 200);
    let info = refusal(app.post_photo("templates/a/samples", "person_a_2.jpg", &[]).await);
    assert!(info.contains("2 samples at most (limits.samples_per_template)"), "{info}");
    assert_eq!(app.get("templates/a").await.1["result"]["samples"].as_array().unwrap().len(), 2);
    assert_eq!(app.post_photo("add?replace=true", "person_a_1.jpg", &[("templateId", "a")]).await.0, 200);
    assert_eq!(app.post_photo("templates/a/samples", "person_a_2.jpg", &[]).await.0, 200);
}

async fn a_quota_refuses_further_templates(database: Database) {
    let server = start(&database).await;
    let app = server.first_app();
    let id = app.credentials().0;
    let set = |arguments: &[&str]| server.command(&database, &[&["app", "limits", &id], arguments].concat());
    let listed = || -> Value { serde_json::from_str(&server.command(&database, &["app", "list", "--json"])).unwrap() };
    assert_eq!((&listed()["max_templates"], &listed()["max_samples"]), (&Value::Null, &Value::Null));
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    let text = set(&["--templates", "2", "--samples", "3"]);
    assert!(text.contains("templates: 2, samples: 3"), "{text}");
    assert_eq!((&listed()["max_templates"], &listed()["max_samples"]), (&Value::from(2), &Value::from(3)));
    app.add("person_b_1.jpg", &[("templateId", "b")]).await;
    let info = refusal(app.post_photo("add", "impostor_1.jpg", &[("templateId", "c")]).await);
    assert!(info.contains("quota of 2 templates is reached"), "{info}");
    assert_eq!(app.post_photo("templates/a/samples", "person_a_2.jpg", &[]).await.0, 200);
    let info = refusal(app.post_photo("templates/b/samples", "person_b_2.jpg", &[]).await);
    assert!(info.contains("quota of 3 samples is reached"), "{info}");
    // A deletion makes room, and so does a higher quota.
    assert_eq!(app.delete("a").await.0, 200);
    app.add("impostor_1.jpg", &[("templateId", "c")]).await;
    refusal(app.post_photo("add", "impostor_2.jpg", &[("templateId", "d")]).await);
    set(&["--templates", "none", "--samples", "none"]);
    app.add("impostor_2.jpg", &[("templateId", "d")]).await;
    for wrong in [&["--templates", "many"][..], &["--samples", "-1"], &[]] {
        let (code, message) = server.try_command(&database, &[&["app", "limits", &id], wrong].concat());
        assert_eq!(code, Some(2), "{wrong:?}: {message}");
    }
    let journal = server.command(&database, &["journal", "export"]);
    assert!(journal.contains("\"app limits\"") && journal.contains("templates: 2, samples: 3"), "{journal}");
}

async fn an_import_reports_what_a_limit_leaves_out(database: Database) {
    let server = start(&database).await;
    let people = tempfile::tempdir().unwrap();
    std::fs::create_dir(people.path().join("a")).unwrap();
    // The same face three times, in files that differ.
    for name in ["1.jpg", "2.jpg", "3.jpg"] {
        let mut bytes = photo("person_a_1.jpg");
        bytes.extend(name.as_bytes());
        std::fs::write(people.path().join("a").join(name), bytes).unwrap();
    }
    let folder = people.path().to_str().unwrap();
    let import = |limit: &str, arguments: &[&str]| {
        let mut command = super::process::command(server.dir(), &database);
        let done = command.env(LIMIT[0].0, limit).args(["gallery", "import"]).args(arguments).output().unwrap();
        let text = [done.stdout, done.stderr].concat();
        (done.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, text) = import("2", &[folder, "--layout", "folders"]);
    assert!(code == Some(3) && text.contains("1 templates with 2 samples imported"), "{code:?} {text}");
    assert!(text.contains("3.jpg") && text.contains("too_many_photos"), "{text}");
    let (code, text) = import("2", &[folder, "--layout", "folders", "--add-samples"]);
    assert!(code == Some(3) && text.contains("too_many_photos"), "{code:?} {text}");
    let (code, text) = import("3", &[folder, "--layout", "folders", "--add-samples"]);
    assert!(code == Some(0) && text.contains("1 templates with 1 samples imported"), "{code:?} {text}");
    // An export with more samples than the limit.
    let file = people.path().join("export.ndjson");
    let file = file.to_str().unwrap();
    server.command(&database, &["gallery", "export", file]);
    assert_eq!(server.first_app().delete("a").await.0, 200);
    let (code, text) = import("2", &[file]);
    assert!(code == Some(3) && text.contains("a with 3 samples is not imported"), "{code:?} {text}");
    let (code, text) = import("3", &[file]);
    assert!(code == Some(0) && text.contains("1 templates with 3 samples imported"), "{code:?} {text}");
    // A quota.
    let id = server.first_credentials().0;
    server.command(&database, &["app", "limits", &id, "--templates", "1"]);
    let other = people.path().join("others");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("b.jpg"), photo("person_b_1.jpg")).unwrap();
    let (code, text) = import("3", &[other.to_str().unwrap()]);
    assert!(code == Some(3) && text.contains("quota_reached"), "{code:?} {text}");
}
