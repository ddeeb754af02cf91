use std::sync::atomic::Ordering;

use semblance::api::ApiConfig;

use crate::support::{Form, Server, Setup, photo};

const DISPOSITION: &str = "Content-Disposition: form-data; name=\"photo\"; filename=\"photo.jpg\"";
const AS_TEXT: &str = "Content-Disposition: form-data; name=\"photo\"";

/// The code of an answer: 0 for success.
async fn code(server: &Server, form: &Form) -> i64 {
    let answer = server.post("identify").form(form).send().await;
    if answer.status == 200 { 0 } else { answer.error().1 }
}

#[tokio::test]
async fn declared_types() {
    let server = Server::start().await;
    for (media_type, expected) in [
        ("image/jpeg", 0),
        ("image/jpg", 0),
        ("image/pjpeg", 0),
        ("image/png", 0),
        ("IMAGE/JPEG", 0),
        ("image/jpeg; name=\"x.jpg\"", 0),
        ("application/octet-stream", 0),
        ("", 0),
        ("image/gif", 2),
        ("image/heic", 2),
        ("text/plain", 2),
        ("application/pdf", 2),
        ("application/json", 2),
        ("image/*", 0),
        ("*/*", 0),
        ("multipart/form-data", 0),
        ("binary/octet-stream", 0),
        ("null", 0),
        ("undefined", 0),
        ("image", 0),
        ("image/x-png", 0),
    ] {
        let form = Form::new().file("photo", media_type, &photo("ann"));
        assert_eq!(code(&server, &form).await, expected, "{media_type}");
    }
    assert_eq!(code(&server, &Form::new().part(&[DISPOSITION], &photo("ann"))).await, 0, "no type at all");
    let lower = "content-disposition: form-data; name=photo; filename=a.jpg";
    assert_eq!(code(&server, &Form::new().part(&[lower], &photo("ann"))).await, 0, "lower case, no quotes");
}

#[tokio::test]
async fn faults_in_their_order() {
    let server = Server::start().await;
    for (media_type, data, expected) in [
        ("text/plain", b"".to_vec(), 2),
        ("image/jpeg", b"".to_vec(), 3),
        ("application/octet-stream", b"".to_vec(), 3),
        ("image/*", b"".to_vec(), 3),
        ("image/*", b"not an image".to_vec(), 4),
        ("image/jpeg", b"not an image".to_vec(), 4),
        ("image/jpeg", photo("broken"), 4),
        ("image/jpeg", photo("nobody"), 5),
        ("image/jpeg", photo("crowd"), 6),
        ("image/jpeg", photo("tiny"), 9),
    ] {
        assert_eq!(code(&server, &Form::new().file("photo", media_type, &data)).await, expected);
    }
}

#[tokio::test]
async fn a_part_that_is_not_a_photo_counts_as_missing() {
    let server = Server::start().await;
    let missing = (400, 1, "photo should not be empty".to_owned());
    for form in [
        Form::new(),
        Form::new().text("photo", "photo.jpg"),
        Form::new().text("photo", ""),
        Form::new().part(&[AS_TEXT, "Content-Type: text/plain"], b"@photo.jpg"),
        Form::new().text("templateId", "ann"),
        Form::new().file("picture", "image/jpeg", &photo("ann")),
        Form::new().file("Photo", "image/jpeg", &photo("ann")),
        Form::new().part(&["Content-Type: image/jpeg"], &photo("ann")),
    ] {
        assert_eq!(server.post("identify").form(&form).send().await.error(), missing);
    }
    for (content_type, body) in [
        ("", ""),
        ("application/json", r#"{"photo":"..."}"#),
        ("application/x-www-form-urlencoded", "photo=x"),
        ("multipart/form-data", "no boundary"),
        ("multipart/mixed; boundary=b", "--b--\r\n"),
        ("image/jpeg", ""),
        ("image/jpeg", "no image"),
        ("multipart/form-data; boundary=b", ""),
        ("multipart/form-data; boundary=b", "no form at all"),
        ("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; na"),
        ("not a type", "x"),
    ] {
        let answer = server.post("add").body(content_type, body).send().await;
        assert_eq!(answer.error(), missing, "{content_type}: {body}");
    }
}

#[tokio::test]
async fn an_image_is_accepted_under_any_declared_type() {
    let server = Server::start().await;
    for form in [
        Form::new().part(&[AS_TEXT], &photo("ann")),
        Form::new().part(&[AS_TEXT, "Content-Type: text/plain"], &photo("ann")),
        Form::new().part(&[AS_TEXT, "Content-Type: image/jpeg"], &photo("ann")),
        Form::new().text("photo", "text").photo(&photo("ann")),
    ] {
        assert_eq!(code(&server, &form).await, 0);
    }
    for content_type in ["image/jpeg", "image/png", "application/octet-stream", "application/x-www-form-urlencoded", ""]
    {
        let answer = server.post("identify").body(content_type, photo("ann")).send().await;
        assert_eq!(answer.status, 200, "{content_type}");
    }
    // It reaches the engine, whose test double decodes no PNG.
    let answer = server.post("identify").body("image/png", *b"\x89PNG\r\n\x1A\nrest").send().await;
    assert_eq!(answer.error().1, 4);
}

#[tokio::test]
async fn the_first_photo_counts_and_extra_fields_do_not() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    let form = Form::new().text("extra", &"x".repeat(100_000)).photo(&photo("ann")).photo(&photo("nobody")).file(
        "attachment",
        "application/pdf",
        b"x",
    );
    let answer = server.post("identify").form(&form).send().await;
    assert_eq!(answer.json().text("result.templateId"), "ann");
    let form = Form::new().file("photo", "text/plain", b"x").photo(&photo("ann"));
    assert_eq!(code(&server, &form).await, 2, "the first counts, fault and all");
}

