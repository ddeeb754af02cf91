//! Several keys of one application, managed by commands while servers run.

use serde_json::Value;

use super::process::{App, Database, Server};
use crate::support::eventually;

on_both_databases! {
    a_leaked_key_is_replaced_and_others_go_on;
    an_application_is_suspended_limited_and_resumed;
}

const TEMPLATES: &str = "templates";

struct Made {
    id: String,
    app: App,
}

/// A key that a command prints.
fn made(server: &Server, printed: &str) -> Made {
    let printed: Value = serde_json::from_str(printed).unwrap();
    let text = |name: &str| printed[name].as_str().unwrap().to_owned();
    Made { id: text("key_id"), app: server.app((text("app_id"), text("app_key"))) }
}

/// What `app key list` prints of a key.
fn listed(server: &Server, database: &Database, app: &str, key: &str) -> Value {
    let printed = server.command(database, &["app", "key", "list", app, "--json"]);
    let lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.into_iter().find(|line| line["key_id"] == *key).expect("the key is listed")
}

async fn status(app: &App) -> u16 {
    app.get(TEMPLATES).await.0
}

async fn a_leaked_key_is_replaced_and_others_go_on(database: Database) {
    let server = Server::start(&database).await;
    let first = server.first_app();
    first.add("person_a_1.jpg", &[("templateId", "a")]).await;
    let (id, _) = first.credentials();
    let run = |arguments: &[&str]| server.command(&database, &[&["app", "key"], arguments].concat());

    let gate = made(&server, &run(&["add", &id, "gate", "--scopes", "identify", "--json"]));
    eventually("the key is in force", async || gate.app.get("key").await.0 == 200).await;
    assert_eq!(gate.app.identify("person_a_2.jpg").await["result"]["templateId"], "a");
    let (refused, reply) = gate.app.get(TEMPLATES).await;
    assert_eq!((refused, &reply["result"]["details"]["scope"]), (403, &"read".into()), "{reply}");
    let (refused, _) = gate.app.delete("a").await;
    assert_eq!(refused, 403, "a stolen key of a gate erases no one");

    // It has leaked: no overlap.
    let new = made(&server, &run(&["rotate", &id, &gate.id, "--json"]));
    eventually("the leaked key is refused", async || gate.app.get("key").await.0 == 401).await;
    assert_eq!(new.app.identify("person_a_2.jpg").await["result"]["templateId"], "a");
    assert_eq!((new.app.get(TEMPLATES).await.0, status(&first).await), (403, 200), "scopes stay, and other keys");
    assert_eq!(listed(&server, &database, &id, &gate.id)["state"], "ended");

    // It is only replaced: both are accepted for a while.
    let newest = made(&server, &run(&["rotate", &id, &new.id, "--overlap", "3s", "--json"]));
    eventually("the newest key is in force", async || newest.app.get("key").await.0 == 200).await;
    let (_, reply) = new.app.get("key").await;
    if let Some(ends_at) = reply["result"]["endsAt"].as_str() {
        assert_eq!(listed(&server, &database, &id, &new.id)["ends_at"], ends_at);
    }
    eventually("the overlap ends", async || new.app.get("key").await.0 == 401).await;
    let (_, reply) = newest.app.get("key").await;
    assert_eq!((&reply["result"]["keyId"], &reply["result"]["endsAt"]), (&newest.id.as_str().into(), &Value::Null));

    run(&["scopes", &id, &newest.id, "identify,read"]);
    eventually("the scopes are in force", async || status(&newest.app).await == 200).await;
    run(&["suspend", &id, &newest.id]);
    eventually("the key is suspended", async || status(&newest.app).await == 401).await;
    run(&["resume", &id, &newest.id]);
    eventually("the key is resumed", async || status(&newest.app).await == 200).await;
    run(&["rename", &id, &newest.id, "door"]);
    run(&["end", &id, &newest.id]);
    eventually("the key is ended", async || status(&newest.app).await == 401).await;
    let last = listed(&server, &database, &id, &newest.id);
    assert_eq!(
        (&last["name"], &last["state"], &last["created_by"]),
        (&"door".into(), &"ended".into(), &"command".into())
    );

    // The command that knows one key alone asks for a name where there are several.
    let beside = made(&server, &run(&["add", &id, "beside", "--json"]));
    let (code, message) = server.try_command(&database, &["app", "rotate-key", &id]);
    assert!(code == Some(1) && message.contains("has 2 keys"), "{message}");
    let (code, message) = server.try_command(&database, &["app", "key", "resume", &id, &newest.id]);
    assert!(code == Some(1) && message.contains("the key is ended"), "{message}");
    eventually("the key beside is in force", async || beside.app.get(TEMPLATES).await.0 == 200).await;

    // The journal says which key was refused and why, and what was changed, never a key.
    let journal = || server.command(&database, &["journal", "export"]);
    let has = |journal: &str, texts: &[&str]| journal.lines().any(|line| texts.iter().all(|text| line.contains(text)));
    eventually("the changes are in the journal", async || {
        let journal = journal();
        has(&journal, &["app key rotate", &gate.id]) && has(&journal, &["app key end", &newest.id])
    })
    .await;
    run(&["suspend", &id, &beside.id]);
    for (key, why) in [(&gate, "key ended"), (&beside, "key suspended")] {
        // Lines of refused requests are bounded: a later one has its own.
        eventually("the refusal is in the journal", async || {
            status(&key.app).await == 401 && has(&journal(), &["\"status\":401", &key.id, why])
        })
        .await;
    }
    let journal = journal();
    for key in [&gate, &new, &newest, &beside] {
        assert!(!journal.contains(&key.app.credentials().1) && !server.log().contains(&key.app.credentials().1));
    }
}

