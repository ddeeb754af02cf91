//! A server that has not read its database for too long refuses requests: keys and people may be revoked by then.

use std::sync::atomic::Ordering;
use std::time::Duration;

use semblance::domain::TestClock;

use crate::support::{Server, Setup, photo};

const STALE: &str = "database has not been read for too long, try again later";

#[tokio::test]
async fn requests_are_refused_until_the_database_is_read_again() {
    let time = TestClock::new();
    let server = Server::with(Setup { clock: time.clock(), ..Setup::default() }).await;
    let poll = || server.service.replicator().poll();
    server.enroll("ann", &photo("ann")).await;
    poll().await.unwrap();
    server.store.down.store(true, Ordering::SeqCst);
    time.advance(Duration::from_secs(890));
    poll().await.unwrap_err();
    assert_eq!(server.send_photo("identify", &photo("ann")).await.status, 200, "identify continues from memory");
    assert_eq!(server.call("GET", "/readyz").send().await.status, 200);
    time.advance(Duration::from_secs(20));
    poll().await.unwrap_err();
    for endpoint in ["identify", "add", "verify", "liveness"] {
        let answer = server.send_photo(endpoint, &photo("ann")).await;
        assert_eq!(answer.error(), (503, 503, STALE.to_owned()), "{endpoint}");
        assert_eq!(answer.header("retry-after"), Some("1"), "{endpoint}");
    }
    assert_eq!(server.get("templates").await.error(), (503, 503, STALE.to_owned()));
    assert_eq!(server.call("GET", "/api/v1.0/templates").without("APP-KEY").send().await.status, 401);
    let ready = server.call("GET", "/readyz").send().await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json().at("reasons").to_string(), r#"["the database has not been read for too long"]"#);
    assert_eq!(server.call("GET", "/healthz").send().await.status, 200, "a restart would not help");
    let metrics = String::from_utf8(server.call("GET", "/metrics").send().await.body).unwrap();
    let seconds = metrics.lines().find_map(|line| line.strip_prefix("semblance_staleness_seconds ")).unwrap();
    assert!((910.0..1000.0).contains(&seconds.parse::<f64>().unwrap()), "{seconds}");
    assert!(metrics.contains("semblance_ready 0\n") && metrics.contains("semblance_stale_galleries 1\n"), "{metrics}");
    server.store.down.store(false, Ordering::SeqCst);
    poll().await.unwrap();
    assert_eq!(server.send_photo("identify", &photo("ann")).await.status, 200);
    assert_eq!(server.call("GET", "/readyz").send().await.status, 200);
}

#[tokio::test]
async fn without_a_limit_requests_are_served_for_ever() {
    let time = TestClock::new();
    let mut setup = Setup { clock: time.clock(), ..Setup::default() };
    setup.policy.max_stale = None;
    let server = Server::with(setup).await;
    server.enroll("ann", &photo("ann")).await;
    server.store.down.store(true, Ordering::SeqCst);
    time.advance(Duration::from_secs(100 * 86_400));
    assert_eq!(server.send_photo("identify", &photo("ann")).await.status, 200);
}
