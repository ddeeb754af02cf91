//! Postgres servers and poolers of a test's own: with a standby, with passwords, with certificates.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

use crate::support::{eventually_blocking, eventually_some};

/// A folder that the account of the servers can reach. Postgres and PgBouncer refuse to run as root.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    dir
}

/// Runs a program without privileges where this process is root.
fn unprivileged(program: &Path) -> Command {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program).current_dir("/tmp");
    command
}

/// A folder with the programs of Postgres that this machine can run; with one that speaks TLS, if asked for.
fn programs(with_tls: bool) -> Option<PathBuf> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/postgres/pgserver/pginstall/bin");
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let installed = installed.map(|version| version.unwrap().path().join("bin"));
    let runs = |dir: &PathBuf| {
        let version = unprivileged(&dir.join("postgres")).arg("--version").output();
        version.is_ok_and(|done| done.status.success()) && dir.join("pg_basebackup").exists()
    };
    let has_tls = |dir: &PathBuf| {
        std::fs::read(dir.join("postgres")).is_ok_and(|bytes| bytes.windows(9).any(|text| text == b"libssl.so"))
    };
    let fetched = (!with_tls).then_some(fetched);
    fetched.into_iter().chain(installed).find(|dir| runs(dir) && (!with_tls || has_tls(dir)))
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn check(what: &str, done: &Output) {
    let printed = [&done.stdout[..], &done.stderr[..]].concat();
    assert!(done.status.success(), "{what}: {}", String::from_utf8_lossy(&printed));
}

/// A Postgres server. It is killed when dropped.
pub(super) struct Postgres {
    programs: PathBuf,
    dir: TempDir,
    pub(super) port: u16,
    child: Child,
}

impl Postgres {
    /// A server that trusts everybody on this machine; `None`, reported as skipped, without its programs.
    pub(super) fn start(check: &str) -> Option<Self> {
        Self::start_with(check, false, "trust", &[])
    }

    /// A server with passwords: that of `postgres` is `first`.
    pub(super) fn with_passwords(check: &str) -> Option<Self> {
        Self::start_with(check, false, "scram-sha-256", &[])
    }

    /// A server with a certificate, `server.crt` and `server.key` in PEM.
    pub(super) fn with_tls(check: &str, certificate: &str, key: &str) -> Option<Self> {
        Self::start_with(check, true, "trust", &[("server.crt", certificate), ("server.key", key)])
    }

    fn start_with(what: &str, with_tls: bool, auth: &str, files: &[(&str, &str)]) -> Option<Self> {
        let Some(programs) = programs(with_tls) else {
            crate::support::skipped(what, "no Postgres (with TLS, where it is needed) can be run here");
            return None;
        };
        let dir = folder();
        std::fs::write(dir.path().join("password"), "first").unwrap();
        let done = unprivileged(&programs.join("initdb"))
            .args(["--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync"])
            .arg(format!("--auth={auth}"))
            .arg(format!("--pwfile={}", dir.path().join("password").display()))
            .arg(format!("--pgdata={}", dir.path().join("data").display()))
            .output()
            .unwrap();
        check("initdb", &done);
        for (name, content) in files {
            // The server wants the key to be its own and private.
            let made = dir.path().join(name);
            std::fs::write(&made, content).unwrap();
            let target = dir.path().join("data").join(name);
            check("cp", &unprivileged(Path::new("cp")).arg(&made).arg(&target).output().unwrap());
            check("chmod", &unprivileged(Path::new("chmod")).arg("600").arg(&target).output().unwrap());
        }
        let more: &[&str] = if with_tls { &["-c", "ssl=on"] } else { &[] };
        Some(Self::serve(programs, dir, more))
    }

    /// A standby that follows this server.
    pub(super) fn standby(&self) -> Self {
        let dir = folder();
        let done = unprivileged(&self.programs.join("pg_basebackup"))
            .args(["-h", "127.0.0.1", "-U", "postgres", "-R", "-X", "stream", "-c", "fast", "-p"])
            .arg(self.port.to_string())
            .arg("-D")
            .arg(dir.path().join("data"))
            .output()
            .unwrap();
        check("pg_basebackup", &done);
        Self::serve(self.programs.clone(), dir, &[])
    }

    fn serve(programs: PathBuf, dir: TempDir, more: &[&str]) -> Self {
        let port = free_port();
        let data = dir.path().join("data");
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = unprivileged(&programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c"])
            .arg(format!("port={port}"))
            .args(more)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        eventually_blocking("Postgres is ready", || {
            let file = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            file.lines().nth(7).is_some_and(|state| state.trim() == "ready")
        });
        Self { programs, dir, port, child }
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://postgres:first@127.0.0.1:{}/postgres", self.port)
    }

    pub(super) async fn connect(&self) -> PgConnection {
        eventually_some("Postgres accepts a connection", async || PgConnection::connect(&self.url()).await.ok()).await
    }

    /// Ends at once, as if the machine had lost its power.
    pub(super) fn kill(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        // `setpriv` has become the server itself.
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A PgBouncer in front of a server. It is killed when dropped.
pub(super) struct PgBouncer {
    child: Child,
    _dir: TempDir,
    port: u16,
    name: String,
}

impl PgBouncer {
    /// In front of the database that a URL names; `None`, reported as skipped, where it is not installed.
    pub(super) fn start(check: &str, url: &str, mode: &str) -> Option<Self> {
        let program =
            ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].map(Path::new).into_iter().find(|path| path.exists());
        let Some(program) = program else {
            crate::support::skipped(check, "PgBouncer is not installed");
            return None;
        };
        let (_, address) = url.split_once('@').unwrap();
        let (address, name) = address.split_once('/').unwrap();
        let (host, target) = address.split_once(':').unwrap();
        let port = free_port();
        let dir = folder();
        // The defaults of PgBouncer, otherwise.
        let settings = format!(
            "[databases]\n* = host={host} port={target} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\nunix_socket_dir =\n\
             pool_mode = {mode}\n"
        );
        let file = dir.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = unprivileged(program).arg(&file).stdin(Stdio::null()).stderr(log).spawn().unwrap();
        eventually_blocking("PgBouncer listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(Self { child, _dir: dir, port, name: name.to_owned() })
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{}", self.port, self.name)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
