//! The sealing key is rotated while real servers serve.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use semblance::domain::{AppId, Embedding, ModelTag, SampleId};
use semblance::gallery::{IndexedTemplate, Sample};
use semblance::store::{AppRecord, DatabaseConfig, KeyFile, KeySource, OnConflict, Store, open};
use serde_json::Value;

use super::faults::Disk;
use super::process::{App, Database, Server, command, try_start};
use crate::support::{enrolled, open_options};

/// The output of `key status`: (id, active, data keys sealed under it).
fn keys(server: &Server, database: &Database) -> Vec<(String, bool, u64)> {
    let printed = server.command(database, &["key", "status", "--json"]);
    let lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| {
            let id = line["id"].as_str().unwrap().to_owned();
            let sealed = line["sealed"].as_u64().unwrap();
            (id, line["in_force"].as_bool().unwrap(), sealed)
        })
        .collect()
}

/// Clients that enroll, list and remove until they are stopped. Every response has to be 200.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(apps: Vec<App>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicUsize::new(0));
        let both = (Arc::clone(&stop), Arc::clone(&served));
        let clients = apps.into_iter().enumerate().map(|(client, app)| {
            let (stop, served) = both.clone();
            tokio::spawn(async move {
                for turn in 0.. {
                    if stop.load(Ordering::Acquire) {
                        return;
                    }
                    let id = format!("load-{client}-{}", turn % 3);
                    let (status, reply) = match turn % 4 {
                        0 | 1 => app.post_photo("add?replace=true", "person_b_1.jpg", &[("templateId", &id)]).await,
                        2 => app.post_photo("identify", "person_b_2.jpg", &[]).await,
                        _ => app.delete(&format!("load-{client}-{}", (turn - 3) % 3)).await,
                    };
                    assert_eq!(status, 200, "{reply}");
                    served.fetch_add(1, Ordering::AcqRel);
                }
            })
        });
        Self { stop, served, clients: clients.collect() }
    }

    /// Waits until a few more requests are served.
    async fn keeps_serving(&self) {
        let (start, before) = (Instant::now(), self.served.load(Ordering::Acquire));
        while self.served.load(Ordering::Acquire) < before + 3 {
            assert!(start.elapsed() < Duration::from_secs(60), "nothing is served");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Release);
        for client in self.clients {
            client.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_rotates_the_key_of_a_running_server() {
    let database = Database::sqlite();
    let mut server = Server::start(&database).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "kept")]).await;
    let file = server.dir().join("sealing.key");
    let first = std::fs::read_to_string(&file).unwrap();
    let before = keys(&server, &database);
    let [(old, true, 1)] = &before[..] else { panic!("one active key: {before:?}") };

    let load = Load::start(vec![server.first_app()]);
    load.keeps_serving().await;
    let printed = server.command(&database, &["key", "rotate"]);
    assert!(printed.contains("is active") && printed.contains(&format!("key drop {old}")), "{printed}");
    load.keeps_serving().await;
    load.stop().await;
    let after = keys(&server, &database);
    assert_eq!(after.len(), 2);
    assert_eq!((&after[0].0, after[0].1, after[0].2, after[1].1), (old, false, 0, true));
    assert!(after[1].2 >= 1);

    // The active key cannot be dropped. The old one can, once.
    let (code, message) = server.try_command(&database, &["key", "drop", &after[1].0]);
    assert!(code == Some(1) && message.contains("is active"), "{message}");
    server.command(&database, &["key", "drop", old]);
    let (code, _) = server.try_command(&database, &["key", "drop", old]);
    assert_eq!(code, Some(1));
    assert_eq!(app.identify("person_a_2.jpg").await["result"]["templateId"], "kept");
    assert!(server.command(&database, &["journal", "verify"]).contains("each follows"), "the journal continues");

    server.kill();
    let dir = server.into_dir();
    let renewed = std::fs::read_to_string(&file).unwrap();
    assert!(renewed.lines().count() == 1 && renewed != first);
    std::fs::write(&file, first).unwrap();
    let (status, message) = try_start(&dir, &database);
    assert_eq!(status, Some(1));
    assert!(message.contains(&after[1].0) && message.contains(old), "both are named: {message}");
    std::fs::write(&file, renewed).unwrap();
    let server = Server::start_in(dir, &database, &[]).await;
    assert_eq!(server.first_app().identify("person_a_2.jpg").await["result"]["templateId"], "kept");
    assert!(server.command(&database, &["journal", "verify"]).contains("each follows"), "after a restart, too");
}

