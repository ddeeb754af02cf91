//! Applications beside each other, and beside a database that is silent: one that sends much, or whose writes wait, takes
//! nothing from another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use sqlx::Connection as _;
use tokio::task::JoinSet;

use super::process::{App, Database, Server, photo, reqwest_client};
use super::proxy::{Proxy, Wire};
use crate::support::{Form, eventually, figure};

/// Two threads, as on two cores: at most 16 photos wait or are analyzed.
const TWO_THREADS: (&str, &str) = ("SEMBLANCE_COMPUTE_INFERENCE_THREADS", "2");

/// Requests that say something.
const ENOUGH: usize = 20;

/// The longest wait of the official clients.
const PATIENCE: Duration = Duration::from_secs(60);

/// One application's clients, which share its connections.
#[derive(Clone)]
struct Clients {
    http: reqwest::Client,
    url: String,
    credentials: (String, String),
    content_type: String,
    body: Bytes,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
}

/// What the clients got.
#[derive(Default)]
struct Tally {
    served: AtomicUsize,
    /// 429.
    limited: AtomicUsize,
    /// 503.
    busy: AtomicUsize,
    other: AtomicUsize,
}

impl Tally {
    fn counts(&self) -> [usize; 4] {
        [&self.served, &self.limited, &self.busy, &self.other].map(|count| count.load(Ordering::SeqCst))
    }

    fn text(&self) -> String {
        let [served, limited, busy, other] = self.counts();
        format!("{served} answered, {limited} refused with 429, {busy} with 503, {other} otherwise")
    }
}

impl Clients {
    fn new(server: &Server, credentials: (String, String), path: &str) -> Self {
        let form = Form::new().photo(&photo("person_a_1.jpg"));
        Self {
            http: reqwest_client(),
            url: format!("{}/api/v1.0/{path}", server.url()),
            credentials,
            content_type: form.content_type(),
            body: form.finished().into(),
            tally: Arc::default(),
            stop: Arc::default(),
        }
    }

    /// Sends one request; how long it took, if it was answered with 200.
    async fn send(&self) -> Option<Duration> {
        let start = Instant::now();
        let (id, key) = &self.credentials;
        let request = self.http.post(&self.url).header("APP-ID", id).header("APP-KEY", key).timeout(PATIENCE);
        let sent = request.header("Content-Type", &self.content_type).body(self.body.clone()).send().await;
        let status = sent.map_or(0, |response| response.status().as_u16());
        let count = match status {
            200 => &self.tally.served,
            429 => &self.tally.limited,
            503 => &self.tally.busy,
            _ => &self.tally.other,
        };
        count.fetch_add(1, Ordering::SeqCst);
        (status == 200).then(|| start.elapsed())
    }

