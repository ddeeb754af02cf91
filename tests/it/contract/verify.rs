use semblance::store::AppChange;

use crate::support::{Form, Json, Server, photo};

fn two(first: (&str, &str), second: (&str, &str)) -> Form {
    let file = |form: Form, (name, who): (&str, &str)| form.file(name, "image/jpeg", &photo(who));
    file(file(Form::new(), first), second)
}

#[tokio::test]
async fn the_same_person() {
    let server = Server::start().await;
    let form = two(("first_photo", "ann"), ("second_photo", "ann"));
    insta::assert_snapshot!(server.post("verify?check_liveness=true").form(&form).send().await.shown());
}

#[tokio::test]
async fn old_and_new_field_names_on_both_paths() {
    let server = Server::start().await;
    for path in ["verify", "doc/verify"] {
        for first in ["first_photo", "first_selfie"] {
            for second in ["second_photo", "second_selfie"] {
                let answer = server.post(path).form(&two((second, "ann.2"), (first, "ann"))).send().await;
                assert_eq!(answer.status, 200, "{path} {first} {second}");
                assert!((0.75..1.0).contains(&answer.json().number("result.similarity")));
            }
        }
    }
}

#[tokio::test]
async fn a_threshold_in_the_request_overrides_the_setting() {
    let server = Server::start().await;
    for (target, other, same) in [
        ("verify", "ann.2", "true"),
        ("verify?threshold=1", "ann.2", "false"),
        ("verify", "bob", "false"),
        ("verify?threshold=0", "bob", "true"),
    ] {
        let form = two(("first_selfie", "ann"), ("second_selfie", other));
        let json = server.post(target).form(&form).send().await.json();
        assert_eq!(json.at("result.comparison.same").to_string(), same, "{target} {other}");
        assert_eq!(json.number("result.comparison.similarity"), json.number("result.similarity"));
    }
}

/// Whose threshold decides, and the false match rate at it: that of the curve of the engine here.
#[tokio::test]
async fn a_comparison_says_which_threshold_decides() {
    let server = Server::start().await;
    let decision = |target: &'static str| {
        let form = two(("first_photo", "ann"), ("second_photo", "ann.2"));
        let answer = server.post(target).form(&form).send();
        async move { answer.await.json().at("result.decision").clone() }
    };
    let by_server = decision("verify").await;
    assert_eq!((by_server.text("thresholdSource"), by_server.number("threshold")), ("server", 0.75));
    let fmr = by_server.number("expectedFmr");
    assert!((1e-5..1.5e-5).contains(&fmr), "{by_server}");
    let by_request = decision("verify?threshold=0.6").await;
    assert_eq!((by_request.text("thresholdSource"), by_request.number("threshold")), ("request", 0.6));
    assert!(by_request.number("expectedFmr") > 1e-4, "{by_request}");
    // No measured false match rate reaches so far.
    assert_eq!(decision("verify?threshold=0.95").await.at("expectedFmr"), &Json::Null);
    let change = AppChange { threshold: Some(Some(0.7)), ..AppChange::default() };
    server.service.applications().change(&server.app.app_id, &change, None).await.unwrap().unwrap();
    assert_eq!(decision("verify").await.text("thresholdSource"), "application");
    // Two samples and their mean are three comparisons.
    server.enroll("ann", &photo("ann")).await;
    server.send_photo("templates/ann/samples", &photo("ann.2")).await;
    let template = server.send_photo("templates/ann/verify?threshold=0.75", &photo("bob")).await.json();
    assert!((template.number("result.decision.expectedFmr") - 3.0 * fmr).abs() < 1e-8);
}

#[tokio::test]
async fn both_photos_are_needed_and_either_can_be_at_fault() {
    let server = Server::start().await;
    let missing = (400, 1, "photo should not be empty".to_owned());
    for form in [
        Form::new().file("first_photo", "image/jpeg", &photo("ann")),
        Form::new().file("second_photo", "image/jpeg", &photo("ann")),
        Form::new().photo(&photo("ann")),
        two(("first_photo", "ann"), ("first_selfie", "ann")),
    ] {
        assert_eq!(server.post("verify").form(&form).send().await.error(), missing);
    }
    assert_eq!(server.post("verify").body("image/jpeg", photo("ann")).send().await.error(), missing);
    for (first, second, code) in
        [("ann", "nobody", 5), ("crowd", "ann", 6), ("tiny", "nobody", 9), ("nobody", "tiny", 5)]
    {
        let form = two(("first_photo", first), ("second_photo", second));
        assert_eq!(server.post("verify").form(&form).send().await.error().1, code);
    }
}
