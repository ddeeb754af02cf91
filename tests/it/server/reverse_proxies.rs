//! Clients behind reverse proxies: who they are, and what clients without good credentials cost the others.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use super::process::{Database, Server};
use crate::support::{eventually, figure, skipped};

const HONEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const HOSTILE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

const TRUSTED: (&str, &str) = ("SEMBLANCE_SERVER_TRUSTED_PROXIES", "127.0.0.1");
const PROXY_PROTOCOL: (&str, &str) = ("SEMBLANCE_SERVER_CLIENT_FROM", "proxy-protocol");

/// Where a program is installed; `None` (reported as skipped) where it is not.
fn find(check: &str, program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        skipped(check, &format!("{program} is not installed"));
    }
    found
}

/// A reverse proxy in front of a server, at a port of its own.
struct FrontProxy {
    process: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl FrontProxy {
    async fn start(program: &Path, configuration: impl FnOnce(&Path, SocketAddr) -> String) -> Self {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("configuration");
        std::fs::write(&file, configuration(dir.path(), address)).unwrap();
        let mut command = Command::new(program);
        if program.ends_with("nginx") {
            command.arg("-p").arg(dir.path()).arg("-c").arg(&file);
        } else {
            command.arg("-db").arg("-f").arg(&file);
        }
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let process = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let proxy = Self { process, address, _dir: dir };
        eventually("the proxy listens", async || TcpStream::connect(address).is_ok()).await;
        proxy
    }

    /// HAProxy; `front` and `server` are added to its front end and to the line of the server.
    async fn haproxy(program: &Path, server: &Server, front: &str, server_options: &str) -> Self {
        let target = server.url().split_once("://").unwrap().1.to_owned();
        Self::start(program, |_, address| {
            format!(
                "global\n    maxconn 4000\ndefaults\n    mode http\n    timeout connect 5s\n    timeout client 60s\n    \
                 timeout server 60s\nfrontend front\n    bind {address}\n    {front}\n    default_backend back\n\
                 backend back\n    server semblance {target} maxconn 4000 {server_options}\n"
            )
        })
        .await
    }

    /// nginx, which does not wait for the body of a request; `lines` are added to its location.
    async fn nginx(program: &Path, server: &Server, lines: &str) -> Self {
        let target = server.url().to_owned();
        let user = if cfg!(target_os = "linux") && is_root() { "user root;" } else { "" };
        Self::start(program, |dir, address| {
            let dir = dir.display();
            let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
            let temporary: String = kinds.iter().map(|kind| format!("{kind}_temp_path {dir}/{kind}; ")).collect();
            format!(
                "daemon off; {user} worker_processes 1; pid {dir}/pid; error_log stderr;\n\
                 events {{ worker_connections 4096; }}\n\
                 http {{ access_log off; {temporary}\n server {{ listen {address}; location / {{\n\
                 proxy_pass {target}; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
                 proxy_request_buffering off;\n{lines}\n}} }} }}\n"
            )
        })
        .await
    }
}

impl Drop for FrontProxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_root() -> bool {
    let identity = Command::new("id").arg("-u").output();
    identity.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// The client in the journal's lines of requests with a status.
fn journaled(server: &Server, status: u16) -> Vec<String> {
    let printed = server.command(&Database::sqlite(), &["journal", "export"]);
    let lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines = lines.filter(|line| line["status"] == status);
    lines.map(|line| line["client"].as_str().expect("every request has a client").to_owned()).collect()
}

/// Waits for the journal's line of a request, and returns its client.
async fn journaled_client(server: &Server, status: u16) -> String {
    eventually("the request is journaled", async || !journaled(server, status).is_empty()).await;
    journaled(server, status).pop().unwrap()
}

/// One request with wrong credentials, from an address; the response.
async fn request_from(from: Ipv4Addr, to: SocketAddr, first: &[u8], headers: &str) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    let head = format!("GET /api/v1.0/templates HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    let _ = stream.write_all(&[first, head.as_bytes()].concat()).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("an end");
    String::from_utf8_lossy(&answer).into_owned()
}

fn address_of(url: &str) -> SocketAddr {
    url.split_once("://").unwrap().1.parse().unwrap()
}

/// A header of the PROXY protocol, version 2, for a client.
fn version_2(client: [u8; 4]) -> Vec<u8> {
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &client, &[127, 0, 0, 1, 0, 80, 1, 187]].concat()
}

