//! Limits on connections: peers that are slow, idle, do not read, or are too many.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::process::{Database, Server};
use crate::support::eventually;

/// A short timeout, and a separate address for operators.
const SHORT_HEAD_TIMEOUT: [(&str, &str); 2] =
    [("SEMBLANCE_SERVER_HEAD_TIMEOUT_S", "2"), ("SEMBLANCE_ADMIN_LISTEN", "127.0.0.1:0")];

/// Sends `at_once`, then `slowly` byte by byte; returns whether the server disconnects before the end and in time.
fn is_disconnected(address: &str, at_once: &[u8], slowly: &[u8]) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    stream.write_all(at_once).unwrap();
    let start = Instant::now();
    let mut slowly = slowly.iter();
    while start.elapsed() < Duration::from_secs(15) {
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {} // a response, or the server's HTTP/2 preface
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if let Some(byte) = slowly.next()
                    && stream.write_all(&[*byte]).is_err()
                {
                    return true;
                }
            }
            Err(_) => return true,
        }
    }
    false
}

/// At both addresses, after any beginning of a request, for both versions of HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_sends_no_complete_request_is_disconnected() {
    let server = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &SHORT_HEAD_TIMEOUT).await;
    let drip = b"X: 0123456789\r\n".repeat(20);
    let kinds: [(&str, &[u8], &[u8]); 6] = [
        ("nothing", b"", b""),
        ("what may become HTTP/2", b"P", b""),
        ("the beginning of HTTP/2", b"PRI * HTTP/2.0\r\n", b""),
        ("HTTP/2 without a request", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", b""),
        ("a head that drips", b"GET /healthz HTTP/1.1\r\n", &drip),
        ("a second request that never comes", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b""),
    ];
    std::thread::scope(|scope| {
        for base in [server.url(), server.operators()] {
            for (kind, at_once, slowly) in kinds {
                let address = base.strip_prefix("http://").unwrap();
                scope.spawn(move || assert!(is_disconnected(address, at_once, slowly), "{base}: {kind}"));
            }
        }
    });
    // A complete request is served.
    assert_eq!(reqwest::get(format!("{}/healthz", server.url())).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_tls_handshake_is_disconnected() {
    crate::support::crypto();
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = [("SEMBLANCE_TLS_CERT", cert.to_str().unwrap()), ("SEMBLANCE_TLS_KEY", key.to_str().unwrap())];
    let server =
        Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &[&SHORT_HEAD_TIMEOUT[..], &tls].concat())
            .await;
    let address = server.url().strip_prefix("https://").unwrap();
    // Nothing, and the head of a record of five hundred bytes.
    for begun in [&b""[..], &b"\x16\x03\x01\x01\xf4"[..]] {
        assert!(is_disconnected(address, begun, b""), "{begun:?}");
    }
}

/// The first request of an HTTP/2 connection.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \0\0\0\x04\0\0\0\0\0\
    \0\0\x0f\x01\x05\0\0\0\x01\x82\x86\x41\x01x\x04\x08/healthz";

/// Reads an HTTP/2 frame: its type, its flags and its content.
fn frame(stream: &mut TcpStream) -> std::io::Result<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let mut content = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut content)?;
    Ok((head[3], head[4], content))
}

/// A peer that only answers keep-alive pings, and one that does not read its responses, are disconnected.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_or_non_reading_peer_is_disconnected() {
    let short = [
        ("SEMBLANCE_SERVER_HEAD_TIMEOUT_S", "1"),
        ("SEMBLANCE_SERVER_IDLE_TIMEOUT_S", "3"),
        ("SEMBLANCE_SERVER_WRITE_TIMEOUT_S", "2"),
    ];
    let server = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &short).await;
    let address = server.url().strip_prefix("http://").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
            stream.write_all(HTTP2).unwrap();
            let mut answers = 0;
            let ended = loop {
                match frame(&mut stream) {
                    Ok((1, _, head)) => answers += u32::from(head.first() == Some(&0x88)),
                    // A ping is answered.
                    Ok((6, 0, content)) => {
                        drop(stream.write_all(&[b"\0\0\x08\x06\x01\0\0\0\0", &content[..]].concat()))
                    }
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert!(
                !matches!(ended.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "the idle peer was not disconnected"
            );
            assert_eq!(answers, 1);
        });
        scope.spawn(|| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
            let requests = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
            let start = Instant::now();
            let ended = loop {
                match stream.write(&requests) {
                    Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break true,
                    _ if start.elapsed() > Duration::from_secs(20) => break false,
                    _ => {}
                }
            };
            assert!(ended, "the peer that does not read was not disconnected");
        });
    });
}