/// Two nodes with a key file each: both get the new key, then one activates it.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_get_the_new_key_before_it_is_active() {
    let Some(database) = Database::postgres().await else { return };
    let one = Server::start(&database).await;
    let app = one.first_app();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sealing.key");
    std::fs::copy(one.dir().join("sealing.key"), &file).unwrap();
    let two = Server::start_in(dir, &database, &[]).await;
    app.add("person_a_1.jpg", &[("templateId", "kept")]).await;

    one.command(&database, &["key", "add"]);
    std::fs::copy(one.dir().join("sealing.key"), &file).unwrap();
    let load = Load::start(vec![one.first_app(), two.app(app.credentials())]);
    load.keeps_serving().await;
    one.command(&database, &["key", "rotate"]);
    load.keeps_serving().await;
    load.stop().await;
    let after = keys(&two, &database);
    assert_eq!((after.len(), after[0].1, after[0].2, after[1].1), (2, false, 0, true), "{after:?}");
    for node in [&one, &two] {
        assert_eq!(node.app(app.credentials()).identify("person_a_2.jpg").await["result"]["templateId"], "kept");
        node.command(&database, &["key", "drop", &after[0].0]);
    }

    // A node without the new key reports it, and recovers when it gets the key.
    let before = std::fs::read_to_string(&file).unwrap();
    one.command(&database, &["key", "rotate"]);
    let at_two = two.app(app.credentials());
    let refused = at_two.try_photo_whole("add", "person_b_1.jpg", &[("templateId", "b")]).await;
    assert_eq!((refused.status, refused.retry_after.is_some()), (503, true), "{}", refused.body);
    assert_eq!(at_two.identify("person_a_2.jpg").await["result"]["templateId"], "kept");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    std::fs::copy(one.dir().join("sealing.key"), &file).unwrap();
    at_two.add("person_b_1.jpg", &[("templateId", "b")]).await;
}

/// Like the secrets of a container: the keys are added from outside, and the command cannot write the file.
#[tokio::test(flavor = "multi_thread")]
async fn keys_in_a_read_only_folder_are_rotated() {
    let Some(disk) = Disk::new(1) else { return };
    let file = disk.path().join("sealing_key");
    let database = Database::sqlite();
    let hex = |digit: &str| digit.repeat(64);
    std::fs::write(&file, hex("1")).unwrap();
    let given = [("SEMBLANCE_KEY_FILE", file.to_str().unwrap())];
    disk.remount("ro");
    let server = Server::start_in(tempfile::tempdir().unwrap(), &database, &given).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "kept")]).await;
    let key = |arguments: &[&str]| {
        let done = command(server.dir(), &database).envs(given).arg("key").args(arguments).output().unwrap();
        (done.status.success(), String::from_utf8(done.stdout).unwrap() + &String::from_utf8(done.stderr).unwrap())
    };
    let (rotated, output) = key(&["rotate"]);
    assert!(
        !rotated && output.to_lowercase().contains("read-only"),
        "there is no other key, and none can be created: {output}"
    );
    disk.remount("rw");
    std::fs::write(&file, format!("{}\n{}\n", hex("1"), hex("2"))).unwrap();
    disk.remount("ro");
    let (rotated, output) = key(&["rotate"]);
    assert!(rotated && output.contains("1 data keys resealed"), "{output}");
    app.add("person_b_1.jpg", &[("templateId", "new")]).await;
    let (ok, output) = key(&["status", "--json"]);
    assert!(ok && output.lines().count() == 2, "{output}");
    let last: Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    assert_eq!((&last["in_force"], &last["sealed"]), (&Value::Bool(true), &Value::from(2)), "{output}");
}

async fn open_in(dir: &Path) -> Store {
    let key = KeySource::File { file: KeyFile::new(dir.join("sealing.key")), create: true };
    let database = DatabaseConfig::Sqlite(dir.join("semblance.db"));
    open(&open_options(database, key)).await.unwrap()
}

async fn everything(dir: &Path, app: &AppId) -> Vec<IndexedTemplate> {
    open_in(dir).await.templates.load(app, &ModelTag::new("m"), None, 10_000).await.unwrap().templates
}

