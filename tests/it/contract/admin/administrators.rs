//! Administrators, tokens and access.

use semblance::api::{ApiConfig, admin_routes};
use serde_json::{Value, json};

use crate::support::admin::{As, BASE, result};
use crate::support::server::plain_http;
use crate::support::{Server, Setup};

const NULL: Value = Value::Null;

/// Every route of the table, without credentials and with each role. What the handler then answers does not matter: only
/// 401 and 403 come from the access rule.
#[tokio::test]
async fn every_route_follows_its_access_rule() {
    let server = Server::start().await;
    let owner = server.bootstrap().await;
    let (_, operator) = server.administrator(&owner, json!({ "name": "Op", "role": "operator" })).await;
    let (_, desk) =
        server.administrator(&owner, json!({ "name": "Desk", "role": "operator", "mayChange": false })).await;
    let (_, auditor) = server.administrator(&owner, json!({ "name": "Au", "role": "auditor" })).await;
    let app = server.app.app_id.as_str();
    let routes = admin_routes();
    assert!(routes.len() >= 15);
    for route in &routes {
        let path = route.path.strip_prefix(BASE).unwrap().replace("{appId}", app);
        let path: String =
            path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/");
        let method = route.method.as_str();
        // No body that a handler accepts: nothing is changed.
        let call = async |who: &As| {
            let answer = server.admin_call(who, method, &path, &NULL).send().await;
            // A file has no envelope.
            let reason = if answer.status == 200 { NULL } else { result(&answer)["reason"].clone() };
            (answer.status, reason)
        };
        let name = &route.operation;
        if route.roles.is_empty() {
            assert_ne!(call(&As::Guest).await.0, 401, "{name}");
            continue;
        }
        assert_eq!(call(&As::Guest).await, (401, json!("signInRequired")), "{name}");
        for (who, role) in [(&operator, "operator"), (&desk, "operator"), (&auditor, "auditor")] {
            let answer = call(who).await;
            if !route.roles.contains(&role) {
                assert_eq!(answer, (403, json!("roleTooLow")), "{name} as {role}");
            } else if !route.is_changing && !matches!(answer.1.as_str(), Some("roleTooLow")) {
                assert!(answer.0 != 401 && answer.0 != 403, "{name} as {role}: {answer:?}");
            }
        }
        if route.is_changing {
            assert_eq!(call(&desk).await.0, 403, "{name} with mayChange: false");
            assert_eq!(call(&auditor).await.0, 403, "{name} as auditor");
        }
        if *name != "signOut" {
            let answer = call(&owner).await;
            assert!(answer.0 != 401 && answer.0 != 403, "{name} as owner: {answer:?}");
        }
    }
    let unique: std::collections::BTreeSet<_> = routes.iter().map(|route| route.operation).collect();
    assert_eq!(unique.len(), routes.len(), "names of operations are unique");
}

