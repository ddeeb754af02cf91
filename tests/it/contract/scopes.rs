//! What a key allows, and until when.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::Method;
use semblance::api::{Access, accesses};
use semblance::domain::{Actor, AppState, Guard, KeySwitch, RequestLimits, Scope, Scopes};
use semblance::service::{Credentials, NewKey};
use semblance::store::{AppChange, AppKeyChange, Replaced};

use crate::support::wire::Wire;
use crate::support::{Answer, Call, Form, Json, Server, photo};

/// A further key of the server's application.
async fn key(server: &Server, scopes: Scopes) -> Credentials {
    let credentials = Credentials::for_app(server.app.app_id.clone()).unwrap();
    let new = NewKey { name: "further".to_owned(), scopes, expires_at: None };
    let added = server.service.applications().add_key(&credentials, &new, &Actor::Command, None).await.unwrap();
    assert_eq!(added.unwrap().scopes, scopes);
    credentials
}

fn with(call: Call, key: &Credentials) -> Call {
    call.header("APP-KEY", &key.app_key)
}

fn is_refused_for(answer: &Answer, scope: Scope, why: &str) {
    let json = answer.json();
    answer.transaction();
    assert_eq!((answer.status, json.at("result.code").to_string()), (403, "403".to_owned()), "{why}: {json}");
    assert_eq!(json.text("result.info"), format!("this key has no scope '{scope}'"), "{why}");
    assert_eq!(
        (json.text("result.reason"), json.text("result.details.scope")),
        ("missingScope", scope.as_str()),
        "{why}"
    );
}

/// The contract, row by row. A route that is added without a row here fails this test, and one without an access does not
/// compile.
#[test]
fn every_route_has_its_scopes() {
    const IDENTIFY: &[Scope] = &[Scope::Identify];
    const ENROLL: &[Scope] = &[Scope::Enroll];
    const CHECK: &[Scope] = &[Scope::Identify, Scope::Enroll];
    const REARRANGE: &[Scope] = &[Scope::Enroll, Scope::Delete];
    let expected: Vec<(Method, &str, Access)> = vec![
        (Method::POST, "/api/v1.0/identify", Access::Scopes(IDENTIFY)),
        (Method::POST, "/api/v1.0/add", Access::Scopes(ENROLL)),
        (Method::POST, "/api/v1.0/delete", Access::Scopes(&[Scope::Delete])),
        (Method::POST, "/api/v1.0/verify", Access::Scopes(IDENTIFY)),
        (Method::POST, "/api/v1.0/doc/verify", Access::Scopes(IDENTIFY)),
        (Method::POST, "/api/v1.0/liveness", Access::Scopes(CHECK)),
        (Method::POST, "/api/v1.0/deepfake", Access::Scopes(CHECK)),
        (Method::POST, "/api/v1.0/doc/identify", Access::AnyKey),
        (Method::POST, "/api/v1.0/doc/compare", Access::AnyKey),
        (Method::POST, "/api/v1.0/recognize", Access::AnyKey),
        (Method::POST, "/api/v1.0/audio/deepfake", Access::AnyKey),
        (Method::POST, "/api/v1.0/audio/deepafake", Access::AnyKey),
        (Method::POST, "/api/v1.0/flow/sessions", Access::AnyKey),
        (Method::GET, "/api/v1.0/flow/sessions/{token}", Access::AnyKey),
        (Method::GET, "/api/v1.0/key", Access::AnyKey),
        (Method::GET, "/api/v1.0/templates", Access::Scopes(&[Scope::Read])),
        (Method::GET, "/api/v1.0/templates/{templateId}", Access::Scopes(&[Scope::Read])),
        (Method::POST, "/api/v1.0/templates/search", Access::Scopes(&[Scope::Read])),
        // A template may have the id `search`.
        (Method::GET, "/api/v1.0/templates/search", Access::Scopes(&[Scope::Read])),
        (Method::PATCH, "/api/v1.0/templates/search", Access::Scopes(ENROLL)),
        (Method::DELETE, "/api/v1.0/templates/search", Access::Scopes(&[Scope::Delete])),
        (Method::PATCH, "/api/v1.0/templates/{templateId}", Access::Scopes(ENROLL)),
        (Method::DELETE, "/api/v1.0/templates/{templateId}", Access::Scopes(&[Scope::Delete])),
        (Method::POST, "/api/v1.0/templates/{templateId}/samples", Access::Scopes(ENROLL)),
        (Method::POST, "/api/v1.0/templates/{templateId}/verify", Access::Scopes(IDENTIFY)),
        (Method::POST, "/api/v1.0/templates/{templateId}/merge", Access::AllScopes(REARRANGE)),
        (Method::POST, "/api/v1.0/templates/{templateId}/rename", Access::AllScopes(REARRANGE)),
        (Method::DELETE, "/api/v1.0/templates/{templateId}/samples/{sampleId}", Access::Scopes(&[Scope::Delete])),
        (Method::POST, "/api/v1.0/templates/{templateId}/samples/{sampleId}/move", Access::AllScopes(REARRANGE)),
        (Method::GET, "/healthz", Access::Open),
        (Method::GET, "/readyz", Access::Open),
        (Method::GET, "/metrics", Access::Open),
        (Method::GET, "/openapi.json", Access::Open),
        (Method::GET, "/licences", Access::Open),
    ];
    assert_eq!(accesses(), expected);
}

