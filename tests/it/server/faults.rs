//! A database that is away, silent, full or read-only: writes get 503 with `Retry-After`, identify goes on from memory,
//! and the server recovers without a restart.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sqlx::Connection as _;

use super::process::{App, Database, Server, reqwest_client, try_start};
use super::proxy::{Proxy, Wire};
use crate::support::eventually;

/// A database timeout of one second, so that tests are short.
const SHORT_TIMEOUT: [(&str, &str); 1] = [("SEMBLANCE_DATABASE_TIMEOUT_MS", "1000")];

/// Checks that writes are refused and identify works.
async fn check_away(app: &App) {
    for (id, photo) in [("new", "person_b_1.jpg"), ("person-a", "person_b_1.jpg")] {
        let refused = app.try_photo_whole("add?replace=true", photo, &[("templateId", id)]).await;
        assert_eq!(refused.status, 503, "{}", refused.body);
        assert!(refused.retry_after.is_some_and(|seconds| seconds >= 1), "{}", refused.body);
    }
    let (status, refused) = app.delete("person-a").await;
    assert_eq!(status, 503, "{refused}");
    let found = app.identify("person_a_2.jpg").await;
    assert_eq!(found["result"]["templateId"], "person-a", "identify goes on from memory: {found}");
}

/// Waits until writes are accepted again; then checks that all acknowledged templates are there.
async fn check_back(app: &App) {
    let start = Instant::now();
    loop {
        let (status, reply) = app.post_photo("add?replace=true", "person_b_1.jpg", &[("templateId", "person-b")]).await;
        if status == 200 {
            break;
        }
        assert_eq!(status, 503, "{reply}");
        assert!(start.elapsed() < Duration::from_secs(60), "the server never came back: {reply}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // If the store fails again after the commit, the next poll publishes the template.
    while app.identify("person_b_2.jpg").await["result"]["templateId"] != "person-b" {
        assert!(start.elapsed() < Duration::from_secs(60), "an acknowledged template was never found");
    }
    assert_eq!(app.identify("person_a_2.jpg").await["result"]["templateId"], "person-a");
    let (_, listed) = app.get("templates").await;
    for id in ["person-a", "person-b"] {
        assert!(listed["result"]["templates"].as_array().unwrap().iter().any(|t| t["templateId"] == id), "{listed}");
    }
}

/// It identifies, so it is ready; asked for writes, it is not, and it reports why.
async fn check_not_writable(server: &Server, fault: &str) {
    let readyz = async |query: &str| {
        let reply = reqwest_client().get(format!("{}/readyz{query}", server.url())).send().await.unwrap();
        (reply.status().as_u16(), reply.text().await.unwrap())
    };
    eventually(&format!("it reports that {fault}"), async || {
        let (status, body) = readyz("?for=write").await;
        status == 503 && body.contains(&format!("\"writeFault\":\"{fault}\""))
    })
    .await;
    let (status, body) = readyz("").await;
    assert!(status == 200 && body.contains("\"writable\":false"), "{status} {body}");
    crate::support::figure(
        "/readyz of a server that cannot write",
        &format!("200 for identify, 503 for writes: {fault}"),
    );
}

async fn through_a_wire(fault: Wire) {
    let Some(Database::Postgres(url)) = Database::postgres().await else { return };
    let wire = Proxy::before(&url).await;
    let database = Database::Postgres(wire.url().to_owned());
    let server = Server::start_in(tempfile::tempdir().unwrap(), &database, &SHORT_TIMEOUT).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "person-a")]).await;
    for _ in 0..2 {
        wire.set(fault);
        check_away(&app).await;
        wire.set(Wire::Whole);
        check_back(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_recovers_from_a_cut_connection() {
    through_a_wire(Wire::Cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_recovers_from_a_silent_database() {
    through_a_wire(Wire::Silent).await;
}

/// A server with a template on a Postgres database of its own, and direct access to that database.
async fn on_postgres() -> Option<(Server, App, Direct)> {
    let Some(Database::Postgres(url)) = Database::postgres().await else { return None };
    let name = url.rsplit_once('/').unwrap().1.to_owned();
    let database = Database::Postgres(url.clone());
    let server = Server::start_in(tempfile::tempdir().unwrap(), &database, &SHORT_TIMEOUT).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "person-a")]).await;
    Some((server, app, Direct { url, name }))
}

struct Direct {
    url: String,
    name: String,
}

impl Direct {
    /// Runs statements in another database of the same server; `{}` is the name of this database. Connections to this
    /// database are terminated before each.
    async fn run(&self, statements: &[&str]) {
        let (server, _) = self.url.rsplit_once('/').unwrap();
        let mut connection = sqlx::PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
        for statement in statements {
            let terminate = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1";
            sqlx::query(terminate).bind(&self.name).execute(&mut connection).await.unwrap();
            let statement = statement.replace("{}", &self.name);
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        }
    }
}

/// As during a restore: the database accepts no connections, is absent, is empty, and is back.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_recovers_after_a_restore() {
    let Some((_server, app, direct)) = on_postgres().await else { return };
    direct.run(&["ALTER DATABASE {} ALLOW_CONNECTIONS false", "SELECT 1"]).await;
    check_away(&app).await;
    direct.run(&["ALTER DATABASE {} RENAME TO {}_away"]).await;
    check_away(&app).await;
    direct.run(&["CREATE DATABASE {}"]).await;
    check_away(&app).await;
    direct.run(&["DROP DATABASE {} WITH (FORCE)", "ALTER DATABASE {}_away RENAME TO {}"]).await;
    direct.run(&["ALTER DATABASE {} ALLOW_CONNECTIONS true"]).await;
    check_back(&app).await;
}

