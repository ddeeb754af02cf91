use semblance::api::{ApiConfig, Shape};

use crate::support::{Server, Setup, photo};

#[tokio::test]
async fn liveness() {
    let server = Server::start().await;
    insta::assert_snapshot!(server.send_photo("liveness", &photo("ann")).await.shown());
}

#[tokio::test]
async fn liveness_in_the_older_layout() {
    let config = ApiConfig { shape: Shape::Seed, ..ApiConfig::default() };
    let server = Server::with(Setup { config, ..Setup::default() }).await;
    insta::assert_snapshot!(server.send_photo("liveness?check_deepfake=true", &photo("ann")).await.shown());
}

#[tokio::test]
async fn deepfake() {
    let server = Server::start().await;
    insta::assert_snapshot!(server.send_photo("deepfake", &photo("spoof")).await.shown());
}

#[tokio::test]
async fn an_endpoint_ignores_a_flag_for_its_own_check() {
    let server = Server::start().await;
    for endpoint in ["liveness?check_liveness=false", "liveness?check_liveness=junk"] {
        let json = server.send_photo(endpoint, &photo("ann")).await.json();
        assert!(json.find("result.liveness").is_some() && json.find("result.deepfake").is_none());
    }
    for endpoint in ["deepfake?check_deepfake=false", "deepfake?check_deepfake=junk"] {
        let json = server.send_photo(endpoint, &photo("ann")).await.json();
        assert!(json.find("result.deepfake").is_some() && json.find("result.liveness").is_none());
    }
}

#[tokio::test]
async fn the_other_check_is_made_on_request() {
    let server = Server::start().await;
    for endpoint in ["liveness?check_deepfake=true", "deepfake?check_liveness=true"] {
        let json = server.send_photo(endpoint, &photo("ann")).await.json();
        assert!(json.find("result.deepfake").is_some() && json.find("result.liveness").is_some(), "{endpoint}");
    }
}
