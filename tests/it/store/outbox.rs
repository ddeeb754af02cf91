//! What the journal is to tell of: nothing is erased without it, and nothing told of that was not.

use std::collections::BTreeSet;
use std::time::SystemTime;

use semblance::domain::{JournalPosition, TransactionId};
use semblance::store::{Claim, NodePosition, OutboxEvent};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::*;

conformance! {
    whatever_erases_a_template_puts_a_notice_down
    what_is_not_erased_has_no_notice
    notices_are_one_nodes_at_a_time
    what_a_node_does_is_its_own_to_tell
    a_journal_is_known_to_reach_ever_further
    the_journals_key_of_a_new_database_is_random
}

const LEASE: Duration = Duration::from_secs(3600);

/// (application, template, why, revision) of all events, which are gone then.
async fn told(store: &Store) -> Vec<(String, String, String, u64)> {
    let claim = store.outbox.claim(Uuid::new_v4(), LEASE, 1000).await.unwrap();
    store.outbox.ack(claim.id).await.unwrap();
    let of = |event: OutboxEvent| {
        assert_eq!(event.operation, OutboxEvent::ERASURE);
        assert!(event.at.elapsed().unwrap_or_default() < Duration::from_secs(60));
        (event.app.unwrap(), event.template.unwrap(), event.detail, event.revision.unwrap())
    };
    let mut all: Vec<_> = claim.events.into_iter().map(of).collect();
    all.sort_by_key(|(.., revision)| *revision);
    all
}

fn one(template: &str, why: &str, revision: u64) -> (String, String, String, u64) {
    ("a".to_owned(), template.to_owned(), why.to_owned(), revision)
}

async fn whatever_erases_a_template_puts_a_notice_down(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    for template in ["v", "w", "x", "y", "z"] {
        insert(&store, &a, template, &sample(1)).await.unwrap();
    }
    assert_eq!(told(&store).await, []);
    // Times are stored in milliseconds: what is written from here on is younger than `z`, and not as old.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let transaction = TransactionId::random();
    store
        .templates
        .insert(&a, &id("v"), &sample(2), OnConflict::Replace(ErasureReason::replace(transaction)))
        .await
        .unwrap();
    let claim = store.outbox.claim(Uuid::nil(), LEASE, 10).await.unwrap();
    assert_eq!(claim.events[0].transaction, Some(transaction.0));
    store.outbox.ack(claim.id).await.unwrap();
    let batch = ["w", "new"].map(|name| IndexedTemplate { id: id(name), samples: vec![sample(3)] });
    store.templates.insert_all(&a, &batch, OnConflict::Replace(ErasureReason::IMPORT)).await.unwrap();
    store.templates.remove(&a, &id("x"), ErasureReason::delete(transaction)).await.unwrap();
    assert_eq!(told(&store).await, [one("w", "import", 7), one("x", "delete", 9)]);
    let all = SystemTime::now() + Duration::from_secs(60);
    assert_eq!(store.templates.remove_older(&a, all, 2, ErasureReason::RETENTION).await.unwrap().len(), 2);
    assert_eq!(told(&store).await, [one("y", "retention", 10), one("z", "retention", 11)]);
    // What is left goes with the application, and the events outlive it.
    assert!(store.apps.delete(&a).await.unwrap());
    let why = "application";
    assert_eq!(told(&store).await, [one("new", why, 12), one("v", why, 13), one("w", why, 14)]);
}

async fn what_is_not_erased_has_no_notice(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    insert(&store, &a, "x", &sample(1)).await.unwrap();
    assert!(insert(&store, &a, "x", &sample(1)).await.is_err());
    store.templates.insert(&a, &id("new"), &sample(2), OnConflict::Replace(ErasureReason::IMPORT)).await.unwrap();
    store.templates.remove(&a, &id("nobody"), ErasureReason::IMPORT).await.unwrap();
    store.templates.remove_older(&a, UNIX_EPOCH, 10, ErasureReason::RETENTION).await.unwrap();
    // A write that fails after the template is gone takes the event back with it.
    fixture.tamper("DELETE FROM meta WHERE name = 'sealing check'").await;
    let refused = store.templates.insert(&a, &id("x"), &sample(3), OnConflict::Replace(ErasureReason::IMPORT)).await;
    assert!(refused.is_err());
    assert_eq!(told(&store).await, []);
}

