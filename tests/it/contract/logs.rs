//! One line per request, with all that helps and nothing that is private.

use std::io::Write;
use std::sync::{Arc, Mutex, Once};

use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Answer, Server, photo};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    /// Takes what was logged. A test's server runs on the test's own thread, so this is all of it.
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        // A global subscriber takes everything: without one, a call site that another test reaches first is cached as
        // disabled.
        static EVERYTHING: Once = Once::new();
        EVERYTHING.call_once(|| tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap());
        let log = Self::default();
        let subscriber =
            tracing_subscriber::fmt().json().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines of a request.
    fn of(&self, answer: &Answer) -> Vec<Value> {
        let id = answer.transaction();
        let lines = self.text();
        let lines = lines.lines().filter(|line| line.contains(&id));
        lines.map(|line| serde_json::from_str(line).unwrap()).filter(|line: &Value| line["level"] != "DEBUG").collect()
    }
}

#[tokio::test]
async fn one_line_per_request_has_its_outcome() {
    let server = Server::start().await;
    let (log, _guard) = Log::start();
    for (endpoint, name, level, status, code) in [
        ("identify", "ann", "INFO", 200, 0),
        ("identify", "nobody", "INFO", 400, 5),
        ("identify", "fails", "ERROR", 500, 500),
        ("identify", "busy", "WARN", 503, 503),
        ("recognize", "ann", "WARN", 501, 501),
    ] {
        let answer = server.send_photo(endpoint, &photo(name)).await;
        let lines = log.of(&answer);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line = &lines[0];
        let fields = &lines[0]["fields"];
        assert_eq!(line["level"], level);
        assert_eq!(fields["http.method"], "POST");
        assert_eq!(fields["http.route"], format!("/api/v1.0/{endpoint}"));
        assert_eq!((&fields["http.status"], &fields["code"]), (&status.into(), &code.into()));
        assert!(fields["duration_ms"].is_f64());
        assert_eq!(fields.get("error").is_some(), status != 200);
        assert_eq!(line["span"]["app"], server.app.app_id.as_str());
    }
    assert_eq!(log.text().matches("the secret cause").count(), 1, "the cause is logged exactly once");
}

#[tokio::test]
async fn nothing_private_is_logged() {
    let server = Server::start().await;
    let (log, _guard) = Log::start();
    server.enroll("ann", &photo("private-photo")).await;
    server.send_photo("identify", &photo("private-photo")).await;
    let wrong = server.post("identify?private-query=1").header("APP-KEY", "private-key").send().await;
    assert_eq!(wrong.status, 401);
    assert_eq!(log.of(&wrong)[0]["span"].get("app"), None);
    let text = log.text();
    assert!(!text.contains("private") && !text.contains(&server.app.app_key));
}
