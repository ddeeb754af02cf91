//! Enrollments with a key are executed once, and their replies are erased with what they describe.

use semblance::domain::{Actor, IdempotencyKey, TransactionId};
use semblance::store::{EnrollmentReply, Executed, Fingerprint, KeptReply, NewTemplate, Refusal};

use super::*;

conformance! {
    an_enrollment_with_a_key_is_executed_once
    a_failed_enrollment_keeps_nothing
    of_concurrent_requests_with_one_key_one_enrolls
    a_reply_is_erased_with_its_template
    replies_expire_after_a_day
    a_new_sealing_key_reseals_replies
    a_moved_reply_does_not_open
}

fn key(text: &str) -> IdempotencyKey {
    text.parse().unwrap()
}

fn reply(seed: u8) -> EnrollmentReply {
    let result = format!(r#"{{"templateId":"x","age":{seed}}}"#);
    EnrollmentReply { fingerprint: Fingerprint([seed; 32]), transaction: TransactionId::random(), result }
}

async fn insert_once(store: &Store, app: &AppId, name: &str, template: &str, reply: &EnrollmentReply) -> Executed {
    let sample = enrolled(sample(u32::from(reply.fingerprint.0[0])));
    let template = id(template);
    let new = NewTemplate::new(&template, std::slice::from_ref(&sample));
    store.idempotency.insert_once(app, &key(name), &new, OnConflict::Refuse, reply).await.unwrap()
}

async fn kept(store: &Store, app: &AppId, name: &str) -> Option<KeptReply> {
    store.idempotency.kept_reply(app, &key(name)).await.unwrap()
}

async fn an_enrollment_with_a_key_is_executed_once(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let b = with_app(&store, "b").await;
    assert_eq!(kept(&store, &a, "k").await, None);
    let first = reply(1);
    assert_eq!(insert_once(&store, &a, "k", "x", &first).await, Executed::Now(Revision(1)));
    let before = KeptReply { template: id("x"), revision: Revision(1), reply: first };
    // The second request has another random id, as without `templateId`, and even another endpoint.
    assert_eq!(insert_once(&store, &a, "k", "y", &reply(2)).await, Executed::Before(before.clone()));
    let added =
        store.idempotency.add_sample_once(&a, &key("k"), &id("x"), &enrolled(sample(3)), &reply(3)).await.unwrap();
    assert_eq!(added, Some(Executed::Before(before.clone())));
    assert_eq!(kept(&fixture.open().await, &a, "k").await, Some(before), "on every node");
    assert_eq!((all(&store, &a).await.len(), revision(&store, &a).await), (1, Revision(1)));

    let added =
        store.idempotency.add_sample_once(&a, &key("l"), &id("x"), &enrolled(sample(4)), &reply(4)).await.unwrap();
    assert_eq!(added, Some(Executed::Now(Revision(2))));
    assert_eq!(kept(&store, &a, "l").await.unwrap().template, id("x"));
    assert_eq!(all(&store, &a).await[0].samples.len(), 2);

    assert_eq!(kept(&store, &b, "k").await, None, "a key belongs to its application");
    assert_eq!(insert_once(&store, &b, "k", "x", &reply(5)).await, Executed::Now(Revision(1)));
}

async fn a_failed_enrollment_keeps_nothing(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    insert(&store, &a, "x", &sample(1)).await.unwrap();
    let exists = store
        .idempotency
        .insert_once(&a, &key("k"), &NewTemplate::new(&id("x"), &[enrolled(sample(2))]), OnConflict::Refuse, &reply(2))
        .await;
    assert!(matches!(exists, Err(InsertError::Refused(Refusal::Exists))), "{exists:?}");
    let missing =
        store.idempotency.add_sample_once(&a, &key("k"), &id("y"), &enrolled(sample(2)), &reply(2)).await.unwrap();
    assert_eq!(missing, None);
    assert_eq!((kept(&store, &a, "k").await, revision(&store, &a).await), (None, Revision(1)));
    assert_eq!(insert_once(&store, &a, "k", "y", &reply(3)).await, Executed::Now(Revision(2)), "the key is free");
}

async fn of_concurrent_requests_with_one_key_one_enrolls(fixture: Fixture) {
    let stores = [fixture.open().await, fixture.open().await]; // two nodes
    let a = with_app(&stores[0], "a").await;
    let tasks: Vec<_> = (0..16u8)
        .map(|n| {
            let store = stores[usize::from(n) % 2].clone();
            let a = a.clone();
            tokio::spawn(async move { insert_once(&store, &a, "k", &format!("t{n}"), &reply(n)).await })
        })
        .collect();
    let mut now = 0;
    let mut replies = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Executed::Now(revision) => now += revision.0,
            Executed::Before(kept) => replies.push(kept),
        }
    }
    assert_eq!((now, replies.len()), (1, 15));
    let found = all(&stores[1], &a).await;
    assert!(found.len() == 1 && replies.iter().all(|kept| *kept == replies[0] && kept.template == found[0].id));
}