/// As after a failover to a standby that is not promoted yet.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_recovers_from_a_read_only_database() {
    let Some((server, app, direct)) = on_postgres().await else { return };
    direct.run(&["ALTER DATABASE {} SET default_transaction_read_only = on", "SELECT 1"]).await;
    check_away(&app).await;
    check_not_writable(&server, "the database is read-only").await;
    assert_eq!(app.get("templates").await.0, 200, "it can be read");
    direct.run(&["ALTER DATABASE {} RESET default_transaction_read_only", "SELECT 1"]).await;
    check_back(&app).await;
    eventually("it can write", async || server.text("/readyz?for=write").await.contains("\"writable\":true")).await;
}

/// Another connection holds the lock of the gallery's row.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_database_is_not_waited_for() {
    let Some((_server, app, direct)) = on_postgres().await else { return };
    let mut slow = sqlx::PgConnection::connect(&direct.url).await.unwrap();
    sqlx::query("BEGIN").execute(&mut slow).await.unwrap();
    sqlx::query("SELECT 1 FROM applications FOR UPDATE").execute(&mut slow).await.unwrap();
    let start = Instant::now();
    check_away(&app).await;
    // Three writes of at most two timeouts each, and the photos, with a wide margin.
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    sqlx::query("ROLLBACK").execute(&mut slow).await.unwrap();
    check_back(&app).await;
}

/// A small file system, unmounted when dropped.
pub(super) struct Disk(tempfile::TempDir);

impl Disk {
    /// `None`, reported as skipped, where this process may not mount one.
    pub(super) fn new(megabytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m,mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        if !mounted.is_ok_and(|done| done.status.success()) {
            crate::support::skipped("a full and a read-only disk", "this process may not mount one");
            return None;
        }
        Some(Self(dir))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes until the disk is full.
    fn fill(&self) {
        let ballast = self.path().join("ballast");
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(ballast).unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            while std::io::Write::write_all(&mut file, &vec![7; size]).is_ok() {}
        }
    }

    fn free_space(&self) {
        std::fs::remove_file(self.path().join("ballast")).unwrap();
    }

    pub(super) fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &options]).arg(self.path()).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_no_acknowledged_write() {
    let Some(disk) = Disk::new(24) else { return };
    let database = Database::sqlite();
    let data = tempfile::tempdir_in(disk.path()).unwrap();
    let mut server = Server::start_in(data, &database, &SHORT_TIMEOUT).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "person-a")]).await;
    for _ in 0..2 {
        disk.fill();
        // The write-ahead log is truncated about a second after a replacement, which frees space.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        disk.fill();
        check_away(&app).await;
        check_not_writable(&server, "the disk of the database is full").await;
        disk.free_space();
        check_back(&app).await;
    }
    // Later acknowledged writes are on disk: a failed commit leaves no transaction open.
    app.add("impostor_1.jpg", &[("templateId", "last")]).await;
    let credentials = app.credentials();
    server.kill();
    let server = Server::start_in(server.into_dir(), &database, &SHORT_TIMEOUT).await;
    let app = server.app(credentials);
    assert_eq!(app.get("templates/last").await.0, 200);
    check_back(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_data_folder_fails_the_start() {
    let Some(disk) = Disk::new(24) else { return };
    let data = tempfile::tempdir_in(disk.path()).unwrap();
    disk.remount("ro");
    let (code, message) = try_start(&data, &Database::sqlite());
    disk.remount("rw");
    assert_eq!(code, Some(1), "{message}");
    assert!(message.to_lowercase().contains("read-only"), "{message}");
    assert!(message.contains(&data.path().display().to_string()), "{message}");
}
