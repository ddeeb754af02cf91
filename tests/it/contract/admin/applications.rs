//! Applications and their keys.

use semblance::domain::{Clock, rfc3339};
use serde_json::{Value, json};

use crate::support::admin::{As, BASE, result};
use crate::support::{Server, photo};

const NULL: Value = Value::Null;

/// The status of a request of the public API with a key.
async fn status(server: &Server, app: &str, key: &Value, endpoint: &str) -> u16 {
    let call = server.call("GET", &format!("/api/v1.0/{endpoint}")).header("APP-ID", app);
    call.header("APP-KEY", key.as_str().unwrap()).send().await.status
}

#[tokio::test]
async fn an_application_is_created_changed_and_deleted() {
    let server = Server::start().await;
    let owner = server.bootstrap().await;
    let new = json!({ "name": " the gate ", "threshold": 0.8, "limits": { "burst": 7 }, "guard": "warn" });
    let answer = server.admin_call(&owner, "POST", "/applications", &new).send().await;
    let made = result(&answer);
    assert_eq!(answer.status, 201, "{made}");
    let id = made["application"]["appId"].as_str().unwrap().to_owned();
    let path = format!("/applications/{id}");
    assert_eq!(answer.header("location"), Some(format!("{BASE}{path}").as_str()));
    assert_eq!(status(&server, &id, &made["appKey"], "templates").await, 200, "its first key is in force at once");
    let app = &made["application"];
    assert_eq!((&app["name"], &app["state"], &app["revision"]), (&json!("the gate"), &json!("active"), &json!(0)));
    assert_eq!(app["threshold"], json!({ "value": 0.8, "source": "application" }));
    assert_eq!(app["limits"]["burst"], json!({ "value": 7, "source": "application" }));
    assert_eq!(app["limits"]["perSecond"], json!({ "value": 0.0, "source": "server" }));
    assert_eq!(app["guard"], json!({ "value": "warn", "source": "application" }));
    assert_eq!((&app["templates"], &app["expectedFpir"]), (&json!(0), &NULL));
    assert!(made["key"]["createdBy"].as_str().unwrap().starts_with("administrator:"));

    let patch = json!({
        "name": "the door", "threshold": null, "limits": { "perSecond": 2.5, "burst": null }, "retentionSeconds": 90,
        "quotas": { "templates": 10 }, "attributes": false, "guard": null, "minQuality": 0.5,
    });
    let answer = server.admin_call(&owner, "PATCH", &path, &patch).header("If-Match", "\"r0\"").send().await;
    let changed = result(&answer)["application"].clone();
    assert_eq!((answer.status, answer.header("etag")), (200, Some("\"r1\"")), "{changed}");
    assert_eq!(changed["threshold"], json!({ "value": 0.75, "source": "server" }));
    let limits = &changed["limits"];
    assert_eq!(limits["perSecond"], json!({ "value": 2.5, "source": "application" }));
    assert_eq!(limits["burst"], json!({ "value": 1, "source": "server" }));
    assert_eq!(changed["quotas"]["templates"]["value"], json!(10));
    assert_eq!((&changed["retentionSeconds"]["value"], &changed["attributes"]["value"]), (&json!(90), &json!(false)));
    assert_eq!((&changed["guard"]["value"], &changed["minQuality"]["value"]), (&json!("off"), &json!(0.5)));
    let answer = server.admin_call(&owner, "GET", &path, &NULL).send().await;
    assert_eq!((result(&answer)["application"].clone(), answer.header("etag")), (changed, Some("\"r1\"")));

    let stale = server.admin_call(&owner, "PATCH", &path, &patch).header("If-Match", "\"r0\"").send().await;
    assert_eq!((stale.status, &result(&stale)["reason"]), (412, &json!("changedSince")));
    let wrong = json!({
        "name": "", "state": "asleep", "threshold": 75, "limits": { "perSecond": -1, "burst": 0, "share": 2 },
        "retentionSeconds": 0, "guard": "ask", "minQuality": 0,
    });
    let (code, wrong) = server.admin(&owner, "PATCH", &path, wrong).await;
    let fields: Vec<&str> = wrong["fields"].as_array().unwrap().iter().map(|f| f["field"].as_str().unwrap()).collect();
    let expected = [
        "name",
        "state",
        "threshold",
        "limits.perSecond",
        "limits.burst",
        "limits.share",
        "retentionSeconds",
        "guard",
        "minQuality",
    ];
    assert_eq!((code, fields), (400, expected.to_vec()));
    let (code, unknown) = server.admin(&owner, "PATCH", &path, json!({ "treshold": 1 })).await;
    assert_eq!((code, &unknown["fields"][0]["field"]), (400, &json!("treshold")));

    assert_eq!(server.admin(&owner, "PATCH", &path, json!({ "state": "suspended" })).await.0, 200);
    assert_eq!(status(&server, &id, &made["appKey"], "templates").await, 401, "in force at once");
    assert_eq!(server.admin(&owner, "PATCH", &path, json!({ "state": null })).await.0, 200);
    assert_eq!(status(&server, &id, &made["appKey"], "templates").await, 200);

    for query in ["", "?confirmName=the%20gate", "?confirmName="] {
        let (code, refused) = server.admin(&owner, "DELETE", &format!("{path}{query}"), NULL).await;
        assert_eq!((code, &refused["reason"]), (400, &json!("nameDiffers")), "{query}");
    }
    let (code, gone) = server.admin(&owner, "DELETE", &format!("{path}?confirmName=the%20door"), NULL).await;
    assert_eq!((code, gone), (200, json!({ "dryRun": false, "complete": true, "templates": 0 })));
    assert_eq!(status(&server, &id, &made["appKey"], "templates").await, 401);
    assert_eq!(server.admin(&owner, "GET", &path, NULL).await.0, 404);
}

