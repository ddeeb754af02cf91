use std::sync::atomic::Ordering;

use crate::support::{Form, Json, Server, photo};

#[tokio::test]
async fn an_invalid_parameter_is_refused_by_name() {
    let server = Server::start().await;
    for (endpoint, info) in [
        ("identify?check_liveness=junk", "check_liveness must be true or false"),
        ("add?check_deepfake=2", "check_deepfake must be true or false"),
        ("add?replace=maybe", "replace must be true or false"),
        ("identify?threshold=NaN", "threshold must be a number from 0 to 1"),
        ("identify?threshold=1.5", "threshold must be a number from 0 to 1"),
        ("verify?threshold=x", "threshold must be a number from 0 to 1"),
        ("identify?candidates=0", "candidates must be a whole number from 1 to 5"),
        ("identify?candidates=6", "candidates must be a whole number from 1 to 5"),
        ("liveness?check_deepfake=junk", "check_deepfake must be true or false"),
        ("identify?faces=all", "faces must be only, largest or central"),
        ("add?faces=Largest", "faces must be only, largest or central"),
        ("verify?faces=2", "faces must be only, largest or central"),
        ("doc/verify?faces=first", "faces must be only, largest or central"),
        ("liveness?faces=any", "faces must be only, largest or central"),
        ("deepfake?faces=any", "faces must be only, largest or central"),
        ("templates/t/samples?faces=any", "faces must be only, largest or central"),
    ] {
        let answer = server.send_photo(endpoint, &photo("ann")).await;
        assert_eq!(answer.error(), (400, 400, info.to_owned()), "{endpoint}");
    }
    assert_eq!(server.engine.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn flags_accept_many_spellings() {
    let server = Server::start().await;
    for (query, on) in [
        ("check_liveness=TRUE", true),
        ("check_liveness=1", true),
        ("check_liveness=yes", true),
        ("check_liveness=On", true),
        ("check_liveness=false&check_liveness=true", true),
        ("check%5Fliveness=true", true),
        ("check_liveness=false", false),
        ("check_liveness=0", false),
        ("check_liveness=No", false),
        ("check_liveness=off", false),
        ("check_liveness=", false),
        ("check_liveness", false),
        ("check_liveness=true&check_liveness=false", false),
        ("CHECK_LIVENESS=true&unknown=%FF%", false),
        ("", false),
    ] {
        let answer = server.send_photo(&format!("identify?{query}"), &photo("ann")).await;
        assert_eq!(answer.status, 200, "{query}");
        assert_eq!(answer.json().find("result.liveness").is_some(), on, "{query}");
        assert_eq!(answer.json().find("result.face.liveness").is_some(), on, "{query}");
    }
}

#[tokio::test]
async fn a_check_without_a_model_is_refused() {
    let server = Server::start().await;
    server.engine.liveness.store(false, Ordering::SeqCst);
    server.engine.deepfake.store(false, Ordering::SeqCst);
    for (endpoint, info) in [
        ("identify?check_liveness=true", "no liveness model is installed"),
        ("add?check_deepfake=true", "no deepfake model is installed"),
        ("verify?check_liveness=true", "no liveness model is installed"),
        ("templates/ann/samples?check_deepfake=true", "no deepfake model is installed"),
        ("liveness", "no liveness model is installed"),
        ("deepfake", "no deepfake model is installed"),
    ] {
        let answer = server.send_photo(endpoint, &photo("ann")).await;
        assert_eq!(answer.error(), (501, 501, info.to_owned()), "{endpoint}");
    }
    assert_eq!(server.send_photo("identify?check_liveness=false", &photo("ann")).await.status, 200);
}

/// Every endpoint with a photo passes `faces` to the engine.
#[tokio::test]
async fn faces_selects_the_face() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    for endpoint in ["identify", "add", "templates/ann/samples", "liveness", "deepfake", "verify", "doc/verify"] {
        for (query, status) in
            [("", 400), ("?faces=", 400), ("?faces=only", 400), ("?faces=largest", 200), ("?faces=central", 200)]
        {
            let form = if endpoint.ends_with("verify") {
                let form = Form::new().file("first_photo", "image/jpeg", &photo("ann"));
                form.file("second_photo", "image/jpeg", &photo("couple"))
            } else {
                Form::new().photo(&photo("couple"))
            };
            let answer = server.post(&format!("{endpoint}{query}")).form(&form).send().await;
            assert_eq!(answer.status, status, "{endpoint}{query}");
            if status == 400 {
                assert_eq!(answer.error().1, 6, "{endpoint}{query}");
            }
        }
    }
}

/// Every endpoint that makes an embedding refuses a face that is not human or not trusted, and stores nothing.
#[tokio::test]
async fn untrusted_faces_are_neither_enrolled_nor_compared() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    for (name, code) in [("thing", 5), ("blurred", 9)] {
        for endpoint in ["identify?threshold=0", "add", "templates/ann/samples"] {
            let answer = server.send_photo(endpoint, &photo(name)).await;
            assert_eq!((answer.status, answer.error().1), (400, code), "{endpoint} {name}");
        }
        for (first, second) in [(name, "ann"), ("ann", name)] {
            let form = Form::new().file("first_photo", "image/jpeg", &photo(first));
            let form = form.file("second_photo", "image/jpeg", &photo(second));
            let answer = server.post("verify").form(&form).send().await;
            assert_eq!((answer.status, answer.error().1), (400, code), "{first} {second}");
        }
    }
    assert_eq!(server.send_photo("liveness", &photo("thing")).await.error().1, 5);
    assert_eq!(server.send_photo("liveness", &photo("blurred")).await.status, 200, "no template is made there");
    match server.get("templates").await.json().at("result.templates") {
        Json::List(templates) => assert_eq!(templates.len(), 1, "nothing else was enrolled"),
        other => panic!("{other}"),
    }
}
