//! Requests with an `Idempotency-Key`.

use std::sync::atomic::Ordering;

use crate::support::{Answer, Call, Form, Server, photo};

/// An enrollment without an id: without a key, each one makes another template.
fn add(server: &Server, name: &str, key: &str) -> Call {
    server.post("add").form(&Form::new().photo(&photo(name))).header("Idempotency-Key", key)
}

fn is_repeated(answer: &Answer) -> bool {
    answer.transaction();
    match answer.header("idempotency-replayed") {
        None => false,
        Some(value) => {
            assert_eq!((value, answer.status), ("true", 200));
            true
        }
    }
}

async fn templates(server: &Server) -> usize {
    let crate::support::Json::List(templates) = server.get("templates").await.json().at("result.templates").clone()
    else {
        panic!("a list")
    };
    templates.len()
}

const REUSED: &str = "this Idempotency-Key was used for another request, use a new one";

#[tokio::test]
async fn a_repeated_add_gets_the_first_reply() {
    let server = Server::start().await;
    let first = add(&server, "ann", "\"k 1\"").send().await;
    assert!(first.status == 200 && !is_repeated(&first));
    let begun = server.engine.begun.load(Ordering::SeqCst);
    for _ in 0..3 {
        let again = add(&server, "ann", "\"k 1\"").send().await;
        assert!(is_repeated(&again));
        assert_eq!(again.body, first.body, "byte for byte, with its transaction");
    }
    assert_eq!(server.engine.begun.load(Ordering::SeqCst), begun, "the photo is not analyzed again");
    assert_eq!(templates(&server).await, 1);
    // How a request is written does not count.
    let bare = server.post("add?replace=false&check_liveness=0").body("image/jpeg", photo("ann"));
    assert_eq!(bare.header("Idempotency-Key", "\"k 1\"").send().await.body, first.body);
    // Another key, and no key, are other requests.
    assert!(!is_repeated(&add(&server, "ann", "k-2").send().await));
    assert!(is_repeated(&add(&server, "ann", "\"k-2\"").send().await), "quoted or bare, it is the same key");
    assert!(!is_repeated(&server.send_photo("add", &photo("ann")).await));
    assert_eq!(templates(&server).await, 3);
}

#[tokio::test]
async fn a_repeated_sample_is_added_once() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    let add = || server.post("templates/ann/samples").form(&Form::new().photo(&photo("ann.2")));
    let first = add().header("Idempotency-Key", "k").send().await;
    let again = add().header("Idempotency-Key", "k").send().await;
    assert!(first.status == 200 && !is_repeated(&first) && is_repeated(&again));
    assert_eq!(again.body, first.body);
    let samples = server.get("templates/ann").await.json().at("result.samples").to_string();
    assert_eq!(samples.matches("sampleId").count(), 2, "{samples}");
}

#[tokio::test]
async fn a_key_of_another_request_is_refused() {
    let server = Server::start().await;
    add(&server, "ann", "k").send().await;
    let form = |name: &str| Form::new().photo(&photo(name));
    server.enroll("bob", &photo("bob")).await;
    for other in [
        server.post("add").form(&form("eve")),
        server.post("add").form(&form("ann").text("templateId", "ann")),
        server.post("add?replace=true").form(&form("ann")),
        server.post("add?check_liveness=true").form(&form("ann")),
        server.post("add?faces=largest").form(&form("ann")),
        server.post("templates/bob/samples").form(&form("ann")),
    ] {
        let answer = other.header("Idempotency-Key", "k").send().await;
        assert_eq!(answer.error(), (422, 422, REUSED.to_owned()));
    }
    assert_eq!(templates(&server).await, 2);
}

#[tokio::test]
async fn a_malformed_key_is_refused() {
    let server = Server::start().await;
    for key in ["", "\"\"", "\"open", "a, b", "a b", "\"a\";p=1", &"x".repeat(256)] {
        for call in [add(&server, "ann", key), server.post("templates/x/samples").header("Idempotency-Key", key)] {
            let (status, code, info) = call.send().await.error();
            assert!((status, code) == (400, 400) && info.starts_with("Idempotency-Key must be "), "{key}: {info}");
        }
    }
    let mut twice = add(&server, "ann", "a");
    twice.headers.push(("idempotency-key".to_owned(), "b".to_owned()));
    assert_eq!(twice.send().await.error(), (400, 400, "Idempotency-Key must be sent once".to_owned()));
    assert_eq!(templates(&server).await, 0);
    // Other endpoints do not read the header.
    let other = server.post("identify").form(&Form::new().photo(&photo("ann"))).header("Idempotency-Key", "a, b");
    assert_eq!(other.send().await.status, 200);
}

#[tokio::test]
async fn a_request_in_progress_is_not_executed_twice() {
    let server = Server::start().await;
    let held = tokio::spawn(add(&server, "held", "k").send());
    server.engine.has_begun(1).await;
    let answer = add(&server, "held", "k").send().await;
    let info = "a request with this Idempotency-Key is in progress, try again later";
    assert_eq!(answer.error(), (409, 409, info.to_owned()));
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().unwrap() >= 1));
    assert_eq!(add(&server, "ann", "k").send().await.error(), (422, 422, REUSED.to_owned()));
    assert!(!is_repeated(&add(&server, "ann", "other").send().await), "other keys go on");
    server.engine.gate.add_permits(1);
    let first = held.await.unwrap();
    assert!(first.status == 200 && !is_repeated(&first));
    let again = add(&server, "held", "k").send().await;
    assert!(is_repeated(&again) && again.body == first.body);
    assert_eq!(templates(&server).await, 2);
}

/// Its client gave up, and sends the request again.
#[tokio::test]
async fn an_abandoned_request_leaves_its_key_free() {
    let server = Server::start().await;
    let call = add(&server, "held", "k");
    let mut wire = crate::support::wire::Wire::connect(server.addr).await;
    wire.write(&call.head()).await;
    wire.write(&call.body).await;
    server.engine.has_begun(1).await;
    drop(wire);
    server.engine.gate.add_permits(2);
    crate::support::eventually("the key is free", async || {
        let answer = add(&server, "held", "k").send().await;
        assert!([200, 409].contains(&answer.status), "{answer:?}");
        answer.status == 200
    })
    .await;
    assert_eq!(templates(&server).await, 1);
}

#[tokio::test]
async fn a_failed_request_leaves_its_key_free() {
    let server = Server::start().await;
    assert_eq!(add(&server, "nobody", "k").send().await.error().0, 400);
    server.store.down.store(true, Ordering::SeqCst);
    assert_eq!(add(&server, "ann", "k").send().await.error().0, 503);
    server.store.down.store(false, Ordering::SeqCst);
    assert!(!is_repeated(&add(&server, "ann", "k").send().await));
    assert!(is_repeated(&add(&server, "ann", "k").send().await));
    assert_eq!(templates(&server).await, 1);
}

#[tokio::test]
async fn a_reply_ends_with_its_template() {
    let server = Server::start().await;
    let first = add(&server, "ann", "k").send().await.json();
    let id = first.text("result.templateId").to_owned();
    assert_eq!(server.call("DELETE", &format!("/api/v1.0/templates/{id}")).send().await.status, 200);
    let again = add(&server, "ann", "k").send().await;
    assert!(again.status == 200 && !is_repeated(&again));
    assert_ne!(again.json().text("result.templateId"), id);
}
