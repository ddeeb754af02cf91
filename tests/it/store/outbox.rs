//! The outbox: every erasure has an event, and every event has an erasure.

use std::collections::BTreeSet;
use std::time::SystemTime;

use semblance::domain::{Actor, JournalPosition, TransactionId};
use semblance::store::{Claim, NodePosition, OutboxBacklog, OutboxEvent};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::*;

conformance! {
    every_erasure_adds_an_event
    without_an_erasure_there_is_no_event
    one_node_at_a_time_claims_an_event
    a_node_claims_its_own_events
    journal_positions_only_advance
    the_journal_key_of_a_new_database_is_random
}

const LEASE: Duration = Duration::from_secs(3600);

/// Takes all events out: (application, template, reason, revision).
async fn take_events(store: &Store) -> Vec<(String, String, String, u64)> {
    let claim = store.outbox.claim(Uuid::new_v4(), LEASE, 1000).await.unwrap();
    store.outbox.ack(claim.id).await.unwrap();
    let fields = |event: OutboxEvent| {
        assert_eq!(event.operation, OutboxEvent::ERASURE);
        assert!(event.at.elapsed().unwrap_or_default() < Duration::from_secs(60));
        (event.app.unwrap(), event.template.unwrap(), event.detail, event.revision.unwrap())
    };
    let mut all: Vec<_> = claim.events.into_iter().map(fields).collect();
    all.sort_by_key(|(.., revision)| *revision);
    all
}

fn event(template: &str, reason: &str, revision: u64) -> (String, String, String, u64) {
    ("a".to_owned(), template.to_owned(), reason.to_owned(), revision)
}

async fn every_erasure_adds_an_event(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    for template in ["v", "w", "x", "y", "z"] {
        insert(&store, &a, template, &sample(1)).await.unwrap();
    }
    assert_eq!(take_events(&store).await, []);
    assert_eq!(store.outbox.backlog().await.unwrap(), OutboxBacklog::default());
    // What is written from here on is younger than `z`.
    fixture.time.advance(Duration::from_secs(1));
    let transaction = TransactionId::random();
    store
        .templates
        .insert(
            &a,
            &id("v"),
            &enrolled(sample(2)),
            OnConflict::Replace(ErasureReason::replace(transaction, Actor::Server)),
        )
        .await
        .unwrap();
    let claim = store.outbox.claim(Uuid::nil(), LEASE, 10).await.unwrap();
    let waiting = OutboxBacklog { events: 1, oldest: Some(claim.events[0].at) };
    assert_eq!(store.outbox.backlog().await.unwrap(), waiting, "a claimed event waits until it is acknowledged");
    assert_eq!(claim.events[0].transaction, Some(transaction.0));
    store.outbox.ack(claim.id).await.unwrap();
    let batch = ["w", "new"].map(|name| IndexedTemplate { id: id(name), samples: vec![sample(3)] });
    store.templates.insert_all(&a, &batch, OnConflict::Replace(ErasureReason::IMPORT)).await.unwrap();
    store.templates.remove(&a, &id("x"), ErasureReason::delete(transaction, Actor::Server)).await.unwrap();
    assert_eq!(take_events(&store).await, [event("w", "import", 7), event("x", "delete", 9)]);
    let all = SystemTime::now() + Duration::from_secs(60);
    assert_eq!(store.templates.remove_older(&a, all, 2, ErasureReason::RETENTION).await.unwrap().len(), 2);
    assert_eq!(take_events(&store).await, [event("y", "retention", 10), event("z", "retention", 11)]);
    // The other templates are deleted with the application; the events remain.
    assert!(store.apps.delete(&a).await.unwrap());
    let reason = "application";
    assert_eq!(take_events(&store).await, [event("new", reason, 12), event("v", reason, 13), event("w", reason, 14)]);
}

async fn without_an_erasure_there_is_no_event(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    insert(&store, &a, "x", &sample(1)).await.unwrap();
    assert!(insert(&store, &a, "x", &sample(1)).await.is_err());
    store
        .templates
        .insert(&a, &id("new"), &enrolled(sample(2)), OnConflict::Replace(ErasureReason::IMPORT))
        .await
        .unwrap();
    store.templates.remove(&a, &id("unknown"), ErasureReason::IMPORT).await.unwrap();
    store.templates.remove_older(&a, UNIX_EPOCH, 10, ErasureReason::RETENTION).await.unwrap();
    // A write that fails after it deleted the template rolls the event back.
    fixture.tamper("DELETE FROM meta WHERE name = 'sealing check'").await;
    let refused =
        store.templates.insert(&a, &id("x"), &enrolled(sample(3)), OnConflict::Replace(ErasureReason::IMPORT)).await;
    assert!(refused.is_err());
    assert_eq!(take_events(&store).await, []);
}

