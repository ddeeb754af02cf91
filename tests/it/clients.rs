//! The clients that exist: what each sends, byte for byte, and what each can decode.
//!
//! The `Deserialize` types restate what a client's own decoder needs: a field without `Option` is
//! one whose absence or null makes that client fail. Every body also passes the strict parser of
//! `support::json`, since a key that comes twice is fatal to the Kotlin client.

mod early;

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::support::wire::Wire;
use crate::support::{Answer, Json, Server, photo};

const BOUNDARY: &str = "5F0B6B2C-3A0E-4B5E-9A9B-7E0C1D2E3F40";

async fn exchange(server: &Server, bytes: &[u8]) -> Answer {
    let mut wire = Wire::connect(server.addr).await;
    wire.write(bytes).await;
    wire.answer().await
}

fn decoded<T: DeserializeOwned>(answer: &Answer) -> T {
    Json::parse(&answer.body);
    serde_json::from_slice(&answer.body)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&answer.body)))
}

/// The Swift client: Foundation's `URLSession`, a form built by hand.
mod swift {
    use super::*;

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub struct Identify {
        pub transaction_id: String,
        pub result: IdentifyResult,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub struct IdentifyResult {
        pub template_id: Option<String>,
        pub similarity: Option<f64>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub struct Enroll {
        pub transaction_id: String,
        pub result: EnrollResult,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub struct EnrollResult {
        pub template_id: String,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub struct Failure {
        pub transaction_id: String,
        pub result: FailureResult,
    }

    #[derive(Deserialize)]
    pub struct FailureResult {
        pub status: String,
        pub code: i64,
        pub info: String,
    }

    pub fn upload(server: &Server, endpoint: &str, photo: &[u8]) -> Vec<u8> {
        let boundary = format!("----OOTO-{BOUNDARY}");
        let mut body = format!(
            "--{boundary}\r\n\
             Content-Disposition: form-data; name=\"photo\"; filename=\"image.jpg\"\r\n\
             Content-Type: image/jpeg\r\n\r\n"
        )
        .into_bytes();
        body.extend(photo);
        body.extend(format!("\r\n--{boundary}--\r\n").bytes());
        let mut request = format!(
            "POST /api/v1.0/{endpoint}?check_liveness=false&check_deepfake=false HTTP/1.1\r\n\
             Host: {}\r\n\
             Content-Type: multipart/form-data; boundary={boundary}\r\n\
             APP-ID: {}\r\n\
             APP-KEY: {}\r\n\
             Accept: */*\r\n\
             User-Agent: ootoai-demo/1 CFNetwork/1568.100.1 Darwin/24.0.0\r\n\
             Accept-Language: en-US,en;q=0.9\r\n\
             Accept-Encoding: gzip, deflate\r\n\
             Connection: keep-alive\r\n\
             Content-Length: {}\r\n\r\n",
            server.addr,
            server.app.app_id,
            server.app.app_key,
            body.len()
        )
        .into_bytes();
        request.extend(body);
        request
    }

    pub fn delete(server: &Server, id: &str) -> Vec<u8> {
        let body = format!("{{\"templateId\":\"{id}\"}}");
        format!(
            "POST /api/v1.0/delete HTTP/1.1\r\n\
             Host: {}\r\n\
             Content-Type: application/json\r\n\
             Accept: application/json\r\n\
             APP-ID: {}\r\n\
             APP-KEY: {}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            server.addr,
            server.app.app_id,
            server.app.app_key,
            body.len()
        )
        .into_bytes()
    }
}

/// The Kotlin client: Retrofit, Moshi and OkHttp 4.12. Its first version reads the older layout.
mod kotlin {
    use super::*;

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub struct Reply {
        pub transaction_id: String,
        pub result: ReplyResult,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub struct ReplyResult {
        // The present version.
        pub search: Option<Found>,
        pub enroll: Option<Found>,
        // The first version.
        pub template_id: Option<String>,
        pub similarity: Option<f64>,
        pub face: Option<Face>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub struct Found {
        pub template_id: Option<String>,
        pub similarity: Option<f64>,
    }

    #[derive(Deserialize)]
    pub struct Face {
        pub liveness: Option<Verdict>,
        pub deepfake: Option<Verdict>,
        pub quality: Option<Quality>,
    }

    #[derive(Deserialize)]
    pub struct Verdict {
        pub score: Option<f64>,
        pub fine: Option<bool>,
    }

    #[derive(Deserialize)]
    pub struct Quality {
        pub gender: Option<String>,
        pub age: Option<i32>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub struct Done {
        pub transaction_id: String,
    }

    pub fn upload(server: &Server, endpoint: &str, photo: &[u8], template: Option<&str>) -> Vec<u8> {
        let boundary = BOUNDARY.to_lowercase();
        let mut body = format!(
            "--{boundary}\r\n\
             Content-Disposition: form-data; name=\"photo\"; filename=\"photo.jpg\"\r\n\
             Content-Type: image/jpeg\r\n\
             Content-Length: {}\r\n\r\n",
            photo.len()
        )
        .into_bytes();
        body.extend(photo);
        if let Some(template) = template {
            body.extend(
                format!(
                    "\r\n--{boundary}\r\n\
                     Content-Disposition: form-data; name=\"templateId\"\r\n\
                     Content-Transfer-Encoding: binary\r\n\
                     Content-Type: text/plain; charset=utf-8\r\n\
                     Content-Length: {}\r\n\r\n{template}",
                    template.len()
                )
                .bytes(),
            );
        }
        body.extend(format!("\r\n--{boundary}--\r\n").bytes());
        let mut request = head(server, &format!("{endpoint}?check_liveness=true&check_deepfake=true"));
        request.extend(
            format!(
                "Content-Type: multipart/form-data; boundary={boundary}\r\nContent-Length: {}\r\n{TAIL}",
                body.len()
            )
            .bytes(),
        );
        request.extend(body);
        request
    }

    pub fn delete(server: &Server, id: &str) -> Vec<u8> {
        let body = format!("{{\"templateId\":\"{id}\"}}");
        let mut request = head(server, "delete");
        request.extend(
            format!("Content-Type: application/json; charset=UTF-8\r\nContent-Length: {}\r\n{TAIL}{body}", body.len())
                .bytes(),
        );
        request
    }

    const TAIL: &str = "Connection: Keep-Alive\r\nAccept-Encoding: gzip\r\nUser-Agent: okhttp/4.12.0\r\n\r\n";

    fn head(server: &Server, target: &str) -> Vec<u8> {
        format!(
            "POST /api/v1.0/{target} HTTP/1.1\r\nAPP-ID: {}\r\nAPP-KEY: {}\r\nHost: {}\r\n",
            server.app.app_id, server.app.app_key, server.addr
        )
        .into_bytes()
    }
}

#[tokio::test]
async fn the_swift_client_completes_every_call() {
    let server = Server::start().await;
    let answer = exchange(&server, &swift::upload(&server, "identify", &photo("ann"))).await;
    assert_eq!(answer.status, 200);
    let no_face: swift::Identify = decoded(&answer);
    assert!(no_face.result.template_id.is_none() && no_face.result.similarity.is_none());

    let answer = exchange(&server, &swift::upload(&server, "add", &photo("ann"))).await;
    assert_eq!(answer.status, 200, "any other status is an error to this client");
    let enrolled: swift::Enroll = decoded(&answer);
    assert!(!enrolled.transaction_id.is_empty());

    let answer = exchange(&server, &swift::upload(&server, "identify", &photo("ann"))).await;
    let found: swift::Identify = decoded(&answer);
    assert_eq!(found.result.template_id.as_deref(), Some(enrolled.result.template_id.as_str()));
    assert_eq!(found.result.similarity, Some(1.0));
    assert!(!found.transaction_id.is_empty());

    let delete = swift::delete(&server, &enrolled.result.template_id);
    assert_eq!(exchange(&server, &delete).await.status, 200);
    let failure: swift::Failure = decoded(&exchange(&server, &delete).await);
    assert_eq!((failure.result.code, failure.result.info.as_str()), (400, "Template not found"));
}

#[tokio::test]
async fn the_swift_client_understands_every_failure() {
    let server = Server::start().await;
    for (name, code) in [("broken", 4), ("nobody", 5), ("crowd", 6), ("tiny", 9), ("fails", 500), ("busy", 503)] {
        for endpoint in ["identify", "add"] {
            let failure: swift::Failure =
                decoded(&exchange(&server, &swift::upload(&server, endpoint, &photo(name))).await);
            assert_eq!((failure.result.status.as_str(), failure.result.code), ("error", code));
            assert!(!failure.result.info.is_empty() && !failure.transaction_id.is_empty());
        }
    }
}

#[tokio::test]
async fn the_kotlin_client_completes_every_call() {
    let server = Server::start().await;
    let no_face: kotlin::Reply =
        decoded(&exchange(&server, &kotlin::upload(&server, "identify", &photo("ann"), None)).await);
    assert!(no_face.result.search.is_none() && !no_face.transaction_id.is_empty());

    let answer = exchange(&server, &kotlin::upload(&server, "add", &photo("ann"), Some("ann-1"))).await;
    assert_eq!(answer.status, 200);
    let enrolled: kotlin::Reply = decoded(&answer);
    assert_eq!(enrolled.result.enroll.unwrap().template_id.as_deref(), Some("ann-1"));
    assert_eq!(enrolled.result.template_id.as_deref(), Some("ann-1"), "its first version");

    let found: kotlin::Reply =
        decoded(&exchange(&server, &kotlin::upload(&server, "identify", &photo("ann"), None)).await);
    let search = found.result.search.unwrap();
    assert_eq!((search.template_id.as_deref(), search.similarity), (Some("ann-1"), Some(1.0)));
    // Its first version.
    assert_eq!((found.result.template_id.as_deref(), found.result.similarity), (Some("ann-1"), Some(1.0)));
    let face = found.result.face.unwrap();
    let quality = face.quality.unwrap();
    assert_eq!((quality.gender.as_deref(), quality.age), (Some("male"), Some(62)));
    let liveness = face.liveness.unwrap();
    assert_eq!((liveness.score, liveness.fine), (Some(0.8860905766487122), Some(true)));
    assert_eq!(face.deepfake.unwrap().fine, Some(true));

    let answer = exchange(&server, &kotlin::delete(&server, "ann-1")).await;
    let done: kotlin::Done = decoded(&answer);
    assert_eq!(answer.status, 200, "an empty answer is a network error to this client");
    assert!(!done.transaction_id.is_empty());
}

#[tokio::test]
async fn the_kotlin_client_reuses_its_connection() {
    let server = Server::start().await;
    let mut wire = Wire::connect(server.addr).await;
    for name in ["ann", "nobody", "bob"] {
        wire.write(&kotlin::upload(&server, "identify", &photo(name), None)).await;
        assert_eq!(wire.answer().await.status, if name == "nobody" { 400 } else { 200 });
    }
}

#[tokio::test]
async fn the_kotlin_client_without_credentials_is_refused() {
    let server = Server::start().await;
    let id = server.app.app_id.to_string();
    let key = server.app.app_key.clone();
    let request = kotlin::upload(&server, "identify", &photo("ann"), None);
    let request = String::from_utf8_lossy(&request).replace(&id, "").replace(&key, "").into_bytes();
    let answer = exchange(&server, &request).await;
    let failure: swift::Failure = decoded(&answer);
    assert_eq!((answer.status, failure.result.code), (401, 401));
}

#[tokio::test]
async fn the_documented_curl_deletes() {
    let server = Server::start().await;
    server.enroll("ann", &photo("ann")).await;
    // The page's command sets no Content-Type, so curl labels the JSON as a form.
    let body = "{\n    \"templateId\": \"ann\"\n}";
    let request = format!(
        "POST /api/v1.0/delete HTTP/1.1\r\n\
         Host: {}\r\n\
         User-Agent: curl/8.5.0\r\n\
         Accept: */*\r\n\
         APP-ID: {}\r\n\
         APP-KEY: {}\r\n\
         Content-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
        server.addr,
        server.app.app_id,
        server.app.app_key,
        body.len()
    );
    let answer = exchange(&server, request.as_bytes()).await;
    assert_eq!(answer.status, 200);
    let only: HashMap<String, String> = decoded(&answer);
    assert_eq!(only.keys().collect::<Vec<_>>(), ["transactionId"]);
}

#[tokio::test]
async fn the_documented_curl_uploads() {
    let server = Server::start().await;
    let boundary = "------------------------d74496d66958873e";
    let mut body = format!(
        "--{boundary}\r\n\
         Content-Disposition: form-data; name=\"templateId\"\r\n\r\n\
         ann\r\n\
         --{boundary}\r\n\
         Content-Disposition: form-data; name=\"photo\"; filename=\"selfie\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend(photo("ann"));
    body.extend(format!("\r\n--{boundary}--\r\n").bytes());
    let head = format!(
        "POST /api/v1.0/add HTTP/1.1\r\n\
         host: {}\r\n\
         user-agent: curl/8.5.0\r\n\
         accept: */*\r\n\
         app-id: {}\r\n\
         app-key: {}\r\n\
         content-length: {}\r\n\
         content-type: multipart/form-data; boundary={boundary}\r\n\r\n",
        server.addr,
        server.app.app_id,
        server.app.app_key,
        body.len()
    );
    let answer = exchange(&server, &[head.into_bytes(), body].concat()).await;
    assert_eq!((answer.status, answer.json().text("result.templateId")), (200, "ann"));
}
