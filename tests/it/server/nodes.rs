//! Several servers, one Postgres.
//!
//! `SEMBLANCE_NODE_ROUNDS` (default 2) kills and restarts of a node under load.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::process::{App, Database, Server};

/// The photo of a template, or that it is removed.
type Known = Option<&'static str>;

const NODES: usize = 3;
const PHOTOS: [&str; 4] = ["person_a_1.jpg", "person_b_1.jpg", "impostor_1.jpg", "impostor_2.jpg"];

/// Every template in the index of a node, with its similarity to one photo.
async fn index(app: &App) -> BTreeMap<String, String> {
    index_of(app, PHOTOS[0]).await
}

async fn index_of(app: &App, photo: &str) -> BTreeMap<String, String> {
    let (status, reply) = app.post_photo("identify?threshold=0&candidates=100", photo, &[]).await;
    assert_eq!(status, 200, "{reply}");
    let candidates = reply["result"]["candidates"].as_array().unwrap().iter();
    candidates.map(|c| (c["templateId"].as_str().unwrap().to_owned(), c["similarity"].to_string())).collect()
}

/// Waits until the index of a node meets a condition.
async fn until(app: &App, what: &str, is_so: impl Fn(&BTreeMap<String, String>) -> bool) -> Duration {
    let start = Instant::now();
    loop {
        let index = index(app).await;
        if is_so(&index) {
            return start.elapsed();
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: {index:?}");
    }
}

async fn start(database: &Database, key: &str) -> Server {
    start_with(database, key, &[]).await
}

async fn start_with(database: &Database, key: &str, more: &[(&str, &str)]) -> Server {
    let environment = [&[("SEMBLANCE_KEY", key), ("SEMBLANCE_DATABASE_CONNECTIONS", "4")], more].concat();
    Server::start_in(tempfile::tempdir().unwrap(), database, &environment).await
}

fn key() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_one_node_are_found_by_others() {
    let Some(database) = Database::postgres().await else { return };
    let key = key();
    let one = start(&database, &key).await;
    let credentials = one.first_credentials();
    let two = start(&database, &key).await;
    let at_one = one.app(credentials.clone());
    let at_two = two.app(credentials.clone());
    at_one.add("person_a_1.jpg", &[("templateId", "a")]).await;
    until(&at_two, "an enrolment", |index| index.contains_key("a")).await;
    let before = index(&at_two).await;
    let (status, _) = at_two.post_photo("add?replace=true", "person_b_1.jpg", &[("templateId", "a")]).await;
    assert_eq!(status, 200);
    until(&at_one, "a replacement", |index| index.contains_key("a") && *index != before).await;
    assert_eq!(at_one.delete("a").await.0, 200);
    until(&at_two, "a removal", BTreeMap::is_empty).await;
    // A node that joins later has everything.
    at_two.add("person_b_1.jpg", &[("templateId", "b")]).await;
    let three = start(&database, &key).await;
    assert!(index(&three.app(credentials)).await.contains_key("b"));
}

/// Nodes poll so rarely that only a notification can have caused it.
#[tokio::test(flavor = "multi_thread")]
async fn writes_of_one_node_are_notified_to_others() {
    let Some(database) = Database::postgres().await else { return };
    let (key, seldom) = (key(), [("SEMBLANCE_DATABASE_POLL_MS", "600000")]);
    let one = start_with(&database, &key, &seldom).await;
    let credentials = one.first_credentials();
    let two = start_with(&database, &key, &seldom).await;
    let (at_one, at_two) = (one.app(credentials.clone()), two.app(credentials));
    for round in 0..3 {
        at_one.add("person_a_1.jpg", &[("templateId", "a")]).await;
        let took = until(&at_two, "an enrolment", |index| index.contains_key("a")).await;
        assert_eq!(at_two.delete("a").await.0, 200);
        let back = until(&at_one, "a removal", BTreeMap::is_empty).await;
        println!("round {round}: notified after {} and {} ms", took.as_millis(), back.as_millis());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_killed_under_load_converge() {
    let Some(database) = Database::postgres().await else { return };
    let rounds = std::env::var("SEMBLANCE_NODE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2usize);
    let key = key();
    let first = start(&database, &key).await;
    let credentials = first.first_credentials();
    let mut nodes = vec![first];
    while nodes.len() < NODES {
        nodes.push(start(&database, &key).await);
    }
    // The last acknowledged state of each template, `None` when it is in doubt. Each template has one writer.
    let acknowledged: Arc<Mutex<BTreeMap<String, Option<Known>>>> = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicUsize::new(0));
    let apps: Vec<Arc<Mutex<Arc<App>>>> =
        nodes.iter().map(|node| Arc::new(Mutex::new(Arc::new(node.app(credentials.clone()))))).collect();
    let clients: Vec<_> = (0..NODES)
        .map(|client| {
            let (apps, stop, count, acknowledged) = (apps.clone(), stop.clone(), count.clone(), acknowledged.clone());
            tokio::spawn(async move {
                for turn in client.. {
                    if stop.load(Ordering::Acquire) {
                        return;
                    }
                    let id = format!("{client}-{}", turn % 5);
                    let app = Arc::clone(&apps[turn % NODES].lock().unwrap());
                    let photo = (turn % 4 != 3).then(|| PHOTOS[turn % 4]);
                    let reply = match photo {
                        Some(photo) => app.try_photo("add?replace=true", photo, &[("templateId", &id)]).await,
                        None => app.try_delete(&id).await,
                    };
                    let known = match reply {
                        Ok((200, _)) => {
                            count.fetch_add(1, Ordering::AcqRel);
                            Some(photo)
                        }
                        // It does not exist, perhaps because a removal in doubt succeeded.
                        Ok((400, reply)) if photo.is_none() => {
                            assert_eq!(reply["result"]["info"], "Template not found", "{reply}");
                            Some(None)
                        }
                        Ok((503, _)) => None,
                        Ok((status, reply)) => panic!("{status}: {reply}"),
                        Err(_) => None, // in doubt: the node was killed
                    };
                    acknowledged.lock().unwrap().insert(id, known);
                }
            })
        })
        .collect();
    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let victim = round % NODES;
        nodes[victim].kill();
        tokio::time::sleep(Duration::from_millis(300)).await;
        nodes[victim] = start(&database, &key).await;
        *apps[victim].lock().unwrap() = Arc::new(nodes[victim].app(credentials.clone()));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Release);
    for client in clients {
        client.await.unwrap();
    }
    let acknowledged = acknowledged.lock().unwrap().clone();
    let (_, page) = nodes[0].app(credentials.clone()).get("templates?limit=1000").await;
    let stored: BTreeSet<String> = page["result"]["templates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|template| template["templateId"].as_str().unwrap().to_owned())
        .collect();
    for (id, known) in &acknowledged {
        if let Some(photo) = known {
            assert_eq!(stored.contains(id), photo.is_some(), "{id}, as acknowledged");
        }
    }
    let mut seen = Vec::new();
    for node in &nodes {
        let app = node.app(credentials.clone());
        until(&app, "equal to the database", |index| index.keys().cloned().collect::<BTreeSet<_>>() == stored).await;
        seen.push(index(&app).await);
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    // Each template is of the acknowledged photo: its similarities show it.
    for photo in PHOTOS {
        let found = index_of(&nodes[0].app(credentials.clone()), photo).await;
        for (id, known) in &acknowledged {
            if let Some(Some(enrolled)) = known {
                assert_eq!(found[id] == "1", *enrolled == photo, "{id} is of {enrolled}: {found:?}");
            }
        }
    }
    let count = count.load(Ordering::Acquire);
    assert!(count > 0);
    println!(
        "{rounds} nodes killed, {count} operations acknowledged, 0 lost; {} templates on {NODES} equal nodes",
        stored.len()
    );
}