/// The PROXY protocol without a proxy: both versions, what a peer may not do, and the shares of clients.
#[cfg(target_os = "linux")] // elsewhere 127.0.0.2 is not this machine
#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_protocol_names_the_client() {
    // The server's own first requests come from 127.0.0.1, so the proxy has another address.
    let proxy = ("SEMBLANCE_SERVER_TRUSTED_PROXIES", "127.0.0.2/32, fd00::/8");
    let few = [("SEMBLANCE_SERVER_CONNECTIONS", "6"), ("SEMBLANCE_SERVER_PEER_SHARE", "0.5")];
    let short = ("SEMBLANCE_SERVER_HEAD_TIMEOUT_S", "1");
    let environment = [&few[..], &[proxy, PROXY_PROTOCOL, short, ("SEMBLANCE_LOG_LEVEL", "info")]].concat();
    let server = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &environment).await;
    let address = address_of(server.url());

    // Without a header, a proxy is refused; a peer of this machine that is no proxy needs none.
    assert_eq!(request_from(HONEST, address, b"", "").await, "", "a proxy sends a header");
    assert_eq!(request_from(HONEST, address, b"PROXY TCP4 x\r\n", "").await, "");
    assert_eq!(request_from(HONEST, address, b"PROXY TCP4 192.0", "").await, "");
    assert!(request_from(Ipv4Addr::LOCALHOST, address, b"", "").await.starts_with("HTTP/1.1 401"));
    assert_eq!(journaled_client(&server, 401).await, "127.0.0.1");

    // A header in front of the request; the one that a client made up inside it does not count.
    let made_up = "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\n";
    for (header, client) in [
        (&b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n"[..], "192.0.2.7"),
        (&b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 443\r\n"[..], "2001:db8::7"),
        (&version_2([192, 0, 2, 8])[..], "192.0.2.8"),
        (&b"PROXY UNKNOWN\r\n"[..], "127.0.0.2"),
        (&b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..], "127.0.0.2"),
    ] {
        let before = journaled(&server, 401).len();
        assert!(request_from(HONEST, address, header, made_up).await.starts_with("HTTP/1.1 401"), "{client}");
        eventually("the request is journaled", async || journaled(&server, 401).len() > before).await;
        assert_eq!(journaled(&server, 401).pop().unwrap(), client);
    }
    let log = server.log();
    assert!(log.contains("client=192.0.2.7") && !log.contains("203.0.113.9"), "{log}");

    // Three connections are the share of one client; the proxy itself has none.
    let mut held = Vec::new();
    let hold = async |client: [u8; 4]| -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((HONEST, 0).into()).unwrap();
        let mut stream = socket.connect(address).await.unwrap().into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&[&version_2(client)[..], b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"].concat()).ok()?;
        let read = tokio::task::block_in_place(|| stream.read(&mut [0; 1024])).unwrap_or(0);
        (read > 0).then_some(stream)
    };
    eventually("a client has its share", async || {
        held.extend(hold([192, 0, 2, 1]).await);
        held.len() == 3
    })
    .await;
    assert!(hold([192, 0, 2, 1]).await.is_none(), "a client gets no more than its share");
    held.push(hold([192, 0, 2, 2]).await.expect("another client of the proxy is admitted"));
}

/// `semblance healthcheck` works where the PROXY protocol is expected, also from this machine.
#[tokio::test]
async fn the_health_check_speaks_the_proxy_protocol() {
    let operators = ("SEMBLANCE_ADMIN_LISTEN", "127.0.0.1:0");
    let server = start_behind(&[TRUSTED, PROXY_PROTOCOL, operators]);
    let listen = server.url().strip_prefix("http://").unwrap();
    let check = |environment: &[(&str, &str)]| {
        let mut command = super::process::command(server.dir(), &Database::sqlite());
        command.arg("healthcheck").env("SEMBLANCE_LISTEN", listen).envs(environment.iter().copied());
        command.output().unwrap().status.success()
    };
    assert!(check(&[TRUSTED, PROXY_PROTOCOL]));
    assert!(!check(&[]), "a trusted proxy sends a header");
}

/// A server that refuses connections of this machine without a header of the PROXY protocol.
fn start_behind(environment: &[(&str, &str)]) -> Server {
    Server::start_unchecked(&Database::sqlite(), environment)
}

