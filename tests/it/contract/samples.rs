use std::sync::atomic::Ordering;

use crate::support::{Answer, Json, Server, photo};

const MIXED: [&str; 3] = ["ann", "ann.2", "bob"];

/// Enrolls `id` with these photos, and returns the ids of the samples.
async fn enroll(server: &Server, id: &str, photos: &[&str]) -> Vec<String> {
    let mut samples = Vec::new();
    for (at, name) in photos.iter().enumerate() {
        let answer = match at {
            0 => server.enroll(id, &photo(name)).await,
            _ => server.send_photo(&format!("templates/{id}/samples"), &photo(name)).await,
        };
        samples.push(answer.json().text("result.sampleId").to_owned());
    }
    samples
}

async fn identified(server: &Server, name: &str) -> Json {
    server.send_photo("identify?threshold=0.9", &photo(name)).await.json().at("result.templateId").clone()
}

fn text(id: &str) -> Json {
    Json::Text(id.to_owned())
}

async fn post(server: &Server, target: &str, body: &str) -> Answer {
    server.post(target).body("application/json", body).send().await
}

fn bad(info: &str) -> (u16, i64, String) {
    (400, 400, info.to_owned())
}

#[tokio::test]
async fn a_wrong_sample_is_removed_and_found_by_no_search() {
    let server = Server::start().await;
    let samples = enroll(&server, "ann", &MIXED).await;
    assert_eq!(identified(&server, "bob").await, text("ann"));
    let remove = |template: &'static str, sample: &str| {
        server.call("DELETE", &format!("/api/v1.0/templates/{template}/samples/{sample}")).send()
    };
    let removed = remove("ann", &samples[2]).await;
    assert_eq!(removed.status, 200);
    assert_eq!(removed.json(), Json::Object(vec![("transactionId".into(), Json::Text(removed.transaction()))]));
    assert_eq!(identified(&server, "bob").await, Json::Null);
    assert_eq!(identified(&server, "ann").await, text("ann"));
    assert_eq!(remove("ann", &samples[2]).await.error(), bad("Sample not found"));
    assert_eq!(remove("bob", &samples[2]).await.error(), bad("Template not found"));
    assert_eq!(remove("ann", "7").await.error(), bad("sampleId must be a UUID"));
    assert_eq!(remove("ann", &samples[0]).await.status, 200);
    let last = remove("ann", &samples[1]).await.error();
    assert_eq!(last, bad("this is the last sample of its template, delete the template instead"));
    assert_eq!(identified(&server, "ann.2").await, text("ann"));
}

