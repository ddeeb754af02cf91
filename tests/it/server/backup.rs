//! Backup, restore and copy, with real servers: clients keep their keys, and no one is lost.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use semblance::domain::{AppId, Embedding, ModelTag, SampleId};
use semblance::gallery::{IndexedTemplate, Sample};
use semblance::store::{AppRecord, DatabaseConfig, KeyFile, KeySource, OnConflict, OpenOptions, Store, open};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Database, Server, command};
use crate::support::{eventually, figure, open_options};

/// How a database gets to another place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Backup,
    Copy,
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_restored_into_sqlite() {
    moves(Database::sqlite(), Database::sqlite(), Way::Backup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_restored_into_postgres() {
    let Some(to) = Database::postgres().await else { return };
    moves(Database::sqlite(), to, Way::Backup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_restored_into_sqlite() {
    let Some(from) = Database::postgres().await else { return };
    moves(from, Database::sqlite(), Way::Backup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_restored_into_postgres() {
    let (Some(from), Some(to)) = (Database::postgres().await, Database::postgres().await) else { return };
    moves(from, to, Way::Backup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_is_copied_to_postgres() {
    let Some(to) = Database::postgres().await else { return };
    moves(Database::sqlite(), to, Way::Copy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_copied_to_sqlite() {
    let Some(from) = Database::postgres().await else { return };
    moves(from, Database::sqlite(), Way::Copy).await;
}

/// Clients, keys with their overlap, retention, times and the journal move with the database, while others write.
async fn moves(from: Database, to: Database, way: Way) {
    let mut server = Server::start(&from).await;
    let app = server.first_app();
    let (id, _) = app.credentials();
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    app.add("person_b_1.jpg", &[("templateId", "b")]).await;
    app.post_photo("templates/b/samples", "person_b_2.jpg", &[]).await;
    server.command(&from, &["app", "retention", &id, "365d"]);
    server.command(&from, &["app", "guard", &id, "warn"]);
    let rotated = server.command(&from, &["app", "rotate-key", &id, "--overlap", "2h", "--json"]);
    let rotated: Value = serde_json::from_str(&rotated).unwrap();
    let newer = server.app((id.clone(), rotated["app_key"].as_str().unwrap().to_owned()));
    let other = server.app(server.create_app("other", &from).await);
    other.add("person_b_1.jpg", &[("templateId", "elsewhere")]).await;
    let apps = server.command(&from, &["app", "list", "--json"]);
    let before = [app.get("templates/a").await.1, app.get("templates/b").await.1];

    let place = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    let file = place.path().join("people.backup");
    if way == Way::Backup {
        // Others write meanwhile.
        let stop = Arc::new(AtomicBool::new(false));
        let written = Arc::new(AtomicUsize::new(0));
        let writer = tokio::spawn({
            let (stop, written, busy) = (Arc::clone(&stop), Arc::clone(&written), server.app(app.credentials()));
            async move {
                while !stop.load(Ordering::Relaxed) {
                    busy.add("impostor_1.jpg", &[("templateId", "coming and going")]).await;
                    assert_eq!(busy.delete("coming and going").await.0, 200);
                    written.fetch_add(2, Ordering::Relaxed);
                }
            }
        });
        eventually("others write", async || written.load(Ordering::Relaxed) > 0).await;
        let (code, printed) = server.try_command(&from, &["backup", file.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{printed}");
        let key = key_id(server.dir());
        assert!(
            printed.contains("2 applications") && printed.contains(&key),
            "the backup names its key {key}: {printed}"
        );
        stop.store(true, Ordering::Relaxed);
        writer.await.unwrap();
    }
    assert_eq!(server.stop(), Some(0));
    let old = server.into_dir();
    std::fs::copy(old.path().join("sealing.key"), target.path().join("sealing.key")).unwrap();
    let start = Instant::now();
    match way {
        Way::Backup => {
            let done = run(target.path(), &to, &["restore", file.to_str().unwrap()]);
            assert!(done.0 && done.1.contains("2 applications"), "{}", done.1);
        }
        Way::Copy => {
            let to = match &to {
                Database::Sqlite => target.path().to_str().unwrap(),
                Database::Postgres(url) => url,
            };
            let done = run(old.path(), &from, &["database", "copy", "--to", to]);
            assert!(done.0 && done.1.contains("2 applications"), "{}", done.1);
        }
    }
    let took = start.elapsed();
    // The journal goes along, and goes on.
    std::fs::rename(old.path().join("journal"), target.path().join("journal")).unwrap();
    std::fs::copy(old.path().join("node"), target.path().join("node")).unwrap();

    let server = Server::start_in(target, &to, &[]).await;
    assert!(!server.dir().join("credentials.json").exists(), "no first run");
    assert_eq!(
        without_last_use(&server.command(&to, &["app", "list", "--json"])),
        without_last_use(&apps),
        "keys, guard, quality, retention"
    );
    for credentials in [app.credentials(), newer.credentials()] {
        let app = server.app(credentials);
        assert_eq!(app.identify("person_a_2.jpg").await["result"]["templateId"], "a");
        assert_eq!(app.identify("person_b_2.jpg").await["result"]["similarity"], 1, "the added sample is there, too");
        for (id, before) in ["a", "b"].iter().zip(&before) {
            let after = app.get(&format!("templates/{id}")).await.1;
            let times = |reply: &Value| (reply["result"]["createdAt"].clone(), reply["result"]["samples"].clone());
            assert!(before["result"]["createdAt"].is_string());
            assert_eq!(times(&after), times(before));
        }
    }
    let other = server.app(other.credentials());
    assert_eq!(other.identify("person_b_2.jpg").await["result"]["templateId"], "elsewhere");
    assert_eq!(other.delete("elsewhere").await.0, 200, "and it can be written");
    server.app(newer.credentials()).add("impostor_2.jpg", &[("templateId", "new")]).await;
    let verified = server.command(&to, &["journal", "verify"]);
    assert!(verified.contains("each follows the one before it"), "{verified}");
    eventually("its own journal goes on, and the database knows it", async || {
        server.command(&to, &["journal", "verify"]).contains("the database knows line")
    })
    .await;
    let kind = |database: &Database| if matches!(database, Database::Sqlite) { "SQLite" } else { "Postgres" };
    figure(
        &format!("{way:?} from {} to {}", kind(&from), kind(&to)),
        &format!("2 applications, 3 keys and 3 templates, 0 lost, {} ms", took.as_millis()),
    );
}

/// Runs a command: whether it succeeded, and all it printed.
fn run(dir: &Path, database: &Database, arguments: &[&str]) -> (bool, String) {
    let done = command(dir, database).args(arguments).output().unwrap();
    let printed = [done.stdout, done.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (done.status.success(), printed)
}

fn key_id(dir: &Path) -> String {
    KeyFile::new(dir.join("sealing.key")).load().unwrap().last().unwrap().id().to_string()
}

async fn open_in(dir: &Path, database: &Database) -> Store {
    let config = match database {
        Database::Sqlite => DatabaseConfig::Sqlite(dir.join("semblance.db")),
        Database::Postgres(url) => DatabaseConfig::Postgres { url: url.clone().into(), password_file: None },
    };
    let key = KeySource::File { file: KeyFile::new(dir.join("sealing.key")), create: true };
    open(&OpenOptions { timeout: Duration::from_secs(20), ..open_options(config, key) }).await.unwrap()
}

/// A gallery of so many templates, which need no photos, and the id of its application.
async fn filled(dir: &Path, database: &Database, count: u32) -> AppId {
    let store = open_in(dir, database).await;
    let id: AppId = "app".parse().unwrap();
    let created_at = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let record = AppRecord::new(id.clone(), "app", created_at);
    assert!(store.apps.create(&record).await.unwrap());
    let template = |n: u32| {
        let raw: Vec<f32> = (0..128).map(|at| ((n * 131 + at) as f32).sin()).collect();
        let sample = Sample { id: SampleId::random(), embedding: Embedding::new(&raw, ModelTag::new("m")).unwrap() };
        IndexedTemplate { id: format!("t{n:06}").parse().unwrap(), samples: vec![sample] }
    };
    for first in (0..count).step_by(1000) {
        let batch: Vec<_> = (first..count.min(first + 1000)).map(template).collect();
        store.templates.insert_all(&id, &batch, OnConflict::Refuse).await.unwrap();
    }
    id
}

fn backup(dir: &Path, database: &Database, file: &Path) {
    let (done, printed) = run(dir, database, &["backup", file.to_str().unwrap()]);
    assert!(done, "{printed}");
}

/// A new data folder with the sealing key of another one.
fn target_of(dir: &Path) -> TempDir {
    let target = tempfile::tempdir().unwrap();
    std::fs::copy(dir.join("sealing.key"), target.path().join("sealing.key")).unwrap();
    target
}

/// Starts a command and kills it after a while. Whether it was still running.
async fn kill_after(dir: &Path, database: &Database, arguments: &[&str], delay: Duration) -> bool {
    let mut child = command(dir, database).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    tokio::time::sleep(delay).await;
    let was_running = child.try_wait().unwrap().is_none();
    let _ = child.kill();
    child.wait().unwrap();
    was_running
}

const TEMPLATES: u32 = 5000;

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_restore_is_harmless_on_sqlite() {
    let targets = vec![Database::sqlite(), Database::sqlite(), Database::sqlite(), Database::sqlite()];
    an_interrupted_restore_is_harmless(targets, "SQLite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_restore_is_harmless_on_postgres() {
    let mut targets = Vec::new();
    for _ in 0..4 {
        let Some(target) = Database::postgres().await else { return };
        targets.push(target);
    }
    an_interrupted_restore_is_harmless(targets, "Postgres").await;
}

async fn an_interrupted_restore_is_harmless(targets: Vec<Database>, kind: &str) {
    let place = tempfile::tempdir().unwrap();
    let from = tempfile::tempdir().unwrap();
    let id = filled(from.path(), &Database::sqlite(), TEMPLATES).await;
    let file = place.path().join("a.backup");
    backup(from.path(), &Database::sqlite(), &file);
    let restore = ["restore", file.to_str().unwrap()];
    // How long a restore takes here, so that the kills fall into it.
    let whole = target_of(from.path());
    let (first, others) = targets.split_first().unwrap();
    let start = Instant::now();
    let (done, printed) = run(whole.path(), first, &restore);
    assert!(done, "{printed}");
    let length = start.elapsed();
    let mut interrupted = 0;
    for (at, target) in others.iter().enumerate() {
        let dir = target_of(from.path());
        let share = [0.4, 0.6, 0.85][at % 3];
        interrupted += u32::from(kill_after(dir.path(), target, &restore, length.mul_f64(share)).await);
        let store = open_in(dir.path(), target).await;
        let count = store.apps.list().await.unwrap().len();
        drop(store);
        let (done, printed) = run(dir.path(), target, &restore);
        assert_eq!(done, count == 0, "it is all there, or nothing is: {printed}");
        let store = open_in(dir.path(), target).await;
        assert_eq!(store.templates.count(&id).await.unwrap(), TEMPLATES as usize);
    }
    assert!(interrupted > 0, "no kill was early enough");
    figure(
        &format!("restore into {kind}, killed"),
        &format!("{interrupted} of {} kills midway; then {TEMPLATES} templates each time", others.len()),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_backup_leaves_no_file_under_its_name() {
    let database = Database::sqlite();
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), &database, TEMPLATES).await;
    let file = dir.path().join("a.backup");
    let start = Instant::now();
    backup(dir.path(), &database, &file);
    let length = start.elapsed();
    let bytes = std::fs::metadata(&file).unwrap().len();
    figure("backup of SQLite", &format!("{TEMPLATES} templates in {} ms, {} KiB", length.as_millis(), bytes >> 10));
    let (done, printed) = run(dir.path(), &database, &["backup", file.to_str().unwrap()]);
    assert!(!done && printed.contains("--force replaces it"), "{printed}");
    let other = dir.path().join("b.backup");
    for share in [0.5, 0.7, 0.9] {
        let arguments = ["backup", other.to_str().unwrap()];
        kill_after(dir.path(), &database, &arguments, length.mul_f64(share)).await;
        if other.exists() {
            run_check(dir.path(), &other); // killed after its end
            std::fs::remove_file(&other).unwrap();
        }
    }
    let piped = command(dir.path(), &database).args(["backup", "-"]).output().unwrap();
    assert!(piped.status.success(), "{}", String::from_utf8_lossy(&piped.stderr));
    std::fs::write(&file, piped.stdout).unwrap();
    run_check(dir.path(), &file);
    backup(dir.path(), &database, &other);
    run_check(dir.path(), &other);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&other).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

fn run_check(dir: &Path, file: &Path) {
    let (done, printed) = run(dir, &Database::sqlite(), &["restore", "--check", file.to_str().unwrap()]);
    assert!(done && printed.contains(&format!("{TEMPLATES} templates")), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_whole_is_refused_and_nothing_is_created() {
    let database = Database::sqlite();
    let from = tempfile::tempdir().unwrap();
    filled(from.path(), &database, 500).await;
    let file = from.path().join("a.backup");
    backup(from.path(), &database, &file);
    let whole = std::fs::read(&file).unwrap();
    let plain = [b"t000499".as_slice(), b"\"app_id\"", b"applications"];
    assert!(plain.iter().all(|text| !whole.windows(text.len()).any(|seen| seen == *text)), "names are sealed, too");
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let mut renamed = whole.clone();
    let at = whole.windows(9).position(|seen| seen == b"createdAt").unwrap() + 15;
    renamed[at] ^= 1; // a digit of the time in the header
    let mut newer = whole.clone();
    newer[7] = 9;
    let cases: [(&str, Vec<u8>, &str); 7] = [
        ("cut off", whole[..whole.len() - 1].to_vec(), "cut off"),
        ("cut off early", whole[..20].to_vec(), "cut off"),
        ("a byte more", [whole.as_slice(), b"x"].concat(), "damaged"),
        ("a bit flipped", flipped, "damaged"),
        ("another header", renamed, "damaged"),
        ("a newer format", newer, "format 9"),
        ("a photo", super::process::photo("person_a_1.jpg"), "not a backup"),
    ];
    for (case, bytes, message) in cases {
        let target = target_of(from.path());
        let file = target.path().join("file");
        std::fs::write(&file, bytes).unwrap();
        let (done, printed) = run(target.path(), &database, &["restore", file.to_str().unwrap()]);
        assert!(!done && printed.contains(message), "{case}: {printed}");
        assert_eq!(files(target.path()), ["file", "sealing.key"], "{case}");
    }
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The backup names its keys, before anything is created.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_needs_the_keys_of_its_time() {
    let database = Database::sqlite();
    let from = tempfile::tempdir().unwrap();
    filled(from.path(), &database, 100).await;
    let old_key = key_id(from.path());
    let file = from.path().join("a.backup");
    backup(from.path(), &database, &file);
    for arguments in [["key", "rotate", ""], ["key", "drop", &old_key]] {
        let arguments: Vec<&str> = arguments.into_iter().filter(|text| !text.is_empty()).collect();
        let (done, printed) = run(from.path(), &database, &arguments);
        assert!(done, "{printed}");
    }
    let new_key = key_id(from.path());
    assert_ne!(old_key, new_key);
    let target = target_of(from.path());
    let (done, printed) = run(target.path(), &database, &["restore", file.to_str().unwrap()]);
    let named = printed.contains(&format!("needs the sealing keys {old_key}")) && printed.contains(&new_key);
    assert!(!done && named, "{printed}");
    assert_eq!(files(target.path()), ["sealing.key"]);
    let none = tempfile::tempdir().unwrap();
    let (done, printed) = run(none.path(), &database, &["restore", file.to_str().unwrap()]);
    assert!(!done && printed.contains(&old_key) && printed.contains("given (none)"), "{printed}");
    assert_eq!(files(none.path()), Vec::<String>::new(), "no other key is made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_use_is_not_overwritten() {
    let database = Database::sqlite();
    let from = tempfile::tempdir().unwrap();
    filled(from.path(), &database, 10).await;
    let file = from.path().join("a.backup");
    backup(from.path(), &database, &file);
    let (done, printed) = run(from.path(), &database, &["restore", file.to_str().unwrap()]);
    assert!(!done && printed.contains("already has applications"), "{printed}");
    let copy = from.path().to_str().unwrap();
    let (done, printed) = run(from.path(), &database, &["database", "copy", "--to", copy]);
    assert!(!done && printed.contains("already has applications"), "{printed}");
    let server = Server::start(&database).await;
    let (code, printed) = server.try_command(&database, &["restore", file.to_str().unwrap()]);
    assert!(code == Some(1) && printed.contains("a server is running"), "{printed}");
    let elsewhere: PathBuf = from.path().join("elsewhere");
    let (code, printed) = server.try_command(&database, &["database", "copy", "--to", elsewhere.to_str().unwrap()]);
    assert!(code == Some(1) && printed.contains("--while-serving"), "{printed}");
    let arguments = ["database", "copy", "--while-serving", "--to", elsewhere.to_str().unwrap()];
    let (code, printed) = server.try_command(&database, &arguments);
    assert_eq!(code, Some(0), "{printed}");
    assert!(server.first_app().get("templates").await.0 == 200);
}

/// The credentials of another application stay, and a rotation rewrites its own.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_belong_to_their_application() {
    let database = Database::sqlite();
    let dir = tempfile::tempdir().unwrap();
    let other = json!({ "app_id": "another", "app_key": "00" }).to_string();
    std::fs::write(dir.path().join("credentials.json"), &other).unwrap();
    let server = Server::start_in(dir, &database, &[]).await;
    let kept = || std::fs::read_to_string(server.dir().join("credentials.json")).unwrap();
    assert_eq!(kept(), other);
    let own = files(server.dir()).into_iter().find(|name| name.starts_with("credentials-")).unwrap();
    let saved = || -> (String, String) {
        let value: Value = serde_json::from_slice(&std::fs::read(server.dir().join(&own)).unwrap()).unwrap();
        (value["app_id"].as_str().unwrap().to_owned(), value["app_key"].as_str().unwrap().to_owned())
    };
    let first = saved();
    assert_eq!(own, format!("credentials-{}.json", first.0));
    assert_eq!(server.app(first.clone()).get("templates").await.0, 200);
    let printed: Value =
        serde_json::from_str(&server.command(&database, &["app", "rotate-key", &first.0, "--json"])).unwrap();
    assert_eq!(printed["app_key"], saved().1, "the file has the key that is printed");
    assert_ne!(saved().1, first.1);
    eventually("the new key is in force", async || server.app(saved()).get("templates").await.0 == 200).await;
    let (id, _) = server.create_app("second", &database).await;
    let before = saved();
    server.command(&database, &["app", "rotate-key", &id]);
    assert_eq!((saved(), kept()), (before, other), "another application's rotation leaves both files");
}

/// An export keeps the times of enrollments, so that a retention period does not begin again.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_keeps_the_times() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let app = server.first_app();
    app.add("person_b_1.jpg", &[("templateId", "b")]).await;
    app.post_photo("templates/b/samples", "person_b_2.jpg", &[]).await;
    let before = app.get("templates/b").await.1;
    let file = server.dir().join("export.ndjson");
    server.command(&database, &["gallery", "export", file.to_str().unwrap()]);
    assert_eq!(app.delete("b").await.0, 200);
    tokio::time::sleep(Duration::from_millis(20)).await;
    server.command(&database, &["gallery", "import", file.to_str().unwrap()]);
    let after = app.get("templates/b").await.1;
    assert_eq!(after["result"]["createdAt"], before["result"]["createdAt"]);
    let kept = |reply: &Value| -> Vec<Value> {
        let samples = reply["result"]["samples"].as_array().unwrap();
        samples.iter().map(|sample| json!([sample["sampleId"], sample["model"], sample["createdAt"]])).collect()
    };
    assert_eq!(kept(&after), kept(&before), "ids, models and times");
    let (id, _) = app.credentials();
    // A file of an earlier version has no times, one from a clock that is ahead counts as now.
    let text = std::fs::read_to_string(&file).unwrap();
    let mut line: Value = serde_json::from_str(text.trim()).unwrap();
    line["createdAt"] = json!("9000-01-01T00:00:00.000Z");
    line["templateId"] = json!("ahead");
    let mut old = line.clone();
    old["templateId"] = json!("old");
    old.as_object_mut().unwrap().remove("createdAt");
    old["samples"].as_array_mut().unwrap().iter_mut().for_each(|sample| {
        sample.as_object_mut().unwrap().remove("createdAt");
    });
    std::fs::write(&file, format!("{line}\n{old}\n")).unwrap();
    server.command(&database, &["gallery", "import", "--app", &id, file.to_str().unwrap()]);
    for name in ["ahead", "old"] {
        let at = app.get(&format!("templates/{name}")).await.1["result"]["createdAt"].as_str().unwrap().to_owned();
        assert!(at.as_str() > before["result"]["createdAt"].as_str().unwrap() && at.as_str() < "8000", "{name}: {at}");
    }
}

/// The lines of `app list --json` without when a key was last used, which a server writes when it stops.
fn without_last_use(lines: &str) -> Vec<Value> {
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let without = |mut app: Value| {
        for key in app["keys"].as_array_mut().unwrap() {
            key["last_used_at"] = Value::Null;
        }
        app
    };
    lines.map(without).collect()
}