async fn a_reply_is_erased_with_its_template(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    for (n, template) in (1..).zip(["deleted", "replaced", "expired", "left"]) {
        insert_once(&store, &a, template, template, &reply(n)).await;
    }
    let added = store
        .idempotency
        .add_sample_once(&a, &key("sample"), &id("deleted"), &enrolled(sample(9)), &reply(9))
        .await
        .unwrap();
    assert!(matches!(added, Some(Executed::Now(_))));
    store.templates.remove(&a, &id("deleted"), ErasureReason::IMPORT).await.unwrap().unwrap();
    assert_eq!(kept(&store, &a, "sample").await, None);
    assert_eq!(kept(&store, &a, "deleted").await, None);
    // The template of the new reply replaces that of the old one.
    let replace = OnConflict::Replace(ErasureReason::replace(TransactionId::random(), Actor::Server));
    let samples = [enrolled(sample(8))];
    let new = store
        .idempotency
        .insert_once(&a, &key("new"), &NewTemplate::new(&id("replaced"), &samples), replace, &reply(8))
        .await;
    assert!(matches!(new, Ok(Executed::Now(_))));
    assert_eq!(kept(&store, &a, "replaced").await, None);
    assert_eq!(kept(&store, &a, "new").await.unwrap().reply.fingerprint, Fingerprint([8; 32]));
    fixture.tamper("UPDATE templates SET created_at = created_at - 1000000 WHERE template_id = 'expired'").await;
    let oldest = store.templates.get(&a, &id("left")).await.unwrap().unwrap().created_at - Duration::from_secs(60);
    assert_eq!(store.templates.remove_older(&a, oldest, 10, ErasureReason::RETENTION).await.unwrap().len(), 1);
    assert_eq!(kept(&store, &a, "expired").await, None);
    assert!(kept(&store, &a, "left").await.is_some());
    assert!(
        matches!(insert_once(&store, &a, "deleted", "again", &reply(7)).await, Executed::Now(_)),
        "the key is free"
    );
    store.apps.delete(&a).await.unwrap();
    let a = with_app(&store, "a").await;
    for name in ["left", "new", "deleted"] {
        assert_eq!(kept(&store, &a, name).await, None);
    }
}

async fn replies_expire_after_a_day(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    for (n, name) in (1..).zip(["one", "two", "three"]) {
        insert_once(&store, &a, name, name, &reply(n)).await;
    }
    assert_eq!(store.idempotency.expire_replies(10).await.unwrap(), 0);
    fixture.time.advance(Duration::from_secs(86_400 - 60));
    assert_eq!(store.idempotency.expire_replies(10).await.unwrap(), 0);
    fixture.time.advance(Duration::from_secs(61));
    assert_eq!(store.idempotency.expire_replies(2).await.unwrap(), 2);
    assert_eq!(store.idempotency.expire_replies(2).await.unwrap(), 1);
    assert_eq!(store.idempotency.expire_replies(2).await.unwrap(), 0);
    assert_eq!((kept(&store, &a, "one").await, all(&store, &a).await.len()), (None, 3), "the templates stay");
}

async fn a_new_sealing_key_reseals_replies(fixture: Fixture) {
    let before = fixture.open().await;
    let a = with_app(&before, "a").await;
    let (old, new) = (key_id(KEY), key_id(NEW_KEY));
    // More than one batch.
    let many: Vec<IndexedTemplate> =
        (0..2).map(|n| IndexedTemplate { id: id(&format!("t{n}")), samples: vec![sample(n)] }).collect();
    before.templates.insert_all(&a, &many, OnConflict::Refuse).await.unwrap();
    insert_once(&before, &a, "one", "x", &reply(1)).await;
    insert_once(&before, &a, "two", "y", &reply(2)).await;
    let known = kept(&before, &a, "one").await.unwrap();

    let store = fixture.try_open(&format!("{KEY} {NEW_KEY}")).await.unwrap();
    store.keys.activate(new).await.unwrap();
    assert_eq!(store.keys.status().await.unwrap().in_use, [(old, 4 + 2)]);
    insert_once(&store, &a, "three", "z", &reply(3)).await;
    assert_eq!(reseal_all(&store).await, 4 + 2);
    assert_eq!(reseal_all(&store).await, 0);
    assert_eq!(store.keys.status().await.unwrap().in_use, [(new, 5 + 3)]);
    let with_new = fixture.try_open(NEW_KEY).await.unwrap();
    assert_eq!(kept(&with_new, &a, "one").await, Some(known));
    let lacks_key = before.idempotency.kept_reply(&a, &key("one")).await;
    assert!(matches!(&lacks_key, Err(StoreError::KeyMissing(id)) if *id == new), "{lacks_key:?}");
}

async fn a_moved_reply_does_not_open(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let b = with_app(&store, "b").await;
    insert_once(&store, &a, "one", "x", &reply(1)).await;
    insert(&store, &a, "y", &sample(2)).await.unwrap();
    insert(&store, &b, "x", &sample(3)).await.unwrap();
    let known = kept(&store, &a, "one").await.unwrap();
    for (app, template) in [("a", "y"), ("b", "x")] {
        fixture.tamper(&format!("UPDATE idempotency SET app_id = '{app}', template_id = '{template}'")).await;
        let moved = store.idempotency.kept_reply(&super::app(app), &key("one")).await;
        assert!(matches!(moved, Err(StoreError::Corrupt(_))), "{moved:?}");
    }
    fixture.tamper("UPDATE idempotency SET app_id = 'a', template_id = 'x'").await;
    assert_eq!(kept(&store, &a, "one").await, Some(known));
}