async fn one_node_at_a_time_claims_an_event(fixture: Fixture) {
    let store = fixture.open().await;
    for number in 0..10 {
        store
            .outbox
            .enqueue(&OutboxEvent::new(SystemTime::now(), "test", Some(&app("a")), &number.to_string()))
            .await
            .unwrap();
    }
    let one = Uuid::new_v4();
    let two = Uuid::new_v4();
    let claim = |node: Uuid, lease: Duration, limit: usize| {
        let outbox = store.outbox.clone();
        tokio::spawn(async move { outbox.claim(node, lease, limit).await.unwrap() })
    };
    let (first, other) = tokio::join!(claim(one, LEASE, 7), claim(two, LEASE, 7));
    let first = first.unwrap();
    let other = other.unwrap();
    let ids: Vec<Uuid> = first.events.iter().chain(&other.events).map(|event| event.id).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "no event is claimed by two nodes");
    let rest_one = claim(one, LEASE, 9).await.unwrap();
    let rest_two = claim(two, LEASE, 9).await.unwrap();
    assert_eq!(rest_one.events.len() + rest_two.events.len(), 10, "its earlier claims, and unclaimed events");
    store.outbox.ack(first.id).await.unwrap();
    let again = claim(one, LEASE, 9).await.unwrap();
    assert_eq!(again.events.len(), rest_one.events.len(), "the old claim does not acknowledge a renewed one");
    store.outbox.ack(again.id).await.unwrap();
    // When the lease of a node that died is over, others claim its events.
    assert_eq!(claim(one, LEASE, 9).await.unwrap().events, []);
    claim(two, LEASE, 9).await.unwrap();
    fixture.time.advance(LEASE - Duration::from_secs(60));
    assert_eq!(claim(one, LEASE, 9).await.unwrap().events, []);
    fixture.time.advance(Duration::from_secs(120));
    let left = claim(one, LEASE, 9).await.unwrap();
    assert_eq!(left.events.len(), rest_two.events.len());
    assert_eq!(store.outbox.expire(Duration::from_secs(100 * 365 * 86_400)).await.unwrap(), 0);
    let all = store.outbox.expire(Duration::ZERO).await.unwrap();
    assert_eq!(all, rest_two.events.len() as u64);
}

async fn a_node_claims_its_own_events(fixture: Fixture) {
    let store = fixture.open().await;
    let command = fixture.open().await;
    let one = Uuid::new_v4();
    let other = Uuid::new_v4();
    store.outbox.register_node(one);
    let a = with_app(&store, "a").await;
    for template in ["x", "y"] {
        insert(&store, &a, template, &sample(1)).await.unwrap();
    }
    store.templates.remove(&a, &id("x"), ErasureReason::RETENTION).await.unwrap();
    command.templates.remove(&a, &id("y"), ErasureReason::RETENTION).await.unwrap();
    let of = |claim: Claim| claim.events.into_iter().map(|event| event.template.unwrap()).collect::<Vec<_>>();
    assert_eq!(
        of(store.outbox.claim(other, LEASE, 9).await.unwrap()),
        ["y"],
        "the first node that polls claims the event of a command"
    );
    assert_eq!(of(store.outbox.claim(one, LEASE, 9).await.unwrap()), ["x"]);
}

async fn journal_positions_only_advance(fixture: Fixture) {
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

/// A leaked, retired sealing key cannot make receipts.
async fn the_journal_key_of_a_new_database_is_random(fixture: Fixture) {
    let derived = |key: &str| -> [u8; 32] {
        let key: Vec<u8> =
            (0..32).map(|at| u8::from_str_radix(&key[2 * at..2 * at + 2], 16).unwrap()).collect::<Vec<_>>();
        Sha256::new().chain_update(b"semblance journal").chain_update(key).finalize().into()
    };
    let store = fixture.open().await;
    assert_ne!(*store.journal_key, derived(KEY));
    assert_eq!(fixture.open().await.journal_key, store.journal_key, "it does not change");
    with_app(&store, "a").await;
    // A database of the version that derived the key continues with the derived key.
    fixture.tamper("DELETE FROM meta WHERE name = 'journal key'").await;
    assert_eq!(*fixture.open().await.journal_key, derived(KEY));
}