#[tokio::test]
async fn a_broken_form_with_a_photo_is_a_bad_request() {
    let server = Server::start().await;
    let broken = (400, 400, "multipart form is broken".to_owned());
    let form = Form::new().photo(&photo("ann"));
    let answer = server.post("identify").body(&form.content_type(), form.unfinished()).send().await;
    assert_eq!(answer.error(), broken);
    let cut = form.finished()[..form.unfinished().len() + 10].to_vec();
    assert_eq!(server.post("identify").body(&form.content_type(), cut).send().await.error(), broken);
    assert_eq!(server.engine.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn preamble_and_epilogue_are_ignored() {
    let server = Server::start().await;
    let form = Form::new().photo(&photo("ann"));
    for body in [
        [b"preamble\r\n".to_vec(), form.finished()].concat(),
        [form.finished(), b"epilogue".to_vec()].concat(),
        form.finished()[..form.finished().len() - 2].to_vec(),
    ] {
        assert_eq!(server.post("identify").body(&form.content_type(), body).send().await.status, 200);
    }
    let quoted = "Multipart/Form-Data; charset=utf-8; boundary=\"boundary-7d8f\"";
    assert_eq!(server.post("identify").body(quoted, form.finished()).send().await.status, 200);
}

#[tokio::test]
async fn an_unquoted_boundary_is_read_as_it_stands() {
    let server = Server::start().await;
    for (boundary, content_type) in [
        ("===1718000000000===", "multipart/form-data; boundary====1718000000000==="),
        ("b/c=", "multipart/form-data; boundary=b/c="),
        ("a:b?c,d e", "multipart/form-data; boundary=a:b?c,d e"),
        ("abc", "multipart/form-data;  boundary=abc"),
        ("abc", "multipart/form-data;\tboundary=abc"),
        ("abc", "multipart/form-data;; boundary=abc;"),
    ] {
        let form = Form::with_boundary(boundary).photo(&photo("ann")).text("templateId", "ann").finished();
        let call = |endpoint| server.post(endpoint).body(content_type, form.clone());
        assert_eq!(call("add?replace=true").send().await.status, 200, "{content_type}");
        assert_eq!(call("identify").send().await.json().text("result.templateId"), "ann", "{content_type}");
        assert_eq!(call("delete").send().await.status, 200, "{content_type}");
    }
}

#[tokio::test]
async fn forms_are_bounded() {
    let config = ApiConfig { max_parts: 3, max_body_bytes: 300_000, ..ApiConfig::default() };
    let server = Server::with(Setup { config, ..Setup::default() }).await;
    let form = Form::new().text("a", "").text("b", "").photo(&photo("ann"));
    assert_eq!(code(&server, &form).await, 0);
    let answer = server.post("identify").form(&form.text("c", "")).send().await;
    assert_eq!(answer.error(), (400, 400, "multipart form has too many parts".to_owned()));

    let endless = [b"--b\r\nX: ".to_vec(), vec![b'x'; 200_000]].concat();
    let answer = server.post("identify").body("multipart/form-data; boundary=b", endless).send().await;
    assert_eq!(answer.error().1, 1);

    let large = [photo("ann"), vec![0; 290_000]].concat();
    assert_eq!(code(&server, &Form::new().photo(&large)).await, 0);
    let two = Form::new().file("first_photo", "image/jpeg", &large).file("second_photo", "image/jpeg", &large);
    assert_eq!(server.post("verify").form(&two).send().await.status, 200, "twice the room for two photos");
    assert_eq!(server.post("identify").form(&two).send().await.error(), too_large());
    assert_eq!(server.post("identify").body("", [large.clone(), large].concat()).send().await.error(), too_large());
}

fn too_large() -> (u16, i64, String) {
    (413, 413, "request body is too large".to_owned())
}