/// Connects from an address of this machine and sends a request; `None`: the connection was closed.
async fn connect_from(from: [u8; 4], server: &str) -> Option<tokio::net::TcpStream> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(server.parse().unwrap()).await.unwrap();
    let _ = stream.write_all(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut answer = [0; 2048];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut answer)).await.unwrap().unwrap_or(0);
    answer[..read].starts_with(b"HTTP/1.1 200").then_some(stream)
}

/// A connection above the limit is closed, open ones stay, and one peer gets a share only.
#[cfg(target_os = "linux")] // elsewhere 127.0.0.2 is not this machine
#[tokio::test]
async fn connections_are_bounded() {
    let few = [
        ("SEMBLANCE_SERVER_CONNECTIONS", "4"),
        ("SEMBLANCE_SERVER_PEER_SHARE", "0.75"),
        ("SEMBLANCE_ADMIN_LISTEN", "127.0.0.1:0"),
    ];
    let server = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &few).await;
    let address = server.url().strip_prefix("http://").unwrap();
    let (one, other) = ([127, 0, 0, 1], [127, 0, 0, 2]);
    // Connections of the start may take a moment to close.
    let mut held = Vec::new();
    let start = Instant::now();
    while held.len() < 3 {
        held.extend(connect_from(one, address).await);
        assert!(start.elapsed() < Duration::from_secs(10), "{} connections", held.len());
    }
    assert!(connect_from(one, address).await.is_none(), "one peer has its share");
    held.push(connect_from(other, address).await.expect("other peers are admitted"));
    assert!(connect_from(other, address).await.is_none(), "the limit is reached");
    assert_eq!(reqwest::get(format!("{}/healthz", server.operators())).await.unwrap().status(), 200);
    // Places are kept for health checks of this machine, and for nothing else.
    for _ in 0..20 {
        let mut check = super::process::command(server.dir(), &Database::Sqlite);
        let checked = check.env("SEMBLANCE_LISTEN", address).arg("healthcheck").output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
    crate::support::figure(
        "health checks with every connection in use",
        "20 of 20 succeed, other requests are refused",
    );
    held.swap_remove(0);
    eventually("a closed connection admits another", async || connect_from(one, address).await.is_some()).await;
}

/// The limits are announced in the first HTTP/2 frame, and a longer head is refused.
#[tokio::test(flavor = "multi_thread")]
async fn http2_heads_are_bounded() {
    let server = Server::start(&Database::sqlite()).await;
    let mut stream = TcpStream::connect(server.url().strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    stream.write_all(HTTP2).unwrap();
    let (kind, _, settings) = frame(&mut stream).unwrap();
    let setting = |id: u16| {
        let value = settings.chunks(6).find(|entry| entry[..2] == id.to_be_bytes())?;
        Some(u32::from_be_bytes(value[2..].try_into().unwrap()))
    };
    assert_eq!((kind, setting(3), setting(6)), (4, Some(64), Some(32 * 1024)), "concurrent streams, bytes of a head");
    // Four headers of 16 000 bytes each, each in its own frame.
    let value = [&b"\0\x01x\x7f\x81\x7c"[..], &[b'a'; 16_000]].concat();
    let piece = |kind: u8, flags: u8, content: &[u8]| {
        let length = (content.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 3], content].concat()
    };
    let mut heads = piece(1, 1, b"\x82\x86\x41\x01x\x04\x08/healthz");
    heads.extend([0, 0, 0, 4].into_iter().flat_map(|end| piece(9, end, &value)));
    let _ = stream.write_all(&heads);
    let mut statuses = Vec::new();
    while statuses.len() < 2 {
        let (kind, _, head) = frame(&mut stream).unwrap();
        statuses.extend((kind == 1).then(|| head[0]));
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [0x48, 0x88], "in HPACK: one of the rarer ones (431), and 200");
}