#[tokio::test]
async fn an_administrator_is_created_changed_and_deleted() {
    let server = Server::start().await;
    let owner = server.bootstrap().await;
    let new = json!({ "name": " Ada ", "role": "operator", "applications": [server.app.app_id.as_str()] });
    let answer = server.admin_call(&owner, "POST", "/administrators", &new).send().await;
    let made = result(&answer);
    assert_eq!((answer.status, &made["name"], &made["state"]), (201, &json!("Ada"), &json!("active")));
    let id = made["adminId"].as_str().unwrap();
    assert_eq!(answer.header("location"), Some(format!("{BASE}/administrators/{id}").as_str()));
    let path = format!("/administrators/{id}");
    assert_eq!(server.admin(&owner, "GET", &path, NULL).await, (200, made.clone()));

    let taken = server.admin(&owner, "POST", "/administrators", json!({ "name": "ADA", "role": "owner" })).await;
    assert_eq!((taken.0, &taken.1["reason"]), (409, &json!("nameTaken")));
    let wrong = json!({ "name": "", "role": "king", "applications": ["unknown"] });
    let (status, wrong) = server.admin(&owner, "POST", "/administrators", wrong).await;
    let fields: Vec<&str> = wrong["fields"].as_array().unwrap().iter().map(|f| f["field"].as_str().unwrap()).collect();
    assert_eq!(
        (status, &wrong["reason"], fields),
        (400, &json!("invalidFields"), vec!["name", "role", "applications"])
    );
    let (status, extra) = server.admin(&owner, "PATCH", &path, json!({ "rôle": "owner" })).await;
    assert_eq!((status, &extra["fields"][0]["field"]), (400, &json!("rôle")));

    let patch = json!({ "role": "auditor", "applications": null, "state": "disabled" });
    let (status, changed) = server.admin(&owner, "PATCH", &path, patch).await;
    assert_eq!(status, 200, "{changed}");
    assert_eq!(
        (&changed["role"], &changed["applications"], &changed["state"]),
        (&json!("auditor"), &NULL, &json!("disabled"))
    );
    let event = server.administrators.events.lock().unwrap().last().unwrap().clone();
    assert_eq!(
        (event.operation.as_str(), event.changed),
        ("administrator change", vec!["role".to_owned(), "applications".to_owned(), "state".to_owned()])
    );
    assert!(event.actor.unwrap().id().is_some());
    assert_eq!(server.admin(&owner, "DELETE", &path, NULL).await.0, 200);
    let gone = server.admin(&owner, "DELETE", &path, NULL).await;
    assert_eq!((gone.0, &gone.1["reason"]), (404, &json!("notFound")));
    let form = server.admin_call(&owner, "POST", "/administrators", &NULL).body("text/plain", "{}").send().await;
    assert_eq!(form.status, 415);
}

#[tokio::test]
async fn the_last_owner_stays() {
    let server = Server::start().await;
    let owner = server.bootstrap().await;
    let me = server.admin(&owner, "GET", "/session", NULL).await.1["administrator"]["adminId"].clone();
    let path = format!("/administrators/{}", me.as_str().unwrap());
    for patch in [json!({ "role": "operator" }), json!({ "state": "disabled" })] {
        let (status, refused) = server.admin(&owner, "PATCH", &path, patch).await;
        assert_eq!((status, &refused["reason"]), (409, &json!("lastOwner")));
    }
    assert_eq!(server.admin(&owner, "DELETE", &path, NULL).await.0, 409);
    let (_, other) = server.administrator(&owner, json!({ "name": "Ada", "role": "owner" })).await;
    assert_eq!(server.admin(&owner, "PATCH", &path, json!({ "role": "operator" })).await.0, 200);
    assert_eq!(server.admin(&owner, "GET", "/administrators", NULL).await.0, 403, "the role is in force");
    assert_eq!(server.admin(&other, "DELETE", &path, NULL).await.0, 200);
    assert_eq!(server.admin(&owner, "GET", "/session", NULL).await.0, 401, "its token ended with it");
}

#[tokio::test]
async fn the_first_owner_ends_when_a_named_one_signs_in() {
    let server = Server::start().await;
    let first = server.bootstrap().await;
    let (_, ada) = server.administrator(&first, json!({ "name": "Ada", "role": "owner" })).await;
    assert_eq!(server.admin(&first, "GET", "/session", NULL).await.1["bootstrap"], true);
    let session = server.sign_in(json!({ "token": ada.token() })).await;
    assert_eq!(server.admin(&session, "GET", "/session", NULL).await.1["bootstrap"], false);
    assert_eq!(server.admin(&first, "GET", "/session", NULL).await.0, 401);
}

