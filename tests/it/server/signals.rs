//! Signals: SIGTERM drains, Ctrl-C does not, SIGHUP reloads and never ends the process, and a start that waits can be
//! stopped, also as the first process of a container.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::process::{Database, Server, command, eventually_in_file, reqwest_client};
use super::proxy::{Proxy, Wire};
use crate::support::{eventually, eventually_some, figure, skipped};

/// The grace period of docker-compose.yml and of the files in packaging, in seconds.
const GRACE_S: u64 = 60;

fn send(signal: &str, process: u32) {
    assert!(Command::new("kill").args([signal, &process.to_string()]).status().unwrap().success());
}

async fn readiness(server: &Server) -> u16 {
    reqwest_client().get(format!("{}/readyz", server.url())).send().await.map_or(0, |reply| reply.status().as_u16())
}

/// Waits for the end of a server without blocking the test's runtime.
async fn ended(mut server: Server) -> (Server, Option<i32>) {
    tokio::task::spawn_blocking(move || {
        let code = server.code();
        (server, code)
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigterm_it_is_not_ready_but_serves() {
    let drain = [("SEMBLANCE_SERVER_DRAIN_S", "8")];
    let server = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &drain).await;
    let app = server.first_app();
    let start = Instant::now();
    server.terminate();
    eventually("it is not ready", async || readiness(&server).await == 503).await;
    assert!(server.text("/readyz").await.contains("server is stopping"));
    let served = app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    assert_eq!(served["result"]["templateId"], "a", "a new connection is served: {served}");
    let (server, code) = ended(server).await;
    assert_eq!(code, Some(0), "{}", server.log());
    assert!(start.elapsed() >= Duration::from_secs(8), "{:?}", start.elapsed());
    figure("SIGTERM", "503 from /readyz, an enrollment answered 200 meanwhile, exit code 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_does_not_wait() {
    let drain = [("SEMBLANCE_SERVER_DRAIN_S", "600")];
    let server = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &drain).await;
    send("-INT", server.id());
    let (server, code) = ended(server).await;
    assert_eq!(code, Some(0), "{}", server.log());
}

/// A client that sends half a photo and then nothing, and a database that answers nothing: the server ends within its
/// limits nevertheless.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_and_a_frozen_database_do_not_outlast_the_grace_period() {
    let Some(Database::Postgres(url)) = Database::postgres().await else { return };
    let wire = Proxy::before(&url).await;
    let database = Database::Postgres(wire.url().to_owned());
    let limits = [("SEMBLANCE_SERVER_DRAIN_S", "1"), ("SEMBLANCE_SERVER_SHUTDOWN_S", "5")];
    let server = Server::start_in(tempfile::tempdir().unwrap(), &database, &limits).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    app.add("person_b_1.jpg", &[("templateId", "b")]).await;
    let (id, key) = app.credentials();
    let mut slow = TcpStream::connect(server.url().strip_prefix("http://").unwrap()).unwrap();
    write!(
        slow,
        "POST /api/v1.0/identify HTTP/1.1\r\nHost: x\r\nAPP-ID: {id}\r\nAPP-KEY: {key}\r\n\
         Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 100000\r\n\r\n--x\r\n"
    )
    .unwrap();
    // The erasure leaves a scrub and an event for the journal to the end.
    assert_eq!(app.delete("b").await.0, 200);
    wire.set(Wire::Silent);
    let start = Instant::now();
    server.terminate();
    let (server, code) = ended(server).await;
    let took = start.elapsed();
    assert_eq!(code, Some(0), "{}", server.log());
    let allowed = Duration::from_secs(1 + 5) + semblance::app::MAX_STEPS_TIME;
    // Some seconds for a machine that is busy with other tests.
    assert!(took < allowed + Duration::from_secs(10), "{took:?}: {}", server.log());
    figure(
        "SIGTERM with half an upload and a silent database",
        &format!("ended after {:.1} s, {} s allowed", took.as_secs_f64(), allowed.as_secs()),
    );
}

/// With the defaults, drain, requests and the last steps fit the grace period that every manifest grants.
#[test]
fn the_manifests_grant_the_time_that_a_stop_needs() {
    let settings = semblance::settings::Settings::load_from(&Default::default(), []).unwrap();
    let needed = settings.server.drain_s + settings.server.shutdown_s + semblance::app::MAX_STEPS_TIME.as_secs();
    assert!(needed <= GRACE_S, "{needed} s");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (file, line) in [
        ("docker-compose.yml", format!("stop_grace_period: {GRACE_S}s")),
        ("packaging/kubernetes/semblance.yaml", format!("terminationGracePeriodSeconds: {GRACE_S}")),
        ("packaging/semblance.service", format!("TimeoutStopSec={GRACE_S}")),
    ] {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        assert!(text.lines().any(|known| known.trim().starts_with(&line)), "{file} has no line {line}");
    }
}

/// A server that waits for the lock of its database file, as it does while another process migrates it.
struct Waiting {
    child: Child,
    dir: tempfile::TempDir,
    lock: File,
}

impl Waiting {
    async fn start(wrapper: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lock = File::create(dir.path().join("semblance.lock")).unwrap();
        lock.lock().unwrap();
        let serve = command(dir.path(), &Database::Sqlite);
        let mut start = match wrapper.split_first() {
            Some((program, arguments)) => {
                let mut start = Command::new(program);
                start.args(arguments).arg(serve.get_program());
                for (name, value) in serve.get_envs() {
                    match value {
                        Some(value) => start.env(name, value),
                        None => start.env_remove(name),
                    };
                }
                start
            }
            None => serve,
        };
        let printed = File::create(dir.path().join("printed")).unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let start =
            start.arg("serve").env("SEMBLANCE_DATABASE_TIMEOUT_MS", "600000").env("SEMBLANCE_LOG_LEVEL", "info");
        let child = start.stdin(Stdio::null()).stdout(printed).stderr(log).spawn().unwrap();
        // It opens the lock file after its handlers are installed.
        eventually_some("it waits for the lock", async || {
            let holders = std::fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                name.parse::<u32>().ok()
            });
            let lock = dir.path().join("semblance.lock");
            holders.filter(|pid| *pid != std::process::id()).find(|pid| {
                let files = std::fs::read_dir(format!("/proc/{pid}/fd"));
                files.is_ok_and(|files| {
                    files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|to| to == lock))
                })
            })
        })
        .await;
        Self { child, dir, lock }
    }

    /// The process that waits: the child, or the child of the wrapper.
    fn process(&self) -> u32 {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        children.split_whitespace().next().map_or(id, |child| child.parse().unwrap())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    async fn code(&mut self) -> Option<i32> {
        eventually_some("it ends", async || self.child.try_wait().unwrap()).await.code()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn sigterm_ends_a_start_that_waits() {
    let mut server = Waiting::start(&[]).await;
    send("-TERM", server.process());
    assert_eq!(server.code().await, Some(0), "{}", server.log());
    assert!(server.log().contains("stopped before the start was complete"), "{}", server.log());
}

/// The kernel drops a signal that the first process of a namespace has no handler for.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn sigterm_ends_a_start_that_waits_as_process_1() {
    const PLAIN: &[&str] = &["unshare", "--pid", "--fork", "--kill-child"];
    const MAPPED: &[&str] = &["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"];
    let works = |wrapper: &[&str]| {
        let tried = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let Some(wrapper) = [PLAIN, MAPPED].into_iter().find(|wrapper| works(wrapper)) else {
        return skipped("SIGTERM during a start as process 1", "no namespace of processes");
    };
    let mut server = Waiting::start(wrapper).await;
    assert_ne!(server.process(), server.child.id(), "unshare runs it as a child");
    send("-TERM", server.process());
    assert_eq!(server.code().await, Some(0), "{}", server.log());
    figure("SIGTERM to process 1 during a start that waits", "ended with exit code 0");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn sighup_during_a_start_ends_nothing() {
    let server = Waiting::start(&[]).await;
    send("-HUP", server.process());
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.lock.unlock().unwrap();
    eventually_in_file(&server.dir.path().join("printed"), " serves http://").await;
    eventually_in_file(&server.dir.path().join("log"), "SIGHUP").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reloads_level_certificate_and_keys() {
    crate::support::crypto();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (config, cert, key) = (file("config.toml"), file("cert.pem"), file("key.pem"));
    let make = || rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let put = |made: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    };
    let served = async |url: &str, made: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([root]).build().unwrap();
        client.get(format!("{url}/healthz")).send().await.is_ok()
    };
    let (old, new) = (make(), make());
    put(&old);
    std::fs::write(&config, "[log]\nlevel = \"error\"\n").unwrap();
    let environment = [
        ("SEMBLANCE_CONFIG", config.as_str()),
        ("SEMBLANCE_TLS_CERT", cert.as_str()),
        ("SEMBLANCE_TLS_KEY", key.as_str()),
        ("SEMBLANCE_TLS_RELOAD_S", "3600"),
    ];
    let server = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &environment).await;
    assert!(served(server.url(), &old).await && !served(server.url(), &new).await);
    assert!(!server.log().contains("http.route"), "requests are not logged at this level: {}", server.log());
    put(&new);
    std::fs::write(&config, "[log]\nlevel = \"info\"\n").unwrap();
    send("-HUP", server.id());
    eventually("the new certificate is served", async || served(server.url(), &new).await).await;
    eventually("requests are logged", async || {
        served(server.url(), &new).await;
        server.log().contains("http.route")
    })
    .await;
    eventually("the keys were read again", async || server.log().contains("the sealing keys were read again")).await;
    // What is wrong changes nothing.
    std::fs::write(&config, "[log]\nlevle = \"info\"\n").unwrap();
    std::fs::write(&key, "not a key").unwrap();
    send("-HUP", server.id());
    eventually("the wrong configuration is reported", async || server.log().contains("log.level stays")).await;
    eventually("the wrong key file is reported", async || server.log().contains("key.pem has no private key")).await;
    assert!(served(server.url(), &new).await);
    for _ in 0..20 {
        send("-HUP", server.id());
    }
    assert!(served(server.url(), &new).await);
    figure("SIGHUP", "certificate, log.level and keys reloaded; wrong files change nothing; 22 signals, 0 ends");
}

/// A certificate that has expired is reported at start, and the server serves.
#[tokio::test]
async fn an_expired_certificate_is_reported() {
    crate::support::crypto();
    let dir = tempfile::tempdir().unwrap();
    let cert = dir.path().join("cert.pem").to_str().unwrap().to_owned();
    let key = dir.path().join("key.pem").to_str().unwrap().to_owned();
    let mut parameters = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let pair = rcgen::KeyPair::generate().unwrap();
    std::fs::write(&cert, parameters.self_signed(&pair).unwrap().pem()).unwrap();
    std::fs::write(&key, pair.serialize_pem()).unwrap();
    let tls = [("SEMBLANCE_TLS_CERT", cert.as_str()), ("SEMBLANCE_TLS_KEY", key.as_str())];
    let server = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &tls).await;
    eventually("the expiry is logged", async || server.log().contains("it expired on 2020-01-01")).await;
    assert!(server.log().contains(&cert), "{}", server.log());
    let mut doctor = command(server.dir(), &Database::Sqlite);
    let doctor = doctor.envs(tls).arg("doctor").output().unwrap();
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(text.lines().any(|line| line.starts_with("FAIL  certificate:") && line.contains("expired")), "{text}");
    // The raw error of a file that is no certificate names the file.
    std::fs::write(&cert, "x").unwrap();
    let mut serve = command(dir.path(), &Database::Sqlite);
    let mut child = serve.envs(tls).arg("serve").stderr(Stdio::piped()).spawn().unwrap();
    let mut message = String::new();
    child.stderr.take().unwrap().read_to_string(&mut message).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(message.contains("tls: ") && message.contains(&cert) && message.contains("no certificate"), "{message}");
}
