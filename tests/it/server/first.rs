//! The first application: an interrupted first start loses no key, and only one application is created.

use super::process::{Database, Server, try_start};

#[tokio::test]
async fn a_first_run_that_fails_leaves_no_application_behind() {
    let database = Database::sqlite();
    let dir = tempfile::tempdir().unwrap();
    let taken = dir.path().join("credentials.json");
    std::fs::create_dir_all(taken.join("something")).unwrap();
    let (code, message) = try_start(&dir, &database);
    assert!(code == Some(1) && message.contains("credentials.json"), "{message}");
    std::fs::remove_dir_all(&taken).unwrap();
    let server = Server::start_in(dir, &database, &[]).await;
    let app = server.app(server.first_credentials());
    assert_eq!(app.get("templates").await.0, 200);
    assert_eq!(server.command(&database, &["app", "list"]).lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_together_create_one_application() {
    let Some(database) = Database::postgres().await else { return };
    let key = "5a".repeat(32);
    let environment = [("SEMBLANCE_KEY", key.as_str())];
    let start = || Server::start_in(tempfile::tempdir().unwrap(), &database, &environment);
    let nodes: [Server; 3] = tokio::join!(start(), start(), start()).into();
    let listed = nodes[0].try_list(&database, &environment);
    assert_eq!(listed.lines().count(), 1, "{listed}");
    let mut made = nodes.iter().filter(|node| node.dir().join("credentials.json").exists());
    let first = made.next().unwrap().first_credentials();
    assert!(made.next().is_none(), "the others keep no key of an application that is not there");
    for node in &nodes {
        assert_eq!(node.app(first.clone()).get("templates").await.0, 200);
    }
}

impl Server {
    fn try_list(&self, database: &Database, environment: &[(&str, &str)]) -> String {
        let done = super::process::command(self.dir(), database)
            .envs(environment.iter().copied())
            .args(["app", "list"])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }
}