/// Every route with each scope alone: it is served where the route allows the scope, and nowhere else.
#[tokio::test]
async fn a_key_opens_the_routes_of_its_scopes_alone() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    let mut checked = 0;
    for scope in Scope::ALL {
        let key = key(&server, Scopes::from_iter([scope])).await;
        for (method, path, access) in accesses() {
            let sample = "00000000-0000-4000-8000-000000000000";
            let target = path.replace("{templateId}", "ann").replace("{token}", "x").replace("{sampleId}", sample);
            let call = with(server.call(method.as_str(), &target), &key);
            let two = Form::new().file("first_photo", "", &photo("ann")).file("second_photo", "", &photo("ann"));
            let answer = match (method.as_str(), path) {
                ("POST", "/api/v1.0/delete") => call.body("application/json", r#"{"templateId":"none"}"#),
                ("POST", path) if path.ends_with("merge") => call.body("application/json", r#"{"from":"none"}"#),
                ("POST", path) if path.ends_with("move") || path.ends_with("rename") => {
                    call.body("application/json", r#"{"to":"none"}"#)
                }
                ("POST", path) if path.ends_with("1.0/verify") || path.ends_with("doc/verify") => call.form(&two),
                ("POST", _) => call.form(&Form::new().photo(&photo("ann"))),
                _ => call,
            };
            let answer = answer.send().await;
            let why = format!("{method} {path} with {scope}");
            match access {
                Access::AllScopes(scopes) => {
                    let missing = scopes.iter().find(|needed| **needed != scope).unwrap();
                    is_refused_for(&answer, *missing, &why);
                    checked += 1;
                }
                Access::Scopes(scopes) if !scopes.contains(&scope) => {
                    is_refused_for(&answer, scopes[0], &why);
                    checked += 1;
                }
                _ => assert!(![401, 403].contains(&answer.status), "{why}: {}", answer.status),
            }
            if answer.status == 200 && (method.as_str(), scope) == ("DELETE", Scope::Delete) {
                server.enroll("ann", &photo("ann")).await;
            }
        }
    }
    assert_eq!(
        checked,
        18 * 4 - 20 + 3 * 4,
        "eighteen routes need one scope, two of them one of two; three routes need two"
    );
}

#[tokio::test]
async fn a_missing_scope_is_answered_before_the_body_is_read() {
    let server = Server::start().await;
    let key = key(&server, Scopes::from_iter([Scope::Read])).await;
    let mut wire = Wire::connect(server.addr).await;
    let head = format!(
        "POST /api/v1.0/add HTTP/1.1\r\nHost: x\r\nAPP-ID: {}\r\nAPP-KEY: {}\r\nContent-Type: image/jpeg\r\n\
         Content-Length: 1000000\r\n\r\n",
        key.app_id, key.app_key
    );
    wire.write(head.as_bytes()).await;
    let answer = wire.answer().await;
    is_refused_for(&answer, Scope::Enroll, "no byte of the body was sent");
    assert_eq!(answer.header("connection"), Some("close"));
    // Credentials come first, and the query after the scope.
    let wrong = server.post("add?replace=junk").header("APP-KEY", "wrong").send().await;
    assert_eq!(wrong.status, 401);
    is_refused_for(&with(server.post("add?replace=junk"), &key).send().await, Scope::Enroll, "before the query");
    assert_eq!(server.engine.begun.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn replacing_a_template_needs_the_right_to_delete() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    let form = || Form::new().photo(&photo("eve")).text("templateId", "ann");
    let enrolls = key(&server, Scopes::from_iter([Scope::Enroll])).await;
    let refused = with(server.post("add?replace=true").form(&form()), &enrolls).send().await;
    is_refused_for(&refused, Scope::Delete, "replace=true");
    let kept = with(server.post("add?replace=false").form(&form()), &enrolls).send().await;
    assert_eq!(kept.error(), (400, 400, "Template already exists".to_owned()));
    let both = key(&server, Scopes::from_iter([Scope::Enroll, Scope::Delete])).await;
    assert_eq!(with(server.post("add?replace=true").form(&form()), &both).send().await.status, 200);
}

/// Otherwise enrolling would be a way to identify.
#[tokio::test]
async fn the_guard_shows_an_enroll_only_key_the_kind_alone() {
    let server = Server::start().await;
    server.enroll("secret-id", &photo("ann")).await;
    server.enroll("bob", &photo("bob")).await;
    let set = async |guard| server.service.applications().set_guard(&server.app.app_id, guard).await.unwrap();
    let enrolls = key(&server, Scopes::from_iter([Scope::Enroll, Scope::Read, Scope::Delete])).await;
    set(Guard::Warn).await;
    for (endpoint, code) in [("add", "enrolled_elsewhere"), ("templates/bob/samples", "unlike_samples")] {
        let call = || server.post(endpoint).form(&Form::new().photo(&photo("ann")));
        let answer = with(call(), &enrolls).send().await;
        let text = answer.json().to_string();
        assert_eq!((answer.status, answer.json().text("result.warnings.0.code")), (200, code), "{text}");
        let Json::Object(warning) = answer.json().at("result.warnings.0").clone() else { panic!("{text}") };
        let fields: Vec<_> = warning.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(fields, ["code", "message"], "{text}");
        assert!(!text.contains("secret-id") && !text.contains("similarity"), "{text}");
        let whole = call().send().await.json();
        assert!(whole.to_string().contains("similarity"), "a key that may identify sees it: {whole}");
    }
    set(Guard::Refuse).await;
    let refused = with(server.post("add").form(&Form::new().photo(&photo("ann"))), &enrolls).send().await;
    assert_eq!(refused.error(), (400, 400, "the face is enrolled already under another templateId".to_owned()));
}

#[tokio::test]
async fn a_key_reads_what_it_allows_and_when_it_ends() {
    let server = Server::start().await;
    let first = server.get("key").await;
    assert_eq!(first.json().text("result.keyId"), server.app.key_id.to_string());
    let scopes = |answer: &Answer| {
        let Json::List(scopes) = answer.json().at("result.scopes").clone() else { panic!("{}", answer.json()) };
        scopes.iter().map(|scope| scope.to_string().trim_matches('"').to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(scopes(&first), Scope::ALL.map(|scope| scope.to_string()).into());
    assert_eq!((first.json().at("result.endsAt"), first.header("x-key-ends-at")), (&Json::Null, None));

    let old = key(&server, Scopes::from_iter([Scope::Read])).await;
    let new = Credentials::for_app(server.app.app_id.clone()).unwrap();
    let hour = Duration::from_secs(3600);
    let rotated =
        server.service.applications().replace_key(&new, Replaced::Key(old.key_id), hour, &Actor::Command, None);
    let ends_at = semblance::domain::rfc3339(rotated.await.unwrap().unwrap().replaced.ends_at.unwrap());
    let answer = with(server.call("GET", "/api/v1.0/key"), &old).send().await;
    assert_eq!(
        (answer.json().text("result.endsAt"), scopes(&answer)),
        (ends_at.as_str(), BTreeSet::from(["read".into()]))
    );
    // On every reply to the old key, failures included, and on none to the new one.
    for endpoint in ["templates", "templates/unknown", "key"] {
        let call = || server.call("GET", &format!("/api/v1.0/{endpoint}"));
        let old = with(call(), &old).send().await;
        assert_eq!(old.header("x-key-ends-at"), Some(ends_at.as_str()), "{endpoint}: {}", old.status);
        assert_eq!(with(call(), &new).send().await.header("x-key-ends-at"), None, "{endpoint}");
    }
    let refused = with(server.post("identify").form(&Form::new().photo(&photo("ann"))), &old).send().await;
    assert_eq!((refused.status, refused.header("x-key-ends-at")), (403, Some(ends_at.as_str())));
}

/// A thief of a key learns nothing from the answer.
#[tokio::test]
async fn a_key_that_is_not_in_force_gets_the_answer_to_a_wrong_one() {
    let server = Server::start().await;
    let applications = server.service.applications();
    let wrong = server.call("GET", "/api/v1.0/templates").header("APP-KEY", "wrong").send().await.error();
    let of = async |key: &Credentials| with(server.call("GET", "/api/v1.0/templates"), key).send().await;
    let switch = |switch| AppKeyChange { switch: Some(switch), ..AppKeyChange::default() };
    let app = &server.app.app_id;

    let one = key(&server, Scopes::ALL).await;
    assert_eq!(of(&one).await.status, 200);
    for (state, accepted) in [(KeySwitch::Suspended, false), (KeySwitch::Active, true), (KeySwitch::Ended, false)] {
        applications.change_key(app, one.key_id, &switch(state), None).await.unwrap().unwrap();
        let answer = of(&one).await;
        assert_eq!(answer.status == 200, accepted, "{state:?}");
        assert!(accepted || answer.error() == wrong, "{state:?}");
    }
    let past = Some(semblance::domain::Clock::system().now() - Duration::from_secs(1));
    let expired = Credentials::for_app(app.clone()).unwrap();
    let new = NewKey { name: "expired".to_owned(), scopes: Scopes::ALL, expires_at: past };
    applications.add_key(&expired, &new, &Actor::Command, None).await.unwrap().unwrap();
    assert_eq!(of(&expired).await.error(), wrong);

    let state = |state| AppChange { state: Some(state), ..AppChange::default() };
    applications.change(app, &state(AppState::Suspended), None).await.unwrap().unwrap();
    assert_eq!(of(&server.app).await.error(), wrong);
    applications.change(app, &state(AppState::Active), None).await.unwrap().unwrap();
    assert_eq!(of(&server.app).await.status, 200);
}

#[tokio::test]
async fn an_application_may_have_a_threshold_of_its_own() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    let applications = server.service.applications();
    let found = async |target: &str| {
        let answer = server.send_photo(target, &photo("ann.2")).await;
        answer.json().at("result.templateId") != &Json::Null
    };
    let same = async || {
        let form = Form::new().file("first_photo", "", &photo("ann")).file("second_photo", "", &photo("ann.2"));
        server.post("verify").form(&form).send().await.json().at("result.comparison.same").to_string()
    };
    let similarity = {
        let form = Form::new().file("first_photo", "", &photo("ann")).file("second_photo", "", &photo("ann.2"));
        let answer = server.post("verify").form(&form).send().await;
        answer.json().at("result.similarity").to_string().parse::<f64>().unwrap()
    };
    for (threshold, matches) in [(Some(similarity), true), (Some((similarity + 1e-6).min(1.0)), similarity >= 1.0)] {
        let change = AppChange { threshold: Some(threshold), ..AppChange::default() };
        applications.change(&server.app.app_id, &change, None).await.unwrap().unwrap();
        assert_eq!(found("identify").await, matches, "{threshold:?}");
        assert_eq!(same().await, matches.to_string(), "{threshold:?}");
        assert!(found("identify?threshold=0").await, "that of the request comes first");
    }
}

#[tokio::test]
async fn an_application_may_have_a_rate_of_its_own() {
    let server = Server::start().await;
    let other = server.service.applications().create("other").await.unwrap();
    let limits = RequestLimits { per_second: Some(0.01), burst: Some(2), share: None };
    let change = AppChange { limits: Some(limits), ..AppChange::default() };
    server.service.applications().change(&server.app.app_id, &change, None).await.unwrap().unwrap();
    for _ in 0..2 {
        assert_eq!(server.get("templates").await.status, 200);
    }
    let refused = server.get("templates").await;
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((99..=100).contains(&wait), "{wait}");
    let call = server.call("GET", "/api/v1.0/templates").header("APP-ID", other.app_id.as_str());
    assert_eq!(with(call, &other).send().await.status, 200, "others have no limit");
    let unlimited = RequestLimits { per_second: Some(0.0), ..limits };
    let change = AppChange { limits: Some(unlimited), ..AppChange::default() };
    server.service.applications().change(&server.app.app_id, &change, None).await.unwrap().unwrap();
    for _ in 0..5 {
        assert_eq!(server.get("templates").await.status, 200, "in force at once");
    }
}

/// Written at most once a minute, and never by a request.
#[tokio::test]
async fn the_last_use_of_a_key_is_known_to_the_minute() {
    let server = Server::start().await;
    let applications = server.service.applications();
    let last_use = async || applications.list().await.unwrap()[0].keys[0].last_used_at;
    let stored = async || server.store.last_use(&server.app.app_id);
    assert_eq!(last_use().await, None);
    assert_eq!(server.get("templates").await.status, 200);
    let used = last_use().await.expect("known on this node at once");
    assert_eq!(used.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() % 60_000, 0);
    assert_eq!(stored().await, None, "no request writes");
    applications.write_key_uses().await.unwrap();
    assert_eq!(stored().await, Some(used));
    // While the store is away the use is kept, and written later.
    server.store.down.store(true, std::sync::atomic::Ordering::SeqCst);
    applications.write_key_uses().await.expect("nothing is unwritten");
    server.store.down.store(false, std::sync::atomic::Ordering::SeqCst);
    let wrong = server.call("GET", "/api/v1.0/templates").header("APP-KEY", "wrong").send().await;
    assert_eq!((wrong.status, last_use().await), (401, Some(used)), "a refused request is no use");
}

/// How large the gallery is and who else is in it is for keys with `read` alone.
#[tokio::test]
async fn a_decision_hides_the_gallery_from_a_key_that_may_not_read() {
    let server = Server::start().await;
    let sample = server.enroll("ann", &photo("ann")).await.json().text("result.sampleId").to_owned();
    server.enroll("bob", &photo("bob")).await;
    let found = server.send_photo("identify", &photo("ann")).await.json();
    let decision: serde_json::Value = serde_json::from_str(&found.at("result.decision").to_string()).unwrap();
    assert_eq!(decision["samples"], 2);
    assert_eq!((&decision["threshold"], &decision["thresholdSource"]), (&0.75.into(), &"server".into()));
    assert_eq!(decision["sampleId"], sample.as_str());
    let margin = decision["margin"].as_f64().unwrap();
    assert!(margin > 0.25 && margin <= 1.0, "{decision}");
    let fpir = decision["expectedFpir"].as_f64().unwrap();
    assert!(fpir > 0.0 && fpir < 1e-3, "two comparisons at a false match rate of some 1e-5: {decision}");

    let gate = key(&server, Scopes::from_iter([Scope::Identify])).await;
    let call = with(server.call("POST", "/api/v1.0/identify?threshold=0.9&candidates=2"), &gate);
    let answer = call.form(&Form::new().photo(&photo("bob.2"))).send().await.json();
    let decision: serde_json::Value = serde_json::from_str(&answer.at("result.decision").to_string()).unwrap();
    let names: Vec<&String> = decision.as_object().unwrap().keys().collect();
    assert_eq!(names, ["sampleId", "threshold", "thresholdSource"], "{decision}");
    assert_eq!((&decision["threshold"], &decision["thresholdSource"]), (&0.9.into(), &"request".into()));
}
