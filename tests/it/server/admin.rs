//! What is for operators can have an address of its own.

use std::io::{Read, Write};
use std::net::TcpStream;

use reqwest::{Client, Response};
use serde_json::Value;

use super::process::{Database, Server};
use crate::support::eventually;

async fn apart() -> Server {
    let own = [("SEMBLANCE_ADMIN_LISTEN", "127.0.0.1:0")];
    Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &own).await
}

async fn get(base: &str, path: &str) -> Response {
    Client::new().get(format!("{base}{path}")).send().await.unwrap()
}

/// The answer to anything that is not there, in its envelope.
async fn is_unknown(answer: Response) {
    assert_eq!(answer.status(), 404, "{}", answer.url());
    let reply: serde_json::Value = answer.json().await.unwrap();
    assert_eq!((&reply["result"]["status"], &reply["result"]["code"]), (&"error".into(), &404.into()), "{reply}");
}

#[tokio::test]
async fn metrics_are_served_to_operators_only() {
    let server = apart().await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    for path in ["/metrics", "/metrics/", "//metrics", "/metrics?x=1", "/%6detrics"] {
        is_unknown(get(server.url(), path).await).await;
    }
    let answer = get(server.operators(), "/metrics").await;
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap();
    let added = r#"semblance_requests_total{route="/api/v1.0/add",status="200",code="0"} 1"#;
    assert!(text.lines().any(|line| line == added), "both are one server:\n{text}");
}