    /// So many clients, each with one request after the other and a pause after each, until they are stopped.
    fn start(&self, tasks: &mut JoinSet<()>, count: usize, pause: Duration) {
        for _ in 0..count {
            let one = self.clone();
            tasks.spawn(async move {
                while !one.stop.load(Ordering::SeqCst) {
                    one.send().await;
                    tokio::time::sleep(pause).await;
                }
            });
        }
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// One client for a while, on a slow machine longer: the times of the requests that were answered.
    async fn alone(&self, time: Duration, pause: Duration) -> Vec<Duration> {
        let (start, mut times) = (Instant::now(), Vec::new());
        while start.elapsed() < time || (times.len() < ENOUGH && start.elapsed() < 3 * time) {
            times.extend(self.send().await);
            tokio::time::sleep(pause).await;
        }
        times
    }
}

/// The time that 95 % do not exceed.
fn p95(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[(times.len() * 95).div_ceil(100) - 1]
}

/// Two applications with eight clients each enroll once a second while Postgres falls silent; a third identifies.
#[tokio::test(flavor = "multi_thread")]
async fn identify_goes_on_while_enrollments_wait_for_a_silent_database() {
    let Some(Database::Postgres(url)) = Database::postgres().await else { return };
    let wire = Proxy::before(&url).await;
    let database = Database::Postgres(wire.url().to_owned());
    let server = Server::start_in(tempfile::tempdir().unwrap(), &database, &[TWO_THREADS]).await;
    let first = server.first_credentials();
    App::at(server.url(), first.clone()).add("person_a_1.jpg", &[("templateId", "person-a")]).await;
    let mut writers = Vec::new();
    for name in ["one", "two"] {
        let credentials = server.create_app(name, &database).await;
        writers.push(Clients::new(&server, credentials, "add"));
    }
    let mut tasks = JoinSet::new();
    writers.iter().for_each(|clients| clients.start(&mut tasks, 8, Duration::from_secs(1)));
    let reader = Clients::new(&server, first, "identify");
    let pause = Duration::from_millis(100);
    let before = reader.alone(Duration::from_secs(5), pause).await;
    let [_, _, _, failed_before] = reader.tally.counts();
    wire.set(Wire::Silent);
    let reader = Clients { tally: Arc::default(), ..reader };
    let during = reader.alone(Duration::from_secs(15), pause).await;
    let refused = || writers.iter().map(|clients| clients.tally.counts()[2]).sum::<usize>();
    eventually("enrollments are refused: the database is away", async || refused() > 0).await;
    let [served, limited, busy, other] = reader.tally.counts();
    let (p95_before, p95_during) = (p95(before), p95(during));
    figure(
        "identify beside 16 clients that enroll, Postgres silent for 15 s or more",
        &format!(
            "{}; p95 {} ms before, {} ms during",
            reader.tally.text(),
            p95_before.as_millis(),
            p95_during.as_millis()
        ),
    );
    assert_eq!((failed_before, other), (0, 0));
    assert!(served * 100 >= (served + limited + busy) * 99, "{}", reader.tally.text());
    // Twice, with room for a busy machine: the enrollments wait for up to ten seconds.
    assert!(p95_during <= 2 * p95_before + Duration::from_secs(3), "{p95_before:?} {p95_during:?}");
    wire.set(Wire::Whole);
    writers.iter().for_each(Clients::stop);
    while tasks.join_next().await.is_some() {}
}

/// The gallery of one application is locked in Postgres, as by a long transaction; 40 clients delete in it.
#[tokio::test(flavor = "multi_thread")]
async fn writes_of_a_locked_gallery_leave_connections_to_others() {
    let Some(Database::Postgres(url)) = Database::postgres().await else { return };
    let database = Database::Postgres(url.clone());
    let server = Server::start_in(tempfile::tempdir().unwrap(), &database, &[TWO_THREADS]).await;
    let stuck = Clients {
        content_type: "application/json".to_owned(),
        body: r#"{"templateId":"x"}"#.into(),
        ..Clients::new(&server, server.create_app("stuck", &database).await, "delete")
    };
    let other = App::at(server.url(), server.first_credentials());
    other.add("person_a_1.jpg", &[("templateId", "a")]).await;
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    sqlx::query("BEGIN").execute(&mut connection).await.unwrap();
    let lock = "SELECT 1 FROM applications WHERE app_id = $1 FOR UPDATE";
    sqlx::query(lock).bind(&stuck.credentials.0).execute(&mut connection).await.unwrap();
    let mut tasks = JoinSet::new();
    stuck.start(&mut tasks, 40, Duration::from_millis(100));
    let waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    // Within the transaction, the view would not change.
    let mut observer = sqlx::PgConnection::connect(&url).await.unwrap();
    eventually("writes wait for the lock", async || {
        sqlx::query(waiting).fetch_all(&mut observer).await.unwrap().len() >= 6
    })
    .await;
    let mut statuses = vec![other.post_photo("add", "person_a_1.jpg", &[("templateId", "b")]).await.0];
    while stuck.tally.counts()[2] == 0 || statuses.len() < 20 {
        statuses.push(other.get("templates").await.0);
        statuses.push(other.delete("b").await.0);
    }
    let served = statuses.iter().filter(|status| matches!(status, 200 | 400)).count();
    figure(
        "an application that adds, lists and deletes beside 40 clients whose gallery is locked",
        &format!("{served} of {} calls served; the 40 clients: {}", statuses.len(), stuck.tally.text()),
    );
    assert_eq!(stuck.tally.counts()[0], 0, "the lock is held");
    assert_eq!(served, statuses.len(), "{statuses:?}");
    stuck.stop();
    sqlx::query("ROLLBACK").execute(&mut connection).await.unwrap();
    while tasks.join_next().await.is_some() {}
}

/// A third application sends one photo after the other while two others send as fast as 150 clients each can.
#[tokio::test(flavor = "multi_thread")]
async fn a_polite_application_is_served_beside_two_greedy_ones() {
    let database = Database::sqlite();
    let server = Server::start_in(tempfile::tempdir().unwrap(), &database, &[TWO_THREADS]).await;
    let mut greedy = Vec::new();
    for name in ["one", "two"] {
        let credentials = server.create_app(name, &database).await;
        greedy.push(Clients::new(&server, credentials, "identify"));
    }
    let mut tasks = JoinSet::new();
    greedy.iter().for_each(|clients| clients.start(&mut tasks, 150, Duration::from_millis(500)));
    let polite = Clients::new(&server, server.first_credentials(), "identify");
    let times = polite.alone(Duration::from_secs(8), Duration::from_millis(300)).await;
    greedy.iter().for_each(Clients::stop);
    let [served, limited, busy, other] = polite.tally.counts();
    figure(
        "a third application beside two with 150 clients each",
        &format!("{}; p95 {} ms", polite.tally.text(), p95(times).as_millis()),
    );
    for clients in &greedy {
        figure("one of the two with 150 clients", &clients.tally.text());
        assert!(clients.tally.counts()[0] > 0);
    }
    assert!(served * 10 >= (served + limited + busy + other) * 9, "{}", polite.tally.text());
    while tasks.join_next().await.is_some() {}
}

/// Nothing is kept back for others that are not there.
#[tokio::test(flavor = "multi_thread")]
async fn one_application_alone_may_use_the_whole_server() {
    let database = Database::sqlite();
    let server = Server::start_in(tempfile::tempdir().unwrap(), &database, &[TWO_THREADS]).await;
    let clients = Clients::new(&server, server.first_credentials(), "identify");
    let mut tasks = JoinSet::new();
    clients.start(&mut tasks, 16, Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(5)).await;
    clients.stop();
    while tasks.join_next().await.is_some() {}
    figure("16 clients of one application alone, 5 s", &clients.tally.text());
    let [served, refusals @ ..] = clients.tally.counts();
    assert!(served > 0);
    assert_eq!(refusals, [0; 3]);
}