async fn notices_are_one_nodes_at_a_time(fixture: Fixture) {
    let store = fixture.open().await;
    for number in 0..10 {
        store
            .outbox
            .enqueue(&OutboxEvent::new(SystemTime::now(), "test", Some(&app("a")), &number.to_string()))
            .await
            .unwrap();
    }
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    let claim = |node: Uuid, lease: Duration, limit: usize| {
        let outbox = store.outbox.clone();
        tokio::spawn(async move { outbox.claim(node, lease, limit).await.unwrap() })
    };
    let (first, other) = (claim(one, LEASE, 7), claim(two, LEASE, 7));
    let (first, other) = (first.await.unwrap(), other.await.unwrap());
    let ids: Vec<Uuid> = first.events.iter().chain(&other.events).map(|event| event.id).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "no event is two nodes'");
    let (rest_one, rest_two) = (claim(one, LEASE, 9).await.unwrap(), claim(two, LEASE, 9).await.unwrap());
    assert_eq!(rest_one.events.len() + rest_two.events.len(), 10, "its own of before, and what is left");
    store.outbox.ack(first.id).await.unwrap();
    let again = claim(one, LEASE, 9).await.unwrap();
    assert_eq!(again.events.len(), rest_one.events.len(), "a claim that was renewed is not ended by the old one");
    store.outbox.ack(again.id).await.unwrap();
    // Of a node that died the rest is told by others, when its time is over.
    assert_eq!(claim(one, LEASE, 9).await.unwrap().events, []);
    claim(two, Duration::ZERO, 9).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let left = claim(one, LEASE, 9).await.unwrap();
    assert_eq!(left.events.len(), rest_two.events.len());
    assert_eq!(store.outbox.expire(UNIX_EPOCH).await.unwrap(), 0);
    let all = store.outbox.expire(SystemTime::now() + Duration::from_secs(1)).await.unwrap();
    assert_eq!(all, rest_two.events.len() as u64);
}

async fn what_a_node_does_is_its_own_to_tell(fixture: Fixture) {
    let (store, command) = (fixture.open().await, fixture.open().await);
    let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
    store.outbox.register_node(one);
    let a = with_app(&store, "a").await;
    for template in ["x", "y"] {
        insert(&store, &a, template, &sample(1)).await.unwrap();
    }
    store.templates.remove(&a, &id("x"), ErasureReason::RETENTION).await.unwrap();
    command.templates.remove(&a, &id("y"), ErasureReason::RETENTION).await.unwrap();
    let of = |claim: Claim| claim.events.into_iter().map(|event| event.template.unwrap()).collect::<Vec<_>>();
    assert_eq!(of(store.outbox.claim(other, LEASE, 9).await.unwrap()), ["y"], "of a command, whoever looks first");
    assert_eq!(of(store.outbox.claim(one, LEASE, 9).await.unwrap()), ["x"]);
}

async fn a_journal_is_known_to_reach_ever_further(fixture: Fixture) {
    let store = fixture.open().await;
    let one = Uuid::new_v4();
    let two = Uuid::new_v4();
    let reported_at = UNIX_EPOCH + Duration::from_secs(1);
    let position = |node, line: u8| {
        let position = JournalPosition { line: line.into(), mac: [line; 32] };
        NodePosition { node, position, reported_at }
    };
    for (node, line) in [(one, 7), (two, 3), (one, 9), (one, 8)] {
        store.outbox.record_position(&position(node, line)).await.unwrap();
    }
    let mut known = store.outbox.journal_positions().await.unwrap();
    known.sort_by_key(|known| known.position.line);
    assert_eq!(known, [position(two, 3), position(one, 9)]);
}

/// A sealing key that leaked, and is no longer in force, makes no receipts.
async fn the_journals_key_of_a_new_database_is_random(fixture: Fixture) {
    let derived = |key: &str| -> [u8; 32] {
        let key: Vec<u8> =
            (0..32).map(|at| u8::from_str_radix(&key[2 * at..2 * at + 2], 16).unwrap()).collect::<Vec<_>>();
        Sha256::new().chain_update(b"semblance journal").chain_update(key).finalize().into()
    };
    let store = fixture.open().await;
    assert_ne!(*store.journal_key, derived(KEY));
    assert_eq!(fixture.open().await.journal_key, store.journal_key, "it stays");
    with_app(&store, "a").await;
    // A database of the version that kept none goes on with the key of then.
    fixture.tamper("DELETE FROM meta WHERE name = 'journal key'").await;
    assert_eq!(*fixture.open().await.journal_key, derived(KEY));
}
