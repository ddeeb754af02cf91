use std::time::Duration;

use semblance::domain::{TestClock, TransactionId, random_uuid};
use semblance::service::Credentials;

use crate::support::{Answer, Call, Form, Server, Setup, photo};

const WRONG: &str = "APP-ID or APP-KEY is missing or wrong";

fn assert_turned_away(answer: &Answer, why: &str) {
    assert_eq!(answer.error(), (401, 401, WRONG.to_owned()), "{why}");
    assert_eq!(answer.header("www-authenticate"), None, "iOS would ask the user for a password");
}

#[tokio::test]
async fn every_kind_of_wrong_credentials_gets_the_same_response() {
    let server = Server::start().await;
    let call = || server.post("identify").form(&Form::new().photo(&photo("ann")));
    let long = "x".repeat(600);
    let calls: [(&str, Call); 9] = [
        ("no id", call().without("APP-ID")),
        ("no key", call().without("APP-KEY")),
        ("neither", call().without("APP-ID").without("APP-KEY")),
        ("empty id", call().header("APP-ID", "")),
        ("empty key", call().header("APP-KEY", "")),
        ("unknown id", call().header("APP-ID", "nobody")),
        ("wrong key", call().header("APP-KEY", "wrong")),
        ("long id", call().header("APP-ID", &long)),
        ("long key", call().header("APP-KEY", &long)),
    ];
    for (why, call) in calls {
        assert_turned_away(&call.send().await, why);
    }
    assert_eq!(server.engine.begun.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn header_names_are_read_in_any_case() {
    let server = Server::start().await;
    let call = server.post("identify").without("APP-ID").without("APP-KEY");
    let call = call.header("app-id", server.app.app_id.as_str()).header("aPp-KeY", &server.app.app_key);
    assert_eq!(call.form(&Form::new().photo(&photo("ann"))).send().await.status, 200);
}

#[tokio::test]
async fn credentials_come_before_everything_else() {
    let server = Server::start().await;
    for (method, endpoint) in [
        ("POST", "identify?check_liveness=junk"),
        ("POST", "add"),
        ("POST", "delete"),
        ("POST", "verify"),
        ("POST", "doc/verify"),
        ("POST", "liveness"),
        ("POST", "deepfake"),
        ("POST", "recognize"),
        ("GET", "templates?limit=junk"),
        ("GET", "templates/ann"),
        ("DELETE", "templates/ann"),
        ("POST", "templates/ann/samples"),
        ("GET", "flow/sessions/token"),
    ] {
        let call = server.call(method, &format!("/api/v1.0/{endpoint}")).without("APP-KEY");
        assert_turned_away(&call.send().await, endpoint);
    }
}

#[tokio::test]
async fn credentials_get_503_before_the_first_read_of_the_store() {
    let server = Server::with(Setup { loaded: false, ..Setup::default() }).await;
    let call = || server.post("identify").form(&Form::new().photo(&photo("ann")));
    for call in [call(), call().header("APP-ID", "unknown")] {
        let answer = call.send().await;
        assert_eq!(answer.error(), (503, 503, "server is starting, try again later".to_owned()));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert_turned_away(&call().header("APP-KEY", "").send().await, "an empty key is wrong at any time");
}

#[tokio::test]
async fn a_replaced_key_is_accepted_until_its_overlap_ends() {
    const HOUR: Duration = Duration::from_secs(3600);
    let time = TestClock::new();
    let server = Server::with(Setup { clock: time.clock(), ..Setup::default() }).await;
    let applications = server.service.applications();
    let old = server.app.clone();
    let new = applications.rotate_key(&old.app_id, HOUR).await.unwrap().unwrap();
    let accepts = |key: &Credentials| {
        applications.authenticate(key.app_id.as_str(), &key.app_key, TransactionId(random_uuid())).is_ok()
    };
    assert!(accepts(&old) && accepts(&new));
    time.advance(HOUR - Duration::from_secs(60));
    assert!(accepts(&old) && accepts(&new));
    time.advance(Duration::from_secs(60));
    assert!(!accepts(&old) && accepts(&new));
}

/// A committed key is returned, or it would be lost.
#[tokio::test]
async fn a_created_key_is_returned_even_if_a_later_step_fails() {
    let server = Server::start().await;
    let applications = server.service.applications();
    server.store.unlisted.store(true, std::sync::atomic::Ordering::SeqCst);
    let made = applications.create("new").await.unwrap();
    let renewed = applications.rotate_key(&server.app.app_id, Duration::ZERO).await.unwrap().unwrap();
    server.store.unlisted.store(false, std::sync::atomic::Ordering::SeqCst);
    applications.refresh().await.unwrap();
    for credentials in [made, renewed] {
        assert!(
            applications
                .authenticate(credentials.app_id.as_str(), &credentials.app_key, TransactionId(random_uuid()))
                .is_ok()
        );
    }
}
