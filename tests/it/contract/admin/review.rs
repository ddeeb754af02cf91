//! Review in the administration API: held probes, and what a person decides about them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::admin::{As, result};
use crate::support::{Server, eventually, photo};

const NULL: Value = Value::Null;

/// A server that holds probes, its owner and the path of its application.
async fn started() -> (Server, As, String) {
    let server = Server::start().await;
    let owner = server.bootstrap().await;
    let app = format!("/applications/{}", server.app.app_id);
    let (status, changed) = server.admin(&owner, "PATCH", &app, json!({ "keepProbesSeconds": 3600 })).await;
    assert_eq!((status, &changed["application"]["keepProbesSeconds"]["value"]), (200, &json!(3600)), "{changed}");
    tokio::spawn(server.service.clone().hold_probes());
    (server, owner, app)
}

async fn identify(server: &Server, name: &str) -> Value {
    let answer = server.send_photo("identify", &photo(name)).await;
    assert_eq!(answer.status, 200);
    result(&answer)
}

/// The list once it has so many items. Probes are held after the response.
async fn items(server: &Server, owner: &As, app: &str, count: usize) -> Vec<Value> {
    let list = || async { server.admin(owner, "GET", &format!("{app}/review"), NULL).await.1 };
    let times = |list: &Value| {
        list["items"].as_array().unwrap().iter().map(|item| item["times"].as_u64().unwrap()).sum::<u64>()
    };
    eventually("the probes are held", || async { times(&list().await) == count as u64 }).await;
    let list = list().await;
    assert_eq!(list["total"], list["items"].as_array().unwrap().len());
    list["items"].as_array().unwrap().clone()
}

async fn decide(server: &Server, who: &As, app: &str, item: &Value, body: Value) -> (u16, Value) {
    let path = format!("{app}/review/{}/decision", item["itemId"].as_str().unwrap());
    server.admin(who, "POST", &path, body).await
}

#[tokio::test]
async fn a_near_match_is_confirmed() {
    let (server, owner, app) = started().await;
    server.enroll("clear-ann", &photo("clear-ann")).await;
    let (status, _) =
        server.admin(&owner, "PATCH", &format!("{app}/people/clear-ann"), json!({ "name": "Ann Example" })).await;
    assert_eq!(status, 200);
    assert_eq!(identify(&server, "clear-ann~far").await["templateId"], NULL, "below the threshold");
    assert_eq!(identify(&server, "clear-ann.2").await["templateId"], "clear-ann");
    // What is blurred is not held: the face of `zed` is of too low a quality.
    identify(&server, "zed").await;
    let items = items(&server, &owner, &app, 1).await;
    let item = &items[0];
    assert_eq!((&item["kind"], &item["times"], &item["hasCrop"]), (&json!("nearMatch"), &json!(1), &json!(true)));
    assert_eq!(item["candidate"]["templateId"], "clear-ann");
    assert_eq!(item["candidate"]["name"], "Ann Example");
    let similarity = item["candidate"]["similarity"].as_f64().unwrap();
    assert!(similarity > 0.5 && similarity < item["threshold"].as_f64().unwrap(), "{item}");

    let crop = format!("{app}/review/{}/crop", item["itemId"].as_str().unwrap());
    let answer = server.admin_call(&owner, "GET", &crop, &NULL).send().await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"crop of clear-ann~far".as_slice()));
    assert_eq!(answer.header("content-type"), Some("image/jpeg"));

    let export = server.admin(&owner, "POST", &format!("{app}/people/clear-ann/exports"), NULL).await.1;
    let near = &export["nearProbes"][0];
    assert_eq!((&near["itemId"], near.get("crop")), (&item["itemId"], None), "who it shows is not decided: {export}");
    assert_eq!((&near["similarity"], &near["threshold"]), (&item["candidate"]["similarity"], &item["threshold"]));

    for (body, status, reason) in [
        (json!({ "action": "confirmAs" }), 400, "invalidFields"),
        (json!({ "action": "confirmAs", "templateId": "zoe" }), 404, "notFound"),
        (json!({ "action": "dismiss", "templateId": "clear-ann" }), 400, "invalidFields"),
        (json!({ "action": "confirmAs", "templateId": "clear-ann", "details": {} }), 400, "invalidFields"),
        (json!({ "action": "enrollAs", "templateId": "clear-ann" }), 409, "templateExists"),
    ] {
        let (found, refused) = decide(&server, &owner, &app, item, body.clone()).await;
        assert_eq!((found, refused["reason"].as_str()), (status, Some(reason)), "{body}: {refused}");
    }
    let body = json!({ "action": "confirmAs", "templateId": "clear-ann" });
    let (status, decided) = decide(&server, &owner, &app, item, body.clone()).await;
    assert_eq!((status, &decided["sampleId"]), (200, &item["itemId"]), "{decided}");
    assert_eq!(identify(&server, "clear-ann~far").await["templateId"], "clear-ann", "the probe is a sample now");
    let (status, again) = decide(&server, &owner, &app, item, body).await;
    assert_eq!((status, &again["reason"]), (404, &json!("noProbe")));
    assert_eq!(server.admin_call(&owner, "GET", &crop, &NULL).send().await.status, 404);
    let (_, person) = server.admin(&owner, "GET", &format!("{app}/people/clear-ann"), NULL).await;
    let by: Vec<&str> = person["samples"].as_array().unwrap().iter().filter_map(|s| s["enrolledBy"].as_str()).collect();
    assert!(by[1].starts_with("administrator:"), "{by:?}");
}