async fn an_application_is_suspended_limited_and_resumed(database: Database) {
    let server = Server::start(&database).await;
    let app = server.first_app();
    let other = server.app(server.create_app("other", &database).await);
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    let (id, _) = app.credentials();
    let run = |arguments: &[&str]| server.command(&database, &[&["app"], arguments].concat());

    run(&["suspend", &id]);
    eventually("it is suspended", async || status(&app).await == 401).await;
    assert_eq!(status(&other).await, 200);
    run(&["resume", &id]);
    eventually("it is resumed", async || status(&app).await == 200).await;
    assert_eq!(app.identify("person_a_2.jpg").await["result"]["templateId"], "a", "its gallery was kept");

    run(&["threshold", &id, "1"]);
    eventually("no other photo matches", async || {
        app.identify("person_a_2.jpg").await["result"]["templateId"].is_null()
    })
    .await;
    run(&["threshold", &id, "default"]);
    eventually("the server's threshold", async || app.identify("person_a_2.jpg").await["result"]["templateId"] == "a")
        .await;

    run(&["limits", &id, "--per-second", "0.001", "--burst", "1"]);
    eventually("the rate is limited", async || status(&app).await == 429).await;
    assert_eq!(status(&other).await, 200);
    run(&["limits", &id, "--per-second", "default", "--share", "0.5", "--templates", "7"]);
    eventually("the rate is that of the server", async || status(&app).await == 200).await;
    run(&["rename", &id, "the gate"]);
    let list = run(&["list", "--json"]);
    let listed = list.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).find(|app| app["app_id"] == *id);
    let listed = listed.unwrap();
    assert_eq!(
        (&listed["name"], &listed["burst"], &listed["share"], &listed["max_templates"], &listed["per_second"]),
        (&"the gate".into(), &1.into(), &0.5.into(), &7.into(), &Value::Null),
        "{listed}"
    );
    for (arguments, message) in [
        (&["limits", &id, "--share", "2"][..], "nor a share above 0"),
        (&["limits", &id], "required"),
        (&["threshold", &id, "75"], "a similarity from 0 to 1"),
        (&["suspend", "unknown"], "there is no application unknown"),
    ] {
        let (code, printed) = server.try_command(&database, &[&["app"], arguments].concat());
        assert!(code != Some(0) && printed.contains(message), "{arguments:?}: {printed}");
    }
}

/// The last use of a key is written when the server stops, so that no minute of it is lost.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_of_a_key_survives_a_stop() {
    let database = Database::sqlite();
    let mut server = Server::start(&database).await;
    let (id, _) = server.first_app().credentials();
    let printed = server.command(&database, &["app", "key", "add", &id, "unused", "--json"]);
    let unused = made(&server, &printed);
    assert_eq!(status(&server.first_app()).await, 200);
    assert_eq!(server.stop(), Some(0));
    let list = server.command(&database, &["app", "key", "list", &id, "--json"]);
    let list: Vec<Value> = list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |is_unused: bool| list.iter().find(|key| (key["key_id"] == *unused.id) == is_unused).unwrap();
    assert!(of(true)["last_used_at"].is_null() && of(false)["last_used_at"].is_string(), "{list:?}");
    assert_eq!((of(false)["created_by"].as_str(), of(true)["created_by"].as_str()), (Some("server"), Some("command")));
}

/// A change is in force on every node, wherever it was made.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_on_every_node() {
    let Some(database) = Database::postgres().await else { return };
    let key = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    let start = async || {
        let environment = [("SEMBLANCE_KEY", key.as_str()), ("SEMBLANCE_DATABASE_CONNECTIONS", "4")];
        Server::start_in(tempfile::tempdir().unwrap(), &database, &environment).await
    };
    let one = start().await;
    let two = start().await;
    let (id, _) = one.first_app().credentials();
    let run = |arguments: &[&str]| {
        let mut command = super::process::command(one.dir(), &database);
        let done = command.env("SEMBLANCE_KEY", &key).args(["app", "key"]).args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let added = made(&one, &run(&["add", &id, "gate", "--scopes", "read", "--json"]));
    let on_both = async |status: u16| {
        for node in [&one, &two] {
            let app = node.app(added.app.credentials());
            eventually("the node has seen the change", async || app.get(TEMPLATES).await.0 == status).await;
        }
    };
    on_both(200).await;
    run(&["scopes", &id, &added.id, "identify"]);
    on_both(403).await;
    run(&["suspend", &id, &added.id]);
    on_both(401).await;
}
