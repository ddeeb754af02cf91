//! Samples, merges, crops, exports and photos in the administration API.

use serde_json::{Value, json};

use crate::support::admin::{As, result};
use crate::support::{Answer, Form, Server, photo};

const NULL: Value = Value::Null;

/// A server with an owner, and the path of its application.
async fn started() -> (Server, As, String) {
    let server = Server::start().await;
    let owner = server.bootstrap().await;
    let app = format!("/applications/{}", server.app.app_id);
    (server, owner, app)
}

async fn send_photo(server: &Server, who: &As, path: &str, name: &str) -> Answer {
    server.admin_call(who, "POST", path, &NULL).form(&Form::new().photo(&photo(name))).send().await
}

/// Enrolls a person with these photos, and returns the ids of the samples.
async fn enroll(server: &Server, owner: &As, app: &str, id: &str, photos: &[&str]) -> Vec<String> {
    let mut samples = Vec::new();
    for (at, name) in photos.iter().enumerate() {
        let sample = if at == 0 {
            server.enroll(id, &photo(name)).await.json().text("result.sampleId").to_owned()
        } else {
            let answer = send_photo(server, owner, &format!("{app}/people/{id}/samples"), name).await;
            let made = result(&answer);
            assert_eq!(answer.status, 201, "{made}");
            let sample = made["sampleId"].as_str().unwrap().to_owned();
            let path = format!("/api/admin/v1{app}/people/{id}/samples/{sample}");
            assert_eq!(answer.header("location"), Some(path.as_str()));
            sample
        };
        samples.push(sample);
    }
    samples
}

async fn identified(server: &Server, name: &str) -> String {
    server.send_photo("identify?threshold=0.9", &photo(name)).await.json().at("result.templateId").to_string()
}

#[tokio::test]
async fn a_wrong_sample_is_moved_or_removed() {
    let (server, owner, app) = started().await;
    let ann = enroll(&server, &owner, &app, "ann", &["ann", "bob", "carl"]).await;
    enroll(&server, &owner, &app, "bob", &["bob.2"]).await;
    let path = |sample: &str| format!("{app}/people/ann/samples/{sample}");
    let target = format!("{}/move", path(&ann[1]));
    for (body, status, reason) in [
        (json!({}), 400, "invalidFields"),
        (json!({ "to": "" }), 400, "invalidFields"),
        (json!({ "to": "zoe" }), 404, "notFound"),
        (json!({ "to": "ann" }), 400, "sameTemplate"),
    ] {
        let (found, refused) = server.admin(&owner, "POST", &target, body.clone()).await;
        assert_eq!((found, refused["reason"].as_str()), (status, Some(reason)), "{body}");
    }
    let moved = server.admin(&owner, "POST", &target, json!({ "to": "bob" })).await;
    assert_eq!(moved, (200, json!({ "templateId": "bob", "samples": 1, "revision": 6 })));
    assert_eq!(identified(&server, "bob").await, "\"bob\"");
    let removed = server.admin(&owner, "DELETE", &path(&ann[2]), NULL).await;
    assert_eq!(removed, (200, json!({ "templateId": "ann", "samples": 1, "revision": 7 })));
    assert_eq!(identified(&server, "carl").await, "null");
    for (sample, status, reason) in [(&ann[2], 404, "notFound"), (&ann[0], 409, "lastSample")] {
        let (found, refused) = server.admin(&owner, "DELETE", &path(sample), NULL).await;
        assert_eq!((found, refused["reason"].as_str()), (status, Some(reason)));
    }
    assert_eq!(server.admin(&owner, "DELETE", &path("7"), NULL).await.0, 404);
}

#[tokio::test]
async fn a_merge_is_previewed_and_done() {
    let (server, owner, app) = started().await;
    enroll(&server, &owner, &app, "ann", &["ann", "ann.2"]).await;
    enroll(&server, &owner, &app, "b-77", &["ann.3"]).await;
    let path = format!("{app}/people/ann/merge");
    let (status, preview) = server.admin(&owner, "POST", &path, json!({ "from": "b-77", "dryRun": true })).await;
    assert_eq!((status, &preview["samples"], &preview["total"]), (200, &json!(1), &json!(3)));
    assert_eq!(preview["conflicts"], json!([]));
    let lowest = preview["lowestCrossSimilarity"].as_f64().unwrap();
    assert!(lowest > preview["samePerson"].as_f64().unwrap() && lowest < 1.0, "{preview}");
    assert_eq!(server.get("templates/b-77").await.status, 200, "nothing was done");
    let (status, merged) = server.admin(&owner, "POST", &path, json!({ "from": "b-77" })).await;
    assert_eq!((status, &merged["samples"]), (200, &json!(1)));
    assert_eq!(identified(&server, "ann.3").await, "\"ann\"");
    for body in [json!({ "from": "b-77" }), json!({ "from": "b-77", "dryRun": true })] {
        assert_eq!(server.admin(&owner, "POST", &path, body).await.0, 404);
    }
}

