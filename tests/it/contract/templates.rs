use crate::support::{Json, Server, photo};

#[tokio::test]
async fn templates_are_listed_in_pages() {
    let server = Server::start().await;
    for id in ["carl", "ann", "bob"] {
        server.enroll(id, &photo(id)).await;
    }
    server.send_photo("templates/ann/samples", &photo("ann.2")).await;
    let first = server.get("templates?limit=2").await;
    insta::assert_snapshot!(first.shown());
    let next = first.json().text("result.next").to_owned();
    insta::assert_snapshot!(server.get(&format!("templates?limit=2&after={next}")).await.shown());

    assert_eq!(server.get("templates?limit=2&after=").await.shown(), first.shown(), "after nothing: from the first");

    let exactly = server.get("templates?limit=3").await.json();
    assert_eq!(exactly.at("result.next"), &Json::Null);
    let none = server.get("templates?after=zoe").await.json();
    assert_eq!(none.at("result.templates"), &Json::List(vec![]));
    for junk in ["limit=0", "limit=1001", "limit=x"] {
        let answer = server.get(&format!("templates?{junk}")).await;
        assert_eq!(answer.error(), (400, 400, "limit must be a whole number from 1 to 1000".to_owned()));
    }
}

#[tokio::test]
async fn one_template_is_read_and_removed() {
    let server = Server::start().await;
    server.enroll("a/b?", &photo("ann")).await;
    insta::assert_snapshot!(server.get("templates/a%2Fb%3F").await.shown());
    let remove = || server.call("DELETE", "/api/v1.0/templates/a%2Fb%3F/");
    let removed = remove().send().await;
    assert_eq!(removed.status, 200);
    assert_eq!(removed.json(), Json::Object(vec![("transactionId".into(), Json::Text(removed.transaction()))]));
    let not_found = (400, 400, "Template not found".to_owned());
    assert_eq!(remove().send().await.error(), not_found);
    assert_eq!(server.get("templates/a%2Fb%3F").await.error(), not_found);
}

#[tokio::test]
async fn an_invalid_id_is_refused() {
    let server = Server::start().await;
    let answer = server.get(&format!("templates/{}", "x".repeat(129))).await;
    assert_eq!(answer.error(), (400, 400, "templateId must have at most 128 characters".to_owned()));
    let answer = server.get("templates/a%00b").await;
    assert_eq!(answer.error(), (400, 400, "templateId must not contain control characters".to_owned()));
    let answer = server.get(&format!("templates?after={}", "x".repeat(129))).await;
    assert_eq!(answer.error(), (400, 400, "after must have at most 128 characters".to_owned()));
    assert_eq!(server.get("templates/a%FFb").await.error().0, 400, "not UTF-8");
}
