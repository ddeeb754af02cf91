//! The sealing key is renewed under real servers that go on serving.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::process::{App, Database, Server, try_start};

/// The keys as `key status` tells them: (name, in force, how much is sealed under it).
fn keys(server: &Server, database: &Database) -> Vec<(String, bool, u64)> {
    let printed = server.command(database, &["key", "status", "--json"]);
    let lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| {
            let (id, sealed) = (line["id"].as_str().unwrap().to_owned(), line["sealed"].as_u64().unwrap());
            (id, line["in_force"].as_bool().unwrap(), sealed)
        })
        .collect()
}

/// Clients that enrol, look and remove until they are stopped; no answer but 200 is taken.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(apps: Vec<App>) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let both = (Arc::clone(&stop), Arc::clone(&served));
        let clients = apps.into_iter().enumerate().map(|(client, app)| {
            let (stop, served) = both.clone();
            tokio::spawn(async move {
                for turn in 0.. {
                    if stop.load(Ordering::Acquire) {
                        return;
                    }
                    let id = format!("load-{client}-{}", turn % 3);
                    let (status, reply) = match turn % 4 {
                        0 | 1 => app.post_photo("add?replace=true", "person_b_1.jpg", &[("templateId", &id)]).await,
                        2 => app.post_photo("identify", "person_b_2.jpg", &[]).await,
                        _ => app.delete(&format!("load-{client}-{}", (turn - 3) % 3)).await,
                    };
                    assert_eq!(status, 200, "{reply}");
                    served.fetch_add(1, Ordering::AcqRel);
                }
            })
        });
        Self { stop, served, clients: clients.collect() }
    }

    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Release);
        for client in self.clients {
            client.await.unwrap();
        }
        self.served.load(Ordering::Acquire)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_renews_the_key_of_a_server_that_serves() {
    let database = Database::sqlite();
    let mut server = Server::start(&database).await;
    let app = server.first_app();
    app.add("person_a_1.jpg", &[("templateId", "kept")]).await;
    let file = server.dir().join("sealing.key");
    let first = std::fs::read_to_string(&file).unwrap();
    let before = keys(&server, &database);
    let [(old, true, 1)] = &before[..] else { panic!("one key, in force: {before:?}") };

    let load = Load::start(vec![server.first_app()]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let printed = server.command(&database, &["key", "rotate"]);
    assert!(printed.contains("is in force") && printed.contains(&format!("key drop {old}")), "{printed}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(load.stop().await > 3);
    let after = keys(&server, &database);
    assert_eq!(after.len(), 2);
    assert_eq!((&after[0].0, after[0].1, after[0].2, after[1].1), (old, false, 0, true));
    assert!(after[1].2 >= 1);

    // The key in force is not to be dropped; the old one is, once.
    let (code, message) = server.try_command(&database, &["key", "drop", &after[1].0]);
    assert!(code == Some(1) && message.contains("is in force"), "{message}");
    server.command(&database, &["key", "drop", old]);
    let (code, _) = server.try_command(&database, &["key", "drop", old]);
    assert_eq!(code, Some(1));
    assert_eq!(app.identify("person_a_2.jpg").await["result"]["templateId"], "kept");
    assert!(server.command(&database, &["journal", "verify"]).contains("each follows"), "the journal goes on");

    server.kill();
    let dir = server.into_dir();
    let renewed = std::fs::read_to_string(&file).unwrap();
    assert!(renewed.lines().count() == 1 && renewed != first);
    std::fs::write(&file, first).unwrap();
    let (status, message) = try_start(&dir, &database);
    assert_eq!(status, Some(1));
    assert!(message.contains(&after[1].0) && message.contains(old), "both are named: {message}");
    std::fs::write(&file, renewed).unwrap();
    let server = Server::start_in(dir, &database, &[]).await;
    assert_eq!(server.first_app().identify("person_a_2.jpg").await["result"]["templateId"], "kept");
    assert!(server.command(&database, &["journal", "verify"]).contains("each follows"), "after a restart, too");
}

/// Two nodes with a key file each: the new key is handed to both, then put in force on one.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_handed_the_new_key_before_it_is_in_force() {
    let Some(database) = Database::postgres().await else { return };
    let one = Server::start(&database).await;
    let app = one.first_app();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sealing.key");
    std::fs::copy(one.dir().join("sealing.key"), &file).unwrap();
    let two = Server::start_in(dir, &database, &[]).await;
    app.add("person_a_1.jpg", &[("templateId", "kept")]).await;

    one.command(&database, &["key", "add"]);
    std::fs::copy(one.dir().join("sealing.key"), &file).unwrap();
    let load = Load::start(vec![one.first_app(), two.app(app.credentials())]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    one.command(&database, &["key", "rotate"]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(load.stop().await > 6);
    let after = keys(&two, &database);
    assert_eq!((after.len(), after[0].1, after[0].2, after[1].1), (2, false, 0, true), "{after:?}");
    for node in [&one, &two] {
        assert_eq!(node.app(app.credentials()).identify("person_a_2.jpg").await["result"]["templateId"], "kept");
        node.command(&database, &["key", "drop", &after[0].0]);
    }

    // A node that was forgotten says so, and is well again when it is given the key.
    let before = std::fs::read_to_string(&file).unwrap();
    one.command(&database, &["key", "rotate"]);
    let at_two = two.app(app.credentials());
    let refused = at_two.try_photo_whole("add", "person_b_1.jpg", &[("templateId", "b")]).await;
    assert_eq!((refused.status, refused.retry_after.is_some()), (503, true), "{}", refused.body);
    assert_eq!(at_two.identify("person_a_2.jpg").await["result"]["templateId"], "kept");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    std::fs::copy(one.dir().join("sealing.key"), &file).unwrap();
    at_two.add("person_b_1.jpg", &[("templateId", "b")]).await;
}
