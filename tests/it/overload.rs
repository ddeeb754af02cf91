//! Overload: too many, too slow, too large or abandoned requests, seen from the client's socket.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use semblance::api::ApiConfig;
use semblance::compute::PoolConfig;
use semblance::engine::{EmbeddingSender, EnginePool, ModelPack};
use semblance::service::Credentials;

use crate::support::engine::seen;
use crate::support::wire::Wire;
use crate::support::{Call, Form, Parts, ScriptedEngine, Server, Setup, eventually, figure, photo};

const MIB: usize = 1024 * 1024;

async fn server_with(photos: usize, config: ApiConfig) -> Server {
    Server::with(Setup { photos, config, ..Setup::default() }).await
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

/// Waits long for bodies.
fn patient() -> ApiConfig {
    let long = Duration::from_secs(600);
    ApiConfig { body_timeout: long, body_idle_timeout: long, body_rate_grace: long, ..ApiConfig::default() }
}

impl Server {
    /// Another application.
    async fn another(&self, name: &str) -> Credentials {
        let other = self.service.applications().create(name).await.unwrap();
        self.service.replicator().poll().await.unwrap();
        other
    }
}

impl Call {
    /// The same by another application.
    fn by(self, app: &Credentials) -> Self {
        self.header("APP-ID", app.app_id.as_str()).header("APP-KEY", &app.app_key)
    }
}

#[tokio::test]
async fn one_tenant_does_not_starve_another() {
    let server = server_with(4, ApiConfig::default()).await;
    let other = server.another("other").await;
    let mut held = Vec::new();
    for name in ["held.1", "held.2", "held.3", "held.4"] {
        held.push(tokio::spawn(server.post("identify").form(&Form::new().photo(&photo(name))).send()));
    }
    server.engine.has_begun(4).await;
    let busy = server.send_photo("identify", &photo("ann")).await;
    assert_eq!(busy.error(), (503, 503, "server is busy, try again later".to_owned()), "one alone has all of it");
    // An application with less than its part of what waits is served beside it, up to that part.
    let form = |name| Form::new().photo(&photo(name));
    assert_eq!(server.post("identify").by(&other).form(&form("ann")).send().await.status, 200);
    for name in ["held.5", "held.6"] {
        held.push(tokio::spawn(server.post("identify").by(&other).form(&form(name)).send()));
    }
    server.engine.has_begun(7).await;
    for call in [server.post("identify"), server.post("identify").by(&other)] {
        let refused = call.form(&form("ann")).send().await;
        assert_eq!(refused.error(), (429, 429, "too many requests, try again later".to_owned()));
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    let third = server.another("third").await;
    assert_eq!(server.post("identify").by(&third).form(&form("ann")).send().await.status, 200);
    server.engine.gate.add_permits(6);
    for answer in held {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    assert_eq!(server.send_photo("identify", &photo("ann")).await.status, 200);
}

/// Neither an upload that stalls, nor an enrollment that waits for the store, keeps a photo waiting.
#[tokio::test]
async fn uploads_and_writes_take_no_place_of_a_photo() {
    let server = server_with(1, patient()).await;
    let call = server.post("identify").form(&Form::new().photo(&photo("ann")));
    let (first, rest) = call.body.split_at(call.body.len() / 2);
    let mut stalled = Vec::new();
    for _ in 0..10 {
        let mut wire = Wire::connect(server.addr).await;
        wire.write(&[&call.head(), first].concat()).await;
        stalled.push(wire);
    }
    eventually("ten bodies are read", async || server.limiters.uploads.in_use() >= 10 * 64 * 1024).await;
    let closed = server.store.gate.write().await;
    let enrolling: Vec<_> = (0..10)
        .map(|n| tokio::spawn(server.post("add").form(&Form::new().photo(&photo(&format!("p{n}")))).send()))
        .collect();
    eventually("the enrollments wait for the store", async || server.limiters.store.in_use() == 10).await;
    assert_eq!(server.limiters.photos.in_use(), 0);
    for _ in 0..20 {
        assert_eq!(server.send_photo("identify", &photo("ann")).await.status, 200);
    }
    drop(closed);
    for answer in enrolling {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    for mut wire in stalled {
        wire.write(rest).await;
        assert_eq!(wire.answer().await.status, 200);
    }
    eventually("everything is returned", async || server.limiters.uploads.in_use() == 0).await;
    assert_eq!((server.limiters.store.in_use(), server.limiters.photos.in_use()), (0, 0));
}

/// Bodies in memory are bounded, whether they announce their length or not, and a part is left for others.
#[tokio::test]
async fn bodies_in_memory_are_bounded_and_shared() {
    let setup = Setup { upload_bytes: 9 * MIB, share: 0.8, config: patient(), ..Setup::default() };
    let server = Server::with(setup).await;
    let (other, third) = (server.another("other").await, server.another("third").await);
    let form = Form::new().photo(&[photo("ann"), vec![0; MIB - 4096]].concat());
    let stall = async |call: Call| {
        let mut wire = Wire::connect(server.addr).await;
        wire.write(&call.head()).await;
        wire
    };
    let in_use = || server.limiters.uploads.in_use();
    let mut stalled = Vec::new();
    for count in 1..=7 {
        stalled.push(stall(server.post("identify").form(&form)).await);
        eventually("the memory is reserved", async || in_use() > (count - 1) * MIB + MIB / 2).await;
    }
    let refused = server.post("identify").form(&form).send().await;
    assert_eq!(refused.error(), (429, 429, "too many requests, try again later".to_owned()));
    assert_eq!(server.send_photo("identify", &photo("ann")).await.status, 200, "a small one fits");
    stalled.push(stall(server.post("identify").by(&other).form(&form)).await);
    eventually("the memory is reserved", async || in_use() > 7 * MIB + MIB / 2).await;
    assert_eq!(server.post("identify").by(&other).form(&form).send().await.error().0, 429);
    assert_eq!(server.post("identify").by(&third).form(&form).send().await.status, 200);

    // Of unknown length: its memory grows as it arrives, until there is no more.
    let chunked = |call: &Call| {
        let head = String::from_utf8(call.head()).unwrap();
        let (head, _) = head.split_once("Content-Length").unwrap();
        format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes()
    };
    let call = server.post("identify").by(&third).form(&form);
    let mut wire = Wire::connect(server.addr).await;
    wire.write(&chunked(&call)).await;
    let before = in_use();
    wire.write(&[format!("{:x}\r\n", call.body.len()).as_bytes(), &call.body[..MIB / 2]].concat()).await;
    eventually("the memory grows", async || in_use() >= before + MIB / 4).await;
    let large = server.post("identify").by(&third).form(&Form::new().photo(&[photo("ann"), vec![0; 4 * MIB]].concat()));
    let mut full = Wire::connect(server.addr).await;
    full.write(&chunked(&large)).await;
    full.write(&[format!("{:x}\r\n", large.body.len()).as_bytes(), &large.body, b"\r\n0\r\n\r\n"].concat()).await;
    assert_eq!(full.answer().await.error().0, 429, "it has another body");
    wire.write(&[&call.body[MIB / 2..], b"\r\n0\r\n\r\n"].concat()).await;
    assert_eq!(wire.answer().await.status, 200);
    assert!(in_use() <= 9 * MIB);
    drop(stalled);
    eventually("the memory is free", async || in_use() == 0).await;
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
    let setup = Setup { photos: 16, ..Setup::default() };
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
    let server = Server::with(Setup { store: 4, ..Setup::default() }).await;
    let (other, third) = (server.another("other").await, server.another("third").await);
    let (list, delete) = (("GET", "/api/v1.0/templates"), ("POST", "/api/v1.0/delete"));
    let (one, gone) = (("GET", "/api/v1.0/templates/ann"), ("DELETE", "/api/v1.0/templates/ann"));
    let call =
        |(method, path): (&str, &str)| server.call(method, path).body("application/json", r#"{"templateId":"x"}"#);
    let add = || server.post("add").form(&Form::new().photo(&photo("ann")));
    let waiting = async |count| {
        eventually("calls wait for the store", async || server.limiters.store.in_use() >= count).await;
    };
    let closed = server.store.gate.write().await;
    let mut held: Vec<_> = [call(list), add(), add(), add()].map(|call| tokio::spawn(call.send())).into();
    waiting(4).await;
    let busy = (503, 503, "server is busy, try again later".to_owned());
    let begun = server.engine.begun.load(Ordering::SeqCst);
    assert_eq!(add().send().await.error(), busy, "one alone has all of it");
    assert_eq!(server.engine.begun.load(Ordering::SeqCst), begun, "no photo is analyzed in vain");
    for endpoint in [delete, one, gone] {
        assert_eq!(call(endpoint).send().await.error(), busy, "{endpoint:?}");
        let served = call(endpoint).by(&other).send().await;
        assert_eq!(served.error(), (400, 400, "Template not found".to_owned()), "{endpoint:?}");
    }
    assert_eq!(server.send_photo("identify", &photo("ann")).await.status, 200, "identify is not blocked");
    held.extend((0..2).map(|_| tokio::spawn(call(list).by(&other).send())));
    waiting(6).await;
    for call in [call(list), add(), call(list).by(&other), add().by(&other)] {
        let refused = call.send().await;
        assert_eq!(refused.error(), (429, 429, "too many requests, try again later".to_owned()));
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    assert_eq!(call(one).by(&third).send().await.error().0, 400, "a third application has its part");
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
async fn two_photos_count_as_two() {
    let server = server_with(2, ApiConfig::default()).await;
    let form = Form::new().file("first_photo", "", &photo("held.1")).file("second_photo", "", &photo("held.2"));
    let running = tokio::spawn(server.post("verify").form(&form).send());
    server.engine.has_begun(2).await;
    assert_eq!(server.limiters.photos.in_use(), 2);
    assert_eq!(server.post("verify").form(&form).send().await.status, 503);
    assert_eq!(server.send_photo("identify", &photo("ann")).await.status, 503);
    server.engine.gate.add_permits(1);
    eventually("one is analyzed", async || server.limiters.photos.in_use() == 1).await;
    assert_eq!(server.send_photo("identify", &photo("ann")).await.status, 200);
    server.engine.gate.add_permits(1);
    assert_eq!(running.await.unwrap().status, 200);
    assert_eq!(server.limiters.photos.in_use(), 0);
}

#[tokio::test]
async fn a_request_is_abandoned_when_its_client_has_gone() {
    let server = server_with(1, ApiConfig::default()).await;
    let call = server.post("identify").form(&Form::new().photo(&photo("held")));
    let mut wire = Wire::connect(server.addr).await;
    wire.write(&[call.head(), call.body].concat()).await;
    server.engine.has_begun(1).await;
    drop(wire);
    eventually("the ticket is returned", async || server.limiters.photos.in_use() == 0).await;
    server.engine.gate.add_permits(1);
    assert_eq!(server.engine.finished.load(Ordering::SeqCst), 0);
    let metrics = server.call("GET", "/metrics").send().await;
    let line = r#"semblance_requests_abandoned_total{route="/api/v1.0/identify"} 1"#;
    assert!(String::from_utf8(metrics.body).unwrap().contains(line));
}

#[tokio::test]
async fn a_slow_body_times_out() {
    let idle = ApiConfig { body_idle_timeout: Duration::from_millis(200), ..ApiConfig::default() };
    let base = ApiConfig { body_idle_timeout: Duration::from_secs(5), ..ApiConfig::default() };
    let total = ApiConfig { body_timeout: Duration::from_millis(400), ..base.clone() };
    // A byte now and then keeps both other limits away.
    let rate = ApiConfig { body_rate_grace: Duration::from_millis(300), min_body_rate: 5000, ..base };
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
        assert_eq!(server.limiters.photos.in_use(), 0);
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
    let ticket = server.occupy();
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
    let ticket = server.occupy();
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
