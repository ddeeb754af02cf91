//! Details of templates on the wire.

use serde_json::{Value, json};

use crate::support::{Answer, Form, Server, photo};

fn result(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["result"].clone()
}

fn details_of(template: &Value) -> Value {
    let mut details = template.as_object().unwrap().clone();
    details.retain(|name, _| {
        ["name", "externalId", "groups", "metadata", "consentReference", "expiresAt"].contains(&name.as_str())
    });
    Value::Object(details)
}

async fn add(server: &Server, id: &str, fields: &[(&str, &str)]) -> Answer {
    let form = fields
        .iter()
        .fold(Form::new().photo(&photo(id)).text("templateId", id), |form, (name, value)| form.text(name, value));
    server.call("POST", "/api/v1.0/add").form(&form).send().await
}

async fn patch(server: &Server, id: &str, body: &Value) -> Answer {
    server
        .call("PATCH", &format!("/api/v1.0/templates/{id}"))
        .body("application/merge-patch+json", body.to_string())
        .send()
        .await
}

#[tokio::test]
async fn details_are_enrolled_read_and_changed() {
    let server = Server::start().await;
    let fields = [
        ("name", "Ada Example"),
        ("externalId", "HR-1001"),
        ("groups", "staff"),
        ("groups", "night"),
        ("metadata", r#"{ "badge": 7 }"#),
        ("consentReference", "file 12"),
        ("expiresAt", "2100-01-31T00:00:00Z"),
    ];
    assert_eq!(add(&server, "ann", &fields).await.status, 200);
    let read = result(&server.get("templates/ann").await);
    assert_eq!(
        details_of(&read),
        json!({
            "name": "Ada Example", "externalId": "HR-1001", "groups": ["night", "staff"], "metadata": {"badge": 7},
            "consentReference": "file 12", "expiresAt": "2100-01-31T00:00:00.000Z",
        })
    );
    assert_eq!(read["revision"], json!(1));
    let change =
        json!({"name": "Ada Sample", "groups": null, "metadata": {"badge": null, "floor": 2}, "expiresAt": null});
    let changed = result(&patch(&server, "ann", &change).await);
    assert_eq!(changed, result(&server.get("templates/ann").await));
    assert_eq!(changed["revision"], json!(2));
    assert_eq!(
        details_of(&changed),
        json!({"name": "Ada Sample", "externalId": "HR-1001", "metadata": {"floor": 2}, "consentReference": "file 12"})
    );
    // Without details a template looks as before.
    server.enroll("bob", &photo("bob")).await;
    assert_eq!(details_of(&result(&server.get("templates/bob").await)), json!({}));
    assert_eq!(details_of(&result(&server.get("templates").await)["templates"][0]), json!({}));
}

#[tokio::test]
async fn an_invalid_detail_is_refused_by_its_name_and_without_its_value() {
    let server = Server::start().await;
    server.enroll("bob", &photo("bob")).await;
    let long = "secret".repeat(40);
    for (name, value, info) in [
        ("name", long.as_str(), "name must have at most 200 characters"),
        ("name", "se\u{7}cret", "name must not contain control characters"),
        ("externalId", long.as_str(), "externalId must have at most 128 characters"),
        ("groups", "[1]", "groups must be a list of texts"),
        ("metadata", "secret", "metadata must be a JSON object"),
        ("metadata", "[]", "metadata must be a JSON object"),
        ("expiresAt", "secret", "expiresAt must be a time in UTC such as 2027-01-31T00:00:00Z"),
        ("expiresAt", "2020-01-01T00:00:00Z", "expiresAt must be in the future"),
    ] {
        let refused = (400, 400, info.to_owned());
        assert_eq!(add(&server, "ann", &[(name, value)]).await.error(), refused, "{name}");
    }
    for (body, info) in [
        (json!({"name": 7}), "name must be text"),
        (json!({"expiresAt": "2020-01-01T00:00:00Z"}), "expiresAt must be in the future"),
        (
            json!({"nickname": "x"}),
            "request body has an unknown member; known are name, externalId, groups, metadata, consentReference, expiresAt",
        ),
        (json!([]), "request body must be a JSON object"),
    ] {
        assert_eq!(patch(&server, "bob", &body).await.error(), (400, 400, info.to_owned()));
    }
    let broken = server.call("PATCH", "/api/v1.0/templates/bob").body("application/json", "{").send().await;
    assert_eq!(broken.error(), (400, 400, "request body is not valid JSON".to_owned()));
    let unknown = patch(&server, "unknown", &json!({"name": "x"})).await;
    assert_eq!(unknown.error(), (400, 400, "Template not found".to_owned()));
    let huge =
        server.call("PATCH", "/api/v1.0/templates/bob").body("application/json", "x".repeat(70_000)).send().await;
    assert_eq!(huge.error().0, 413);
    assert_eq!(result(&server.get("templates").await)["templates"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_external_id_is_taken_once() {
    let server = Server::start().await;
    assert_eq!(add(&server, "ann", &[("externalId", "E1")]).await.status, 200);
    let taken = (400, 400, "externalId is taken by another template".to_owned());
    assert_eq!(add(&server, "bob", &[("externalId", "E1")]).await.error(), taken);
    assert_eq!(add(&server, "bob", &[("externalId", "E2")]).await.status, 200);
    assert_eq!(patch(&server, "bob", &json!({"externalId": "E1"})).await.error(), taken);
}

#[tokio::test]
async fn if_match_makes_a_change_conditional() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    let change = async |tag: &str, name: &str| {
        let body = json!({ "name": name }).to_string();
        server
            .call("PATCH", "/api/v1.0/templates/ann")
            .header("if-match", tag)
            .body("application/json", body)
            .send()
            .await
    };
    assert_eq!(result(&change("\"r1\"", "One").await)["revision"], json!(2));
    let changed = (412, 412, "the template was changed meanwhile, read it again".to_owned());
    assert_eq!(change("\"r1\"", "Two").await.error(), changed);
    assert_eq!(change("*", "Two").await.status, 200);
    assert_eq!(change("r3", "Three").await.error().0, 400);
}

#[tokio::test]
async fn an_application_may_require_a_consent() {
    let server = Server::start().await;
    let app = server.app.app_id.clone();
    assert!(server.service.applications().set_require_consent(&app, true).await.unwrap());
    let missing = (400, 400, "consentReference is required by this application".to_owned());
    assert_eq!(add(&server, "ann", &[("name", "Ada")]).await.error(), missing);
    assert_eq!(add(&server, "ann", &[("consentReference", "file 1")]).await.status, 200);
    assert_eq!(patch(&server, "ann", &json!({"consentReference": null})).await.error(), missing);
    assert_eq!(patch(&server, "ann", &json!({"name": "Ada"})).await.status, 200);
}

#[tokio::test]
async fn a_repeated_request_compares_details() {
    let server = Server::start().await;
    let send = async |name: &str| {
        let form = Form::new().photo(&photo("ann")).text("templateId", "ann").text("name", name);
        server.call("POST", "/api/v1.0/add").header("idempotency-key", "k").form(&form).send().await
    };
    let first = send("Ada").await;
    assert_eq!((first.status, send("Ada").await.body), (200, first.body));
    assert_eq!(send("Eve").await.error().0, 422);
}

async fn find(server: &Server, body: Value) -> Answer {
    server.post("templates/search").body("application/json", body.to_string()).send().await
}

fn ids(result: &Value) -> Vec<String> {
    let templates = result["templates"].as_array().unwrap();
    templates.iter().map(|template| template["templateId"].as_str().unwrap().to_owned()).collect()
}

async fn staff(server: &Server) {
    for (id, fields) in [
        ("ann", &[("name", "Ada Example"), ("externalId", "HR-1"), ("groups", "staff")][..]),
        ("bob", &[("name", "Bob Ådams"), ("groups", "staff"), ("groups", "night"), ("metadata", r#"{"badge":7}"#)]),
        ("carl", &[("groups", "night")]),
        ("search", &[]),
    ] {
        assert_eq!(add(server, id, fields).await.status, 200);
    }
}

#[tokio::test]
async fn templates_are_searched_in_a_url_and_in_a_body() {
    let server = Server::start().await;
    staff(&server).await;
    let found = result(&server.get("templates?q=ada&total=true").await);
    assert_eq!(ids(&found), ["ann", "bob"]);
    assert_eq!(details_of(&found["templates"][0])["externalId"], json!("HR-1"));
    assert_eq!(found["templates"][0]["samples"].as_array().unwrap().len(), 1);
    assert_eq!((&found["total"], &found["matched"], &found["matchedExact"]), (&json!(4), &json!(2), &json!(true)));
    assert_eq!(found["searched"], json!(["templateId", "externalId", "name"]));
    assert_eq!((&found["next"], &found["nextCursor"]), (&Value::Null, &Value::Null));
    assert_eq!(result(&find(&server, json!({"q": "ada", "total": true})).await), found);
    for (body, expected) in [
        (json!({}), &["ann", "bob", "carl", "search"][..]),
        (json!({"groups": ["night"]}), &["bob", "carl"]),
        (json!({"groups": ["night", "staff"]}), &["bob"]),
        (json!({"metadata": {"badge": 7}}), &["bob"]),
        (json!({"sort": "name", "order": "desc"}), &["bob", "ann", "search", "carl"]),
        (json!({"createdTo": "2020-01-01T00:00:00Z"}), &[]),
    ] {
        assert_eq!(ids(&result(&find(&server, body.clone()).await)), expected, "{body}");
    }
    assert_eq!(ids(&result(&server.get("templates?group=night&sort=name").await)), ["bob", "carl"]);
    // The path of the search is also that of a template.
    assert_eq!(result(&server.get("templates/search").await)["templateId"], json!("search"));
    assert_eq!(patch(&server, "search", &json!({"name": "Sea"})).await.status, 200);
    assert_eq!(server.call("DELETE", "/api/v1.0/templates/search").send().await.status, 200);
    assert_eq!(ids(&result(&find(&server, json!({})).await)), ["ann", "bob", "carl"]);
}

#[tokio::test]
async fn a_cursor_leads_to_the_next_page_of_the_same_search_only() {
    let server = Server::start().await;
    staff(&server).await;
    let first = result(&find(&server, json!({"sort": "name", "limit": 1})).await);
    assert_eq!(ids(&first), ["ann"]);
    let cursor = first["nextCursor"].as_str().unwrap();
    assert!(!cursor.contains("ada"));
    let mut listed = ids(&first);
    let mut next = first["nextCursor"].clone();
    while let Some(cursor) = next.as_str() {
        let page = result(&find(&server, json!({"sort": "name", "limit": 1, "cursor": cursor})).await);
        listed.extend(ids(&page));
        next = page["nextCursor"].clone();
    }
    assert_eq!(listed, ["ann", "bob", "carl", "search"]);
    let bad = (400, 400, "cursor is not valid here, begin again".to_owned());
    let altered = format!("{}{}", &cursor[..cursor.len() - 1], if cursor.ends_with('A') { 'B' } else { 'A' });
    for body in [
        json!({"sort": "templateId", "cursor": cursor}),
        json!({"sort": "name", "order": "desc", "cursor": cursor}),
        json!({"sort": "name", "q": "a", "cursor": cursor}),
        json!({"sort": "name", "cursor": altered}),
        json!({"sort": "name", "cursor": "!"}),
    ] {
        assert_eq!(find(&server, body.clone()).await.error(), bad, "{body}");
    }
    // Of another application.
    let other = server.service.applications().create("other").await.unwrap();
    server.service.replicator().poll().await.unwrap();
    let body = json!({"sort": "name", "limit": 1, "cursor": cursor}).to_string();
    let call =
        server.post("templates/search").header("APP-ID", other.app_id.as_str()).header("APP-KEY", &other.app_key);
    assert_eq!(call.body("application/json", body).send().await.error(), bad);
}

#[tokio::test]
async fn a_search_that_cannot_be_is_refused() {
    let server = Server::start().await;
    staff(&server).await;
    for body in [
        json!({"q": "x".repeat(201)}),
        json!({"sort": "age"}),
        json!({"order": "up"}),
        json!({"limit": 0}),
        json!({"limit": 1001}),
        json!({"createdFrom": "yesterday"}),
        json!({"nickname": "secret"}),
        json!({"groups": "night"}),
        json!([]),
    ] {
        let (status, _, info) = find(&server, body.clone()).await.error();
        assert_eq!(status, 400, "{body}");
        assert!(!info.contains("secret"), "{info}");
    }
    let app = server.app.app_id.clone();
    assert!(server.service.applications().set_name_search(&app, false).await.unwrap());
    let found = result(&find(&server, json!({"q": "a"})).await);
    assert_eq!((ids(&found), &found["searched"]), (vec!["ann".to_owned()], &json!(["templateId", "wholeExternalId"])));
    assert_eq!(find(&server, json!({"sort": "name"})).await.error().0, 409);
    assert_eq!(server.get("templates?group=night").await.error().0, 409);
}
