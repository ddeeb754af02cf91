//! HTTP over a plain socket: tests control every byte that is sent and see every byte that is received.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

use super::schema::assert_documented;
use super::{Form, Json};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// A request that is not sent yet.
pub struct Call {
    pub addr: SocketAddr,
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Call {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        if content_type.is_empty() { self } else { self.header("Content-Type", content_type) }
    }

    pub fn form(self, form: &Form) -> Self {
        self.body(&form.content_type(), form.finished())
    }

    /// The head, with the length of the body.
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.addr);
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        write!(head, "Content-Length: {}\r\n\r\n", self.body.len()).unwrap();
        head.into_bytes()
    }

    /// Sends everything, then reads the answer, which must be as documented.
    pub async fn send(self) -> Answer {
        let mut wire = Wire::connect(self.addr).await;
        wire.write(&self.head()).await;
        wire.write(&self.body).await;
        let answer = wire.answer_to(&self.method).await;
        assert_documented(&self.method, &self.target, &answer);
        answer
    }
}

/// One connection.
pub struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Wire {
    pub async fn connect(addr: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(addr).await.unwrap(), received: Vec::new() }
    }

    /// Sends bytes. Fails where a client's library would: when the connection is reset.
    pub async fn write(&mut self, bytes: &[u8]) {
        timeout(ANSWER_TIMEOUT, self.stream.write_all(bytes)).await.expect("the server reads").expect("no reset");
    }

    /// Sends bytes; fails when the server closes the connection.
    pub async fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        timeout(ANSWER_TIMEOUT, self.stream.write_all(bytes)).await.expect("the server reads")
    }

    pub async fn answer(&mut self) -> Answer {
        self.answer_to("POST").await
    }

    pub async fn answer_to(&mut self, method: &str) -> Answer {
        let head = self.read_head().await;
        let text = String::from_utf8(head).unwrap();
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if method != "HEAD" && status != 204 && status != 100 {
            let length = answer.header("content-length").expect("every answer has a length").parse().unwrap();
            while self.received.len() < length {
                assert!(self.read().await > 0, "the body is cut short");
            }
            answer.body = self.received.drain(..length).collect();
        }
        answer
    }

    async fn read_head(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                return self.received.drain(..end + 4).collect();
            }
            assert!(self.read().await > 0, "the connection ends before an answer");
        }
    }

    async fn read(&mut self) -> usize {
        let mut piece = [0; 4096];
        let read =
            timeout(ANSWER_TIMEOUT, self.stream.read(&mut piece)).await.expect("the server answers").expect("no reset");
        self.received.extend(&piece[..read]);
        read
    }

    /// Waits for the server to close the connection.
    pub async fn is_closed(&mut self) -> bool {
        let mut piece = [0; 16];
        matches!(timeout(ANSWER_TIMEOUT, self.stream.read(&mut piece)).await, Ok(Ok(0) | Err(_)))
    }

    /// Whether nothing arrives for a while.
    pub async fn is_silent(&mut self, duration: Duration) -> bool {
        let mut piece = [0; 16];
        timeout(duration, self.stream.read(&mut piece)).await.is_err()
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Json {
        Json::parse(&self.body)
    }

    /// The transaction id, which must be the same in the body and in the header.
    pub fn transaction(&self) -> String {
        let id = self.json().text("transactionId").to_owned();
        assert_eq!(self.header("x-transaction-id"), Some(id.as_str()));
        let uuid = Uuid::parse_str(&id).unwrap();
        assert_eq!((uuid.get_version_num(), uuid.to_string()), (4, id.clone()), "a lower-case hyphenated UUID v4");
        id
    }

    /// The error of an answer, checked for its form.
    pub fn error(&self) -> (u16, i64, String) {
        let json = self.json();
        self.transaction();
        assert_eq!(self.header("content-type"), Some("application/json"));
        let Json::Object(envelope) = &json else { panic!("{json}") };
        assert_eq!(envelope.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["transactionId", "result"]);
        let Json::Object(result) = json.at("result") else { panic!("{json}") };
        let keys: Vec<&str> = result.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys.get(..3), Some(&["status", "code", "info"][..]));
        assert!(keys[3..].iter().all(|key| ["reason", "details", "fields"].contains(key)), "{keys:?}");
        assert_eq!(json.text("result.status"), "error");
        let Json::Number(code) = json.at("result.code") else { panic!("{json}") };
        (self.status, code.as_i64().expect("an integer"), json.text("result.info").to_owned())
    }

    /// The status and the body, for a snapshot: what is random is masked.
    pub fn shown(&self) -> String {
        self.transaction();
        format!("HTTP {}\n{}", self.status, masked(self.json()))
    }
}

fn masked(json: Json) -> Json {
    match json {
        Json::Text(text) if Uuid::parse_str(&text).is_ok() => Json::Text("[uuid]".to_owned()),
        Json::Text(text) if text.starts_with("key:k-") => Json::Text("key:[id]".to_owned()),
        Json::List(items) => Json::List(items.into_iter().map(masked).collect()),
        Json::Object(pairs) => Json::Object(pairs.into_iter().map(|(key, value)| (key, masked(value))).collect()),
        other => other,
    }
}
