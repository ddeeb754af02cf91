//! Sign-in, sessions, CSRF.

use std::time::Duration;

use semblance::domain::TestClock;
use serde_json::{Value, json};

use crate::support::admin::{As, result};
use crate::support::{Server, Setup};

const NULL: Value = Value::Null;

#[tokio::test]
async fn a_token_makes_a_session() {
    let server = Server::start().await;
    let token = server.bootstrap().await;
    let body = json!({ "token": token.token() });
    let answer = server.admin_call(&As::Guest, "POST", "/session", &body).send().await;
    assert_eq!((answer.status, answer.header("location")), (201, Some("/api/admin/v1/session")));
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    let port = server.addr.port();
    assert!(cookie.starts_with(&format!("semblance-{port}=")), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    let session = result(&answer);
    assert_eq!(session["administrator"]["role"], "owner");
    assert_eq!((&session["bootstrap"], &session["administrator"]["bootstrap"]), (&json!(true), &json!(true)));
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let csrf = session["csrfToken"].as_str().unwrap().to_owned();
    let who = As::Session { cookie: cookie.clone(), csrf: csrf.clone() };
    let (status, read) = server.admin(&who, "GET", "/session", NULL).await;
    assert_eq!((status, &read["csrfToken"], &read["endsAt"]), (200, &json!(csrf), &session["endsAt"]));
    // Neither the token nor what is in the cookie is in a reply.
    let secret = cookie.split('=').nth(1).unwrap();
    for text in [secret, token.token()] {
        assert!(!read.to_string().contains(text) && !session.to_string().contains(text));
    }
    assert_eq!(server.admin(&who, "DELETE", "/session", NULL).await.0, 200);
    assert_eq!(server.admin(&who, "GET", "/session", NULL).await.0, 401, "it has ended");
}

#[tokio::test]
async fn wrong_credentials_get_one_answer() {
    let server = Server::start().await;
    let token = server.bootstrap().await;
    let token = token.token();
    let other = format!("{}{}", &token[..token.len() - 1], if token.ends_with('A') { 'B' } else { 'A' });
    let unknown = format!("sba_0123456789abcdef_{}", "A".repeat(43));
    let short = &token[..token.len() - 1];
    for wrong in [other.as_str(), &unknown, short, "", "x"] {
        for who in [As::Token(wrong.to_owned()), As::Session { cookie: wrong.to_owned(), csrf: wrong.to_owned() }] {
            let answer = server.admin_call(&who, "GET", "/session", &NULL).send().await;
            let body = result(&answer);
            if answer.status == 429 {
                assert!(answer.header("retry-after").is_some());
                continue;
            }
            assert_eq!((answer.status, &body["code"], &body["reason"]), (401, &json!(401), &json!("signInRequired")));
            assert!(answer.header("www-authenticate").is_none());
        }
    }
    let good = server.admin(&As::Token(token.to_owned()), "GET", "/session", NULL).await;
    assert_eq!(good.0, 200, "a right token is not bounded by wrong ones: {}", good.1);
}

#[tokio::test]
async fn sign_ins_are_bounded() {
    let server = Server::start().await;
    let token = server.bootstrap().await;
    let mut refused = 0;
    for _ in 0..14 {
        let body = json!({ "code": "A".repeat(43) });
        let answer = server.admin_call(&As::Guest, "POST", "/session", &body).send().await;
        match answer.status {
            401 => assert_eq!(refused, 0),
            429 => {
                assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
                refused += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!((3..=4).contains(&refused), "ten are admitted: {refused}");
    assert_eq!(server.admin(&token, "GET", "/session", NULL).await.0, 200);
}

#[tokio::test]
async fn a_code_signs_in_once() {
    let server = Server::start().await;
    let owner = server.bootstrap().await;
    let (status, made) =
        server.admin(&owner, "POST", "/administrators", json!({ "name": "Ada", "role": "operator" })).await;
    assert_eq!(status, 201);
    let path = format!("/administrators/{}/invitations", made["adminId"].as_str().unwrap());
    let (status, invitation) = server.admin(&owner, "POST", &path, json!({})).await;
    assert_eq!(status, 201, "{invitation}");
    let code = json!({ "code": invitation["code"] });
    let ada = server.sign_in(code.clone()).await;
    assert_eq!(server.admin(&ada, "GET", "/session", NULL).await.1["administrator"]["name"], "Ada");
    assert_eq!(server.admin(&As::Guest, "POST", "/session", code).await.0, 401, "it is used up");
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_and_after_its_day() {
    const MINUTE: Duration = Duration::from_secs(60);
    let time = TestClock::new();
    let mut setup = Setup { clock: time.clock(), ..Setup::default() };
    setup.policy.max_stale = None;
    let server = Server::with(setup).await;
    let token = server.bootstrap().await;
    // Only its session ends here; the token has no end before.
    let idle = server.sign_in(json!({ "token": token.token() })).await;
    let used = server.sign_in(json!({ "token": token.token() })).await;
    time.advance(20 * MINUTE);
    assert_eq!(server.admin(&used, "GET", "/session", NULL).await.0, 200);
    time.advance(11 * MINUTE);
    assert_eq!(server.admin(&idle, "GET", "/session", NULL).await.0, 401, "31 minutes without a request");
    assert_eq!(server.admin(&used, "GET", "/session", NULL).await.0, 200);
    let (status, refused) =
        server.admin(&used, "POST", "/administrators", json!({ "name": "Ada", "role": "owner" })).await;
    assert_eq!((status, &refused["reason"]), (403, &json!("freshSessionRequired")));
    let (status, confirmed) = server.admin(&used, "POST", "/session/confirm", json!({ "token": token.token() })).await;
    assert_eq!(status, 200, "{confirmed}");
    let (status, made) =
        server.admin(&used, "POST", "/administrators", json!({ "name": "Ada", "role": "owner" })).await;
    assert_eq!(status, 201, "{made}");
    for _ in 0..28 {
        time.advance(25 * MINUTE);
        server.admin(&used, "GET", "/session", NULL).await;
    }
    assert_eq!(server.admin(&used, "GET", "/session", NULL).await.0, 401, "12 hours have passed");
    assert_eq!(server.admin(&token, "GET", "/session", NULL).await.0, 200, "a token goes on");
    time.advance(7 * 24 * 60 * MINUTE);
    assert_eq!(server.admin(&token, "GET", "/session", NULL).await.0, 401, "but for seven days only");
}

#[tokio::test]
async fn a_change_with_a_cookie_needs_csrf_token_and_origin() {
    let server = Server::start().await;
    let token = server.bootstrap().await;
    let session = server.sign_in(json!({ "token": token.token() })).await;
    let body = json!({ "keepCurrent": true });
    let call = || server.admin_call(&session, "POST", "/sessions/end", &body);
    let evil = "https://evil.example";
    for call in [
        call().without("X-CSRF-Token"),
        call().header("X-CSRF-Token", "A"),
        call().without("Origin"),
        call().header("Origin", evil),
        call().header("Origin", "null"),
        call().header("Sec-Fetch-Site", "cross-site"),
        call().header("Sec-Fetch-Site", "same-site"),
    ] {
        let answer = call.send().await;
        assert_eq!((answer.status, &result(&answer)["reason"]), (403, &json!("csrf")));
    }
    assert_eq!(call().send().await.status, 200);
    // A token of another session is not this one's.
    let As::Session { csrf, .. } = server.sign_in(json!({ "token": token.token() })).await else { panic!() };
    assert_eq!(call().header("X-CSRF-Token", &csrf).send().await.status, 403);
    // A page of another origin cannot sign its visitor in.
    let sign_in = json!({ "token": token.token() });
    let answer = server.admin_call(&As::Guest, "POST", "/session", &sign_in).header("Origin", evil).send().await;
    assert_eq!((answer.status, &result(&answer)["reason"]), (403, &json!("csrf")));
    // Where a token is sent, the cookie is not read.
    let As::Session { cookie, .. } = &session else { panic!() };
    let wrong = As::Token("sba_x".to_owned());
    let answer = server.admin_call(&wrong, "GET", "/session", &NULL).header("Cookie", cookie).send().await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn names_of_other_hosts_are_refused() {
    let server = Server::start().await;
    let token = server.bootstrap().await;
    let mut call = server.admin_call(&token, "GET", "/session", &NULL);
    let head = String::from_utf8(call.head()).unwrap();
    call.headers.clear();
    let host = format!("Host: {}", server.addr);
    assert!(head.contains(&host));
    let mut wire = crate::support::wire::Wire::connect(server.addr).await;
    wire.write(head.replace(&host, "Host: evil.example").as_bytes()).await;
    let answer = wire.answer_to("GET").await;
    assert_eq!((answer.status, &result(&answer)["reason"]), (421, &json!("wrongHost")));
}

#[tokio::test]
async fn plain_http_from_other_machines_is_refused() {
    let mut setup = Setup::default();
    setup.config.admin.plain_http = false; // the router of this test knows no peer, so no client is this machine
    let server = Server::with(setup).await;
    let token = server.bootstrap().await;
    for who in [&token, &As::Guest] {
        let answer = server.admin_call(who, "POST", "/session", &json!({ "token": token.token() })).send().await;
        assert_eq!((answer.status, &result(&answer)["reason"]), (403, &json!("tlsRequired")));
    }
}

#[tokio::test]
async fn a_node_that_is_cut_off_refuses_administrators() {
    let time = TestClock::new();
    let server = Server::with(Setup { clock: time.clock(), ..Setup::default() }).await;
    let token = server.bootstrap().await;
    let session = server.sign_in(json!({ "token": token.token() })).await;
    server.service.replicator().poll().await.unwrap();
    server.administrators.down.store(true, std::sync::atomic::Ordering::SeqCst);
    time.advance(Duration::from_secs(890));
    server.service.replicator().poll().await.unwrap_err();
    for who in [&token, &session] {
        assert_eq!(server.admin(who, "GET", "/session", NULL).await.0, 200, "from memory");
    }
    let change = server.admin(&token, "POST", "/administrators", json!({ "name": "Ada", "role": "owner" })).await;
    assert_eq!(change.0, 503, "a change needs the database");
    time.advance(Duration::from_secs(20));
    for who in [&token, &session] {
        assert_eq!(server.admin(who, "GET", "/session", NULL).await.0, 503, "the token may be revoked by now");
    }
    server.administrators.down.store(false, std::sync::atomic::Ordering::SeqCst);
    server.service.replicator().poll().await.unwrap();
    assert_eq!(server.admin(&session, "GET", "/session", NULL).await.0, 200);
}
