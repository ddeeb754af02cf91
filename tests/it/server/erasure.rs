//! A running server scrubs removed templates from its files by itself.

use std::collections::HashSet;

use sqlx::Connection as _;

use super::process::{Database, Server};
use crate::erasure::{found_in, pieces, rows};
use crate::support::eventually;

/// The pieces of the stored samples of an application.
async fn stored(server: &Server, app: &str) -> HashSet<[u8; 12]> {
    let rows = rows(&server.dir().join("semblance.db")).await;
    let of = rows.into_iter().filter(|((owner, _), _)| owner == app);
    let pieces: HashSet<_> = of.flat_map(|(_, (sealed, key))| pieces(&sealed, &key)).collect();
    assert!(pieces.len() > 20);
    assert_eq!(found_in(server.dir(), &pieces), pieces, "the search finds all pieces");
    pieces
}

async fn are_scrubbed(server: &Server, pieces: &HashSet<[u8; 12]>, what: &str) {
    eventually(what, async || found_in(server.dir(), pieces).is_empty()).await;
}

#[tokio::test]
async fn a_server_scrubs_its_own_removals() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let app = server.first_app();
    let (id, _) = app.credentials();
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    let before = stored(&server, &id).await;
    assert_eq!(app.delete("a").await.0, 200);
    are_scrubbed(&server, &before, "deleted").await;

    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    let before = stored(&server, &id).await;
    assert_eq!(app.post_photo("add?replace=true", "person_b_1.jpg", &[("templateId", "a")]).await.0, 200);
    are_scrubbed(&server, &before, "replaced").await;

    let before = stored(&server, &id).await;
    server.command(&database, &["app", "retention", &id, "1s"]);
    are_scrubbed(&server, &before, "its retention ended").await;
}

/// Another process reads the database while a command removes something: the command reports that it could not scrub, and
/// the server does.
#[tokio::test]
async fn a_server_scrubs_what_a_command_could_not() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let (id, key) = server.create_app("doomed", &database).await;
    server.app((id.clone(), key)).add("person_a_1.jpg", &[("templateId", "a")]).await;
    let before = stored(&server, &id).await;
    let url = format!("sqlite://{}", server.dir().join("semblance.db").display());
    let mut reader = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("BEGIN").execute(&mut reader).await.unwrap();
    sqlx::query("SELECT count(*) FROM samples").fetch_all(&mut reader).await.unwrap();
    let (code, output) = server.try_command(&database, &["app", "delete", &id]);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("a running server"), "{output}");
    assert!(!found_in(server.dir(), &before).is_empty());
    sqlx::query("COMMIT").execute(&mut reader).await.unwrap();
    are_scrubbed(&server, &before, "deleted by a command").await;
}