/// Headers from a proxy: the last address that is not a proxy's counts.
#[cfg(target_os = "linux")] // elsewhere 127.0.0.2 is not this machine
#[tokio::test]
async fn headers_of_trusted_proxies_name_the_client() {
    for (kind, header) in [("x-forwarded-for", "X-Forwarded-For: "), ("forwarded", "Forwarded: for=")] {
        let environment = [("SEMBLANCE_SERVER_CLIENT_FROM", kind), TRUSTED, ("SEMBLANCE_LOG_LEVEL", "info")];
        let server = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &environment).await;
        let address = address_of(server.url());
        let other = if kind == "forwarded" { "X-Forwarded-For: 203.0.113.9" } else { "Forwarded: for=203.0.113.9" };
        for (from, value, client) in [
            (Ipv4Addr::LOCALHOST, "192.0.2.7", "192.0.2.7"),
            (Ipv4Addr::LOCALHOST, "unknown", "127.0.0.1"),
            (HONEST, "192.0.2.7", "127.0.0.2"),
        ] {
            let before = journaled(&server, 401).len();
            let headers = format!("{header}{value}\r\n{other}\r\n");
            assert!(request_from(from, address, b"", &headers).await.starts_with("HTTP/1.1 401"));
            eventually("the request is journaled", async || journaled(&server, 401).len() > before).await;
            assert_eq!(journaled(&server, 401).pop().unwrap(), client, "{kind} {value}");
        }
        assert!(!server.log().contains("203.0.113.9"));
        // Ends without an error.
        server.command(&Database::sqlite(), &["journal", "verify"]);
    }
}

/// Clients of a proxy have rates of their own for requests without good credentials.
#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_proxy_have_rates_of_their_own() {
    let environment = [("SEMBLANCE_LIMITS_UNAUTHENTICATED_PER_S", "1"), TRUSTED];
    let server = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &environment).await;
    let address = address_of(server.url());
    let local = Ipv4Addr::LOCALHOST;
    let (id, key) = server.first_credentials();
    let good = format!("APP-ID: {id}\r\nAPP-KEY: {key}\r\n");
    let send = async |client: &str, credentials: &str| -> String {
        let answer = request_from(local, address, b"", &format!("X-Forwarded-For: {client}\r\n{credentials}")).await;
        answer.split(' ').nth(1).unwrap_or("none").to_owned()
    };
    eventually("too many are refused", async || send("192.0.2.1", "").await == "429").await;
    assert_eq!(send("192.0.2.2", "").await, "401", "of another client");
    assert_eq!(send("192.0.2.1", &good).await, "200", "good credentials");
}

/// The header of the PROXY protocol comes before TLS.
#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_protocol_comes_before_tls() {
    crate::support::crypto();
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = [("SEMBLANCE_TLS_CERT", cert.to_str().unwrap()), ("SEMBLANCE_TLS_KEY", key.to_str().unwrap())];
    let server = start_behind(&[&tls[..], &[TRUSTED, PROXY_PROTOCOL]].concat());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = Arc::new(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth());
    let get = |header: &[u8]| -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address_of(server.url()))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(header)?;
        let name = "localhost".try_into().unwrap();
        let mut stream =
            rustls::StreamOwned::new(rustls::ClientConnection::new(Arc::clone(&config), name).unwrap(), stream);
        stream.write_all(b"GET /api/v1.0/templates HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = vec![0; 1024];
        let read = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
    };
    assert!(get(b"").is_err(), "TLS at once");
    assert!(get(&version_2([192, 0, 2, 7])).unwrap().starts_with("HTTP/1.1 401"));
    assert_eq!(journaled_client(&server, 401).await, "192.0.2.7");
}

/// What a scene counts.
#[derive(Debug, Default)]
struct Counts {
    honest: usize,
    succeeded: usize,
    connections: AtomicUsize,
}