#[tokio::test]
async fn an_unknown_person_who_comes_again_is_enrolled_or_dismissed() {
    let (server, owner, app) = started().await;
    server.enroll("ann", &photo("ann")).await;
    for name in ["clear-bob", "clear-bob.2", "clear-carl"] {
        assert_eq!(identify(&server, name).await["templateId"], NULL);
    }
    let items = items(&server, &owner, &app, 3).await;
    let seen: Vec<(&str, u64)> =
        items.iter().map(|item| (item["kind"].as_str().unwrap(), item["times"].as_u64().unwrap())).collect();
    assert_eq!(seen, [("unknownPerson", 1), ("unknownPerson", 2)], "last seen first");
    let kind = |kind: &str| format!("{app}/review?kind={kind}&limit=1");
    let (_, first) = server.admin(&owner, "GET", &kind("unknownPerson"), NULL).await;
    assert_eq!(first["items"][0]["itemId"], items[0]["itemId"]);
    let next = format!("{}&cursor={}", kind("unknownPerson"), first["nextCursor"].as_str().unwrap());
    let (_, second) = server.admin(&owner, "GET", &next, NULL).await;
    assert_eq!((&second["items"][0]["itemId"], &second["nextCursor"]), (&items[1]["itemId"], &NULL));
    let other = next.replace("unknownPerson", "nearMatch");
    assert_eq!(server.admin(&owner, "GET", &other, NULL).await.1["reason"], "badCursor");
    assert_eq!(server.admin(&owner, "GET", &kind("nearMatch"), NULL).await.1["items"], json!([]));
    assert_eq!(server.admin(&owner, "GET", &kind("other"), NULL).await.0, 400);

    let body = json!({ "action": "enrollAs", "templateId": "bob", "details": { "name": "Bob Sample" } });
    let (status, decided) = decide(&server, &owner, &app, &items[1], body).await;
    assert_eq!((status, &decided["templateId"]), (200, &json!("bob")), "{decided}");
    assert_eq!(identify(&server, "clear-bob.3").await["templateId"], "bob");
    let (_, person) = server.admin(&owner, "GET", &format!("{app}/people/bob"), NULL).await;
    assert_eq!(person["name"], "Bob Sample");
    let (status, dismissed) = decide(&server, &owner, &app, &items[0], json!({ "action": "dismiss" })).await;
    assert_eq!((status, &dismissed["templateId"]), (200, &NULL));
    assert_eq!(server.admin(&owner, "GET", &format!("{app}/review"), NULL).await.1["total"], 0);
}

/// Only who may change people decides, an auditor sees none of it, and one application has nothing of another.
#[tokio::test]
async fn roles_and_applications_are_kept_apart() {
    let (server, owner, app) = started().await;
    identify(&server, "clear-bob").await;
    let items = items(&server, &owner, &app, 1).await;
    let (_, auditor) = server.administrator(&owner, json!({ "name": "Au", "role": "auditor" })).await;
    let desk = json!({ "name": "Desk", "role": "operator", "applications": null, "mayChange": false });
    let (_, desk) = server.administrator(&owner, desk).await;
    let list = format!("{app}/review");
    assert_eq!(server.admin(&auditor, "GET", &list, NULL).await.0, 403);
    assert_eq!(server.admin(&desk, "GET", &list, NULL).await.0, 200);
    let (status, refused) = decide(&server, &desk, &app, &items[0], json!({ "action": "dismiss" })).await;
    assert_eq!((status, &refused["reason"]), (403, &json!("mayNotChange")));
    let (status, made) = server.admin(&owner, "POST", "/applications", json!({ "name": "other" })).await;
    assert_eq!(status, 201);
    let other = format!("/applications/{}", made["application"]["appId"].as_str().unwrap());
    let (status, refused) = decide(&server, &owner, &other, &items[0], json!({ "action": "dismiss" })).await;
    assert_eq!((status, &refused["reason"]), (404, &json!("noProbe")));
    let path = format!("{app}/review/none/decision");
    assert_eq!(server.admin(&owner, "POST", &path, json!({ "action": "dismiss" })).await.0, 404);
    for seconds in [json!(59), json!(7_776_001)] {
        let (status, _) = server.admin(&owner, "PATCH", &app, json!({ "keepProbesSeconds": seconds })).await;
        assert_eq!(status, 400);
    }
}

/// An application that does not opt in holds nothing, whatever is identified.
#[tokio::test]
async fn nothing_is_held_without_a_setting() {
    let server = Server::start().await;
    let owner = server.bootstrap().await;
    tokio::spawn(server.service.clone().hold_probes());
    identify(&server, "clear-bob").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (status, list) =
        server.admin(&owner, "GET", &format!("/applications/{}/review", server.app.app_id), NULL).await;
    assert_eq!((status, &list["total"], &list["keepProbesSeconds"]), (200, &json!(0), &NULL));
}