#[tokio::test]
async fn the_operator_address_does_not_serve_the_api() {
    let server = apart().await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    let (id, key) = app.credentials();
    for path in ["/api/v1.0/templates", "/api/v1.0/templates/a", "/openapi.json", "/licences", "/"] {
        let request = Client::new().get(format!("{}{path}", server.operators()));
        is_unknown(request.header("APP-ID", &id).header("APP-KEY", &key).send().await.unwrap()).await;
    }
    let request = Client::new().post(format!("{}/api/v1.0/delete", server.operators()));
    let request = request.header("APP-ID", &id).header("APP-KEY", &key).body(r#"{"templateId":"a"}"#);
    is_unknown(request.header("Content-Type", "application/json").send().await.unwrap()).await;
    assert_eq!(app.identify("person_a_2.jpg").await["result"]["templateId"], "a", "nothing was deleted");
}

#[tokio::test]
async fn both_addresses_apply_the_limits() {
    let server = apart().await;
    for base in [server.url(), server.operators()] {
        for path in ["/healthz", "/readyz"] {
            assert_eq!(get(base, path).await.status(), 200, "{base}{path}");
        }
        for path in ["/healthz", "/nowhere"] {
            let answer = get(base, path).await;
            for header in ["x-transaction-id", "x-content-type-options", "content-security-policy", "cache-control"] {
                assert!(answer.headers().contains_key(header), "{base}{path}: no {header}");
            }
        }
        assert_eq!(Client::new().post(format!("{base}/healthz")).send().await.unwrap().status(), 405);
        // Request heads are limited; an oversized one gets a 431.
        let many = (0..101).map(|n| format!("X-{n}: 1\r\n")).collect::<String>();
        let long = format!("X: {}\r\n", "1".repeat(64 * 1024));
        let fits = (0..90).map(|n| format!("X-{n}: {}\r\n", "1".repeat(200))).collect::<String>();
        for (headers, status) in [(many, 431), (long, 431), (fits, 200)] {
            let mut stream = TcpStream::connect(base.strip_prefix("http://").unwrap()).unwrap();
            let head = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"), "{base}");
        }
    }
    // What is not set apart is where it always was.
    let whole = Server::start(&Database::sqlite()).await;
    assert_eq!(get(whole.url(), "/metrics").await.status(), 200);
}

#[tokio::test]
async fn both_addresses_shut_down_together() {
    let mut server = apart().await;
    let app = server.first_app();
    let public = server.url().to_owned();
    let operators = server.operators().to_owned();
    // Connections that are kept open, with nothing under way.
    let client = Client::new();
    for url in [format!("{public}/healthz"), format!("{operators}/metrics")] {
        assert!(!client.get(url).send().await.unwrap().text().await.unwrap().is_empty());
    }
    app.add("person_a_1.jpg", &[]).await;
    assert_eq!(tokio::task::spawn_blocking(move || server.stop()).await.unwrap(), Some(0));
    for url in [format!("{public}/healthz"), format!("{operators}/healthz")] {
        assert!(client.get(&url).send().await.is_err(), "{url} still answers");
    }
}

/// A client of the administration API of a real server.
struct Administration {
    base: String,
    client: Client,
}

/// A session of the console: its cookie and its CSRF token.
struct Session {
    cookie: String,
    csrf: String,
}

impl Administration {
    fn of(url: &str) -> Self {
        crate::support::crypto();
        Self { base: url.to_owned(), client: Client::new() }
    }

    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        self.client.request(method, format!("{}/api/admin/v1{path}", self.base))
    }

    async fn with_token(&self, token: &str, path: &str) -> (u16, Value) {
        let answer = self.request("GET", path).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn sign_in(&self, body: Value) -> Session {
        let answer = self.request("POST", "/session").json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let body: Value = answer.json().await.unwrap();
        Session { cookie, csrf: body["result"]["csrfToken"].as_str().unwrap().to_owned() }
    }

    async fn with_session(&self, session: &Session, method: &str, path: &str, body: Value) -> u16 {
        let request = self.request(method, path).header("Cookie", &session.cookie);
        let request = request.header("X-CSRF-Token", &session.csrf).header("Origin", &self.base);
        let request = if body.is_null() { request } else { request.json(&body) };
        request.send().await.unwrap().status().as_u16()
    }
}

fn token_file(server: &Server) -> String {
    std::fs::read_to_string(server.dir().join("admin.token")).unwrap().trim().to_owned()
}

#[tokio::test]
async fn the_first_run_makes_an_owner_whose_token_is_in_a_private_file() {
    let server = apart().await;
    let file = server.dir().join("admin.token");
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
    let token = token_file(&server);
    let administration = Administration::of(server.operators());
    let (status, session) = administration.with_token(&token, "/session").await;
    assert_eq!((status, &session["result"]["bootstrap"]), (200, &true.into()), "{session}");
    let public = Administration::of(server.url());
    assert_eq!(public.with_token(&token, "/session").await.0, 404, "the API's address does not serve it");
    // An APP-KEY does not open it, and a token does not open the API.
    let (id, key) = server.first_app().credentials();
    let request = administration.request("GET", "/session").header("APP-ID", &id).header("APP-KEY", &key);
    assert_eq!(request.send().await.unwrap().status(), 401);
    let request = Client::new().get(format!("{}/api/v1.0/templates", server.url())).bearer_auth(&token);
    assert_eq!(request.send().await.unwrap().status(), 401);
    // A page of another site that was rebound to this address.
    let rebound = administration.request("GET", "/session").header("Host", "evil.example").bearer_auth(&token);
    assert_eq!(rebound.send().await.unwrap().status(), 421);
    assert!(!server.log().contains(token.rsplit('_').next().unwrap()));
}

#[tokio::test]
async fn the_api_serves_the_administration_only_where_a_setting_says_so() {
    let server =
        Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &[("SEMBLANCE_ADMIN_LISTEN", "api")]).await;
    let token = token_file(&server);
    assert_eq!(Administration::of(server.url()).with_token(&token, "/session").await.0, 200);
    let off = Server::start(&Database::sqlite()).await;
    assert_eq!(Administration::of(off.url()).with_token(&token_file(&off), "/session").await.0, 404);
}

#[tokio::test]
async fn an_address_of_the_administration_that_is_taken_fails_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let mut serve = super::process::command(dir.path(), &Database::sqlite());
    let done = serve.arg("serve").env("SEMBLANCE_ADMIN_LISTEN", &address).output().unwrap();
    let message = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(1) && message.contains(&address), "{message}");
}

