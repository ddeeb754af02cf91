//! The error table, and how failures reach the caller.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use semblance::api::{ApiConfig, ApiError, openapi};
use semblance::compute::PoolConfig;
use semblance::domain::{Check, DecodeFault, PhotoFault, Scope, Shortfall};
use semblance::engine::{Analyze, EmbeddingSender, EnginePool, ModelPack};
use semblance::service::Error;
use semblance::store::{LimitReached, StoreError};

use crate::support::engine::seen;
use crate::support::{Form, Parts, ScriptedEngine, Server, Setup, eventually, photo};

#[test]
fn the_whole_table() {
    let photo = |fault: PhotoFault| ApiError::from(fault);
    let service = ApiError::Service;
    let rows = [
        // As documented, to the letter.
        (photo(PhotoFault::Missing), 400, 1, "photo should not be empty"),
        (photo(PhotoFault::WrongType), 400, 2, "wrong mime-type in input data"),
        (photo(PhotoFault::Empty), 400, 3, "photo size is 0 bytes"),
        (
            photo(PhotoFault::Undecodable(DecodeFault::NotAPhoto)),
            400,
            4,
            "can not decode image, check it is valid jpeg or png file",
        ),
        (photo(PhotoFault::NoFace), 400, 5, "can not detect face"),
        (photo(PhotoFault::NotHuman(Shortfall::new(0.1, 0.5))), 400, 5, "can not detect face"),
        (photo(PhotoFault::ManyFaces), 400, 6, "more than one face detected on photo"),
        (photo(PhotoFault::TooSmall), 400, 9, "can not extract features from sample, probably it is too small"),
        (photo(PhotoFault::Profile), 400, 9, "can not extract features from sample, probably it is too small"),
        (
            photo(PhotoFault::Untrusted(Shortfall::new(0.1, 0.5))),
            400,
            9,
            "can not extract features from sample, probably it is too small",
        ),
        (service(Error::TemplateNotFound), 400, 400, "Template not found"),
        // Ours: the code repeats the status.
        (service(Error::TemplateExists), 400, 400, "Template already exists"),
        (service(Error::Refused(Check::Liveness)), 400, 400, "photo did not pass the liveness check"),
        (service(Error::Refused(Check::Deepfake)), 400, 400, "photo did not pass the deepfake check"),
        (
            service(Error::LimitReached(LimitReached::SamplesPerTemplate(32))),
            400,
            400,
            "a template may have 32 samples at most (limits.samples_per_template): replace or delete the template, or \
             ask the operator to raise the limit",
        ),
        (
            service(Error::LimitReached(LimitReached::Templates(7))),
            400,
            400,
            "the application's quota of 7 templates is reached: delete templates, or ask the operator to raise the \
             quota",
        ),
        (
            service(Error::LimitReached(LimitReached::Samples(7))),
            400,
            400,
            "the application's quota of 7 samples is reached: delete templates, or ask the operator to raise the quota",
        ),
        (ApiError::bad_request("threshold must be ..."), 400, 400, "threshold must be ..."),
        (ApiError::BodyTimeout, 400, 400, "request body was not received in time"),
        (service(Error::Unauthenticated), 401, 401, "APP-ID or APP-KEY is missing or wrong"),
        (service(Error::MissingScope(Scope::Delete)), 403, 403, "this key has no scope 'delete'"),
        (ApiError::NoSuchEndpoint, 404, 404, "no such endpoint"),
        (ApiError::NoSuchMethod, 405, 405, "method not allowed"),
        (service(Error::TemplateChanged), 412, 412, "the template was changed meanwhile, read it again"),
        (ApiError::BodyTooLarge, 413, 413, "request body is too large"),
        (ApiError::TooMany(std::time::Duration::ZERO), 429, 429, "too many requests, try again later"),
        (service(Error::Internal("secret".into())), 500, 500, "internal error"),
        (ApiError::Panicked("secret".into()), 500, 500, "internal error"),
        (
            service(Error::RequestInProgress),
            409,
            409,
            "a request with this Idempotency-Key is in progress, try again later",
        ),
        (service(Error::KeyReused), 422, 422, "this Idempotency-Key was used for another request, use a new one"),
        (service(Error::NotInstalled(Check::Liveness)), 501, 501, "no liveness model is installed"),
        (service(Error::NotInstalled(Check::Deepfake)), 501, 501, "no deepfake model is installed"),
        (ApiError::NotBuilt, 501, 501, "this endpoint is not supported by this server"),
        (service(Error::Busy), 503, 503, "server is busy, try again later"),
        (service(Error::Loading), 503, 503, "server is starting, try again later"),
        (
            service(Error::StoreUnavailable(StoreError::Unavailable("secret".into()))),
            503,
            503,
            "database is not available, try again later",
        ),
        (ApiError::Stopping, 503, 503, "server is stopping, try again later"),
    ];
    let codes: BTreeSet<u16> = rows.iter().map(|(_, _, code, _)| *code).collect();
    for (error, status, code, info) in rows {
        let body = error.body();
        assert_eq!((body.status.as_u16(), body.code, body.info.as_ref()), (status, code, info));
    }
    let document: serde_json::Value = serde_json::from_slice(&openapi(&ApiConfig::default(), 100)).unwrap();
    let result = &document["components"]["schemas"]["Error"]["properties"]["result"];
    let documented: BTreeSet<u16> = serde_json::from_value(result["properties"]["code"]["enum"].clone()).unwrap();
    assert_eq!(documented, codes);
}