#[tokio::test]
async fn an_identification_is_explained() {
    let (server, owner, app) = started().await;
    let ann = enroll(&server, &owner, &app, "ann", &["ann"]).await;
    enroll(&server, &owner, &app, "bob", &["bob"]).await;
    let found = result(&send_photo(&server, &owner, &format!("{app}/identify"), "ann.2").await);
    assert_eq!(found["search"]["templateId"], "ann");
    let similarities: Vec<f64> =
        found["candidates"].as_array().unwrap().iter().map(|each| each["similarity"].as_f64().unwrap()).collect();
    assert_eq!(similarities.len(), 2, "also below the threshold");
    let decision = &found["decision"];
    assert_eq!((&decision["threshold"], &decision["samples"]), (&json!(0.75), &json!(2)));
    assert_eq!(decision["sampleId"], json!(ann[0]));
    assert!((decision["margin"].as_f64().unwrap() - (similarities[0] - similarities[1])).abs() < 1e-9);
    // The scripted curve has a rate near 1e-5 at 0.75.
    let expected = decision["expectedFpir"].as_f64().unwrap();
    assert!((1e-5..5e-5).contains(&expected), "{expected}");
    assert!(found["quality"]["exposure"]["fine"].is_boolean() && found["box"]["w"].is_number(), "{found}");
    let strict = format!("{app}/identify?threshold=1&candidates=1");
    let found = result(&send_photo(&server, &owner, &strict, "ann.2").await);
    assert_eq!((&found["search"], &found["decision"]["sampleId"]), (&NULL, &NULL));
    assert_eq!(found["decision"]["expectedFpir"], NULL, "the rate at this threshold was not measured");
    assert_eq!(found["candidates"].as_array().unwrap().len(), 1);
    assert_eq!(result(&send_photo(&server, &owner, &strict, "nobody").await)["code"], 5);
}

#[tokio::test]
async fn a_photo_is_verified_and_inspected() {
    let (server, owner, app) = started().await;
    enroll(&server, &owner, &app, "ann", &["ann"]).await;
    let verify = async |id: &str, name: &str| {
        let form = Form::new().photo(&photo(name)).text("templateId", id);
        let answer = server.admin_call(&owner, "POST", &format!("{app}/verify"), &NULL).form(&form).send().await;
        (answer.status, result(&answer))
    };
    assert_eq!(verify("ann", "ann.2").await.1["comparison"]["same"], true);
    assert_eq!(verify("ann", "bob").await.1["comparison"]["same"], false);
    assert_eq!(verify("zoe", "ann").await.0, 404);
    assert_eq!(send_photo(&server, &owner, &format!("{app}/verify"), "ann").await.status, 400);
    let inspected = result(&send_photo(&server, &owner, &format!("{app}/inspect?check_liveness=1"), "ann").await);
    assert!(inspected["liveness"]["fine"].is_boolean() && inspected["quality"]["blur"]["score"].is_number());
}

/// The crop is bytes, so it comes without an envelope; the export has it in base64, and of embeddings their digest.
#[tokio::test]
async fn a_crop_is_read_and_everything_is_exported() {
    let (server, owner, app) = started().await;
    enroll(&server, &owner, &app, "ann", &["ann"]).await;
    let id = &server.app.app_id;
    assert!(server.service.applications().set_keep_crops(id, true).await.unwrap());
    let bob = enroll(&server, &owner, &app, "bob", &["bob", "bob.2"]).await;
    let crop = format!("{app}/people/bob/samples/{}/crop", bob[1]);
    let answer = server.admin_call(&owner, "GET", &crop, &NULL).send().await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/jpeg")));
    assert_eq!(answer.body, b"crop of bob.2");
    for (name, value) in [("content-disposition", "inline"), ("cache-control", "no-store")] {
        assert_eq!(answer.header(name), Some(value));
    }
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let (status, none) = server.admin(&owner, "GET", &crop.replace("bob/", "ann/"), NULL).await;
    assert_eq!((status, &none["reason"]), (404, &json!("noCrop")));

    let (_, auditor) = server.administrator(&owner, json!({ "name": "Au", "role": "auditor" })).await;
    assert_eq!(server.admin(&auditor, "GET", &crop, NULL).await.0, 403, "an auditor sees no crops");
    let answer = server.admin_call(&auditor, "POST", &format!("{app}/people/bob/exports"), &NULL).send().await;
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"person.json\""));
    let export = result(&answer);
    let samples = export["samples"].as_array().unwrap();
    assert_eq!((&export["templateId"], samples.len()), (&json!("bob"), 2));
    for sample in samples {
        assert!(["Y3JvcCBvZiBib2I=", "Y3JvcCBvZiBib2IuMg=="].contains(&sample["crop"].as_str().unwrap()));
        assert_eq!(sample["embeddingSha256"].as_str().unwrap().len(), 64);
        assert_eq!(sample["quality"]["score"], 0.5428674221038818);
    }
    assert!(!answer.body.windows(11).any(|window| window == b"\"embedding\""), "no embedding");
    assert_eq!(server.admin(&owner, "POST", &format!("{app}/people/zoe/exports"), NULL).await.0, 404);
    let by: Vec<&str> = samples.iter().map(|sample| sample["enrolledBy"].as_str().unwrap()).collect();
    assert!(by[1].starts_with("administrator:"), "{by:?}");
}

