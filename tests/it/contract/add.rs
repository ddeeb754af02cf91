use semblance::api::{ApiConfig, Shape};
use semblance::domain::Guard;
use semblance::service::Policy;
use uuid::Uuid;

use crate::support::{Form, Server, Setup, photo};

#[tokio::test]
async fn an_enrolment_in_both_layouts() {
    let server = Server::start().await;
    insta::assert_snapshot!(server.enroll("ann", &photo("ann")).await.shown());
}

#[tokio::test]
async fn an_enrolment_in_the_older_layout() {
    let config = ApiConfig { shape: Shape::Seed, ..ApiConfig::default() };
    let server = Server::with(Setup { config, ..Setup::default() }).await;
    let form = Form::new().photo(&photo("ann")).text("templateId", "ann");
    let answer = server.post("add?check_liveness=true&check_deepfake=true").form(&form).send().await;
    insta::assert_snapshot!(answer.shown());
}

#[tokio::test]
async fn an_enrolment_in_the_newer_layout() {
    let config = ApiConfig { shape: Shape::Modern, ..ApiConfig::default() };
    let server = Server::with(Setup { config, ..Setup::default() }).await;
    insta::assert_snapshot!(server.enroll("ann", &photo("ann")).await.shown());
}

#[tokio::test]
async fn add_without_an_id_creates_one() {
    let server = Server::start().await;
    for form in [Form::new().photo(&photo("ann")), Form::new().photo(&photo("bob")).text("templateId", "  ")] {
        let json = server.post("add").form(&form).send().await.json();
        let id = json.text("result.templateId");
        assert_eq!(Uuid::parse_str(id).unwrap().get_version_num(), 4);
        assert_eq!(json.text("result.enroll.templateId"), id);
    }
    assert_eq!(server.get("templates").await.json().at("result.next"), &crate::support::Json::Null);
}

#[tokio::test]
async fn add_accepts_id_in_any_order_and_encoding() {
    let server = Server::start().await;
    let disposition = "Content-Disposition: form-data; name=\"templateId\"";
    let dressed = [
        disposition,
        "Content-Transfer-Encoding: binary",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Length: 3",
    ];
    for (id, form) in [
        ("a-1", Form::new().text("templateId", "a-1").photo(&photo("a1"))),
        ("a-2", Form::new().photo(&photo("a2")).text("templateId", " a-2\n")),
        ("a-3", Form::new().part(&dressed, b"a-3").photo(&photo("a3"))),
        ("a-4", Form::new().photo(&photo("a4")).text("templateId", "a-4").text("templateId", "ignored")),
        ("Ünï cödé ☃", Form::new().photo(&photo("a5")).text("templateId", "Ünï cödé ☃")),
    ] {
        let answer = server.post("add").form(&form).send().await;
        assert_eq!((answer.status, answer.json().text("result.templateId")), (200, id));
    }
}

#[tokio::test]
async fn add_refuses_an_invalid_id() {
    let server = Server::start().await;
    for (id, info) in [
        ("x".repeat(129).into_bytes(), "templateId must have at most 128 characters"),
        (b"a\x07b".to_vec(), "templateId must not contain control characters"),
        (b"a\xFF".to_vec(), "templateId must be UTF-8 text"),
        (vec![b'x'; 5000], "a text field of the form is too long"),
    ] {
        let form = Form::new().photo(&photo("ann")).part(&["Content-Disposition: form-data; name=\"templateId\""], &id);
        let answer = server.post("add").form(&form).send().await;
        assert_eq!(answer.error(), (400, 400, info.to_owned()));
    }
    let longest = "é".repeat(128);
    assert_eq!(server.enroll(&longest, &photo("ann")).await.json().text("result.templateId"), longest);
}

#[tokio::test]
async fn add_refuses_an_existing_id_without_replace() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    let form = Form::new().photo(&photo("bob")).text("templateId", "ann");
    let answer = server.post("add").form(&form).send().await;
    assert_eq!(answer.error(), (400, 400, "Template already exists".to_owned()));
    assert_eq!(server.send_photo("identify", &photo("ann")).await.json().text("result.templateId"), "ann");

    assert_eq!(server.post("add?replace=true").form(&form).send().await.status, 200);
    assert_eq!(server.send_photo("identify", &photo("bob")).await.json().text("result.templateId"), "ann");
    let answer = server.send_photo("identify", &photo("ann")).await;
    assert_eq!(answer.json().at("result.templateId"), &crate::support::Json::Null);
}

