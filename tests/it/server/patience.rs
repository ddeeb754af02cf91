//! Peers that open a connection and do not say what they want.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::process::{Database, Server};

/// What the server is told to wait.
const LIMIT: [(&str, &str); 2] = [("SEMBLANCE_SERVER_HEAD_TIMEOUT_S", "2"), ("SEMBLANCE_ADMIN_LISTEN", "127.0.0.1:0")];

/// Sends a byte of this now and then, and says whether the server hangs up before all of it is sent and in time.
fn is_cut(address: &str, at_once: &[u8], slowly: &[u8]) -> bool {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    stream.write_all(at_once).unwrap();
    let (start, mut slowly) = (Instant::now(), slowly.iter());
    while start.elapsed() < Duration::from_secs(15) {
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {} // an answer, or the server's part of a greeting
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

/// At both addresses, whatever was sent so far, and whichever version of HTTP it may become.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_come_to_the_point_is_cut() {
    let server = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &LIMIT).await;
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
                scope.spawn(move || assert!(is_cut(address, at_once, slowly), "{base}: {kind}"));
            }
        }
    });
    // Whoever comes to the point is served.
    assert_eq!(reqwest::get(format!("{}/healthz", server.url())).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_never_comes_is_cut() {
    crate::support::crypto();
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = [("SEMBLANCE_TLS_CERT", cert.to_str().unwrap()), ("SEMBLANCE_TLS_KEY", key.to_str().unwrap())];
    let server =
        Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &[&LIMIT[..], &tls].concat()).await;
    let address = server.url().strip_prefix("https://").unwrap();
    // Nothing, and the head of a record of five hundred bytes.
    for begun in [&b""[..], &b"\x16\x03\x01\x01\xf4"[..]] {
        assert!(is_cut(address, begun, b""), "{begun:?}");
    }
}

/// The first request of a connection of HTTP/2, which asks for nothing more.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \0\0\0\x04\0\0\0\0\0\
    \0\0\x0f\x01\x05\0\0\0\x01\x82\x86\x41\x01x\x04\x08/healthz";

/// A frame of HTTP/2: its type, its flags, and what is in it.
fn frame(stream: &mut TcpStream) -> std::io::Result<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let mut content = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut content)?;
    Ok((head[3], head[4], content))
}

/// Whoever answers every sign of life, and takes nothing of what it asked for, is as idle as one that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_holds_on_for_nothing_is_cut() {
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
                    // A sign of life is asked for, and given.
                    Ok((6, 0, content)) => {
                        drop(stream.write_all(&[b"\0\0\x08\x06\x01\0\0\0\0", &content[..]].concat()))
                    }
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert!(!matches!(ended.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "it was not cut");
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
            assert!(ended, "who does not read was not cut");
        });
    });
}

/// Opens a connection from an address of this machine and asks for a sign of life; `None`: it was closed.
async fn asks(from: [u8; 4], server: &str) -> Option<tokio::net::TcpStream> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(server.parse().unwrap()).await.unwrap();
    let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut answer = [0; 2048];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut answer)).await.unwrap().unwrap_or(0);
    answer[..read].starts_with(b"HTTP/1.1 200").then_some(stream)
}

/// Where there is no room for one more, it is closed; who is in stays, and nobody has all the room.
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
    // Connections of the start may take a moment to be gone.
    let mut held = Vec::new();
    let start = Instant::now();
    while held.len() < 3 {
        held.extend(asks(one, address).await);
        assert!(start.elapsed() < Duration::from_secs(10), "{} connections", held.len());
    }
    assert!(asks(one, address).await.is_none(), "one has its share");
    held.push(asks(other, address).await.expect("there is room for others"));
    assert!(asks(other, address).await.is_none(), "all the room is taken");
    assert_eq!(reqwest::get(format!("{}/healthz", server.operators())).await.unwrap().status(), 200);
    held.swap_remove(0);
    let again = async {
        while asks(one, address).await.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again).await.expect("room came back");
}

/// What HTTP/2 lets a peer send, said in the first frame; and a head beyond it is not served.
#[tokio::test(flavor = "multi_thread")]
async fn heads_of_http2_are_bounded() {
    let server = Server::start(&Database::sqlite()).await;
    let mut stream = TcpStream::connect(server.url().strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    stream.write_all(HTTP2).unwrap();
    let (kind, _, settings) = frame(&mut stream).unwrap();
    let said = |id: u16| {
        let value = settings.chunks(6).find(|setting| setting[..2] == id.to_be_bytes())?;
        Some(u32::from_be_bytes(value[2..].try_into().unwrap()))
    };
    assert_eq!((kind, said(3), said(6)), (4, Some(64), Some(32 * 1024)), "streams at once, bytes of a head");
    // Four headers of 16 000 bytes each, in a frame of their own each.
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
