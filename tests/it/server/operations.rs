//! The server as its administrators see it: journal, receipts, overview, figures, settings, backups.

use serde_json::{Value, json};

use super::process::{Database, Server};
use crate::support::schema::assert_admin_documented;
use crate::support::{eventually, eventually_some};

/// A client of the administration API of a real server.
struct Admin {
    url: String,
    token: String,
}

impl Admin {
    /// The first owner, with the token that the first run wrote.
    fn owner(server: &Server) -> Self {
        let token = std::fs::read_to_string(server.dir().join("admin.token")).unwrap();
        Self { url: server.url().to_owned(), token: token.trim().to_owned() }
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> (u16, String) {
        let client = super::process::reqwest_client();
        let url = format!("{}/api/admin/v1{path}", self.url);
        let request = client.request(method.parse().unwrap(), url).bearer_auth(&self.token);
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let is_json = answer.headers().get("content-type").is_some_and(|value| value == "application/json");
        let text = answer.text().await.unwrap();
        if is_json {
            let path = path.split('?').next().unwrap();
            assert_admin_documented(method, &format!("/api/admin/v1{path}"), status, text.as_bytes());
        }
        (status, text)
    }

    /// The result of a success.
    async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, text) = self.send(method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {text}");
        serde_json::from_str::<Value>(&text).unwrap()["result"].clone()
    }

    async fn get(&self, path: &str) -> Value {
        self.call("GET", path, Value::Null).await
    }

    /// The status and the reason of a failure.
    async fn fails(&self, method: &str, path: &str, body: Value) -> (u16, String) {
        let (status, text) = self.send(method, path, body).await;
        let reply: Value = serde_json::from_str(&text).unwrap();
        (status, reply["result"]["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// The result of a job, when it has ended.
    async fn job(&self, path: &str) -> Value {
        let begun = self.call("POST", path, Value::Null).await;
        let path = format!("/jobs/{}", begun["jobId"].as_str().unwrap());
        let ended = eventually_some("the job ends", async || {
            let job = self.get(&path).await;
            (job["state"] != "running").then_some(job)
        });
        let job = ended.await;
        assert_eq!((&job["state"], &job["kind"]), (&json!("done"), &begun["kind"]), "{job}");
        job["result"].clone()
    }

    /// Another administrator.
    async fn create(&self, new: Value) -> Self {
        let made = self.call("POST", "/administrators", new).await;
        let path = format!("/administrators/{}/tokens", made["adminId"].as_str().unwrap());
        let token = self.call("POST", &path, json!({ "name": "test" })).await;
        Self { url: self.url.clone(), token: token["token"].as_str().unwrap().to_owned() }
    }
}

async fn start(database: &Database, environment: &[(&str, &str)]) -> (Server, Admin) {
    let environment = [&[("SEMBLANCE_ADMIN_LISTEN", "api")], environment].concat();
    let server = Server::start_in(tempfile::tempdir().unwrap(), database, &environment).await;
    let admin = Admin::owner(&server);
    (server, admin)
}

async fn the_journal_is_searched_verified_and_exported(database: Database) {
    let (server, admin) = start(&database, &[]).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "ann")]).await;
    let found = app.identify("person_a_2.jpg").await;
    app.delete("ann").await;
    let everything = json!({ "templateId": "ann" });
    let page = eventually_some("the lines are written", async || {
        let page = admin.call("POST", "/journal/search", everything.clone()).await;
        (page["lines"].as_array().unwrap().len() == 4).then_some(page)
    });
    let page = page.await;
    let operations: Vec<&str> =
        page["lines"].as_array().unwrap().iter().map(|line| line["operation"].as_str().unwrap()).collect();
    assert!(operations.contains(&"erasure") && operations.contains(&"POST /api/v1.0/add"), "{operations:?}");
    assert_eq!((&page["complete"], &page["nextCursor"]), (&json!(true), &Value::Null));
    let numbers: Vec<u64> = page["lines"].as_array().unwrap().iter().map(|line| line["n"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|one, next| one > next), "newest first: {numbers:?}");

