//! Commands that only look create, migrate and write nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use super::faults::Disk;
use super::process::{Database, Server, command, photo_path};
use crate::support::postgres::old_schema;

/// Every command that only looks, and whether it needs a database.
fn looking_commands() -> Vec<(Vec<String>, bool)> {
    let photo = photo_path("person_a_1.jpg").display().to_string();
    let analyze = vec!["analyze".to_owned(), photo];
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    vec![
        (words("doctor"), false),
        (analyze, false),
        (words("models list"), false),
        (words("app list"), true),
        (words("app list --json"), true),
        (words("key status"), true),
        (words("retention status"), true),
        (words("gallery check"), true),
        (words("journal verify"), true),
        (words("journal export"), true),
        (words("journal receipts"), true),
        (words("journal receipt-key"), true),
    ]
}

/// Every file below a folder: its content and the time of its last change.
fn files(dir: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let changed = std::fs::metadata(&folder).unwrap().modified().unwrap();
        found.insert(folder.display().to_string(), (Vec::new(), changed));
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let changed = std::fs::metadata(&path).unwrap().modified().unwrap();
                found.insert(path.display().to_string(), (std::fs::read(&path).unwrap(), changed));
            }
        }
    }
    found
}

/// Runs a command: whether it succeeded, and what it printed.
fn run(data: &Path, database: &Database, arguments: &[String]) -> (bool, String) {
    let done = command(data, database).args(arguments).output().unwrap();
    let printed = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8_lossy(&printed).into_owned())
}

#[test]
fn an_empty_folder_stays_empty() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let before = files(dir.path());
    for (arguments, needs_database) in looking_commands() {
        for data in [&missing, &empty] {
            let (succeeded, printed) = run(data, &Database::Sqlite, &arguments);
            assert_eq!(succeeded, !needs_database, "{arguments:?}: {printed}");
            assert!(files(dir.path()) == before, "{arguments:?} wrote: {printed}");
        }
    }
    let export = ["gallery", "export", "file"].map(str::to_owned);
    let (succeeded, printed) = run(&missing, &Database::Sqlite, &export);
    assert!(!succeeded && printed.contains("semblance.db does not exist"), "{printed}");
    assert!(files(dir.path()) == before, "an export creates no database");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// The data folder of a server that has ended: all commands work on it, on a read-only file system, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_is_read_and_not_changed() {
    let database = Database::sqlite();
    let mut server = Server::start(&database).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "person-a")]).await;
    assert_eq!(app.delete("person-a").await.0, 200);
    app.add("person_a_1.jpg", &[("templateId", "person-a")]).await;
    // Beside a running server: its log of writes is read.
    let (succeeded, printed) = run(server.dir(), &database, &["gallery", "check"].map(str::to_owned));
    assert!(succeeded && printed.contains("1 templates with 1 samples"), "{printed}");
    assert_eq!(server.stop(), Some(0));
    let disk = Disk::new(64);
    let holder = tempfile::tempdir().unwrap();
    let data = disk.as_ref().map_or(holder.path(), Disk::path).join("data");
    copy(server.dir(), &data);
    if let Some(disk) = &disk {
        disk.remount("ro");
    }
    let before = files(&data);
    for (arguments, _) in looking_commands() {
        let (succeeded, printed) = run(&data, &database, &arguments);
        // A server cannot run in a folder that is read-only, and the doctor says so.
        let is_refused = disk.is_some() && arguments == ["doctor"];
        assert_eq!(succeeded, !is_refused, "{arguments:?}: {printed}");
        assert!(files(&data) == before, "{arguments:?} wrote: {printed}");
        match arguments.join(" ").as_str() {
            "gallery check" => assert!(printed.contains("1 templates with 1 samples"), "{printed}"),
            "doctor" => assert!(printed.contains("opens with this key; 1 applications"), "{printed}"),
            _ => {}
        }
    }
    if let Some(disk) = &disk {
        disk.remount("rw");
    }
    let server = Server::start_in(server.into_dir(), &database, &[]).await;
    assert_eq!(server.first_app().get("templates/person-a").await.0, 200);
}

/// Runs the commands on a database that lacks migrations: they name what to run. Then runs it.
async fn look_at_an_old_schema(data: &Path, database: Database, version: impl AsyncFn() -> i64) {
    let before = (files(data), version().await);
    for (arguments, needs_database) in looking_commands() {
        if needs_database && arguments[0] != "journal" || arguments == ["doctor"] {
            let (succeeded, printed) = run(data, &database, &arguments);
            assert!(!succeeded, "{arguments:?}: {printed}");
            assert!(printed.contains("semblance database migrate"), "{arguments:?}: {printed}");
            assert!(files(data) == before.0, "{arguments:?} wrote: {printed}");
            assert_eq!(version().await, before.1, "{arguments:?} migrated");
        }
    }
    let migrate = ["database", "migrate"].map(str::to_owned);
    let (succeeded, printed) = run(data, &database, &migrate);
    assert!(succeeded && printed.contains("2 migrations applied"), "{printed}");
    assert_eq!(version().await, before.1 + 2);
    let (succeeded, printed) = run(data, &database, &migrate);
    assert!(succeeded && printed.contains("up to date") && !printed.contains("applied"), "{printed}");
    assert!(!data.join("sealing.key").exists(), "a migration needs no key");
    let (succeeded, printed) = run(data, &database, &["doctor"].map(str::to_owned));
    assert!(succeeded && printed.contains("no sealing key yet"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_schema_is_named_and_not_migrated() {
    use sqlx::{Connection as _, SqliteConnection};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("semblance.db");
    let url = format!("sqlite:{}?mode=rwc", path.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("PRAGMA journal_mode = WAL").execute(&mut connection).await.unwrap();
    old_schema("sqlite", 2).run(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let version = async || {
        let url = format!("sqlite:{}?mode=ro&immutable=true", path.display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        let sql = "SELECT max(version) FROM _sqlx_migrations";
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
    };
    look_at_an_old_schema(dir.path(), Database::Sqlite, version).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_schema_on_postgres_is_named_and_not_migrated() {
    use sqlx::{Connection as _, PgConnection};
    let Some(Database::Postgres(url)) = Database::postgres().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    old_schema("postgres", 2).run(&mut connection).await.unwrap();
    let version = async || {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let sql = "SELECT max(version) FROM _sqlx_migrations";
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
    };
    look_at_an_old_schema(dir.path(), Database::Postgres(url.clone()), version).await;
}
