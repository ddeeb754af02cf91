//! Overload: too many, too slow, too large or abandoned requests, seen from the client's socket.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use semblance::api::ApiConfig;
use semblance::compute::PoolConfig;
use semblance::engine::{EmbeddingSender, EnginePool, ModelPack};

use crate::support::engine::seen;
use crate::support::wire::Wire;
use crate::support::{Form, Parts, ScriptedEngine, Server, Setup, eventually, figure, photo};

const MIB: usize = 1024 * 1024;

async fn server_with(tickets: usize, config: ApiConfig) -> Server {
    Server::with(Setup { tickets, config, ..Setup::default() }).await
}

#[tokio::test]
async fn a_full_server_refuses_at_once_and_finishes_admitted_requests() {
    let server = server_with(2, ApiConfig { retry_after_s: 0, ..ApiConfig::default() }).await;
    let mut held = Vec::new();
    for name in ["held.1", "held.2"] {
        let call = server.post("identify").form(&Form::new().photo(&photo(name)));
        held.push(tokio::spawn(call.send()));
    }
    server.engine.has_begun(2).await;
    for endpoint in ["identify", "add", "verify", "liveness", "templates/ann/samples"] {
        let answer = server.send_photo(endpoint, &photo("ann")).await;
        assert_eq!(answer.error(), (503, 503, "server is busy, try again later".to_owned()));
        assert_eq!(answer.header("retry-after"), Some("1"), "never 0: OkHttp would try again at once");
    }
    assert_eq!(server.call("GET", "/healthz").send().await.status, 200);
    server.engine.gate.add_permits(2);
    for answer in held {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    assert_eq!(server.send_photo("identify", &photo("ann")).await.status, 200, "the tickets are returned");
}

#[tokio::test]
async fn one_tenant_does_not_starve_another() {
    let server = Server::with(Setup { tickets: 4, share: 0.5, ..Setup::default() }).await;
    let other = server.service.applications().create("other").await.unwrap();
    server.service.replicator().poll().await.unwrap();
    let mut held = Vec::new();
    for name in ["held.1", "held.2"] {
        held.push(tokio::spawn(server.post("identify").form(&Form::new().photo(&photo(name))).send()));
    }
    server.engine.has_begun(2).await;
    let refused = server.send_photo("identify", &photo("ann")).await;
    assert_eq!(refused.error(), (429, 429, "too many requests, try again later".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    let call = server.post("identify").without("APP-ID").without("APP-KEY");
    let call = call.header("APP-ID", other.app_id.as_str()).header("APP-KEY", &other.app_key);
    assert_eq!(call.form(&Form::new().photo(&photo("ann"))).send().await.status, 200);
    server.engine.gate.add_permits(2);
    for answer in held {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    assert_eq!(server.send_photo("identify", &photo("ann")).await.status, 200);
}

/// Queued photos of two applications are processed in turn.
#[tokio::test]
async fn applications_are_served_in_turn() {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let pack = Arc::new(ModelPack::load(&models).unwrap());
    let (model, order) = (pack.embedding_model(), Arc::new(Mutex::new(Vec::new())));
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let (gate, begun) = (Arc::new(Mutex::new(gate)), Arc::clone(&order));
    let config = PoolConfig { name: "inference", threads: 1, queue: 16, deadline: Duration::from_secs(60) };
    let pool = EnginePool::start_with(pack, config, move || {
        let (model, begun, gate) = (model.clone(), Arc::clone(&begun), Arc::clone(&gate));
        Ok(Box::new(move |photo, request, sender: EmbeddingSender| {
            begun.lock().unwrap().push(String::from_utf8_lossy(&photo.bytes()[3..]).into_owned());
            gate.lock().unwrap().recv().unwrap();
            let analysis = seen(photo, request, &model)?;
            sender.send(analysis.embedding.as_ref().unwrap());
            Ok(analysis)
        }))
    });
    let pool = Arc::new(pool.unwrap());
    let setup = Setup { tickets: 16, ..Setup::default() };
    let parts = Parts::around(ScriptedEngine::new(), Arc::clone(&pool) as _, setup).await;
    let server = Server::serving(parts).await;
    let other = server.service.applications().create("other").await.unwrap();
    server.service.replicator().poll().await.unwrap();
    let mut calls = Vec::new();
    for (name, queued) in [("ann.1", 0), ("ann.2", 1), ("ann.3", 2), ("ann.4", 3), ("bob.1", 4), ("bob.2", 5)] {
        let mut call = server.post("identify").form(&Form::new().photo(&photo(name)));
        if name.starts_with("bob") {
            call = call.header("APP-ID", other.app_id.as_str()).header("APP-KEY", &other.app_key);
        }
        calls.push(tokio::spawn(call.send()));
        eventually("the photo is queued", async || !order.lock().unwrap().is_empty() && pool.waiting() >= queued).await;
    }
    (0..6).for_each(|_| open.send(()).unwrap());
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
    assert_eq!(*order.lock().unwrap(), ["ann.1", "ann.2", "bob.1", "ann.3", "bob.2", "ann.4"]);
}

#[tokio::test]
async fn one_tenant_does_not_block_the_store_for_another() {
    let config = ApiConfig { max_store_requests: 4, store_share: 0.5, ..ApiConfig::default() };
    let server = server_with(8, config).await;
    let other = server.service.applications().create("other").await.unwrap();
    server.service.replicator().poll().await.unwrap();
    let (id, key) = (other.app_id.as_str(), &other.app_key);
    let (list, delete) = (("GET", "/api/v1.0/templates"), ("POST", "/api/v1.0/delete"));
    let (one, gone) = (("GET", "/api/v1.0/templates/ann"), ("DELETE", "/api/v1.0/templates/ann"));
    let call =
        |(method, path): (&str, &str)| server.call(method, path).body("application/json", r#"{"templateId":"x"}"#);
    let closed = server.store.gate.write().await;
    let mut held: Vec<_> = (0..2).map(|_| tokio::spawn(call(list).send())).collect();
    eventually("two calls wait for the store", async || server.store.lists.load(Ordering::SeqCst) >= 2).await;
    for endpoint in [list, delete, one, gone] {
        let refused = call(endpoint).send().await;
        assert_eq!(refused.error(), (429, 429, "too many requests, try again later".to_owned()), "{endpoint:?}");
        assert_eq!(refused.header("retry-after"), Some("1"));
        if endpoint != list {
            let served = call(endpoint).header("APP-ID", id).header("APP-KEY", key).send().await;
            assert_eq!(served.error(), (400, 400, "Template not found".to_owned()), "{endpoint:?}");
        }
    }
    assert_eq!(server.send_photo("identify", &photo("ann")).await.status, 200, "identify is not blocked either");
    // All tickets are in use.
    held.extend((0..2).map(|_| tokio::spawn(call(list).header("APP-ID", id).header("APP-KEY", key).send())));
    eventually("four calls wait for the store", async || server.store.lists.load(Ordering::SeqCst) >= 4).await;
    let third = server.service.applications().create("third").await.unwrap();
    server.service.replicator().poll().await.unwrap();
    let call = call(one).header("APP-ID", third.app_id.as_str()).header("APP-KEY", &third.app_key);
    assert_eq!(call.send().await.error(), (503, 503, "server is busy, try again later".to_owned()));
    drop(closed);
    for answer in held {
        assert_eq!(answer.await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn the_rate_limit_answers_429_with_retry_after() {
    let config = ApiConfig { requests_per_second: 0.1, burst: 3, ..ApiConfig::default() };
    let server = server_with(8, config).await;
    for _ in 0..3 {
        assert_eq!(server.call("GET", "/api/v1.0/templates").send().await.status, 200);
    }
    let refused = server.send_photo("identify", &photo("ann")).await;
    assert_eq!(refused.error(), (429, 429, "too many requests, try again later".to_owned()));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((9..=10).contains(&wait), "{wait}");
    let other = server.service.applications().create("other").await.unwrap();
    server.service.replicator().poll().await.unwrap();
    let call = server.call("GET", "/api/v1.0/templates").without("APP-ID").without("APP-KEY");
    let call = call.header("APP-ID", other.app_id.as_str()).header("APP-KEY", &other.app_key);
    assert_eq!(call.send().await.status, 200);
    assert_eq!(server.call("GET", "/healthz").send().await.status, 200);
    let unknown = server.call("GET", "/api/v1.0/templates").without("APP-KEY").send().await;
    assert_eq!(unknown.status, 401, "a caller that is not authenticated has no rate limit");
}

#[tokio::test]
async fn every_response_has_security_headers() {
    let server = Server::start().await;
    let answers = [
        server.send_photo("identify", &photo("ann")).await,
        server.send_photo("identify", &photo("nobody")).await,
        server.call("GET", "/healthz").send().await,
        server.call("GET", "/nowhere").send().await,
    ];
    for answer in answers {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ] {
            assert_eq!(answer.header(name), Some(value));
        }
    }
}

#[tokio::test]
async fn two_photos_take_two_tickets() {
    let server = server_with(3, ApiConfig::default()).await;
    let form = Form::new().file("first_photo", "", &photo("held.1")).file("second_photo", "", &photo("held.2"));
    let running = tokio::spawn(server.post("verify").form(&form).send());
    server.engine.has_begun(2).await;
    assert_eq!(server.admission.in_use(), 2);
    assert_eq!(server.post("verify").form(&form).send().await.status, 503);
    assert_eq!(server.send_photo("identify", &photo("ann")).await.status, 200);
    server.engine.gate.add_permits(2);
    assert_eq!(running.await.unwrap().status, 200);
    assert_eq!(server.admission.in_use(), 0);
}

#[tokio::test]
async fn a_request_is_abandoned_when_its_client_has_gone() {
    let server = server_with(1, ApiConfig::default()).await;
    let call = server.post("identify").form(&Form::new().photo(&photo("held")));
    let mut wire = Wire::connect(server.addr).await;
    wire.write(&[call.head(), call.body].concat()).await;
    server.engine.has_begun(1).await;
    drop(wire);
    eventually("the ticket is returned", async || server.admission.in_use() == 0).await;
    server.engine.gate.add_permits(1);
    assert_eq!(server.engine.finished.load(Ordering::SeqCst), 0);
    let metrics = server.call("GET", "/metrics").send().await;
    let line = r#"semblance_requests_abandoned_total{route="/api/v1.0/identify"} 1"#;
    assert!(String::from_utf8(metrics.body).unwrap().contains(line));
}

#[tokio::test]
async fn a_slow_body_times_out() {
    let idle = ApiConfig { body_idle_timeout: Duration::from_millis(200), ..ApiConfig::default() };
    let total = ApiConfig { body_timeout: Duration::from_millis(400), ..ApiConfig::default() };
    // A byte now and then keeps both other limits away.
    let rate = ApiConfig { body_rate_grace: Duration::from_millis(300), min_body_rate: 5000, ..ApiConfig::default() };
    let often = Duration::from_millis(30);
    for (config, pause) in [(idle, Duration::from_secs(30)), (total, often), (rate, often)] {
        let server = server_with(1, config).await;
        let call = server.post("identify").form(&Form::new().photo(&[photo("ann"), vec![0; 10_000]].concat()));
        let mut wire = Wire::connect(server.addr).await;
        wire.write(&call.head()).await;
        let trickle = async {
            for byte in call.body.iter().take(5000) {
                wire.try_write(&[*byte]).await.ok();
                tokio::time::sleep(pause).await;
            }
        };
        // The response comes while the client is still sending.
        let _ = tokio::time::timeout(Duration::from_millis(600), trickle).await;
        let answer = wire.answer().await;
        assert_eq!(answer.error(), (400, 400, "request body was not received in time".to_owned()));
        assert!(wire.is_closed().await);
        assert_eq!(server.admission.in_use(), 0);
    }
}

/// An upload may take several times as long as a pause may, as long as it moves.
#[tokio::test]
async fn a_body_that_moves_is_received() {
    let config = ApiConfig {
        body_idle_timeout: Duration::from_secs(1),
        body_rate_grace: Duration::from_secs(1),
        min_body_rate: 100,
        ..ApiConfig::default()
    };
    let server = server_with(1, config).await;
    let call = server.post("identify").form(&Form::new().photo(&[photo("ann"), vec![0; 10_000]].concat()));
    let mut wire = Wire::connect(server.addr).await;
    let started = Instant::now();
    wire.write(&call.head()).await;
    for piece in call.body.chunks(call.body.len() / 20) {
        tokio::time::sleep(Duration::from_millis(150)).await;
        wire.write(piece).await;
    }
    assert_eq!(wire.answer().await.status, 200);
    assert!(started.elapsed() > Duration::from_secs(3));
    figure("an upload in 20 pieces, pauses of 150 ms, with an idle limit of 1 s", "answered with 200 after 3 s");
}

#[tokio::test]
async fn an_oversize_body_gets_a_readable_413() {
    let server = server_with(1, ApiConfig { max_body_bytes: MIB, ..ApiConfig::default() }).await;
    let form = Form::new().photo(&[photo("ann"), vec![0; 12 * MIB]].concat());
    let too_large = (413, 413, "request body is too large".to_owned());
    // With and without `Content-Length`: everything is written before anything is read.
    for announced in [true, false] {
        let mut wire = Wire::connect(server.addr).await;
        let call = server.post("identify").form(&form);
        if announced {
            wire.write(&call.head()).await;
            wire.write(&call.body).await;
        } else {
            let head = String::from_utf8(call.head()).unwrap();
            let (head, _) = head.split_once("Content-Length").unwrap();
            wire.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await;
            for piece in call.body.chunks(100_000) {
                wire.write(format!("{:x}\r\n", piece.len()).as_bytes()).await;
                wire.write(piece).await;
                wire.write(b"\r\n").await;
            }
            wire.write(b"0\r\n\r\n").await;
        }
        let answer = wire.answer().await;
        assert_eq!(answer.error(), too_large);
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(wire.is_closed().await);
    }
}

#[tokio::test]
async fn a_refusal_is_readable_during_a_large_upload() {
    let server = server_with(1, ApiConfig::default()).await;
    let body = vec![b'x'; 12 * MIB];
    let unknown = server.call("POST", "/unknown").body("image/jpeg", body.clone());
    let junk = server.post("identify?check_liveness=junk").body("image/jpeg", body.clone());
    let wrong = server.post("identify").header("APP-KEY", "wrong").body("image/jpeg", body.clone());
    let other = server.call("PUT", "/api/v1.0/identify").body("image/jpeg", body.clone());
    for (call, status) in [(wrong, 401), (unknown, 404), (junk, 400), (other, 405)] {
        assert_eq!(call.send().await.error().0, status);
    }
    let ticket = server.admission.try_take("test", 1).unwrap();
    assert_eq!(server.post("identify").body("image/jpeg", body.clone()).send().await.error().0, 503);
    drop(ticket);

    // The response does not wait for the body.
    let call = server.post("identify").header("APP-KEY", "wrong").body("image/jpeg", body);
    let mut wire = Wire::connect(server.addr).await;
    wire.write(&call.head()).await;
    let answer = wire.answer().await;
    assert_eq!((answer.error().0, answer.header("connection")), (401, Some("close")));
    wire.write(&call.body).await;
    assert!(wire.is_closed().await);
}

#[tokio::test]
async fn discarded_bytes_are_bounded() {
    let bytes = ApiConfig { drain_bytes: MIB, ..ApiConfig::default() };
    let time = ApiConfig { drain_timeout: Duration::from_millis(200), ..ApiConfig::default() };
    for config in [bytes, time] {
        let server = server_with(1, config).await;
        let call = server.post("identify").without("APP-KEY").body("image/jpeg", vec![b'x'; 64 * MIB]);
        let mut wire = Wire::connect(server.addr).await;
        wire.write(&call.head()).await;
        assert_eq!(wire.answer().await.error().0, 401);
        let started = Instant::now();
        let mut failed = false;
        for piece in call.body.chunks(MIB / 4) {
            if wire.try_write(piece).await.is_err() {
                failed = true;
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(failed && started.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn continue_is_sent_only_before_an_accepted_body() {
    let server = server_with(1, ApiConfig::default()).await;
    let call = |key: &str| {
        let form = Form::new().photo(&[photo("ann"), vec![0; 5 * MIB]].concat());
        server.post("identify").header("APP-KEY", key).header("Expect", "100-continue").form(&form)
    };
    let accepted = call(&server.app.app_key);
    let mut wire = Wire::connect(server.addr).await;
    wire.write(&accepted.head()).await;
    assert_eq!(wire.answer().await.status, 100);
    wire.write(&accepted.body).await;
    assert_eq!(wire.answer().await.status, 200);

    // Refused: the response comes instead of `100 Continue`, and the connection ends.
    let ticket = server.admission.try_take("test", 1).unwrap();
    for (refused, status) in [(call("wrong"), 401), (call(&server.app.app_key), 503)] {
        let mut wire = Wire::connect(server.addr).await;
        wire.write(&refused.head()).await;
        assert_eq!(wire.answer().await.error().0, status);
        assert!(wire.is_closed().await);
    }
    drop(ticket);

    // The declared length alone is refused.
    let large = call(&server.app.app_key).body("image/jpeg", vec![b'x'; 21 * MIB]);
    let mut wire = Wire::connect(server.addr).await;
    wire.write(&large.head()).await;
    assert_eq!(wire.answer().await.error().0, 413);
}

#[tokio::test]
async fn continue_is_sent_once() {
    let server = server_with(1, ApiConfig::default()).await;
    let call = server.post("identify").header("Expect", "100-continue").form(&Form::new().photo(&photo("held")));
    let mut wire = Wire::connect(server.addr).await;
    wire.write(&call.head()).await;
    assert_eq!(wire.answer().await.status, 100);
    assert!(wire.is_silent(Duration::from_millis(100)).await, "no second `100 Continue`");
    wire.write(&call.body).await;
    server.engine.gate.add_permits(1);
    assert_eq!(wire.answer().await.status, 200);
}
