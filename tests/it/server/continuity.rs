//! A server refuses a database file that was exchanged or lost its write-ahead log, and changes nothing.

use std::path::Path;

use tempfile::TempDir;

use super::process::{App, Database, Server, command, try_start};
use crate::support::{eventually, figure};

const FILES: [&str; 2] = ["semblance.db", "semblance.db-wal"];

/// The contents of the database file and its log.
fn contents(dir: &Path) -> Vec<Option<Vec<u8>>> {
    FILES.iter().map(|name| std::fs::read(dir.join(name)).ok()).collect()
}

/// The start is refused with one of these reasons, and the files stay as they are.
fn refused(dir: &TempDir, reasons: &[&str]) {
    let before = contents(dir.path());
    let (code, message) = try_start(dir, &Database::sqlite());
    let is_named = reasons.iter().any(|reason| message.contains(reason));
    assert!(code == Some(1) && is_named, "{reasons:?}: {message}");
    assert!(contents(dir.path()) == before, "{reasons:?}: the files are unchanged");
}

fn copy(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

async fn enroll(app: &App, names: std::ops::Range<usize>) {
    for name in names {
        app.add("person_a_1.jpg", &[("templateId", &format!("t{name:02}"))]).await;
    }
}

async fn listed(app: &App) -> usize {
    app.get("templates?limit=100").await.1["result"]["templates"].as_array().unwrap().len()
}

/// `cp` of the file of a running server.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_copied_from_a_running_server_is_refused() {
    let mut server = Server::start(&Database::sqlite()).await;
    let app = server.first_app();
    enroll(&app, 0..26).await;
    let target = tempfile::tempdir().unwrap();
    copy(server.dir(), target.path(), &["semblance.db", "sealing.key"]);
    refused(&target, &["was copied while it was in use"]);
    // The log of the same moment belongs to it.
    copy(server.dir(), target.path(), &["semblance.db-wal"]);
    let copied = Server::start_in(target, &Database::sqlite(), &[]).await;
    assert_eq!(listed(&copied.app(app.credentials())).await, 26);
    drop(copied);

    // After a clean stop the file is complete.
    assert_eq!(server.stop(), Some(0));
    assert!(!server.dir().join("semblance.db-wal").exists(), "its log is written into it");
    let target = tempfile::tempdir().unwrap();
    copy(server.dir(), target.path(), &["semblance.db", "sealing.key"]);
    let copied = Server::start_in(target, &Database::sqlite(), &[]).await;
    assert_eq!(listed(&copied.app(app.credentials())).await, 26);
    figure("cp of a live SQLite file", "refused; 26 of 26 templates after a copy with its log, and after a clean stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_lost_its_log_is_refused() {
    let mut server = Server::start(&Database::sqlite()).await;
    let app = server.first_app();
    enroll(&app, 0..5).await;
    server.kill();
    let dir = server.into_dir();
    let log = dir.path().join("semblance.db-wal");
    let kept = dir.path().join("kept");
    std::fs::rename(&log, &kept).unwrap();
    refused(&dir, &["is an older state of the database"]);
    for arguments in [["app", "list"], ["gallery", "check"]] {
        let done = command(dir.path(), &Database::sqlite()).args(arguments).output().unwrap();
        let message = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && message.contains("is an older state"), "{arguments:?}: {message}");
    }
    std::fs::rename(&kept, &log).unwrap();
    let mut server = Server::start_in(dir, &Database::sqlite(), &[]).await;
    assert_eq!(listed(&server.app(app.credentials())).await, 5, "with its log it is whole");
    server.kill();
    let dir = server.into_dir();
    std::fs::remove_file(dir.path().join("semblance.db-wal")).unwrap();
    refused(&dir, &["database accept"]);
    let done = command(dir.path(), &Database::sqlite()).args(["database", "accept"]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // The operator has decided; how much is left depends on when the log was last written into the file.
    Server::start_in(dir, &Database::sqlite(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_file_under_a_newer_log_is_refused() {
    let mut server = Server::start(&Database::sqlite()).await;
    let app = server.first_app();
    enroll(&app, 0..5).await;
    let older = tempfile::tempdir().unwrap();
    copy(server.dir(), older.path(), &FILES);
    // An erasure makes the server write its log into the file, and begin another one.
    assert_eq!(app.delete("t00").await.0, 200);
    let file = server.dir().join("semblance.db");
    let before = std::fs::read(older.path().join("semblance.db")).unwrap();
    eventually("the file is written", async || std::fs::read(&file).unwrap() != before).await;
    enroll(&app, 5..10).await;
    server.kill();
    let dir = server.into_dir();
    let newest = tempfile::tempdir().unwrap();
    copy(dir.path(), newest.path(), &FILES);

    copy(older.path(), dir.path(), &["semblance.db"]);
    refused(&dir, &["do not belong together"]);
    // Nor is it accepted.
    let done = command(dir.path(), &Database::sqlite()).args(["database", "accept"]).output().unwrap();
    assert!(!done.status.success());
    copy(newest.path(), dir.path(), &["semblance.db"]);
    copy(older.path(), dir.path(), &["semblance.db-wal"]);
    // The older log may have been copied while it was empty.
    refused(&dir, &["do not belong together", "is an older state of the database"]);
    copy(older.path(), dir.path(), &FILES);
    refused(&dir, &["is an older state of the database"]);
    copy(newest.path(), dir.path(), &FILES);
    let server = Server::start_in(dir, &Database::sqlite(), &[]).await;
    assert_eq!(listed(&server.app(app.credentials())).await, 9);
    figure("an older file, an older log, both in place of the newest", "3 of 3 refused; 9 of 9 templates afterwards");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_does_not_become_an_empty_database() {
    let database = Database::sqlite();
    let mut server = Server::start(&database).await;
    let app = server.first_app();
    enroll(&app, 0..2).await;
    let backup = tempfile::tempdir().unwrap();
    let file = backup.path().join("a.backup");
    server.command(&database, &["backup", file.to_str().unwrap()]);
    assert_eq!(server.stop(), Some(0));
    let dir = server.into_dir();
    std::fs::remove_file(dir.path().join("semblance.db")).unwrap();
    refused(&dir, &["is missing or empty"]);
    let done = command(dir.path(), &database).args(["restore", file.to_str().unwrap()]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let server = Server::start_in(dir, &database, &[]).await;
    assert_eq!(listed(&server.app(app.credentials())).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_of_another_database_is_not_continued() {
    let mut first = Server::start(&Database::sqlite()).await;
    let mut other = Server::start(&Database::sqlite()).await;
    assert_eq!((first.stop(), other.stop()), (Some(0), Some(0)));
    let (dir, other) = (first.into_dir(), other.into_dir());
    let lines = |dir: &Path| {
        let files = std::fs::read_dir(dir.join("journal")).unwrap();
        files.map(|file| std::fs::read(file.unwrap().path()).unwrap().len()).sum::<usize>()
    };
    let before = lines(dir.path());
    std::fs::remove_file(dir.path().join("semblance.state")).unwrap();
    copy(other.path(), dir.path(), &["semblance.db", "sealing.key"]);
    let (code, message) = try_start(&dir, &Database::sqlite());
    assert!(code == Some(1) && message.contains("is of the database"), "{message}");
    assert_eq!(lines(dir.path()), before);
    for name in ["journal", "node"] {
        std::fs::rename(dir.path().join(name), other.path().join(format!("{name} of the first"))).unwrap();
    }
    Server::start_in(dir, &Database::sqlite(), &[]).await;
}
