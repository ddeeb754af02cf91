use crate::support::{Form, Json, Server, photo};

#[tokio::test]
async fn delete_removes_a_template() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    let answer = server.post("delete").body("application/json", r#"{"templateId":"ann"}"#).send().await;
    insta::assert_snapshot!(answer.shown());
    let answer = server.send_photo("identify", &photo("ann")).await;
    assert_eq!(answer.json().at("result.templateId"), &Json::Null);
    let answer = server.post("delete").body("application/json", r#"{"templateId":"ann"}"#).send().await;
    insta::assert_snapshot!(answer.shown());
}

#[tokio::test]
async fn delete_accepts_the_id_in_every_encoding() {
    let server = Server::start().await;
    let json = r#"{ "templateId": "ann 1" }"#;
    for (content_type, body) in [
        ("application/json", json.to_owned()),
        ("application/json; charset=UTF-8", json.to_owned()),
        ("application/x-www-form-urlencoded", json.to_owned()),
        ("text/plain", json.to_owned()),
        ("", json.to_owned()),
        ("", format!("\u{feff}{json}\r\n")),
        ("application/json", r#"{"other":[1],"templateId":"  ann 1\n"}"#.to_owned()),
        ("application/x-www-form-urlencoded", "templateId=ann+1".to_owned()),
        ("application/x-www-form-urlencoded; charset=utf-8", "x=1&templateId=ann%201".to_owned()),
        ("", "templateId=ann%201".to_owned()),
    ] {
        server.enroll("ann 1", &photo("ann")).await;
        let answer = server.post("delete").body(content_type, body.clone()).send().await;
        assert_eq!(answer.status, 200, "{content_type}: {body}: {answer:?}");
        assert_eq!(answer.json(), Json::Object(vec![("transactionId".into(), Json::Text(answer.transaction()))]));
    }
    for form in [
        Form::new().text("templateId", "ann 1"),
        Form::new().text("other", "x").file("file", "image/jpeg", b"x").text("templateId", " ann 1 "),
    ] {
        server.enroll("ann 1", &photo("ann")).await;
        assert_eq!(server.post("delete").form(&form).send().await.status, 200);
    }
}

#[tokio::test]
async fn a_body_without_an_id_is_refused() {
    let server = Server::start().await;
    let empty = "templateId must not be empty";
    for (content_type, body, info) in [
        ("application/json", "", empty),
        ("application/json", "{}", empty),
        ("application/json", "[]", empty),
        ("application/json", r#""ann""#, empty),
        ("application/json", r#"{"templateId":null}"#, empty),
        ("application/json", r#"{"templateId":""}"#, empty),
        ("application/json", r#"{"templateid":"ann"}"#, empty),
        ("application/x-www-form-urlencoded", "other=1", empty),
        ("multipart/form-data; boundary=b", "--b--\r\n", empty),
        ("application/json", r#"{"templateId":5}"#, "templateId must be a string"),
        ("application/json", r#"{"templateId":"ann""#, "request body is not valid JSON"),
        ("multipart/form-data; boundary=b", "--b\r\n", "multipart form is broken"),
        ("application/json", r#"{"templateId":"a\u0000b"}"#, "templateId must not contain control characters"),
    ] {
        let answer = server.post("delete").body(content_type, body).send().await;
        assert_eq!(answer.error(), (400, 400, info.to_owned()), "{body}");
    }
    let answer = server.post("delete").send().await;
    assert_eq!(answer.error(), (400, 400, empty.to_owned()));
    let answer = server.post("delete").body("application/json", vec![b' '; 70_000]).send().await;
    assert_eq!(answer.error(), (413, 413, "request body is too large".to_owned()));
}

#[tokio::test]
async fn a_full_server_still_deletes() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    let _all: Vec<_> = (0..8).map(|_| server.occupy()).collect();
    let answer = server.post("delete").body("", r#"{"templateId":"ann"}"#).send().await;
    assert_eq!(answer.status, 200);
}