#[tokio::test]
async fn tokens_are_made_shown_once_and_ended() {
    let server = Server::start().await;
    let owner = server.bootstrap().await;
    let (id, ada) = server.administrator(&owner, json!({ "name": "Ada", "role": "operator" })).await;
    let (other, bo) = server.administrator(&owner, json!({ "name": "Bo", "role": "auditor" })).await;
    let path = format!("/administrators/{id}/tokens");
    let (status, past) =
        server.admin(&ada, "POST", &path, json!({ "name": "x", "expiresAt": "2020-01-01T00:00:00Z" })).await;
    assert_eq!((status, &past["fields"][0]["field"]), (400, &json!("expiresAt")));
    let (status, made) =
        server.admin(&ada, "POST", &path, json!({ "name": "desk", "expiresAt": "2999-01-01T00:00:00Z" })).await;
    assert_eq!((status, made["token"].as_str().unwrap().len()), (201, 4 + 16 + 1 + 43));
    let refused = server.admin(&bo, "POST", &path, json!({ "name": "x" })).await;
    assert_eq!((refused.0, &refused.1["reason"]), (403, &json!("roleTooLow")), "not one's own");
    let (_, listed) = server.admin(&owner, "GET", &format!("/administrators/{id}"), NULL).await;
    assert_eq!(listed["tokens"].as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains(made["token"].as_str().unwrap()));
    let session = server.sign_in(json!({ "token": made["token"] })).await;
    let token = format!("/tokens/{}", made["tokenId"].as_str().unwrap());
    assert_eq!(server.admin(&bo, "DELETE", &token, NULL).await.0, 404);
    assert_eq!(server.admin(&ada, "DELETE", &token, NULL).await.0, 200);
    assert_eq!(server.admin(&session, "GET", "/session", NULL).await.0, 401, "its session ends with it");
    for _ in 0..9 {
        assert_eq!(server.admin(&owner, "POST", &path, json!({ "name": "x" })).await.0, 201);
    }
    let (status, many) = server.admin(&owner, "POST", &path, json!({ "name": "x" })).await;
    assert_eq!((status, &many["reason"], &many["details"]["max"]), (409, &json!("tooManyTokens"), &json!(10)));
    let nowhere =
        server.admin(&owner, "POST", &format!("/administrators/{other}x/tokens"), json!({ "name": "x" })).await;
    assert_eq!(nowhere.0, 404);
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let server = Server::start().await;
    let owner = server.bootstrap().await;
    let (id, ada) = server.administrator(&owner, json!({ "name": "Ada", "role": "operator" })).await;
    let own = server.sign_in(json!({ "token": owner.token() })).await;
    let one = server.sign_in(json!({ "token": ada.token() })).await;
    let two = server.sign_in(json!({ "token": ada.token() })).await;
    let list = async |who: &As| {
        let (status, list) = server.admin(who, "GET", "/sessions", NULL).await;
        assert_eq!(status, 200);
        list["sessions"].as_array().unwrap().clone()
    };
    assert_eq!((list(&own).await.len(), list(&one).await.len()), (3, 2), "others see their own only");
    let current: Vec<bool> = list(&one).await.iter().map(|s| s["current"].as_bool().unwrap()).collect();
    assert_eq!(current, [true, false]);
    let of_owner = list(&own).await[0]["sessionId"].as_str().unwrap().to_owned();
    assert_eq!(server.admin(&one, "DELETE", &format!("/sessions/{of_owner}"), NULL).await.0, 404);
    let (status, ended) = server.admin(&one, "POST", "/sessions/end", json!({ "keepCurrent": true })).await;
    assert_eq!((status, &ended["ended"]), (200, &json!(1)));
    assert_eq!(server.admin(&two, "GET", "/session", NULL).await.0, 401);
    assert_eq!(server.admin(&one, "POST", "/sessions/end", json!({ "adminId": "x" })).await.0, 403);
    assert_eq!(server.admin(&own, "POST", "/sessions/end", json!({ "adminId": id })).await.0, 200);
    assert_eq!(server.admin(&one, "GET", "/session", NULL).await.0, 401);
    // A role that may do less ends the sessions, too.
    let again = server.sign_in(json!({ "token": ada.token() })).await;
    let path = format!("/administrators/{id}");
    assert_eq!(server.admin(&own, "PATCH", &path, json!({ "name": "Ada B" })).await.0, 200);
    assert_eq!(server.admin(&again, "GET", "/session", NULL).await.0, 200);
    assert_eq!(server.admin(&own, "PATCH", &path, json!({ "mayChange": false })).await.0, 200);
    assert_eq!(server.admin(&again, "GET", "/session", NULL).await.0, 401);
}

