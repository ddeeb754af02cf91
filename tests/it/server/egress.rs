//! Nothing leaves the machine: the server and the command line write into the data folder only, look no name up, and
//! open no socket but the configured ones.
//!
//! The programs run with an environment of their own: a fresh HOME, fresh XDG folders, and none of the variables by
//! which a telemetry client recognises a CI and keeps quiet. Three observers watch them, each where the machine allows
//! it, and what is missing is reported on the real standard error: the test runs itself again in a network namespace
//! (`unshare`) whose only name server is the test; strace sees every socket and every file that is created; the
//! kernel's tables of the namespace's sockets are read all the time.

mod trace;
mod watch;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::process::{App, photo_path, reqwest_client};
use crate::support::{eventually, skipped};
use trace::Tracer;
use watch::{NameServer, SocketTables};

/// Set in the process that runs in the namespace.
const INSIDE: &str = "SEMBLANCE_TEST_IN_NAMESPACE";
/// How long the server is watched. The first look-up of the telemetry client came after 8 s, the second after 14 s.
const WATCHED: Duration = Duration::from_secs(25);

#[tokio::test]
async fn nothing_leaves_the_machine() {
    if std::env::var_os(INSIDE).is_some() {
        return watched_run(true).await;
    }
    let files = tempfile::tempdir().unwrap();
    match namespace(files.path()) {
        Ok(mut unshare) => {
            let done = unshare.arg(std::env::current_exe().unwrap()).args(["--exact", "--nocapture"]);
            let done = done.arg("server::egress::nothing_leaves_the_machine").env(INSIDE, "1").output().unwrap();
            let output = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success() && output.contains("1 passed"), "in the namespace: {output}");
            // libtest's captured output of the inner run; its skips are in the file already.
            output.lines().filter(|line| line.starts_with("SKIPPED")).for_each(|line| eprintln!("{line}"));
        }
        Err(reason) => {
            skipped("nothing_leaves_the_machine, name look-ups", &format!("no network namespace ({reason})"));
            watched_run(false).await;
        }
    }
}

/// A command that runs its arguments where only the loopback exists and names are asked of 127.0.0.1.
fn namespace(files: &Path) -> Result<Command, String> {
    let resolv = files.join("resolv.conf");
    let nsswitch = files.join("nsswitch.conf");
    std::fs::write(&resolv, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
    std::fs::write(&nsswitch, "passwd: files\ngroup: files\nhosts: files dns\n").unwrap();
    let script = "ip link set lo up || exit 1
        for name in resolv nsswitch; do
            [ ! -e /etc/$name.conf ] || mount --bind \"$1/$name.conf\" /etc/$name.conf || exit 1
        done
        shift; exec \"$@\"";
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "--mount", "sh", "-c", script, "sh"]).arg(files);
        command
    };
    let tried = unshare().arg("true").output().map_err(|error| format!("unshare: {error}"))?;
    if tried.status.success() { Ok(unshare()) } else { Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned()) }
}

/// Runs the server and the command line and asserts what was seen of them.
async fn watched_run(in_namespace: bool) {
    let world = World::new();
    let names = in_namespace.then(NameServer::start);
    let sockets = in_namespace.then(SocketTables::watch);

    let start = Instant::now();
    let (mut server, url, administration) = world.serve().await;
    let made: Value = serde_json::from_str(&world.run(&["app", "create", "watched", "--json"])).unwrap();
    let text = |key: &str| made[key].as_str().unwrap().to_owned();
    let app = App::at(&url, (text("app_id"), text("app_key")));
    eventually("the server never saw the application", || async { app.get("templates").await.0 == 200 }).await;
    app.add("person_a_1.jpg", &[("templateId", "person-a")]).await;
    assert_eq!(app.identify("person_a_2.jpg").await["result"]["templateId"], "person-a");
    world.administer(&administration).await;
    let photo = photo_path("person_b_1.jpg");
    world.run(&["analyze", photo.to_str().unwrap(), "--json"]);
    for command in [
        &["app", "list"][..],
        &["gallery", "check", "--app", &text("app_id")],
        &["models", "check"],
        &["key", "status"],
        &["journal", "verify"],
        &["doctor"],
        &["bench", "models", "--rounds", "3"],
    ] {
        world.run(command);
    }
    world.run_at(url.trim_start_matches("http://"), &["healthcheck"]);
    while start.elapsed() < WATCHED {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(server.try_wait().unwrap().is_none(), "the server ended");
    }
    app.identify("impostor_1.jpg").await;
    assert!(Command::new("kill").arg(server.id().to_string()).status().unwrap().success());
    assert_eq!(server.wait().unwrap().code(), Some(0));

    let mut faults = world.faults([&url, &administration]);
    // The tables first: the name server is asked once more by the test itself.
    faults.extend(sockets.into_iter().flat_map(SocketTables::faults));
    faults.extend(names.into_iter().flat_map(NameServer::faults));
    assert!(faults.is_empty(), "left the machine or its data folder:\n{}", faults.join("\n"));
}

