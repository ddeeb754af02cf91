use semblance::api::{ApiConfig, Shape};

use crate::support::{Json, Server, Setup, photo};

async fn server_of(shape: Shape) -> Server {
    Server::with(Setup { config: ApiConfig { shape, ..ApiConfig::default() }, ..Setup::default() }).await
}

#[tokio::test]
async fn a_match_in_both_layouts() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    insta::assert_snapshot!(server.send_photo("identify", &photo("ann")).await.shown());
}

#[tokio::test]
async fn a_match_in_the_older_layout() {
    let server = server_of(Shape::Seed).await;
    server.enroll("ann", &photo("ann")).await;
    insta::assert_snapshot!(server.send_photo("identify", &photo("ann")).await.shown());
}

#[tokio::test]
async fn a_match_in_the_newer_layout() {
    let server = server_of(Shape::Modern).await;
    server.enroll("ann", &photo("ann")).await;
    insta::assert_snapshot!(server.send_photo("identify", &photo("ann")).await.shown());
}

#[tokio::test]
async fn no_match_among_the_enrolled() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    insta::assert_snapshot!(server.send_photo("identify", &photo("bob")).await.shown());
}

#[tokio::test]
async fn no_match_in_an_empty_gallery() {
    for shape in [Shape::Seed, Shape::Modern, Shape::Both] {
        let server = server_of(shape).await;
        let answer = server.send_photo("identify", &photo("bob")).await;
        assert_eq!(answer.status, 200);
        let seed = shape.has_seed().then_some(&Json::Null);
        assert_eq!(answer.json().find("result.templateId"), seed);
        assert_eq!(answer.json().find("result.similarity"), seed);
        assert_eq!(answer.json().find("result.search"), shape.has_modern().then_some(&Json::Null));
    }
}

#[tokio::test]
async fn checks_are_reported_on_request() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    let answer = server.send_photo("identify?check_liveness=true&check_deepfake=true", &photo("ann")).await;
    insta::assert_snapshot!(answer.shown());
}

#[tokio::test]
async fn what_is_not_measured_is_absent() {
    let server = Server::start().await;
    insta::assert_snapshot!(server.send_photo("identify", &photo("plain")).await.shown());
}

#[tokio::test]
async fn candidates_are_listed_on_request() {
    let server = Server::start().await;
    for id in ["ann", "ann.2", "ann.3", "bob"] {
        server.enroll(id, &photo(id)).await;
    }
    let answer = server.send_photo("identify?candidates=3", &photo("ann")).await;
    let Json::List(candidates) = answer.json().at("result.candidates").clone() else { panic!() };
    assert_eq!(candidates.len(), 3);
    assert_eq!(candidates[0].text("templateId"), "ann");
    assert_eq!(candidates[0].number("similarity"), 1.0);
    let similarities: Vec<f64> = candidates.iter().map(|candidate| candidate.number("similarity")).collect();
    assert!(similarities.is_sorted_by(|a, b| a >= b) && similarities[2] >= 0.75, "{similarities:?}");
    assert_eq!(answer.json().text("result.templateId"), "ann");

    let answer = server.send_photo("identify?candidates=3", &photo("carl")).await;
    assert_eq!(answer.json().at("result.candidates"), &Json::List(vec![]));
}

#[tokio::test]
async fn a_threshold_in_the_request_overrides_the_setting() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    let similarity = server.send_photo("identify", &photo("ann.2")).await.json().number("result.similarity");
    assert!((0.75..1.0).contains(&similarity), "{similarity}");
    let answer = server.send_photo("identify?threshold=1", &photo("ann.2")).await;
    assert_eq!(answer.json().at("result.templateId"), &Json::Null);
    let answer = server.send_photo("identify?threshold=0", &photo("bob")).await;
    assert_eq!(answer.json().text("result.templateId"), "ann");
}

#[tokio::test]
async fn galleries_of_applications_are_separate() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    let other = server.service.applications().create("other").await.unwrap();
    server.service.replicator().poll().await.unwrap();
    let call = server.post("identify").header("APP-ID", other.app_id.as_str()).header("APP-KEY", &other.app_key);
    let answer = call.form(&crate::support::Form::new().photo(&photo("ann"))).send().await;
    assert_eq!((answer.status, answer.json().at("result.templateId")), (200, &Json::Null));
}

#[tokio::test]
async fn a_trace_lists_each_step_with_its_limit() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    assert_eq!(server.send_photo("identify", &photo("ann")).await.json().find("result.trace"), None);
    let call = "identify?trace=true&check_liveness=true";
    let answer = server.send_photo(call, &photo("ann")).await.json();
    let trace: serde_json::Value = serde_json::from_str(&answer.at("result.trace").to_string()).unwrap();
    let trace = trace.as_array().unwrap();
    let names: Vec<&str> = trace.iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(names[..5], ["wait", "decode", "detect", "embed", "assess"]);
    assert_eq!(names[17..], ["liveness", "yaw", "pitch", "search", "decide"]);
    let step = |name: &str| trace.iter().find(|step| step["step"] == name).unwrap();
    for timed in ["wait", "decode", "detect", "embed", "assess", "search"] {
        assert!(step(timed)["milliseconds"].as_f64().unwrap() >= 0.0, "{timed}");
    }
    let pack: toml::Table = include_str!("../../../models/pack.toml").parse().unwrap();
    let limit = pack["fine"]["flare"]["below"].as_float().unwrap();
    let flare = step("flare");
    assert_eq!((&flare["limit"]["below"], &flare["fine"]), (&limit.into(), &false.into()));
    assert_eq!(flare["advice"], "keep lamps and windows behind the camera");
    assert_eq!(step("exposure").get("advice"), None, "it is fine");
    let decide = step("decide");
    assert_eq!(
        (&decide["value"], &decide["limit"]["atLeast"], &decide["fine"]),
        (&1.into(), &0.75.into(), &true.into())
    );

    // Without a match the reply does not show how near anyone came.
    let answer = server.send_photo(call, &photo("bob")).await.json();
    let trace: serde_json::Value = serde_json::from_str(&answer.at("result.trace").to_string()).unwrap();
    let decide = trace.as_array().unwrap().last().unwrap();
    assert_eq!((decide.get("value"), &decide["fine"]), (None, &false.into()));
    assert_eq!(server.send_photo("identify?trace=perhaps", &photo("ann")).await.status, 400);
}