#[tokio::test]
async fn a_dry_run_counts_and_deletes_nothing() {
    let server = Server::start().await;
    let owner = server.bootstrap().await;
    for name in ["ann", "bob"] {
        server.enroll(name, &photo(name)).await;
    }
    let path = format!("/applications/{}", server.app.app_id);
    let (code, counted) = server.admin(&owner, "DELETE", &format!("{path}?dryRun=true"), NULL).await;
    assert_eq!((code, counted), (200, json!({ "dryRun": true, "complete": false, "templates": 2 })));
    let (_, read) = server.admin(&owner, "GET", &path, NULL).await;
    assert_eq!((&read["application"]["templates"], &read["application"]["samples"]), (&json!(2), &json!(2)));
    let fpir = read["application"]["expectedFpir"].as_f64().unwrap();
    assert!(fpir > 0.0 && fpir < 1e-3, "two people at the operating point: {fpir}");
    let (code, gone) = server.admin(&owner, "DELETE", &format!("{path}?confirmName=test"), NULL).await;
    assert_eq!((code, &gone["templates"]), (200, &json!(2)));
    assert_eq!(server.get("templates").await.status, 401);
}

/// Everybody sees their own applications, and only owners see keys.
#[tokio::test]
async fn applications_are_listed_in_pages_of_what_one_may_see() {
    let server = Server::start().await;
    let owner = server.bootstrap().await;
    for n in 0..4 {
        let (code, _) = server.admin(&owner, "POST", "/applications", json!({ "name": format!("app {n}") })).await;
        assert_eq!(code, 201);
    }
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let (code, page) = server.admin(&owner, "GET", &format!("/applications?limit=2{cursor}"), NULL).await;
        assert_eq!(code, 200, "{page}");
        let ids = page["applications"].as_array().unwrap().iter().map(|app| app["appId"].as_str().unwrap().to_owned());
        all.extend(ids);
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let mut sorted = all.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!((all.len(), &all), (5, &sorted));

    let own = server.app.app_id.as_str();
    let other = all.iter().find(|id| *id != own).unwrap();
    let (_, operator) =
        server.administrator(&owner, json!({ "name": "Op", "role": "operator", "applications": [own] })).await;
    let (_, page) = server.admin(&operator, "GET", "/applications", NULL).await;
    assert_eq!(page["applications"].as_array().unwrap().len(), 1);
    assert_eq!(page["applications"][0]["appId"], own);
    assert!(!page.to_string().contains("keyId"));
    assert_eq!(server.admin(&operator, "GET", &format!("/applications/{other}"), NULL).await.0, 404);
    assert_eq!(server.admin(&operator, "GET", &format!("/applications/{own}"), NULL).await.0, 200);
    assert_eq!(server.admin(&operator, "GET", &format!("/applications/{own}/keys"), NULL).await.0, 403);
    assert_eq!(server.admin(&operator, "PATCH", &format!("/applications/{own}"), json!({ "name": "x" })).await.0, 403);
}