    // Page by page, and only with the same conditions.
    let mut paged = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let body = json!({ "templateId": "ann", "limit": 1, "cursor": cursor });
        let page = admin.call("POST", "/journal/search", body).await;
        paged.extend(page["lines"].as_array().unwrap().iter().map(|line| line["n"].as_u64().unwrap()));
        cursor = page["nextCursor"].clone();
        if cursor.is_null() {
            break;
        }
        let other = json!({ "templateId": "bob", "cursor": cursor });
        assert_eq!(admin.fails("POST", "/journal/search", other).await, (400, "badCursor".to_owned()));
    }
    assert_eq!(paged, numbers);
    let by_request = json!({ "transactionId": found["transactionId"], "operation": "identify", "outcome": "found" });
    let one = admin.call("POST", "/journal/search", by_request).await;
    assert_eq!(one["lines"].as_array().unwrap().len(), 1);
    assert_eq!(one["lines"][0]["similarity"], found["result"]["similarity"]);
    let wrong = json!({ "from": "yesterday" });
    assert_eq!(admin.fails("POST", "/journal/search", wrong).await, (400, "invalidFields".to_owned()));

    // The export has the lines unchanged.
    let (status, exported) = admin.send("POST", "/journal/export", json!({ "templateId": "ann" })).await;
    assert_eq!(status, 200);
    assert_eq!(exported, server.command(&database, &["journal", "export", "--template", "ann"]));
    let (_, csv) = admin.send("POST", "/journal/export", json!({ "templateId": "ann", "format": "csv" })).await;
    assert!(csv.starts_with("n,time,") && csv.lines().count() == 5, "{csv}");

    // The receipt, alone and with the key.
    let receipts = admin.call("POST", "/receipts/search", json!({ "templateId": "ann" })).await;
    let receipt = &receipts["receipts"][0];
    let id = receipt["erasureId"].as_str().unwrap();
    assert_eq!(admin.get(&format!("/receipts/{id}")).await["line"], receipt["line"]);
    let unknown = "/receipts/00000000-0000-4000-8000-000000000000";
    assert_eq!(admin.fails("GET", unknown, Value::Null).await, (404, "notFound".to_owned()));
    let key = admin.get("/receipt-key").await;
    assert_eq!(key["publicKey"], server.command(&database, &["journal", "receipt-key"]).trim());
    let line = receipt["line"].as_str().unwrap();
    let forged = line.replace("\"templateId\":\"ann\"", "\"templateId\":\"bob\"");
    let verdicts = admin.call("POST", "/receipts/check", json!({ "lines": [line, forged] })).await;
    assert_eq!(verdicts["allValid"], false);
    assert_eq!((&verdicts["verdicts"][0]["valid"], &verdicts["verdicts"][1]["valid"]), (&json!(true), &json!(false)));

    // Verified, and after a change not.
    let verified = admin.job("/journal/verify").await;
    assert_eq!(verified["ok"], true, "{verified}");
    let status = admin.get("/journal/status").await;
    assert_eq!(status["verifiedTo"], verified["verifiedTo"]);
    assert_eq!((&status["enabled"], &status["first"]["n"], &status["linesLost"]), (&json!(true), &json!(1), &json!(0)));
    assert_eq!(status["coverage"][0]["here"], true);
    let files = std::fs::read_dir(server.dir().join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let file = files.filter(|path| path.extension().is_some_and(|end| end == "ndjson")).max().unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("\"outcome\":\"found\"", "\"outcome\":\"fount\"", 1)).unwrap();
    let broken = admin.job("/journal/verify").await;
    assert!(broken["ok"] == false && broken["fault"].as_str().unwrap().contains("line "), "{broken}");
    assert_eq!(admin.get("/journal/status").await["verifiedTo"], Value::Null);
    let overview = admin.get("/overview").await;
    let kinds: Vec<&str> =
        overview["problems"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"journalBroken"), "{overview}");
}

async fn an_administrator_sees_what_its_role_allows(database: Database) {
    let (server, owner) = start(&database, &[]).await;
    let app = server.first_app();
    let other = server.create_app("other", &database).await;
    app.add("person_a_1.jpg", &[("templateId", "ann")]).await;
    let (own_id, _) = app.credentials();
    eventually("the new application is known", async || {
        let operator = json!({ "name": "ask", "role": "operator", "applications": [other.0] });
        owner.send("POST", "/administrators", operator).await.0 == 201
    })
    .await;
    let operator = owner.create(json!({ "name": "desk", "role": "operator", "applications": [other.0] })).await;
    let auditor = owner.create(json!({ "name": "audit", "role": "auditor" })).await;
    eventually("the line is written", async || {
        let page = auditor.call("POST", "/journal/search", json!({ "appId": own_id })).await;
        !page["lines"].as_array().unwrap().is_empty()
    })
    .await;
    let page = operator.call("POST", "/journal/search", json!({ "appId": own_id })).await;
    assert_eq!(page["lines"], json!([]), "lines of another application");
    for path in ["/settings", "/store", "/system", "/nodes", "/backups"] {
        for who in [&operator, &auditor] {
            assert_eq!(who.fails("GET", path, Value::Null).await, (403, "roleTooLow".to_owned()), "{path}");
        }
    }
    assert_eq!(operator.fails("GET", "/journal/status", Value::Null).await.0, 403);
    auditor.get("/journal/status").await;
    let galleries = |overview: Value| overview["galleries"].as_array().unwrap().len();
    assert_eq!((galleries(owner.get("/overview").await), galleries(operator.get("/overview").await)), (2, 1));
    assert_eq!(operator.fails("GET", "/figures", Value::Null).await.0, 400, "the sum of all applications");
    let foreign = format!("/figures?appId={own_id}");
    assert_eq!(operator.fails("GET", &foreign, Value::Null).await, (404, "notFound".to_owned()));
    operator.get(&format!("/figures?appId={}", other.0)).await;
    owner.get(&foreign).await;
}