/// An environment of its own for the programs, and what watches them.
struct World {
    data: TempDir,
    /// Everything here must stay as empty as it is made.
    fresh: TempDir,
    tracer: Option<Tracer>,
}

/// The folders that programs of a user write into.
const FRESH: [(&str, &str); 7] = [
    ("HOME", "home"),
    ("TMPDIR", "tmp"),
    ("XDG_CACHE_HOME", "xdg/cache"),
    ("XDG_CONFIG_HOME", "xdg/config"),
    ("XDG_DATA_HOME", "xdg/data"),
    ("XDG_STATE_HOME", "xdg/state"),
    ("XDG_RUNTIME_DIR", "xdg/run"),
];
/// The working directory.
const WORKING: &str = "work";

impl World {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let fresh = tempfile::tempdir().unwrap();
        for folder in FRESH.iter().map(|(_, folder)| *folder).chain([WORKING]) {
            std::fs::create_dir_all(fresh.path().join(folder)).unwrap();
        }
        let tracer = Tracer::new().map_err(|reason| {
            skipped("nothing_leaves_the_machine, each socket and new file", &format!("no strace ({reason})"));
        });
        Self { data, fresh, tracer: tracer.ok() }
    }

    fn command(&self, listen: &str, arguments: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_semblance");
        let mut command = match &self.tracer {
            Some(tracer) => tracer.command(program),
            None => Command::new(program),
        };
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(FRESH.iter().map(|(name, folder)| (name, self.fresh.path().join(folder))))
            .env("SEMBLANCE_MODELS", Path::new(env!("CARGO_MANIFEST_DIR")).join("models"))
            .env("SEMBLANCE_DATA", self.data.path())
            .env("SEMBLANCE_LISTEN", listen)
            .env("SEMBLANCE_ADMIN_LISTEN", "127.0.0.1:0")
            .env("SEMBLANCE_COMPUTE_INFERENCE_THREADS", "1")
            .env("SEMBLANCE_DATABASE_POLL_MS", "200")
            .current_dir(self.fresh.path().join(WORKING))
            .stdin(Stdio::null());
        command
    }

    /// Starts the server. Returns the URLs of its API and of its administration.
    async fn serve(&self) -> (Child, String, String) {
        let mut child =
            self.command("127.0.0.1:0", &["serve"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut administration = String::new();
        let url = loop {
            let line = lines.next().expect("the server ended before it served").unwrap();
            if let Some(console) = line.strip_prefix("Console and administration: ") {
                administration = console.strip_suffix("/console").unwrap().to_owned();
            } else if let Some((_, url)) = line.split_once("serves ") {
                break url.to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        let ready =
            || async { reqwest_client().get(format!("{url}/readyz")).send().await.is_ok_and(|r| r.status() == 200) };
        eventually("the server never became ready", ready).await;
        (child, url, administration)
    }

    /// Loads the console's page and asks the administration for what the console asks.
    async fn administer(&self, administration: &str) {
        let token = std::fs::read_to_string(self.data.path().join("admin.token")).unwrap();
        let console = reqwest_client().get(format!("{administration}/console")).send().await.unwrap();
        assert_eq!(console.status(), 200);
        for resource in
            ["session", "overview", "figures", "applications", "journal/status", "models", "store", "settings"]
        {
            let request = reqwest_client().get(format!("{administration}/api/admin/v1/{resource}"));
            let response = request.bearer_auth(token.trim()).send().await.unwrap();
            assert_eq!(response.status(), 200, "{resource}");
        }
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.run_at("127.0.0.1:0", arguments)
    }

    fn run_at(&self, listen: &str, arguments: &[&str]) -> String {
        let done = self.command(listen, arguments).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// Files outside the data folder, and what strace saw.
    fn faults(&self, urls: [&str; 2]) -> Vec<String> {
        let mut faults: Vec<String> =
            files(self.fresh.path()).into_iter().map(|path| format!("file {}", path.display())).collect();
        if let Some(tracer) = &self.tracer {
            let ports = urls.map(|url| url.rsplit_once(':').unwrap().1.parse().unwrap());
            faults.extend(tracer.faults(self.data.path(), &ports));
        }
        faults
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// The models of the repository, with another library in place of ONNX Runtime.
fn pack_with_runtime(library: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let text = std::fs::read_to_string(models.join("pack.toml")).unwrap();
    let mut pack: toml::Table = text.parse().unwrap();
    let digest: String = Sha256::digest(library).iter().map(|byte| format!("{byte:02x}")).collect();
    for (_, runtime) in pack["runtime"].as_table_mut().unwrap() {
        runtime["file"] = "library".into();
        runtime["sha256"] = digest.clone().into();
    }
    std::fs::write(dir.path().join("library"), library).unwrap();
    std::fs::write(dir.path().join("pack.toml"), pack.to_string()).unwrap();
    std::fs::copy(models.join("golden.toml"), dir.path().join("golden.toml")).unwrap();
    dir
}

/// Also when an operator pins it: `models check`, and the start of the server, which loads by the same function.
#[test]
fn a_runtime_that_names_a_collector_is_refused() {
    let library = b"\x7fELF ... https://mobile.events.data.microsoft.com/OneCollector/1.0/ ...";
    let pack = pack_with_runtime(library);
    for arguments in [&["models", "check"][..], &["serve"]] {
        let data = tempfile::tempdir().unwrap();
        let mut command = super::process::command(data.path(), &super::Database::Sqlite);
        let done = command.args(arguments).env("SEMBLANCE_MODELS", pack.path()).output().unwrap();
        let message = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{message}");
        assert!(message.contains(pack.path().join("library").to_str().unwrap()), "{message}");
        assert!(message.contains("sends telemetry") && message.contains("events.data.microsoft.com"), "{message}");
    }
}

/// It warns, names the path, and leaves the files alone.
#[test]
fn doctor_names_telemetry_files_of_earlier_versions() {
    let data = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    let doctor = || {
        let mut command = super::process::command(data.path(), &super::Database::Sqlite);
        let command = command.arg("doctor").env("HOME", home.path()).env("TMPDIR", home.path());
        let done = command.env_remove("XDG_CACHE_HOME").output().unwrap();
        (done.status.code(), String::from_utf8(done.stdout).unwrap())
    };
    let left = home.path().join(".cache/Microsoft/DeveloperTools/.onnxruntime");
    assert!(!doctor().1.contains(home.path().to_str().unwrap()));
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("deviceid"), "b75258c7-97b5-58b1-ea17-befea708c52e").unwrap();
    let (code, text) = doctor();
    assert_eq!(code, Some(0), "{text}");
    let line = text.lines().find(|line| line.starts_with("warn ")).unwrap();
    assert!(line.contains(left.to_str().unwrap()) && line.contains("rm -r"), "{line}");
    assert!(left.join("deviceid").is_file());
}

/// What `/licences` returns, too.
#[test]
fn licences_name_what_is_inside_the_runtime() {
    let data = tempfile::tempdir().unwrap();
    let mut command = super::process::command(data.path(), &super::Database::Sqlite);
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let done = command.args(["models", "list", "--json"]).env("SEMBLANCE_MODELS", models).output().unwrap();
    let licences: Value = serde_json::from_slice(&done.stdout).unwrap();
    let runtime = &licences["runtime"];
    assert_eq!((&runtime["title"], &runtime["licence"]), (&"ONNX Runtime 1.28.0".into(), &"MIT".into()));
    let components = runtime["components"].as_array().unwrap();
    assert!(components.iter().all(|component| !component["licences"].as_array().unwrap().is_empty()));
    let eigen = components.iter().find(|component| component["name"] == "Eigen").unwrap();
    assert_eq!(eigen["licences"], serde_json::json!(["MPL-2.0"]));
}
