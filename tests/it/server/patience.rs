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