async fn an_app(store: &Store) -> AppId {
    let app: AppId = "a".parse().unwrap();
    store.apps.create(&AppRecord::new(app.clone(), "a", UNIX_EPOCH)).await.unwrap();
    app
}

/// Wherever a rotation is killed, the keys in the file open everything, and the next rotation completes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_rotation_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_in(dir.path()).await;
    let app = an_app(&store).await;
    let enrolled: Vec<IndexedTemplate> = (0..4000u32)
        .map(|n| {
            let raw: Vec<f32> = (0..16).map(|at| ((n * 131 + at) as f32).sin()).collect();
            let sample =
                Sample { id: SampleId::random(), embedding: Embedding::new(&raw, ModelTag::new("m")).unwrap() };
            IndexedTemplate { id: format!("t{n:04}").parse().unwrap(), samples: vec![sample] }
        })
        .collect();
    store.templates.insert_all(&app, &enrolled, OnConflict::Refuse).await.unwrap();
    let mut midway = 0;
    for delay in [20, 60, 90, 110, 130, 150, 180, 220, 260] {
        let mut rotation = command(dir.path(), &Database::sqlite());
        let rotation = rotation.args(["key", "rotate"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut rotation = rotation.spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(delay)).await;
        rotation.kill().unwrap();
        rotation.wait().unwrap();
        assert_eq!(everything(dir.path(), &app).await, enrolled, "killed after {delay} ms");
        midway += u32::from(store.keys.status().await.unwrap().in_use.len() > 1);
    }
    println!("9 rotations killed, {midway} of them half way; nothing lost");
    let done = command(dir.path(), &Database::sqlite()).args(["key", "rotate"]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let status = store.keys.status().await.unwrap();
    assert_eq!(status.in_use, [(status.active, 4000)]);
    assert_eq!(everything(dir.path(), &app).await, enrolled);
}

/// A rotation reads its rows just before another one begins. It must not reseal rows under the superseded key.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_rotations_the_later_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let file = KeyFile::new(dir.path().join("sealing.key"));
    let store = open_in(dir.path()).await;
    let app = an_app(&store).await;
    let embedding = Embedding::new(&[0.6, 0.8], ModelTag::new("m")).unwrap();
    let sample = Sample { id: SampleId::random(), embedding };
    store.templates.insert(&app, &"t".parse().unwrap(), &enrolled(sample), OnConflict::Refuse).await.unwrap();
    let first = store.keys.status().await.unwrap().active;
    let second = file.lock().unwrap().add().unwrap().id();
    let url = format!("sqlite://{}", dir.path().join("semblance.db").display());
    let mut behind = <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.unwrap();
    let under_second: String = {
        store.keys.activate(second).await.unwrap();
        reseal(&store).await;
        let row: (String,) = sqlx::query_as("SELECT hex(data_key) FROM samples").fetch_one(&mut behind).await.unwrap();
        row.0
    };
    store.keys.activate(first).await.unwrap();
    reseal(&store).await;
    let (check,): (String,) = sqlx::query_as("SELECT hex(value) FROM meta WHERE name = 'sealing check'")
        .fetch_one(&mut behind)
        .await
        .unwrap();
    store.keys.activate(second).await.unwrap();
    // The other rotation, back to the first key, locks the database after this one has read its rows.
    sqlx::query("BEGIN IMMEDIATE").execute(&mut behind).await.unwrap();
    let late = tokio::spawn({
        let store = store.clone();
        async move { reseal(&store).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    for sql in [
        format!("UPDATE meta SET value = x'{check}' WHERE name = 'sealing check'"),
        format!("UPDATE samples SET data_key = x'{under_second}'"),
        "COMMIT".to_owned(),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut behind).await.unwrap();
    }
    late.await.unwrap();
    let status = store.keys.status().await.unwrap();
    assert_eq!(status.active, first);
    let (now,): (String,) = sqlx::query_as("SELECT hex(data_key) FROM samples").fetch_one(&mut behind).await.unwrap();
    assert!(now == under_second || status.in_use == [(first, 1)], "a row was put back: {:?}", status.in_use);
    reseal(&store).await;
    assert_eq!(store.keys.status().await.unwrap().in_use, [(first, 1)]);
}

async fn reseal(store: &Store) {
    let mut at = None;
    loop {
        at = store.keys.reseal(at).await.unwrap().next;
        if at.is_none() {
            return;
        }
    }
}