#[tokio::test]
async fn a_failure_as_documented() {
    let server = Server::start().await;
    insta::assert_snapshot!(server.send_photo("identify", &photo("nobody")).await.shown());
}

#[tokio::test]
async fn an_internal_failure_reveals_nothing() {
    let server = Server::start().await;
    for name in ["fails", "panics"] {
        let answer = server.send_photo("identify", &photo(name)).await;
        assert_eq!(answer.error(), (500, 500, "internal error".to_owned()), "{name}");
    }
    assert_eq!(server.send_photo("identify", &photo("ann")).await.status, 200, "the server lives on");
}

/// The pool of the real engine, with workers that look as the test wrote: a panic on one of its threads
/// costs that request and that worker, and nothing else.
#[tokio::test]
async fn a_panic_in_a_worker_is_contained() {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let pack = Arc::new(ModelPack::load(&models).unwrap());
    let model = pack.embedding_model();
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let config = PoolConfig { name: "inference", threads: 2, queue: 8, deadline: Duration::from_secs(60) };
    let pool = EnginePool::start_with(pack, config, move || {
        count.fetch_add(1, Ordering::SeqCst);
        let model = model.clone();
        Ok(Box::new(move |photo, request, sender: EmbeddingSender| {
            let analysis = seen(photo, request, &model)?;
            if let Some(embedding) = &analysis.embedding {
                sender.send(embedding);
            }
            Ok(analysis)
        }))
    });
    let pool = Arc::new(pool.unwrap());
    let parts = Parts::around(ScriptedEngine::new(), Arc::clone(&pool) as _, Setup::default()).await;
    let server = Server::serving(parts).await;
    server.enroll("ann", &photo("ann")).await;
    assert_eq!(made.load(Ordering::SeqCst), 2);
    for round in 1..=5 {
        let panics = photo("panics");
        let ann = photo("ann");
        let (broken, whole) = tokio::join!(server.send_photo("identify", &panics), server.send_photo("identify", &ann));
        assert_eq!(broken.error(), (500, 500, "internal error".to_owned()));
        assert_eq!(whole.json().text("result.templateId"), "ann", "the one beside it");
        let replaced = || made.load(Ordering::SeqCst) >= 2 + round && pool.is_ready();
        eventually("the worker is replaced", async || replaced()).await;
        assert_eq!(server.call("GET", "/readyz").send().await.status, 200);
        assert_eq!(server.send_photo("add?replace=true", &photo("bob")).await.status, 200);
    }
}

#[tokio::test]
async fn without_its_database_the_server_identifies_but_does_not_enrol() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    server.store.down.store(true, Ordering::SeqCst);
    assert_eq!(server.send_photo("identify", &photo("ann")).await.json().text("result.templateId"), "ann");
    let unavailable = (503, 503, "database is not available, try again later".to_owned());
    for answer in [
        server.send_photo("add", &photo("bob")).await,
        server.post("delete").body("", r#"{"templateId":"ann"}"#).send().await,
        server.get("templates").await,
    ] {
        assert_eq!(answer.error(), unavailable);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
}

#[tokio::test]
async fn an_application_deleted_meanwhile_gets_401() {
    let server = Server::start().await;
    use semblance::store::AppStore;
    server.store.delete(&server.app.app_id).await.unwrap();
    let form = Form::new().photo(&photo("ann"));
    assert_eq!(server.post("add").form(&form).send().await.error().0, 401);
}

#[tokio::test]
async fn a_busy_engine_gives_503_with_retry_after() {
    let server = Server::start().await;
    let answer = server.send_photo("identify", &photo("busy")).await;
    assert_eq!(answer.error(), (503, 503, "server is busy, try again later".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
}