#[tokio::test]
async fn a_mixed_person_is_found() {
    let (server, owner, app) = started().await;
    enroll(&server, &owner, &app, "ann", &["ann", "ann.2"]).await;
    let health = async || server.admin(&owner, "GET", &format!("{app}/people/ann/health"), NULL).await.1;
    let before = health().await;
    // The scripted photos have a low quality.
    assert_eq!(before["state"], "weak");
    assert_eq!(before["findings"][0]["kind"], "lowQuality");
    let lowest = before["lowestPair"].as_f64().unwrap();
    assert!(lowest > before["samePerson"].as_f64().unwrap());
    send_photo(&server, &owner, &format!("{app}/people/ann/samples"), "bob").await;
    let after = health().await;
    assert_eq!(after["state"], "mixed");
    assert!(after["lowestPair"].as_f64().unwrap() < lowest);
    assert!(after["findings"].as_array().unwrap().iter().any(|finding| finding["kind"] == "unlikeOwnSamples"));
}

/// Another application's people do not exist for an operator.
#[tokio::test]
async fn an_operator_reaches_only_its_applications() {
    let (server, owner, app) = started().await;
    let ann = enroll(&server, &owner, &app, "ann", &["ann", "ann.2"]).await;
    let other = server.service.applications().create("other").await.unwrap().app_id;
    let new = json!({ "name": "Op", "role": "operator", "applications": [other.as_str()] });
    let (_, operator) = server.administrator(&owner, new).await;
    let sample = format!("{app}/people/ann/samples/{}", ann[0]);
    for (method, path) in [
        ("DELETE", sample.clone()),
        ("GET", format!("{sample}/crop")),
        ("GET", format!("{app}/people/ann/health")),
        ("POST", format!("{app}/people/ann/exports")),
        ("POST", format!("{app}/identify")),
    ] {
        assert_eq!(server.admin(&operator, method, &path, NULL).await.0, 404, "{method} {path}");
    }
    assert_eq!(
        server.get("templates/ann").await.json().at("result.samples").to_string().matches("sampleId").count(),
        2
    );
}

#[tokio::test]
async fn a_person_gets_another_id() {
    let (server, owner, app) = started().await;
    enroll(&server, &owner, &app, "ann", &["ann", "ann.2"]).await;
    enroll(&server, &owner, &app, "bob", &["bob"]).await;
    let path = format!("{app}/people/ann/rename");
    for (body, status, reason) in [
        (json!({}), 400, "invalidFields"),
        (json!({ "to": "" }), 400, "invalidFields"),
        (json!({ "to": "ann" }), 400, "sameTemplate"),
        (json!({ "to": "bob" }), 409, "templateExists"),
    ] {
        let (found, refused) = server.admin(&owner, "POST", &path, body.clone()).await;
        assert_eq!((found, refused["reason"].as_str()), (status, Some(reason)), "{body}");
    }
    let (status, renamed) = server.admin(&owner, "POST", &path, json!({ "to": "anna" })).await;
    assert_eq!((status, &renamed["templateId"]), (200, &json!("anna")), "{renamed}");
    assert_eq!(identified(&server, "ann.2").await, "\"anna\"");
    let (_, person) = server.admin(&owner, "GET", &format!("{app}/people/anna"), NULL).await;
    assert_eq!(person["samples"][0]["quality"], json!({ "score": 0.5428674221038818, "fine": false }));
    assert_eq!(server.admin(&owner, "GET", &format!("{app}/people/ann"), NULL).await.0, 404);
    let (status, refused) = server.admin(&owner, "POST", &path, json!({ "to": "annie" })).await;
    assert_eq!((status, refused["reason"].as_str()), (404, Some("notFound")));
}
