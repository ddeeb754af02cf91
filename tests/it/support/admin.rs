//! A client of the administration API.

use serde_json::{Value, json};

use super::{Answer, Call, Server};

/// The path of every route begins with it.
pub const BASE: &str = "/api/admin/v1";

/// The credentials of an administrator.
#[derive(Debug, Clone)]
pub enum As {
    Guest,
    Token(String),
    Session { cookie: String, csrf: String },
}

impl Server {
    /// Makes the first owner, and returns its token.
    pub async fn bootstrap(&self) -> As {
        let bootstrap = self.service.administrators().bootstrap().await.unwrap().expect("an administrator exists");
        As::Token(bootstrap.token)
    }

    /// A call of the administration API with a body of JSON; without one where it is null.
    pub fn admin_call(&self, who: &As, method: &str, path: &str, body: &Value) -> Call {
        let call = self.call(method, &format!("{BASE}{path}")).without("APP-ID").without("APP-KEY");
        let call = match who {
            As::Guest => call,
            As::Token(token) => call.header("Authorization", &format!("Bearer {token}")),
            As::Session { cookie, csrf } => {
                let origin = format!("http://{}", self.addr);
                call.header("Cookie", cookie).header("X-CSRF-Token", csrf).header("Origin", &origin)
            }
        };
        if body.is_null() { call } else { call.body("application/json", body.to_string()) }
    }

    pub async fn admin(&self, who: &As, method: &str, path: &str, body: Value) -> (u16, Value) {
        let answer = self.admin_call(who, method, path, &body).send().await;
        (answer.status, result(&answer))
    }

    /// Signs in with a token or a code, and returns the session.
    pub async fn sign_in(&self, body: Value) -> As {
        let answer = self.admin_call(&As::Guest, "POST", "/session", &body).send().await;
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let csrf = result(&answer)["csrfToken"].as_str().unwrap().to_owned();
        As::Session { cookie, csrf }
    }

    /// Creates an administrator with a token.
    pub async fn administrator(&self, owner: &As, new: Value) -> (String, As) {
        let (status, made) = self.admin(owner, "POST", "/administrators", new).await;
        assert_eq!(status, 201, "{made}");
        let id = made["adminId"].as_str().unwrap().to_owned();
        let path = format!("/administrators/{id}/tokens");
        let (status, token) = self.admin(owner, "POST", &path, json!({ "name": "a token" })).await;
        assert_eq!(status, 201, "{token}");
        (id, As::Token(token["token"].as_str().unwrap().to_owned()))
    }
}

impl As {
    /// The text of a token.
    pub fn token(&self) -> &str {
        match self {
            Self::Token(token) => token,
            other => panic!("{other:?} is no token"),
        }
    }
}

/// The `result` of an answer in the envelope.
pub fn result(answer: &Answer) -> Value {
    answer.transaction();
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["result"].clone()
}
