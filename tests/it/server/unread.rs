//! HTTP/2 answers that their peer does not read.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::process::{Database, Server};
use crate::support::{eventually, figure};

/// A connection whose peer opens no window for answers: the preface, and settings with an initial window of 0.
const NO_WINDOW: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";

/// Settings: windows of every stream that no answer fills.
const LARGE_WINDOWS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x04\x3f\xff\0\0";

/// A GET of a path, on a stream of its own.
fn request(stream: u32, path: &str) -> Vec<u8> {
    let head = [&b"\x82\x86\x01\x01x\x04"[..], &[path.len() as u8], path.as_bytes()].concat();
    [&[0, 0, head.len() as u8, 1, 5], &stream.to_be_bytes()[..], &head].concat()
}

fn connect(server: &Server, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.url().strip_prefix("http://").unwrap()).unwrap();
    let requests: Vec<u8> = (0..64).flat_map(|at| request(2 * at + 1, path)).collect();
    stream.write_all(&[NO_WINDOW, &requests].concat()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    stream
}

/// Unread answers of any size take a bounded share of memory for each connection.
#[tokio::test(flavor = "multi_thread")]
async fn unread_answers_take_little_memory() {
    const CONNECTIONS: usize = 300;
    let server = Server::start(&Database::sqlite()).await;
    let Some((before, _)) = server.memory() else { return };
    let mut grown = Vec::new();
    for path in ["/healthz", "/metrics", "/openapi.json"] {
        let held: Vec<TcpStream> = (0..CONNECTIONS).map(|_| connect(&server, path)).collect();
        // The server answers others, once the connections of the round before are closed.
        eventually("others are served", async || {
            reqwest::get(format!("{}/healthz", server.url())).await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (now, _) = server.memory().unwrap();
        grown.push(now.saturating_sub(before));
        figure(
            &format!("64 streams of {path} with window 0 on each of {CONNECTIONS} connections"),
            &format!("{} MiB more memory", now.saturating_sub(before)),
        );
        drop(held);
    }
    // Per connection: 64 KiB and one answer, and what 64 streams take.
    assert!(grown.iter().all(|mib| *mib <= 100), "{grown:?} MiB");
}

/// A peer that reads nothing of its answers is disconnected; one that reads slowly is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_opens_no_window_is_disconnected() {
    let short = [("SEMBLANCE_SERVER_WRITE_TIMEOUT_S", "2")];
    let server = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &short).await;
    let mut silent = connect(&server, "/openapi.json");
    let mut slow = connect(&server, "/openapi.json");
    slow.write_all(LARGE_WINDOWS).unwrap();
    let start = Instant::now();
    let (mut silent_ended, mut slow_ended) = (None, None);
    while start.elapsed() < Duration::from_secs(12) && silent_ended.is_none() {
        silent_ended = ended(&mut silent).then(|| start.elapsed());
        // 24 KiB more for the connection.
        let _ = slow.write_all(b"\0\0\x04\x08\0\0\0\0\0\0\0\x60\0");
        slow_ended = slow_ended.or(ended(&mut slow).then(|| start.elapsed()));
    }
    assert!(silent_ended.is_some(), "the peer that does not read was not disconnected");
    assert_eq!(slow_ended, None, "the slow peer reads");
}

/// Whether the server has closed the connection. Reads what there is.
fn ended(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 65_536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

/// More answers than the peer may leave unread are all delivered once it reads.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_requests_are_answered_when_the_peer_reads() {
    let server = Server::start(&Database::sqlite()).await;
    let mut stream = connect(&server, "/openapi.json");
    // The same for the connection.
    stream.write_all(&[b"\0\0\x04\x08\0\0\0\0\0\x3f\xff\0\0", LARGE_WINDOWS].concat()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut complete = 0;
    while complete < 64 {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let mut content = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut content).unwrap();
        complete += u32::from(head[3] == 0 && head[4] & 1 == 1);
    }
}
