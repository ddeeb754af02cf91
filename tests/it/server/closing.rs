//! The end of a connection whose peer is still sending.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::process::{Database, Server};

/// A client that announces its body with `Expect: 100-continue`, sends it without waiting, and reads only then. It gets
/// the refusal, not a reset connection: the server goes on reading for a while after its last byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_wait_gets_its_refusal() {
    let server = Server::start(&Database::sqlite()).await;
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    let body = vec![b'x'; 3 << 20];
    let broken = b"not a chunk\r\n".repeat(100_000);
    for _ in 0..5 {
        for (framing, body, status) in [
            (format!("Content-Length: {}\r\nExpect: 100-continue\r\n", body.len()), &body, "401"),
            ("Transfer-Encoding: chunked\r\n".to_owned(), &broken, "401"),
        ] {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let head = format!("POST /api/v1.0/identify HTTP/1.1\r\nHost: x\r\nAPP-KEY: wrong\r\n{framing}\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            for piece in body.chunks(50_000) {
                stream.write_all(piece).expect("the server reads on");
            }
            stream.shutdown(Shutdown::Write).expect("no reset");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("no reset");
            let (line, rest) = answer.split_once("\r\n").expect("a response");
            assert_eq!(line.split(' ').nth(1), Some(status), "{answer}");
            assert!(rest.contains("connection: close\r\n"), "{answer}");
        }
    }
}