async fn a_backup_is_made_tested_and_deleted(database: Database) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("backups");
    let (server, admin) = start(&database, &[("SEMBLANCE_BACKUP_DIR", folder.to_str().unwrap())]).await;
    server.first_app().add("person_a_1.jpg", &[("templateId", "ann")]).await;
    let made = admin.job("/backups").await;
    let id = made["backupId"].as_str().unwrap();
    assert!(made["bytes"].as_u64().unwrap() > 0 && made["testedAt"].is_null(), "{made}");
    let listed = admin.get("/backups").await;
    assert_eq!(listed["backups"], json!([made]));
    let tested = admin.job(&format!("/backups/{id}/test")).await;
    assert_eq!((&tested["rows"]["templates"], &tested["rows"]["samples"]), (&json!(1), &json!(1)), "{tested}");
    assert!(admin.get("/backups").await["backups"][0]["testedAt"].is_string());
    let left: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "the trial is deleted");
    let file = folder.join(made["file"].as_str().unwrap());
    server.command(&database, &["restore", "--check", file.to_str().unwrap()]);
    admin.call("DELETE", &format!("/backups/{id}"), Value::Null).await;
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    assert_eq!(admin.fails("DELETE", &format!("/backups/{id}"), Value::Null).await.0, 404);
}

on_both_databases! {
    the_journal_is_searched_verified_and_exported;
    an_administrator_sees_what_its_role_allows;
    a_backup_is_made_tested_and_deleted;
}

#[tokio::test]
async fn the_server_tells_an_owner_what_it_is_made_of() {
    let database = Database::sqlite();
    let (server, admin) = start(&database, &[("SEMBLANCE_LOG_LEVEL", "info")]).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "ann")]).await;
    app.identify("person_a_2.jpg").await;

    let overview = admin.get("/overview").await;
    assert_eq!((&overview["state"], &overview["problems"]), (&json!("ready"), &json!([])), "{overview}");
    let counts = &overview["today"]["counts"];
    assert_eq!((&counts["found"], &counts["enrolled"], &counts["requests"]), (&json!(1), &json!(1), &json!(2)));
    assert_eq!(overview["galleries"][0]["people"], 1);
    let sampled = eventually_some("a step of the figures is over", async || {
        let figures = admin.get("/figures?step=10&series=found,p95Ms,people").await;
        let found: f64 = figures["series"]["found"].as_array().unwrap().iter().filter_map(Value::as_f64).sum();
        (found > 0.0).then_some(figures)
    });
    let figures = sampled.await;
    assert_eq!(figures["series"].as_object().unwrap().len(), 3);
    let unknown = admin.fails("GET", "/figures?series=rumors", Value::Null).await;
    assert_eq!(unknown, (400, "unknownSeries".to_owned()));
    assert_eq!(admin.fails("GET", "/figures?step=11", Value::Null).await.0, 400);

    let settings = admin.get("/settings").await;
    let setting = |key: &str| {
        let all = settings["settings"].as_array().unwrap();
        all.iter().find(|setting| setting["key"] == key).unwrap().clone()
    };
    assert_eq!(
        (&setting("data")["source"], &setting("data")["variable"]),
        (&json!("environment"), &json!("SEMBLANCE_DATA"))
    );
    assert_eq!((&setting("key")["value"], &setting("key")["isSet"]), (&Value::Null, &json!(false)));
    let store = admin.get("/store?sealingKeys=true").await;
    assert_eq!(
        (&store["kind"], &store["writable"], &store["reachable"]),
        (&json!("sqlite"), &json!(true), &json!(true))
    );
    assert!(store["bytes"].as_u64().unwrap() > 0);
    assert_eq!((&store["sealingKeys"][0]["inForce"], &store["sealingKeys"][0]["sealed"]), (&json!(true), &json!(1)));
    assert_eq!(admin.get("/store").await["sealingKeys"], Value::Null);
    let doctor = admin.call("POST", "/system/doctor", Value::Null).await;
    assert_eq!(doctor["ok"], true, "{doctor}");
    let system = admin.get("/system").await;
    assert_eq!((&system["version"], &system["ready"]), (&json!(env!("CARGO_PKG_VERSION")), &json!(true)));
    let nodes = admin.get("/nodes").await;
    assert_eq!(nodes["nodes"][0]["nodeId"], system["nodeId"]);
    let models = admin.get("/models").await;
    assert!(!models["models"].as_array().unwrap().is_empty() && models["goldenState"] == "passed", "{models}");
    assert_eq!(admin.job("/models/check").await, json!({ "ok": true, "fault": null }));
    admin.call("POST", "/system/reload", Value::Null).await;
    eventually("the level of the log is read again", async || server.log().contains("log.level is in force")).await;
    assert_eq!(admin.fails("POST", "/system/expiry/resume", Value::Null).await, (409, "notPaused".to_owned()));
    let confirm = format!("/applications/{}/expiry/confirm", app.credentials().0);
    assert_eq!(admin.fails("POST", &confirm, json!({ "count": 1 })).await, (409, "nothingHeld".to_owned()));
    assert_eq!(admin.fails("POST", "/backups", Value::Null).await, (409, "backupsOff".to_owned()));
    let (status, document) = admin.send("GET", "/openapi.json", Value::Null).await;
    assert_eq!((status, document.contains("\"3.1.0\"")), (200, true));
}