#[tokio::test]
async fn a_list_has_pages() {
    let server = Server::start().await;
    let owner = server.bootstrap().await;
    for number in 0..5 {
        let new = json!({ "name": format!("A{number}"), "role": "auditor" });
        assert_eq!(server.admin(&owner, "POST", "/administrators", new).await.0, 201);
    }
    let mut seen = Vec::new();
    let mut path = "/administrators?limit=2".to_owned();
    let mut cursors = Vec::new();
    loop {
        let (status, page) = server.admin(&owner, "GET", &path, NULL).await;
        assert_eq!(status, 200, "{page}");
        seen.extend(page["administrators"].as_array().unwrap().iter().map(|one| one["adminId"].to_string()));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        cursors.push(cursor.to_owned());
        path = format!("/administrators?limit=2&cursor={cursor}");
    }
    assert_eq!((seen.len(), cursors.len()), (6, 2));
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 6, "each one once");
    let last = if cursors[0].ends_with('A') { 'Q' } else { 'A' };
    let altered = format!("{}{last}", &cursors[0][..cursors[0].len() - 1]);
    for cursor in [altered.as_str(), "x", &"A".repeat(3000)] {
        let (status, refused) = server.admin(&owner, "GET", &format!("/administrators?cursor={cursor}"), NULL).await;
        assert_eq!((status, &refused["reason"]), (400, &json!("badCursor")), "{cursor}");
    }
    assert_eq!(server.admin(&owner, "GET", "/administrators?limit=1001", NULL).await.0, 400);
}

/// The public API sends CORS headers where the settings list origins; the administration never does.
#[tokio::test]
async fn no_cors_header_is_sent() {
    let config = ApiConfig { cors_origins: vec!["*".to_owned()], admin: plain_http(), ..ApiConfig::default() };
    let server = Server::with(Setup { config, ..Setup::default() }).await;
    let owner = server.bootstrap().await;
    let evil = "https://evil.example";
    let public = server.call("GET", "/api/v1.0/templates").header("Origin", evil).send().await;
    assert!(public.header("access-control-allow-origin").is_some());
    let read = server.admin_call(&owner, "GET", "/session", &NULL).header("Origin", evil).send().await;
    let preflight = server.admin_call(&As::Guest, "OPTIONS", "/session", &NULL).header("Origin", evil);
    let preflight = preflight.header("Access-Control-Request-Method", "POST").send().await;
    for answer in [read, preflight] {
        assert!(!answer.headers.iter().any(|(name, _)| name.starts_with("access-control")), "{answer:?}");
    }
}

/// What is not listed for an administrator does not exist for it.
#[tokio::test]
async fn an_administrator_knows_its_applications_only() {
    let server = Server::start().await;
    let owner = server.bootstrap().await;
    let other = server.service.applications().create("other").await.unwrap();
    let listed = json!([server.app.app_id.as_str()]);
    let (_, ada) =
        server.administrator(&owner, json!({ "name": "Ada", "role": "operator", "applications": listed })).await;
    let signed_in = server.service.administrators().authenticate_token(ada.token()).await.unwrap();
    assert!(signed_in.may_see(&server.app.app_id) && !signed_in.may_see(&other.app_id));
    let signed_in = server.service.administrators().authenticate_token(owner.token()).await.unwrap();
    assert!(signed_in.may_see(&other.app_id));
    // The same answer for an application that exists and for one that does not.
    for route in
        admin_routes().iter().filter(|route| route.path.contains("{appId}") && route.roles.contains(&"operator"))
    {
        let path = |app: &str| {
            let path = route.path.strip_prefix(BASE).unwrap().replace("{appId}", app);
            path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/")
        };
        for app in [other.app_id.as_str(), "unknown"] {
            let (status, refused) = server.admin(&ada, route.method.as_str(), &path(app), NULL).await;
            let what = (&refused["reason"], &refused["details"]["what"]);
            assert_eq!((status, what), (404, (&json!("notFound"), &json!("application"))), "{}", route.operation);
        }
    }
}
