//! The metrics of a real server.

use super::process::{Database, Server};
use crate::support::eventually;

#[tokio::test]
async fn memory_and_descriptors_of_the_process() {
    if !cfg!(target_os = "linux") {
        return crate::support::skipped("server::metrics", "only Linux reports them");
    }
    let server = Server::start(&Database::sqlite()).await;
    let megabytes = server.metric("process_resident_memory_bytes").await / 1_048_576.0;
    assert!((20.0..4096.0).contains(&megabytes), "models and database take memory: {megabytes} MiB");
    let open = server.metric("process_open_fds").await;
    let max = server.metric("process_max_fds").await;
    assert!(open > 5.0 && open < max, "{open} of {max}");
}

/// A node without a journal leaves the event of an erasure in the outbox; the first one with a journal takes it.
#[tokio::test]
async fn events_that_no_journal_has_recorded_are_counted() {
    let database = Database::sqlite();
    let mut server =
        Server::start_in(tempfile::tempdir().unwrap(), &database, &[("SEMBLANCE_JOURNAL_ENABLED", "false")]).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    app.delete("a").await;
    eventually("two of the first run and the erasure wait", async || {
        server.metric("semblance_outbox_events").await == 3.0
    })
    .await;
    assert!(server.metric("semblance_outbox_oldest_age_seconds").await > 0.0);
    server.stop();
    let server = Server::start_in(server.into_dir(), &database, &[]).await;
    eventually("the journal has recorded them", async || server.metric("semblance_outbox_events").await == 0.0).await;
    assert_eq!(server.metric("semblance_outbox_oldest_age_seconds").await, 0.0);
    eventually("its lines are on disk", async || server.metric("semblance_journal_lines_waiting").await == 0.0).await;
    assert_eq!(server.metric("semblance_journal_lines_lost_total").await, 0.0);
}

/// A trusted proxy that does not speak the PROXY protocol is refused, and counted.
#[cfg(target_os = "linux")] // elsewhere 127.0.0.2 is not this machine
#[tokio::test]
async fn refused_connections_are_counted_by_reason() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let settings =
        [("SEMBLANCE_SERVER_TRUSTED_PROXIES", "127.0.0.2"), ("SEMBLANCE_SERVER_CLIENT_FROM", "proxy-protocol")];
    let server = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &settings).await;
    for _ in 0..3 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
        let address = server.url().strip_prefix("http://").unwrap().parse().unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await; // closed or reset
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    let refused = r#"semblance_connections_refused_total{reason="proxy_header"}"#;
    assert_eq!(server.metric(refused).await, 3.0);
}
