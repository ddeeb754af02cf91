//! The log of a server, read or not.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use super::process::{Database, Server, reqwest_client};
use crate::support::figure;

/// Requests in a round; each writes a line.
const ROUND: usize = 1000;

/// A pipe takes 64 KiB, then its writer waits: a stuck log collector looks like this.
#[tokio::test]
async fn a_log_that_is_not_read_stops_nothing() {
    let mut server = Server::start_with_unread_log(&Database::sqlite(), &[("SEMBLANCE_LOG_LEVEL", "info")]).await;
    let client = reqwest_client();
    // Served: lines of refused requests are bounded.
    let url = format!("{}/healthz", server.url());
    let mut lost = 0.0;
    let mut answered = 0;
    for _ in 0..40 {
        let requests = stream::iter(0..ROUND).map(|_| client.get(&url).timeout(Duration::from_secs(20)).send());
        let answers: Vec<_> = requests.buffer_unordered(16).collect().await;
        let served = answers.iter().filter(|answer| matches!(answer, Ok(response) if response.status() == 200));
        assert_eq!(served.count(), ROUND, "every request is answered");
        answered += ROUND;
        lost = server.metric("semblance_log_lines_dropped_total").await;
        if lost > 0.0 {
            break;
        }
    }
    assert!(lost > 0.0, "lines are dropped, and counted");
    figure("a log that is not read", &format!("{answered} of {answered} requests answered, {lost} lines dropped"));
    let log = server.read_log();
    assert_eq!(server.stop(), Some(0));
    let log = log.join().unwrap();
    assert!(log.lines().count() >= ROUND, "what was not dropped is written once the pipe is read: {}", log.len());
    assert!(log.ends_with('\n'), "no line is cut off");
}

/// Anyone can send requests that are refused. Their lines are bounded, and counted.
#[tokio::test]
async fn refused_requests_do_not_fill_the_log() {
    let info = [("SEMBLANCE_LOG_LEVEL", "info")];
    let mut server = Server::start_in(tempfile::tempdir().unwrap(), &Database::sqlite(), &info).await;
    let client = reqwest_client();
    let url = format!("{}/api/v1.0/templates", server.url());
    let start = std::time::Instant::now();
    let requests = stream::iter(0..ROUND).map(|_| client.get(&url).send());
    let replies: Vec<_> = requests.buffer_unordered(8).collect().await;
    assert!(replies.iter().all(|reply| reply.as_ref().unwrap().status() == 401));
    // What is served has its line meanwhile.
    let app = server.first_app();
    for _ in 0..15 {
        app.identify_unknown().await;
    }
    let windows = start.elapsed().as_secs() / 10 + 2;
    assert_eq!(server.stop(), Some(0));
    let log = server.log();
    let own = log.lines().filter(|line| line.contains("http.status=401") && line.contains("http.route=")).count();
    let counted: usize = log
        .lines()
        .filter(|line| line.contains("more requests were refused") && line.contains("http.status=401"))
        .filter_map(|line| line.split("requests=").nth(1)?.split(' ').next()?.parse::<usize>().ok())
        .sum();
    assert_eq!(own + counted, ROUND, "each request has a line or is counted: {log}");
    assert!(own as u64 <= 10 * windows, "{own} lines in at most {windows} windows");
    assert_eq!(log.matches("http.route=\"/api/v1.0/identify\"").count(), 15, "{log}");
    figure(
        "a flood of refused requests",
        &format!("{ROUND} requests, {own} log lines of their own, {counted} counted"),
    );
}

/// A client that lists all day: its lines in the journal are bounded, and counted; others' are not.
#[tokio::test]
async fn listings_do_not_fill_the_journal() {
    let database = Database::sqlite();
    let mut server = Server::start(&database).await;
    let app = server.first_app();
    let start = std::time::Instant::now();
    for _ in 0..200 {
        assert_eq!(app.get("templates").await.0, 200);
    }
    for _ in 0..25 {
        app.identify_unknown().await;
    }
    let windows = start.elapsed().as_secs() / 10 + 2;
    assert_eq!(server.stop(), Some(0));
    let printed = server.command(&database, &["journal", "export"]);
    let lines: Vec<serde_json::Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |operation: &str| lines.iter().filter(|line| line["operation"] == operation).count();
    let own = of("GET /api/v1.0/templates");
    let counted: usize = lines
        .iter()
        .filter_map(|line| line["outcome"].as_str()?.strip_suffix(" more listings, within 10 s")?.parse::<usize>().ok())
        .sum();
    assert_eq!(own + counted, 200, "each listing has a line or is counted: {printed}");
    assert!(own as u64 <= 20 * windows, "{own} lines in at most {windows} windows");
    assert_eq!(of("POST /api/v1.0/identify"), 25, "{printed}");
    server.command(&database, &["journal", "verify"]);
    figure("a client that lists", &format!("200 listings, {own} journal lines of their own, {counted} counted"));
}

impl super::process::App {
    /// An identify request that is served: the gallery is empty.
    async fn identify_unknown(&self) {
        let (status, reply) = self.post_photo("identify", "person_a_1.jpg", &[]).await;
        assert_eq!(status, 200, "{reply}");
    }
}
