//! The journal of a real server, read with the command line.

use serde_json::Value;

use super::process::{Database, Server};

#[tokio::test]
async fn every_operation_is_journalled_and_chained() {
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

    let mut lines: Vec<Value> = Vec::new();
    for _ in 0..100 {
        let printed = server.command(&database, &["journal", "export"]);
        lines = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if lines.len() >= 6 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let said: Vec<(&Value, &Value, &Value, &Value, &Value)> = lines
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
        said,
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
    let checked = server.command(&database, &["journal", "verify"]);
    assert!(checked.contains("6 lines, numbers 1 to 6") && checked.contains("1 receipts"), "{checked}");

    let file = std::fs::read_dir(server.dir().join("journal")).unwrap().next().unwrap().unwrap().path();
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
    assert!(message.contains("line 5"), "{message}");
}

/// What a person whose template was erased is given, and can check without us.
#[tokio::test]
async fn an_erasure_has_a_receipt() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let app = server.app(server.first_credentials());
    for id in ["a", "b"] {
        app.add("person_a_1.jpg", &[("templateId", id)]).await;
    }
    let (_, removed) = app.delete("a").await;
    let mut receipt = String::new();
    for _ in 0..100 {
        receipt = server.command(&database, &["journal", "receipts", "--template", "a"]);
        if !receipt.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let line: Value = serde_json::from_str(&receipt).unwrap();
    assert_eq!((&line["transactionId"], &line["templateId"]), (&removed["transactionId"], &Value::from("a")));
    assert_eq!(line["app"], Value::from(app.credentials().0));
    assert_eq!(server.command(&database, &["journal", "receipts", "--template", "b"]), "", "b is there still");

    let key = server.command(&database, &["journal", "receipt-key"]);
    let key = key.trim();
    let file = server.dir().join("receipt.ndjson");
    std::fs::write(&file, &receipt).unwrap();
    // Elsewhere, where there is neither a journal nor a database.
    let elsewhere = Server::start(&Database::sqlite()).await;
    let check = ["journal", "check-receipts", key, file.to_str().unwrap()];
    assert_eq!(elsewhere.command(&database, &check).trim(), "1 receipts are good");
    for forged in
        [receipt.replace("\"templateId\":\"a\"", "\"templateId\":\"b\""), receipt.replace("removed", "listed")]
    {
        std::fs::write(&file, forged).unwrap();
        let (code, message) = elsewhere.try_command(&database, &check);
        assert_eq!(code, Some(1));
        assert!(message.contains("line 1: it was changed"), "{message}");
    }
    // What goes with its application has receipts in a file of their own, made before anything is deleted.
    let (app, _) = app.credentials();
    let taken = ["app", "delete", &app, "--receipts", file.to_str().unwrap()];
    assert_eq!(server.try_command(&database, &taken).0, Some(1), "that file is there already");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(server.command(&database, &taken).trim(), format!("deleted {app} and its templates: 1"));
    let receipt = std::fs::read_to_string(&file).unwrap();
    let line: Value = serde_json::from_str(receipt.trim_end()).unwrap();
    assert_eq!((&line["app"], &line["templateId"]), (&Value::from(app), &Value::from("b")));
    assert_eq!(elsewhere.command(&database, &check).trim(), "1 receipts are good");

    let others = elsewhere.command(&database, &["journal", "receipt-key"]);
    assert_ne!(others.trim(), key, "every database signs with a key of its own");
}
