//! People in the administration API.

use serde_json::{Value, json};

use crate::support::admin::{As, result};
use crate::support::{Form, Server, photo};

struct Fixture {
    server: Server,
    owner: As,
    /// The path of the application.
    base: String,
}

impl Fixture {
    async fn start() -> Self {
        let server = Server::start().await;
        let owner = server.bootstrap().await;
        let base = format!("/applications/{}", server.app.app_id);
        Self { server, owner, base }
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.server.admin(&self.owner, method, &format!("{}{path}", self.base), body).await
    }

    async fn enroll(&self, query: &str, form: &Form) -> (u16, Value) {
        let path = format!("{}/people{query}", self.base);
        let answer = self.server.admin_call(&self.owner, "POST", &path, &Value::Null).form(form).send().await;
        (answer.status, result(&answer))
    }
}

fn ids(list: &Value) -> Vec<&str> {
    list["people"].as_array().unwrap().iter().map(|person| person["templateId"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_person_is_enrolled_with_photos_and_each_refusal_has_a_remedy() {
    let fixture = Fixture::start().await;
    let form = Form::new()
        .photo(&photo("ann"))
        .photo(b"no photo")
        .photo(&photo("ann.2"))
        .text("templateId", "ann/1")
        .text("name", "Ada Example")
        .text("groups", "staff");
    let (status, dry) = fixture.enroll("?dryRun=true", &form).await;
    assert_eq!((status, &dry["revision"]), (200, &Value::Null), "{dry}");
    assert_eq!(fixture.call("GET", "/people", Value::Null).await.1["people"], json!([]));
    let (status, made) = fixture.enroll("", &form).await;
    assert_eq!((status, &made["revision"]), (201, &json!(1)), "{made}");
    let accepted: Vec<_> = made["accepted"].as_array().unwrap().iter().map(|photo| photo["index"].clone()).collect();
    assert_eq!(accepted, [json!(0), json!(2)]);
    assert_eq!(made["refused"].as_array().unwrap().len(), 1);
    assert_eq!((&made["refused"][0]["index"], &made["refused"][0]["code"]), (&json!(1), &json!(4)));
    assert!(!made["refused"][0]["remedy"].as_str().unwrap().is_empty());
    let (status, again) = fixture.enroll("", &form).await;
    assert_eq!((status, &again["reason"]), (409, &json!("templateExists")), "{again}");
    let (status, read) = fixture.call("GET", "/people/ann%2F1", Value::Null).await;
    assert_eq!((status, read["samples"].as_array().unwrap().len()), (200, 2));
    assert_eq!((&read["name"], &read["sampleCount"]), (&json!("Ada Example"), &json!(2)));

    let none = Form::new().photo(b"no photo").text("templateId", "none");
    let (status, refused) = fixture.enroll("", &none).await;
    assert_eq!((status, &refused["reason"]), (400, &json!("noPhotoAccepted")), "{refused}");
    assert_eq!(refused["details"]["refused"][0]["code"], json!(4));
    assert_eq!(fixture.enroll("", &Form::new().text("templateId", "x")).await.0, 400, "no photo at all");
    let many = (0..17).fold(Form::new(), |form, n| form.photo(&photo(&format!("p{n}"))));
    assert_eq!(fixture.enroll("", &many).await.0, 400);
    // The same face under another id.
    let (status, warned) =
        fixture.enroll("?guard=warn", &Form::new().photo(&photo("ann")).text("templateId", "b")).await;
    assert_eq!((status, &warned["guard"]["verdict"]), (201, &json!("warn")), "{warned}");
    assert_eq!(warned["guard"]["findings"][0]["kind"], json!("alreadyEnrolled"));
    let (status, refused) = fixture.enroll("?guard=refuse", &Form::new().photo(&photo("ann"))).await;
    assert_eq!((status, &refused["reason"]), (409, &json!("guardRefused")), "{refused}");
}

#[tokio::test]
async fn people_are_listed_searched_changed_and_erased() {
    let fixture = Fixture::start().await;
    for (id, name, group) in [("a", "Ada Example", "staff"), ("b", "Bo Sample", "staff"), ("c", "Cleo", "night")] {
        let form = Form::new().photo(&photo(id)).text("templateId", id).text("name", name).text("groups", group);
        assert_eq!(fixture.enroll("", &form).await.0, 201);
    }
    let (_, first) = fixture.call("GET", "/people?limit=2", Value::Null).await;
    assert_eq!(ids(&first), ["a", "b"]);
    let cursor = first["nextCursor"].as_str().unwrap();
    let (_, second) = fixture.call("GET", &format!("/people?limit=2&cursor={cursor}"), Value::Null).await;
    assert_eq!((ids(&second), &second["nextCursor"]), (vec!["c"], &Value::Null));
    let (status, bad) = fixture.call("POST", "/people/search", json!({"cursor": cursor})).await;
    assert_eq!((status, &bad["reason"]), (400, &json!("badCursor")));
    let (_, found) = fixture.call("POST", "/people/search", json!({"q": "sam", "total": true})).await;
    assert_eq!((ids(&found), &found["total"], &found["matched"]), (vec!["b"], &json!(3), &json!(1)));
    let (_, groups) = fixture.call("GET", "/groups", Value::Null).await;
    assert_eq!(groups["groups"], json!([{"name": "night", "people": 1}, {"name": "staff", "people": 2}]));

    let (status, changed) = fixture.call("PATCH", "/people/a", json!({"name": "Eve", "groups": null})).await;
    assert_eq!((status, &changed["name"], &changed["groups"]), (200, &json!("Eve"), &json!([])), "{changed}");
    let (status, wrong) = fixture.call("PATCH", "/people/a", json!({"nickname": "x"})).await;
    assert_eq!((status, &wrong["fields"][0]["field"]), (400, &json!("nickname")));
    let (status, wrong) = fixture.call("PATCH", "/people/a", json!({"name": "x".repeat(201)})).await;
    assert_eq!((status, &wrong["fields"][0]["field"]), (400, &json!("name")), "{wrong}");
    let path = format!("{}/people/a", fixture.base);
    let stale = fixture.server.admin_call(&fixture.owner, "PATCH", &path, &json!({"name": "x"}));
    let stale = stale.header("If-Match", "\"r1\"").send().await;
    assert_eq!((stale.status, &result(&stale)["reason"]), (412, &json!("changed")));
    let read = fixture.server.admin_call(&fixture.owner, "GET", &path, &Value::Null).send().await;
    assert_eq!(read.header("etag"), Some("\"r4\""));

    let (status, differs) = fixture.call("DELETE", "/people/a?confirmSamples=3", Value::Null).await;
    assert_eq!((status, &differs["reason"], &differs["details"]["count"]), (409, &json!("countDiffers"), &json!(1)));
    let (status, erased) = fixture.call("DELETE", "/people/a?confirmSamples=1", Value::Null).await;
    assert_eq!((status, &erased["erased"]["samples"]), (200, &json!(1)), "{erased}");
    assert_eq!(erased["erasureId"].as_str().unwrap().len(), 36);
    let (status, gone) = fixture.call("DELETE", "/people/a", Value::Null).await;
    assert_eq!((status, &gone["reason"]), (404, &json!("notFound")), "{gone}");
    assert_eq!(ids(&fixture.call("POST", "/people/search", json!({"q": "eve"})).await.1), Vec::<&str>::new());
}

#[tokio::test]
async fn many_people_are_changed_at_once() {
    let fixture = Fixture::start().await;
    for id in ["a", "b", "c"] {
        let form = Form::new().photo(&photo(id)).text("templateId", id).text("groups", "staff");
        assert_eq!(fixture.enroll("", &form).await.0, 201);
    }
    let change = json!({"templateIds": ["a", "b", "x"], "addGroups": ["night"], "removeGroups": ["staff"],
                        "expiresAt": "2100-01-01T00:00:00Z"});
    let (status, done) = fixture.call("POST", "/people/bulk", change).await;
    assert_eq!((status, &done["done"]), (200, &json!(2)), "{done}");
    assert_eq!((&done["failed"][0]["templateId"], &done["failed"][0]["reason"]), (&json!("x"), &json!("notFound")));
    let (_, groups) = fixture.call("GET", "/groups", Value::Null).await;
    assert_eq!(groups["groups"], json!([{"name": "night", "people": 2}, {"name": "staff", "people": 1}]));
    assert_eq!(fixture.call("GET", "/people/a", Value::Null).await.1["expiresAt"], json!("2100-01-01T00:00:00.000Z"));
    for wrong in [
        json!({"templateIds": []}),
        json!({"templateIds": ["a"]}),
        json!({"templateIds": ["a", "b"], "erase": 1}),
        json!({"templateIds": ["a"], "erase": 1, "addGroups": ["x"]}),
    ] {
        assert_eq!(fixture.call("POST", "/people/bulk", wrong.clone()).await.0, 400, "{wrong}");
    }
    let (_, done) = fixture.call("POST", "/people/bulk", json!({"templateIds": ["a", "b"], "erase": 2})).await;
    assert_eq!((&done["done"], &done["failed"]), (&json!(2), &json!([])));
    assert_eq!(ids(&fixture.call("GET", "/people", Value::Null).await.1), ["c"]);
}

#[tokio::test]
async fn an_auditor_reads_one_person_and_lists_none() {
    let fixture = Fixture::start().await;
    let form = Form::new().photo(&photo("a")).text("templateId", "a").text("name", "Ada");
    assert_eq!(fixture.enroll("", &form).await.0, 201);
    let new = json!({"name": "Auditor", "role": "auditor"});
    let (_, auditor) = fixture.server.administrator(&fixture.owner, new).await;
    let call = async |method: &str, path: &str, body: Value| {
        fixture.server.admin(&auditor, method, &format!("{}{path}", fixture.base), body).await
    };
    assert_eq!(call("GET", "/people/a", Value::Null).await.0, 200);
    for (method, path) in [
        ("GET", "/people"),
        ("POST", "/people/search"),
        ("GET", "/groups"),
        ("PATCH", "/people/a"),
        ("DELETE", "/people/a"),
        ("POST", "/people/bulk"),
    ] {
        let body = if method == "GET" || method == "DELETE" { Value::Null } else { json!({}) };
        let (status, refused) = call(method, path, body).await;
        assert_eq!((status, &refused["reason"]), (403, &json!("roleTooLow")), "{method} {path}");
    }
}