#[tokio::test]
async fn a_sample_is_moved_to_the_person_on_it() {
    let server = Server::start().await;
    let samples = enroll(&server, "ann", &MIXED).await;
    enroll(&server, "bo b", &["bob.2"]).await;
    let target = format!("templates/ann/samples/{}/move", samples[2]);
    for (body, info) in [
        ("", "request body is not valid JSON"),
        ("{", "request body is not valid JSON"),
        ("{}", "request body has a missing field or a wrong type"),
        (r#"{"to":7}"#, "request body has a missing field or a wrong type"),
        (r#"{"to":" "}"#, "to must not be empty"),
        (r#"{"to":"carl"}"#, "The other template is not found"),
        (r#"{"to":"ann"}"#, "both templates are the same"),
    ] {
        assert_eq!(post(&server, &target, body).await.error(), bad(info), "{body}");
    }
    let moved = post(&server, &target, r#"{"to":"bo b","unknown":1}"#).await;
    insta::assert_snapshot!(moved.shown());
    assert_eq!(identified(&server, "bob").await, text("bo b"));
    assert_eq!(post(&server, &target, r#"{"to":"bo b"}"#).await.error(), bad("Sample not found"));

    // The last one goes only if its template may go, too.
    let target = format!("templates/bo%20b/samples/{}/move", samples[2]);
    post(&server, &target, r#"{"to":"ann"}"#).await;
    let left = server.get("templates/bo%20b").await.json();
    let Json::List(left) = left.at("result.samples") else { panic!("{left}") };
    let target = format!("templates/bo%20b/samples/{}/move", left[0].text("sampleId"));
    let last = post(&server, &target, r#"{"to":"ann"}"#).await.error();
    assert_eq!(last, bad("this is the last sample of its template, delete the template instead"));
    assert_eq!(post(&server, &target, r#"{"to":"ann","removeEmpty":true}"#).await.status, 200);
    assert_eq!(server.get("templates/bo%20b").await.error(), bad("Template not found"));
    assert_eq!(identified(&server, "bob.2").await, text("ann"));
}

#[tokio::test]
async fn two_templates_of_one_person_are_merged() {
    let server = Server::start().await;
    enroll(&server, "ann", &["ann"]).await;
    enroll(&server, "b-77", &["ann.2", "ann.3"]).await;
    insta::assert_snapshot!(post(&server, "templates/ann/merge", r#"{"from":"b-77"}"#).await.shown());
    for name in ["ann", "ann.2", "ann.3"] {
        assert_eq!(identified(&server, name).await, text("ann"), "{name}");
    }
    let merge = |body: &'static str| post(&server, "templates/ann/merge", body);
    assert_eq!(merge(r#"{"from":"b-77"}"#).await.error(), bad("Template not found"));
    assert_eq!(merge(r#"{"from":"ann"}"#).await.error(), bad("both templates are the same"));
    let unknown = post(&server, "templates/carl/merge", r#"{"from":"ann"}"#).await.error();
    assert_eq!(unknown, bad("The other template is not found"));
    assert_eq!(server.post("templates/ann/merge").without("APP-KEY").send().await.status, 401);
}

#[tokio::test]
async fn a_photo_is_compared_with_a_stored_template() {
    let server = Server::start().await;
    let samples = enroll(&server, "ann", &["ann", "bob"]).await;
    let same = server.send_photo("templates/ann/verify", &photo("ann.2")).await;
    insta::assert_snapshot!(same.shown());
    assert_eq!(same.json().text("result.sampleId"), samples[0], "the most similar sample");
    let other = server.send_photo("templates/ann/verify", &photo("carl")).await.json();
    assert_eq!(other.at("result.comparison.same").to_string(), "false");
    let generous = server.send_photo("templates/ann/verify?threshold=0", &photo("carl")).await.json();
    assert_eq!(generous.at("result.comparison.same").to_string(), "true");
    assert_eq!(server.send_photo("templates/carl/verify", &photo("ann")).await.error(), bad("Template not found"));
    assert_eq!(server.send_photo("templates/ann/verify", &photo("nobody")).await.error().1, 5);
    server.engine.liveness.store(false, Ordering::SeqCst);
    let check = server.send_photo("templates/ann/verify?check_liveness=1", &photo("ann")).await;
    assert_eq!(check.error().0, 501);
}

/// The mean of two photos of a person is nearer to a third one than each of them: it decides, and no sample is named.
#[tokio::test]
async fn the_mean_of_the_samples_finds_a_person_too() {
    let server = Server::start().await;
    let first = enroll(&server, "ann", &["ann"]).await;
    let alone = server.send_photo("identify", &photo("ann.3")).await.json();
    assert_eq!(alone.text("result.decision.sampleId"), first[0]);
    let second = server.send_photo("templates/ann/samples", &photo("ann.2")).await.json();
    let found = server.send_photo("identify", &photo("ann.3")).await.json();
    assert_eq!(found.text("result.templateId"), "ann");
    assert_eq!(found.at("result.decision.sampleId"), &Json::Null);
    assert_eq!(found.at("result.decision.samples").to_string(), "2", "the mean is no sample");
    let verified = server.send_photo("templates/ann/verify", &photo("ann.3")).await.json();
    let similarity = |json: &Json| json.at("result.similarity").to_string().parse::<f64>().unwrap();
    assert!(similarity(&found) > similarity(&alone));
    assert_eq!(similarity(&verified), similarity(&found));
    let nearest = verified.text("result.sampleId");
    assert!([first[0].as_str(), second.text("result.sampleId")].contains(&nearest), "a sample, not the mean");
}

#[tokio::test]
async fn a_renamed_template_is_found_under_its_new_id() {
    let server = Server::start().await;
    enroll(&server, "ann", &["ann", "ann.2"]).await;
    enroll(&server, "bob", &["bob"]).await;
    let rename = |body: &'static str| post(&server, "templates/ann/rename", body);
    assert_eq!(rename(r#"{"to":"bob"}"#).await.error(), bad("Template already exists"));
    assert_eq!(rename(r#"{"to":"ann"}"#).await.error(), bad("both templates are the same"));
    assert_eq!(rename(r#"{"to":""}"#).await.status, 400);
    insta::assert_snapshot!(rename(r#"{"to":"anna"}"#).await.shown());
    for name in ["ann", "ann.2"] {
        assert_eq!(identified(&server, name).await, text("anna"), "{name}");
    }
    assert_eq!(server.get("templates/ann").await.error(), bad("Template not found"));
    assert_eq!(rename(r#"{"to":"annie"}"#).await.error(), bad("Template not found"));
}

/// A crop is cut only for an application that keeps crops.
#[tokio::test]
async fn a_crop_is_kept_only_where_the_application_wants_it() {
    let server = Server::start().await;
    let app = &server.app.app_id;
    enroll(&server, "before", &["ann"]).await;
    assert!(server.service.applications().set_keep_crops(app, true).await.unwrap());
    let samples = enroll(&server, "after", &["bob"]).await;
    let has_crop = |id: &'static str| {
        let server = &server;
        async move {
            let json = server.get(&format!("templates/{id}")).await.json();
            let Json::List(samples) = json.at("result.samples") else { panic!("{json}") };
            samples[0].at("hasCrop").to_string()
        }
    };
    assert_eq!((has_crop("before").await, has_crop("after").await), ("false".to_owned(), "true".to_owned()));
    let caller = server.service.applications().authenticate(
        app.as_str(),
        &server.app.app_key,
        semblance::domain::TransactionId::random(),
    );
    let caller = caller.unwrap();
    let sample = semblance::domain::SampleId(samples[0].parse().unwrap());
    let crop = server.service.crop(&caller, &"after".parse().unwrap(), sample).await.unwrap().unwrap();
    assert_eq!(crop.jpeg(), b"crop of bob");
    assert_eq!(server.service.crop_bytes(&caller).await.unwrap(), crop.jpeg().len() as u64);
    let removed = server.call("DELETE", "/api/v1.0/templates/after").send().await;
    assert_eq!(removed.status, 200);
    assert_eq!(server.service.crop_bytes(&caller).await.unwrap(), 0);
}
