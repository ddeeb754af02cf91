//! Responses that are sent before the request was read to its end, as clients with pooled connections see them.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::{HeaderMap, Request, Version, header};
use futures_util::stream;
use semblance::api::ApiConfig;
use tower::ServiceExt as _;

use crate::support::wire::{Call, Wire};
use crate::support::{Answer, Form, Parts, Server, Setup, eventually, photo};

const KIB: usize = 1024;

/// A photo of 300 KiB: no server reads it to be polite before it refuses.
fn large() -> Form {
    Form::new().photo(&[photo("ann"), vec![0; 300 * KIB]].concat())
}

fn small() -> Form {
    Form::new().photo(&photo("ann"))
}

/// Calls that are refused for what their heads say, and the status of each.
fn refused(server: &Server, form: &Form) -> Vec<(Call, u16)> {
    vec![
        (server.post("identify").header("APP-KEY", "wrong").form(form), 401),
        (server.post("identify").without("APP-ID").without("APP-KEY").form(form), 401),
        (server.post("identify?threshold=x").form(form), 400),
        (server.post("recognize").form(form), 501),
        (server.post("nowhere").form(form), 404),
        (server.call("PUT", "/api/v1.0/identify").form(form), 405),
        (server.call("GET", "/healthz").form(form), 200),
    ]
}

/// Sends the head alone, reads the response, then checks that the connection takes the body and ends.
async fn assert_announced(server: &Server, call: Call, status: u16) {
    let name = call.target.clone();
    let mut wire = Wire::connect(server.addr).await;
    wire.write(&call.head()).await;
    let answer = wire.answer_to(&call.method).await;
    assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{name}");
    // A client that goes on all the same: the rest of the body, then what it believes to be its next request.
    let next = server.send_request(&small());
    let _ = wire.try_write(&[call.body, next].concat()).await;
    assert!(wire.is_closed().await, "{name}: what follows an unread body is no request");
}

impl Server {
    /// An identification, head and body.
    fn send_request(&self, form: &Form) -> Vec<u8> {
        let call = self.post("identify").form(form);
        [call.head(), call.body].concat()
    }
}

#[tokio::test]
async fn an_early_response_closes_the_connection() {
    let config = ApiConfig { max_body_bytes: 200 * KIB, ..ApiConfig::default() };
    let server = Server::with(Setup { config, photos: 1, ..Setup::default() }).await;
    for form in [small(), large()] {
        for expect in [false, true] {
            let expecting = |call: Call| if expect { call.header("Expect", "100-continue") } else { call };
            for (call, status) in refused(&server, &form) {
                assert_announced(&server, expecting(call), status).await;
            }
            let ticket = server.occupy();
            assert_announced(&server, expecting(server.post("identify").form(&form)), 503).await;
            drop(ticket);
            assert_announced(&server, expecting(server.post("identify").form(&large())), 413).await;
        }
    }
}

#[tokio::test]
async fn a_rate_limit_response_closes_the_connection() {
    let config = ApiConfig { requests_per_second: 0.01, burst: 1, ..ApiConfig::default() };
    let server = Server::with(Setup { config, ..Setup::default() }).await;
    assert_eq!(server.get("templates").await.status, 200);
    for expect in ["", "100-continue"] {
        assert_announced(&server, server.post("identify").header("Expect", expect).form(&large()), 429).await;
    }
}

/// Requests one after the other, on one connection for as long as the server does not end it.
struct Pooled<'a> {
    server: &'a Server,
    idle: Option<Wire>,
    connections: usize,
}

impl Pooled<'_> {
    async fn send(&mut self, call: Call) -> Answer {
        let mut wire = match self.idle.take() {
            Some(wire) => wire,
            None => {
                self.connections += 1;
                Wire::connect(self.server.addr).await
            }
        };
        wire.write(&call.head()).await;
        if call.headers.iter().any(|(name, _)| name == "Expect") {
            let answer = wire.answer().await;
            if answer.status != 100 {
                return self.keep(wire, answer);
            }
        }
        wire.write(&call.body).await;
        let answer = wire.answer_to(&call.method).await;
        self.keep(wire, answer)
    }

    fn keep(&mut self, wire: Wire, answer: Answer) -> Answer {
        self.idle = Some(wire).filter(|_| answer.header("connection") != Some("close"));
        answer
    }
}