/// Clients that send wrong credentials and then one byte every three seconds of a body, and connect again when they are
/// disconnected; and an honest client that sends a request every 50 ms, with a connection for each.
async fn slow_strangers(proxy: SocketAddr, server: &Server, strangers: usize, duration: Duration) -> Counts {
    let (id, key) = server.first_credentials();
    let ended = Arc::new(AtomicBool::new(false));
    let counts = Arc::new(Counts::default());
    let tasks: Vec<_> = (0..strangers)
        .map(|at| {
            let (ended, counts) = (Arc::clone(&ended), Arc::clone(&counts));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(at as u64 * 2)).await;
                while !ended.load(Ordering::Relaxed) {
                    counts.connections.fetch_add(1, Ordering::Relaxed);
                    let _ = stranger(proxy, &ended).await;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let start = Instant::now();
    let (mut honest, mut succeeded) = (0, 0);
    let mut waiting = tokio::task::JoinSet::new();
    while start.elapsed() < duration {
        let request = reqwest::Client::builder()
            .local_address(std::net::IpAddr::from(HONEST))
            .timeout(Duration::from_secs(5))
            .build()
            .unwrap()
            .get(format!("http://{proxy}/api/v1.0/templates"))
            .header("APP-ID", &id)
            .header("APP-KEY", &key);
        waiting.spawn(async move { request.send().await.is_ok_and(|answer| answer.status() == 200) });
        honest += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    while let Some(answered) = waiting.join_next().await {
        succeeded += usize::from(answered.unwrap());
    }
    ended.store(true, Ordering::Relaxed);
    for task in &tasks {
        task.abort();
    }
    Counts { honest, succeeded, connections: counts.connections.load(Ordering::Relaxed).into() }
}

async fn stranger(proxy: SocketAddr, ended: &AtomicBool) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((HOSTILE, 0).into())?;
    let mut stream = socket.connect(proxy).await?;
    let head = b"POST /api/v1.0/identify HTTP/1.1\r\nHost: x\r\nAPP-ID: x\r\nAPP-KEY: wrong\r\n\
        Content-Type: image/jpeg\r\nContent-Length: 1000000\r\n\r\nx";
    stream.write_all(head).await?;
    let mut answer = [0; 1024];
    while !ended.load(Ordering::Relaxed) {
        // The answer is read, and more of the body sent all the same.
        match tokio::time::timeout(Duration::from_secs(3), stream.read(&mut answer)).await {
            Ok(Ok(0)) => break,
            Ok(read) => drop(read?),
            Err(_) => stream.write_all(b"x").await?,
        }
    }
    Ok(())
}

async fn assert_honest_clients_are_served(scene: &str, proxy: &FrontProxy, server: &Server) {
    crate::support::crypto();
    let counts = slow_strangers(proxy.address, server, 450, Duration::from_secs(8)).await;
    let Counts { honest, succeeded, connections } = &counts;
    let share = 100.0 * *succeeded as f64 / *honest as f64;
    figure(
        &format!("450 clients with wrong credentials, a byte every 3 s, through {scene}"),
        &format!(
            "{succeeded} of {honest} honest requests succeeded ({share:.1} %); {connections:?} hostile connections"
        ),
    );
    assert!(share >= 95.0, "{scene}: {counts:?}");
}

/// The server does not know its proxy: all clients are one peer.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn slow_strangers_through_an_unknown_haproxy() {
    let Some(haproxy) = find("slow strangers through HAProxy", "haproxy") else { return };
    let server = Server::start(&Database::sqlite()).await;
    let proxy = FrontProxy::haproxy(&haproxy, &server, "", "").await;
    assert_honest_clients_are_served("HAProxy that is not in the list", &proxy, &server).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn slow_strangers_through_haproxy_with_a_header() {
    let Some(haproxy) = find("slow strangers through HAProxy", "haproxy") else { return };
    let server = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &[TRUSTED]).await;
    let proxy = FrontProxy::haproxy(&haproxy, &server, "option forwardfor", "").await;
    assert_honest_clients_are_served("HAProxy with X-Forwarded-For", &proxy, &server).await;
    assert_eq!(journaled_client(&server, 401).await, HOSTILE.to_string());
    assert_eq!(journaled_client(&server, 200).await, HONEST.to_string());
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn slow_strangers_through_haproxy_with_the_proxy_protocol() {
    let Some(haproxy) = find("slow strangers through HAProxy", "haproxy") else { return };
    let server = start_behind(&[TRUSTED, PROXY_PROTOCOL]);
    for (options, check) in [("send-proxy", false), ("send-proxy-v2", true)] {
        let proxy = FrontProxy::haproxy(&haproxy, &server, "", options).await;
        eventually("the server is ready", async || {
            let answer = reqwest::get(format!("http://{}/readyz", proxy.address)).await;
            answer.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        if check {
            assert_honest_clients_are_served(&format!("HAProxy with {options}"), &proxy, &server).await;
        } else {
            assert!(request_from(HOSTILE, proxy.address, b"", "").await.starts_with("HTTP/1.1 401"));
        }
        assert_eq!(journaled_client(&server, 401).await, HOSTILE.to_string());
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn slow_strangers_through_nginx() {
    let Some(nginx) = find("slow strangers through nginx", "nginx") else { return };
    for (kind, line) in [
        ("x-forwarded-for", "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"),
        ("forwarded", "proxy_set_header Forwarded \"$http_forwarded, for=$remote_addr\";"),
    ] {
        let environment = [TRUSTED, ("SEMBLANCE_SERVER_CLIENT_FROM", kind)];
        let server = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &environment).await;
        let proxy = FrontProxy::nginx(&nginx, &server, line).await;
        if kind == "x-forwarded-for" {
            assert_honest_clients_are_served("nginx with X-Forwarded-For", &proxy, &server).await;
            assert_eq!(journaled_client(&server, 200).await, HONEST.to_string());
        } else {
            let made_up = "Forwarded: for=203.0.113.9\r\n";
            assert!(request_from(HOSTILE, proxy.address, b"", made_up).await.starts_with("HTTP/1.1 401"));
        }
        assert_eq!(journaled_client(&server, 401).await, HOSTILE.to_string());
    }
}