/// Where nothing is set, the usual port is used if it is free; whichever of these two servers comes second serves the API
/// alone.
#[tokio::test]
async fn a_second_server_on_a_machine_starts_without_the_administration() {
    let usual = [("SEMBLANCE_ADMIN_LISTEN", ""), ("SEMBLANCE_LOG_LEVEL", "warn")];
    let _one = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &usual).await;
    let other = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &usual).await;
    assert!(other.log().contains("the administration is not served"), "{}", other.log());
    assert_eq!(get(other.url(), "/metrics").await.status(), 200);
}

#[tokio::test]
async fn a_lock_out_is_recovered_on_the_machine() {
    let database = Database::sqlite();
    let server = apart().await;
    let administration = Administration::of(server.operators());
    let printed = server.command(&database, &["admin", "token", "--owner", "Ada", "--json"]);
    let made: Value = serde_json::from_str(&printed).unwrap();
    let token = made["token"].as_str().unwrap();
    assert_eq!(administration.with_token(token, "/session").await.0, 200, "the server knows it at once");
    let again = server.command(&database, &["admin", "token", "--owner", "ada"]);
    assert!(again.contains("sba_") && !again.contains("console"), "the command knows no address: {again}");
    let listed = server.command(&database, &["admin", "list", "--json"]);
    let all: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((all.len(), &all[1]["name"], &all[1]["tokens"]), (2, &"Ada".into(), &2.into()), "{listed}");
    let session = administration.sign_in(serde_json::json!({ "code": made["code"] })).await;
    assert_eq!(administration.with_session(&session, "GET", "/session", Value::Null).await, 200);
    let bootstrap = token_file(&server);
    eventually("the first owner has ended", async || administration.with_token(&bootstrap, "/session").await.0 == 401)
        .await;
    assert_eq!(server.command(&database, &["admin", "end-sessions"]).trim(), "ended sessions: 1");
    eventually("the session has ended", async || {
        administration.with_session(&session, "GET", "/session", Value::Null).await == 401
    })
    .await;
    let operations = || {
        let printed = server.command(&database, &["journal", "export"]);
        let lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of =
            |line: Value| Some((line["actor"]["kind"].as_str()?.to_owned(), line["operation"].as_str()?.to_owned()));
        lines.filter_map(of).collect::<Vec<_>>()
    };
    let has = |kind: &str, operation: &str| operations().contains(&(kind.to_owned(), operation.to_owned()));
    for (kind, operation) in [
        ("server", "administrator create"),
        ("command", "administrator create"),
        ("command", "token create"),
        ("command", "invitation"),
        ("command", "session end"),
        ("admin", "sign in"),
    ] {
        eventually(operation, async || has(kind, operation)).await;
    }
    let journal = server.command(&database, &["journal", "export"]);
    assert!(!journal.contains("Ada") && !journal.contains("sba_"), "no name and no token");
    assert!(server.command(&database, &["journal", "verify"]).contains("each follows"));
}

/// A session that is made on one node works on the other, and its end is in force there within one poll.
#[tokio::test]
async fn sessions_are_those_of_all_nodes() {
    let Some(database) = Database::postgres().await else { return };
    let own = [("SEMBLANCE_ADMIN_LISTEN", "127.0.0.1:0")];
    let one = Server::start_in(tempfile::tempdir().unwrap(), &database, &own).await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(one.dir().join("sealing.key"), dir.path().join("sealing.key")).unwrap();
    let other = Server::start_in(dir, &database, &own).await;
    assert!(!other.dir().join("admin.token").exists(), "one first owner for all nodes");
    let token = token_file(&one);
    let here = Administration::of(one.operators());
    let there = Administration::of(other.operators());
    let session = here.sign_in(serde_json::json!({ "token": token })).await;
    // The cookie's name has the port; a balancer has one port for all nodes.
    let secret = session.cookie.split_once('=').unwrap().1;
    let port = other.operators().rsplit(':').next().unwrap();
    let moved = Session { cookie: format!("semblance-{port}={secret}"), csrf: session.csrf.clone() };
    assert_eq!(there.with_session(&moved, "GET", "/session", Value::Null).await, 200, "at once");
    assert_eq!(here.with_session(&session, "DELETE", "/session", Value::Null).await, 200);
    eventually("its end is in force on the other node", async || {
        there.with_session(&moved, "GET", "/session", Value::Null).await == 401
    })
    .await;
}