#[tokio::test]
async fn a_pooled_client_succeeds_after_every_refusal() {
    let server = Server::start().await;
    let mut pooled = Pooled { server: &server, idle: None, connections: 0 };
    for expect in [false, true] {
        for form in [small(), large()] {
            for (call, status) in refused(&server, &form) {
                let call = if expect { call.header("Expect", "100-continue") } else { call };
                assert_eq!(pooled.send(call).await.status, status);
                assert_eq!(pooled.send(server.post("identify").form(&form)).await.status, 200, "after {status}");
            }
        }
    }
    // Bodies that came whole, refused or not, cost no connection.
    pooled.connections = 0;
    for name in ["ann", "nobody", "broken", "ann"] {
        pooled.send(server.post("identify").form(&Form::new().photo(&photo(name)))).await;
    }
    let no_photo = Form::new().file("photo", "text/plain", b"x").text("x", "y");
    assert_eq!(pooled.send(server.post("identify").form(&no_photo)).await.error().1, 2);
    assert!(pooled.connections <= 1 && pooled.idle.is_some());
}

#[tokio::test]
async fn a_small_received_body_is_read_before_a_refusal() {
    let server = Server::start().await;
    let mut wire = Wire::connect(server.addr).await;
    for (call, status) in refused(&server, &small()) {
        wire.write(&[call.head(), call.body].concat()).await;
        let answer = wire.answer_to(&call.method).await;
        assert_eq!((answer.status, answer.header("connection")), (status, None));
    }
}

/// In pieces, the end of a body comes behind the end of the form.
#[tokio::test]
async fn the_end_of_a_chunked_body_is_awaited_briefly() {
    let server = Server::start().await;
    let call = server.post("identify").form(&small());
    let head = String::from_utf8(call.head()).unwrap();
    let (head, _) = head.split_once("Content-Length").unwrap();
    let chunk = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", call.body.len()).into_bytes();
    let unfinished = [chunk, call.body, b"\r\n".to_vec()].concat();
    let mut wire = Wire::connect(server.addr).await;
    for _ in 0..3 {
        wire.write(&[unfinished.clone(), b"0\r\n\r\n".to_vec()].concat()).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (200, None));
    }
    wire.write(&unfinished).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    wire.write(b"0\r\n\r\n").await;
    assert!(wire.is_closed().await);
}

/// The client that was too slow sends the rest, and reads only then.
#[tokio::test]
async fn the_rest_of_the_body_is_drained_after_a_timeout() {
    let config = ApiConfig { body_idle_timeout: Duration::from_millis(200), ..ApiConfig::default() };
    let server = Server::with(Setup { config, photos: 1, ..Setup::default() }).await;
    let call = server.post("identify").form(&Form::new().photo(&[photo("ann"), vec![0; 12_000 * KIB]].concat()));
    let mut wire = Wire::connect(server.addr).await;
    wire.write(&[call.head(), call.body[..KIB].to_vec()].concat()).await;
    for in_use in [true, false] {
        let uploads = &server.limiters.uploads;
        eventually("memory is reserved, then freed", async || (uploads.in_use() > 0) == in_use).await;
    }
    for piece in call.body[KIB..].chunks(64 * KIB) {
        wire.write(piece).await;
    }
    let answer = wire.answer().await;
    assert_eq!(answer.error(), (400, 400, "request body was not received in time".to_owned()));
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(wire.is_closed().await);
}

/// HTTP/2 has no such header: there, a request is a stream of its own.
#[tokio::test]
async fn only_http_1_sends_connection_close() {
    let parts = Parts::with(Setup::default()).await;
    for (version, announced) in [(Version::HTTP_10, true), (Version::HTTP_11, true), (Version::HTTP_2, false)] {
        let endless = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert!(!endless.is_end_stream());
        let request = Request::post("/api/v1.0/identify").version(version).body(endless).unwrap();
        let response = parts.router.clone().oneshot(request).await.unwrap();
        assert_eq!((response.status().as_u16(), says_close(response.headers())), (401, announced), "{version:?}");
    }
}

fn says_close(headers: &HeaderMap) -> bool {
    headers.get(header::CONNECTION).is_some_and(|value| value == "close")
}