/// A leaked key is replaced without an overlap, another one with one; others go on.
#[tokio::test]
async fn keys_are_made_replaced_restricted_and_ended() {
    let server = Server::start().await;
    let owner = server.bootstrap().await;
    let app = server.app.app_id.as_str();
    let keys = format!("/applications/{app}/keys");
    let later = rfc3339(Clock::system().now() + std::time::Duration::from_secs(3600));
    let new = json!({ "name": "gate", "scopes": ["read", "enrol"], "expiresAt": later });
    let answer = server.admin_call(&owner, "POST", &keys, &new).send().await;
    let made = result(&answer);
    assert_eq!(answer.status, 201, "{made}");
    let (key, secret) = (&made["key"], made["appKey"].clone());
    assert_eq!((&key["scopes"], &key["expiresAt"]), (&json!(["enroll", "read"]), &json!(later)));
    assert_eq!((&key["state"], &key["endsAt"], &key["lastUsedAt"]), (&json!("active"), &NULL, &NULL));
    assert!(secret.as_str().unwrap().ends_with(key["hint"].as_str().unwrap()) && secret.as_str().unwrap().len() == 64);
    let path = format!("{keys}/{}", key["keyId"].as_str().unwrap());
    assert_eq!(answer.header("location"), Some(format!("{BASE}{path}").as_str()));
    assert_eq!(status(&server, app, &secret, "templates").await, 200);

    let (code, rotated) = server.admin(&owner, "POST", &format!("{path}/rotate"), json!({ "overlapSeconds": 0 })).await;
    assert_eq!((code, &rotated["replaced"]["state"]), (201, &json!("ended")), "{rotated}");
    assert_eq!((&rotated["key"]["name"], &rotated["key"]["scopes"]), (&json!("gate"), &key["scopes"]));
    assert_eq!(status(&server, app, &secret, "templates").await, 401);
    assert_eq!(status(&server, app, &rotated["appKey"], "templates").await, 200);
    assert_eq!(server.get("templates").await.status, 200, "other keys go on");
    let (code, ended) = server.admin(&owner, "POST", &format!("{path}/rotate"), json!({})).await;
    assert_eq!((code, &ended["reason"]), (409, &json!("keyEnded")));

    let path = format!("{keys}/{}", rotated["key"]["keyId"].as_str().unwrap());
    let (_, beside) = server.admin(&owner, "POST", &format!("{path}/rotate"), json!({})).await;
    assert_eq!(beside["replaced"]["state"], "ending");
    for secret in [&rotated["appKey"], &beside["appKey"]] {
        assert_eq!(status(&server, app, secret, "templates").await, 200, "a day of overlap");
    }
    let path = format!("{keys}/{}", beside["key"]["keyId"].as_str().unwrap());
    let patch = json!({ "name": "door", "scopes": ["identify"], "expiresAt": null });
    let (code, changed) = server.admin(&owner, "PATCH", &path, patch).await;
    assert_eq!(
        (code, &changed["key"]["name"], &changed["key"]["expiresAt"]),
        (200, &json!("door"), &NULL),
        "{changed}"
    );
    assert_eq!(status(&server, app, &beside["appKey"], "templates").await, 403, "restricted at once");
    for (state, expected) in [("suspended", 401), ("active", 403)] {
        assert_eq!(server.admin(&owner, "PATCH", &path, json!({ "state": state })).await.0, 200);
        assert_eq!(status(&server, app, &beside["appKey"], "templates").await, expected);
    }
    let (code, ended) = server.admin(&owner, "DELETE", &path, NULL).await;
    assert_eq!((code, &ended["key"]["state"]), (200, &json!("ended")));
    assert_eq!(status(&server, app, &beside["appKey"], "key").await, 401);
    assert_eq!(server.admin(&owner, "DELETE", &path, NULL).await.1["reason"], "keyEnded");

    let (_, listed) = server.admin(&owner, "GET", &keys, NULL).await;
    let states: Vec<_> = listed["keys"].as_array().unwrap().iter().map(|key| key["state"].clone()).collect();
    assert_eq!(states, ["ending", "active", "ended", "ended"], "{listed}");
    assert!(listed["keys"][0]["lastUsedAt"].is_string(), "known on this node at once");
    for secret in [&secret, &rotated["appKey"], &beside["appKey"]] {
        assert!(!listed.to_string().contains(secret.as_str().unwrap()), "a key is shown once");
    }
}

#[tokio::test]
async fn what_cannot_be_a_key_is_refused() {
    let server = Server::start().await;
    let owner = server.bootstrap().await;
    let keys = format!("/applications/{}/keys", server.app.app_id);
    for (body, field) in [
        (json!({ "name": "" }), "name"),
        (json!({ "name": "a", "scopes": [] }), "scopes"),
        (json!({ "name": "a", "scopes": ["fly"] }), "scopes"),
        (json!({ "name": "a", "expiresAt": "2020-01-01T00:00:00Z" }), "expiresAt"),
        (json!({ "name": "a", "expiresAt": "soon" }), "expiresAt"),
        (json!({ "name": "a", "state": "ended" }), "state"),
    ] {
        let (code, refused) = server.admin(&owner, "POST", &keys, body).await;
        assert_eq!((code, &refused["fields"][0]["field"]), (400, &json!(field)), "{refused}");
    }
    for _ in 1..8 {
        assert_eq!(server.admin(&owner, "POST", &keys, json!({ "name": "one more" })).await.0, 201);
    }
    let (code, refused) = server.admin(&owner, "POST", &keys, json!({ "name": "too many" })).await;
    assert_eq!((code, &refused["reason"], &refused["details"]["max"]), (409, &json!("tooManyKeys"), &json!(8)));
    let path = format!("{keys}/{}", server.app.key_id);
    let year = json!({ "overlapSeconds": 400 * 86_400 });
    assert_eq!(
        server.admin(&owner, "POST", &format!("{path}/rotate"), year).await.1["fields"][0]["field"],
        "overlapSeconds"
    );
    for unknown in ["k-00000000", "none", "~"] {
        let (code, answer) = server.admin(&owner, "DELETE", &format!("{keys}/{unknown}"), NULL).await;
        assert_eq!((code, &answer["reason"]), (404, &json!("notFound")), "{unknown}");
    }
    let other = As::Guest;
    assert_eq!(server.admin(&other, "GET", &keys, NULL).await.0, 401);
}
