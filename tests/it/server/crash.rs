//! A server loses no acknowledged write when it, or its Postgres, is killed at a random moment.
//!
//! `SEMBLANCE_CRASH_CYCLES` (default 3) kills per test; `SEMBLANCE_CRASH_SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::process::{App, Database, OwnPostgres, Server};
use crate::support::eventually;

const PHOTOS: [&str; 6] =
    ["person_a_1.jpg", "person_a_2.jpg", "person_b_1.jpg", "person_b_2.jpg", "impostor_1.jpg", "impostor_2.jpg"];
const CLIENTS: usize = 4;
const IDS: usize = 6;

/// The state of a template: one of the photos, or absent.
type State = Option<usize>;

/// The acknowledged writes, and those without a response.
#[derive(Debug, Clone, Default)]
struct Known {
    acknowledged: State,
    in_doubt: BTreeSet<State>,
}

#[derive(Debug, Default)]
struct History {
    templates: BTreeMap<String, Known>,
    acknowledged: usize,
    /// The transactions of acknowledged deletes.
    deleted: BTreeSet<String>,
}

type Shared = Arc<Mutex<History>>;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % n
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_on_sqlite() {
    run(Database::sqlite(), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_on_postgres() {
    if let Some(database) = Database::postgres().await {
        run(database, None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_a_killed_postgres() {
    if let Some(postgres) = OwnPostgres::start().await {
        run(Database::Postgres(postgres.url().to_owned()), Some(postgres)).await;
    }
}

async fn run(database: Database, postgres: Option<OwnPostgres>) {
    let cycles = number("SEMBLANCE_CRASH_CYCLES", 3);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("SEMBLANCE_CRASH_SEED", now | 1);
    println!("seed {seed}");
    let mut random = Random(seed);
    let history = Shared::default();
    let mut dir = tempfile::tempdir().unwrap();
    for cycle in 0..=cycles {
        // Frequent snapshots, so that they take part.
        let often = [("SEMBLANCE_SNAPSHOTS_EVERY_S", "1"), ("SEMBLANCE_SNAPSHOTS_TEMPLATES", "1")];
        let mut server = Server::start_in(dir, &database, &often).await;
        let credentials = server.first_credentials();
        let app = Arc::new(server.app(credentials));
        check(&app, &history, cycle, seed).await;
        journal_is_whole(&server, &database, &history, seed).await;
        if cycle == cycles {
            break;
        }
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let seed = random.below(usize::MAX) as u64 | 1;
                tokio::spawn(write(Arc::clone(&app), Arc::clone(&history), client, Random(seed)))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100 + random.below(1400) as u64)).await;
        if let Some(postgres) = &postgres {
            // Postgres restarts at once. The server is killed while Postgres is down, or long after.
            postgres.kill();
            tokio::time::sleep(Duration::from_millis(random.below(4000) as u64)).await;
        }
        server.kill();
        for client in clients {
            client.await.unwrap();
        }
        dir = server.into_dir();
    }
    println!("{cycles} kills, {} operations acknowledged, 0 lost", history.lock().unwrap().acknowledged);
}

/// One client: writes to its own templates until the server is killed.
async fn write(app: Arc<App>, history: Shared, client: usize, mut random: Random) {
    loop {
        let id = format!("{client}-{}", random.below(IDS));
        let now = history.lock().unwrap().templates.get(&id).and_then(|known| known.acknowledged);
        let wanted = match now {
            Some(_) if random.below(3) == 0 => None,
            _ => Some(random.below(PHOTOS.len())),
        };
        history.lock().unwrap().templates.entry(id.clone()).or_default().in_doubt.insert(wanted);
        let reply = match wanted {
            Some(photo) => app.try_photo("add?replace=true", PHOTOS[photo], &[("templateId", &id)]).await,
            None => app.try_delete(&id).await,
        };
        match reply {
            Ok((200, reply)) => {
                let mut history = history.lock().unwrap();
                if wanted.is_none() {
                    history.deleted.insert(reply["transactionId"].as_str().unwrap().to_owned());
                }
                history.templates.insert(id, Known { acknowledged: wanted, in_doubt: BTreeSet::new() });
                history.acknowledged += 1;
            }
            Ok((503, _)) => tokio::time::sleep(Duration::from_millis(20)).await,
            Ok((status, reply)) => panic!("{status}: {reply}"),
            Err(_) => return,
        }
    }
}

/// The journal is intact, and soon every acknowledged delete has a receipt.
async fn journal_is_whole(server: &Server, database: &Database, history: &Shared, seed: u64) {
    let checked = server.command(database, &["journal", "verify"]);
    assert!(checked.contains("each follows"), "{checked} (seed {seed})");
    eventually("every acknowledged delete has a receipt", async || {
        let receipts = server.command(database, &["journal", "receipts"]);
        let lines = receipts.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let receipts: BTreeSet<String> =
            lines.filter_map(|line| line["transactionId"].as_str().map(str::to_owned)).collect();
        history.lock().unwrap().deleted.is_subset(&receipts)
    })
    .await;
}

/// The database and the index hold the acknowledged states, and either state of a write without a response.
async fn check(app: &App, history: &Shared, cycle: u64, seed: u64) {
    let (status, page) = app.get("templates?limit=1000").await;
    assert_eq!(status, 200, "{page}");
    let listed: BTreeSet<String> = page["result"]["templates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|template| {
            assert_eq!(template["samples"].as_array().unwrap().len(), 1, "half a template: {template}");
            template["templateId"].as_str().unwrap().to_owned()
        })
        .collect();
    // The photo of each template in the index is the one with similarity 1.
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    let mut indexed: BTreeSet<String> = BTreeSet::new();
    for (at, photo) in PHOTOS.iter().enumerate() {
        let (status, reply) = app.post_photo("identify?threshold=0&candidates=100", photo, &[]).await;
        assert_eq!(status, 200, "{reply}");
        for candidate in reply["result"]["candidates"].as_array().unwrap() {
            let id = candidate["templateId"].as_str().unwrap().to_owned();
            if candidate["similarity"].as_f64().unwrap() > 0.9999 {
                found.insert(id.clone(), at);
            }
            indexed.insert(id);
        }
    }
    assert_eq!(indexed, listed, "index and database differ after kill {cycle} (seed {seed})");
    let mut history = history.lock().unwrap();
    for (id, known) in &mut history.templates {
        let is = listed.contains(id).then(|| found.get(id).copied().unwrap_or(usize::MAX));
        assert!(
            is == known.acknowledged || known.in_doubt.contains(&is),
            "after kill {cycle} (seed {seed}) {id} is {is:?}, but {known:?}"
        );
        *known = Known { acknowledged: is, in_doubt: BTreeSet::new() };
    }
    assert!(listed.iter().all(|id| history.templates.contains_key(id)), "a template that no client added");
}
