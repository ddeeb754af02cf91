//! The log of a server, read or not.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use super::process::{Database, Server, reqwest_client};
use crate::support::figure;

/// Requests in a round; each writes a line.
const ROUND: usize = 1000;

/// The number of lines that were dropped, as `/metrics` reports it.
async fn dropped(server: &Server) -> u64 {
    let metrics = server.text("/metrics").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix("semblance_log_lines_dropped_total "));
    line.unwrap_or_else(|| panic!("the metric is missing: {metrics}")).parse().unwrap()
}

/// A pipe takes 64 KiB, then its writer waits: a stuck log collector looks like this.
#[tokio::test]
async fn a_log_that_is_not_read_stops_nothing() {
    let mut server = Server::start_with_unread_log(&Database::sqlite(), &[("SEMBLANCE_LOG_LEVEL", "info")]).await;
    let client = reqwest_client();
    let url = format!("{}/api/v1.0/templates", server.url());
    let mut lost = 0;
    let mut answered = 0;
    for _ in 0..40 {
        let requests = stream::iter(0..ROUND).map(|_| client.get(&url).timeout(Duration::from_secs(20)).send());
        let answers: Vec<_> = requests.buffer_unordered(16).collect().await;
        let refused = answers.iter().filter(|answer| matches!(answer, Ok(response) if response.status() == 401));
        assert_eq!(refused.count(), ROUND, "every request is answered");
        answered += ROUND;
        lost = dropped(&server).await;
        if lost > 0 {
            break;
        }
    }
    assert!(lost > 0, "lines are dropped, and counted");
    figure("a log that is not read", &format!("{answered} of {answered} requests answered, {lost} lines dropped"));
    let log = server.read_log();
    assert_eq!(server.stop(), Some(0));
    let log = log.join().unwrap();
    assert!(log.lines().count() >= ROUND, "what was not dropped is written once the pipe is read: {}", log.len());
    assert!(log.ends_with('\n'), "no line is cut off");
}