#[tokio::test]
async fn a_failed_check_is_reported_or_refused_by_policy() {
    let server = Server::start().await;
    let answer = server.send_photo("add?check_liveness=true", &photo("spoof")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json().at("result.liveness").to_string(), r#"{ "score": 0.25, "fine": false }"#);

    let setup = Setup::default();
    let policy = Policy { refuse_failed_checks: true, ..setup.policy };
    let server = Server::with(Setup { policy, ..setup }).await;
    let answer = server.send_photo("add?check_liveness=true&check_deepfake=1", &photo("spoof")).await;
    assert_eq!(answer.error(), (400, 400, "photo did not pass the liveness check".to_owned()));
    let answer = server.send_photo("add?check_deepfake=true", &photo("spoof")).await;
    assert_eq!(answer.error(), (400, 400, "photo did not pass the deepfake check".to_owned()));
    assert_eq!(server.send_photo("add", &photo("spoof")).await.status, 200, "no check was requested");
}

#[tokio::test]
async fn another_sample_is_added_to_a_template() {
    let server = Server::start().await;
    server.enroll("ann / 1", &photo("ann")).await;
    let answer = server.send_photo("templates/ann%20%2F%201/samples", &photo("eve")).await;
    insta::assert_snapshot!(answer.shown());
    for name in ["ann", "eve"] {
        let answer = server.send_photo("identify", &photo(name)).await;
        assert_eq!(answer.json().text("result.templateId"), "ann / 1");
    }
    let answer = server.send_photo("templates/unknown/samples", &photo("eve")).await;
    assert_eq!(answer.error(), (400, 400, "Template not found".to_owned()));
}

#[tokio::test]
async fn a_likely_mix_up_gives_a_warning_or_a_refusal() {
    for shape in [Shape::Seed, Shape::Modern, Shape::Both] {
        let config = ApiConfig { shape, ..ApiConfig::default() };
        let server = Server::with(Setup { config, ..Setup::default() }).await;
        server.enroll("ann", &photo("ann")).await;
        let set =
            async |guard| assert!(server.service.applications().set_guard(&server.app.app_id, guard).await.unwrap());
        set(Guard::Warn).await;
        let warned = server.enroll("anna", &photo("ann")).await.json();
        assert_eq!(warned.text("result.warnings.0.code"), "enrolled_elsewhere");
        assert_eq!(warned.text("result.warnings.0.templateId"), "ann");
        server.enroll("bob", &photo("bob")).await;
        let warned = server.send_photo("templates/bob/samples", &photo("ann")).await;
        assert_eq!((warned.status, warned.json().text("result.warnings.0.code")), (200, "unlike_samples"));
        set(Guard::Refuse).await;
        let refused = server.send_photo("add", &photo("ann")).await;
        let (status, code, info) = refused.error();
        assert!((status, code) == (400, 400) && info.starts_with("the face is enrolled already under templateId "));
        set(Guard::Off).await;
        assert_eq!(server.send_photo("add", &photo("ann")).await.status, 200);
    }
}

#[tokio::test]
async fn a_photo_below_the_minimum_quality_is_refused() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    let set = async |least| {
        assert!(server.service.applications().set_min_quality(&server.app.app_id, least).await.unwrap());
    };
    set(Some(0.999)).await;
    for endpoint in ["add", "templates/ann/samples"] {
        let refused = server.send_photo(endpoint, &photo("bob")).await;
        let (status, code, info) = refused.error();
        assert!((status, code) == (400, 400) && info.starts_with("photo quality (crfiqa) 0.54 is below"), "{info}");
        // An engine with few models.
        assert_eq!(server.send_photo(endpoint, &photo("plain")).await.status, 501);
    }
    assert_eq!(server.send_photo("identify", &photo("bob")).await.status, 200);
    set(None).await;
    assert_eq!(server.send_photo("add", &photo("bob")).await.status, 200);
}
