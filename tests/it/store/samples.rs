//! Changes of single samples, and of whose they are.

use std::collections::BTreeMap;

use semblance::domain::{Actor, FaceCrop, IdempotencyKey, TransactionId, Verdict};
use semblance::store::backup::{About, BackupError, BackupSink, Record, RecordSource};
use semblance::store::outbox::LEASE;
use semblance::store::{
    ChangeError, ChangeRefusal, ChangedBy, EnrolledSample, EnrollmentReply, Fingerprint, LimitReached, Merge, Merged,
    OutboxEvent, SampleMove, TemplateRecord,
};
use uuid::Uuid;

use super::*;
use crate::fuzz::mutate::Random;

conformance! {
    a_sample_is_erased_alone
    a_sample_moves_with_all_that_is_known_of_it
    the_last_sample_moves_only_if_its_template_may_go
    templates_are_merged
    a_template_gets_another_id
    kept_replies_follow_their_templates_and_end_with_their_samples
    a_change_is_refused_above_the_limit_and_keeps_quotas_right
    a_crop_opens_with_its_sample_only
    crops_that_are_no_longer_kept_are_erased
    what_moved_opens_after_a_new_sealing_key_and_in_a_restored_backup
    changes_of_two_nodes_lose_no_sample
}

/// A sample of a photo, with everything that is stored beside it.
fn full(seed: u32) -> EnrolledSample {
    EnrolledSample {
        sample: sample(seed),
        enrolled_by: Actor::Administrator(format!("ann-{seed}").parse().unwrap()),
        quality: Some(Verdict { score: f64::from(seed) / 100.0, fine: seed.is_multiple_of(2) }),
        crop: Some(crop(seed)),
    }
}

fn crop(seed: u32) -> FaceCrop {
    FaceCrop::new(format!("jpeg {seed} ").repeat(400 + seed as usize).into_bytes())
}

/// Enrolls templates with samples of these seeds.
async fn enroll(store: &Store, app: &AppId, template: &str, seeds: &[u32]) -> Vec<SampleId> {
    let mut ids = Vec::new();
    for (at, seed) in seeds.iter().enumerate() {
        let new = full(*seed);
        let on_conflict = if at == 0 { OnConflict::Refuse } else { OnConflict::Extend };
        store.templates.insert(app, &id(template), &new, on_conflict).await.unwrap();
        ids.push(new.sample.id);
    }
    ids
}

async fn get(store: &Store, app: &AppId, template: &str) -> Option<TemplateRecord> {
    store.templates.get(app, &id(template)).await.unwrap()
}

/// The samples of a template, as a replica would open them.
async fn samples(store: &Store, app: &AppId, template: &str) -> Vec<Sample> {
    store.templates.samples(app, &model(), &id(template)).await.unwrap()
}

fn refusal<T: std::fmt::Debug>(outcome: Result<T, ChangeError>) -> ChangeRefusal {
    match outcome {
        Err(ChangeError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

/// The changes after a revision: template and samples.
async fn changes(store: &Store, app: &AppId, after: u64) -> Vec<(String, Vec<SampleId>)> {
    let changes = store.templates.changes(app, &model(), Revision(after).into(), 10_000).await.unwrap();
    let Changes::List { changes, unreadable, .. } = changes else { panic!("the log is whole") };
    assert_eq!(unreadable, []);
    let of = |change: &semblance::gallery::Change| {
        let samples = change.template.samples.iter().map(|sample| sample.id).collect();
        (change.template.id.as_str().to_owned(), samples)
    };
    changes.iter().map(of).collect()
}

async fn events(store: &Store) -> Vec<OutboxEvent> {
    let claim = store.outbox.claim(Uuid::new_v4(), LEASE, 100).await.unwrap();
    store.outbox.ack(claim.id).await.unwrap();
    claim.events
}

fn by() -> ChangedBy {
    ChangedBy { actor: Actor::Administrator("ann".parse().unwrap()), transaction: None }
}

async fn remove_sample(store: &Store, app: &AppId, template: &str, sample: SampleId) -> Result<Revision, ChangeError> {
    let reason = ErasureReason::delete(TransactionId::random(), Actor::Server);
    store.samples.remove_sample(app, &id(template), sample, reason).await
}

async fn move_sample(
    store: &Store,
    app: &AppId,
    (from, sample, to): (&str, SampleId, &str),
    remove_empty: bool,
) -> Result<Revision, ChangeError> {
    let (from, to) = (id(from), id(to));
    store.samples.move_sample(app, SampleMove { from: &from, sample, to: &to, remove_empty }, &by()).await
}

async fn merge(store: &Store, app: &AppId, from: &str, into: &str) -> Result<Merged, ChangeError> {
    store.samples.merge(app, Merge { from: &id(from), into: &id(into) }, &by()).await
}

async fn a_sample_is_erased_alone(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let b = with_app(&store, "b").await;
    let ids = enroll(&store, &a, "x", &[1, 2, 3]).await;
    let snapshot = SnapshotId(Uuid::new_v4());
    store.snapshots.register(&a, snapshot).await.unwrap();
    events(&store).await;
    let transaction = TransactionId::random();
    let reason = ErasureReason::delete(transaction, Actor::Server);
    assert_eq!(store.samples.remove_sample(&a, &id("x"), ids[1], reason).await.unwrap(), Revision(4));
    assert_eq!(changes(&store, &a, 3).await, [("x".to_owned(), vec![ids[0], ids[2]])]);
    assert_eq!(store.samples.crop(&a, &id("x"), ids[1]).await.unwrap(), None);
    assert_eq!(store.samples.crop(&a, &id("x"), ids[2]).await.unwrap(), Some(crop(3)));
    assert!(store.snapshots.key(&a, snapshot).await.unwrap().is_none(), "no snapshot keeps what was deleted");
    let events = events(&store).await;
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!((event.operation.as_str(), event.detail.as_str()), (OutboxEvent::ERASURE, "delete"));
    assert_eq!((event.template.as_deref(), event.sample), (Some("x"), Some(ids[1])));
    assert_eq!((event.revision, event.transaction), (Some(4), Some(transaction.0)));

    for (app, template, sample, expected) in [
        (&a, "x", ids[1], ChangeRefusal::NoSample),
        (&a, "y", ids[0], ChangeRefusal::NoTemplate),
        (&b, "x", ids[0], ChangeRefusal::NoTemplate),
    ] {
        assert_eq!(refusal(remove_sample(&store, app, template, sample).await), expected);
    }
    remove_sample(&store, &a, "x", ids[0]).await.unwrap();
    assert_eq!(refusal(remove_sample(&store, &a, "x", ids[2]).await), ChangeRefusal::LastSample);
    assert_eq!(revision(&store, &a).await, Revision(5), "what is refused is no change");
    assert_eq!(samples(&store, &a, "x").await, [full(3).sample].map(|kept| Sample { id: ids[2], ..kept }));
    let unknown = remove_sample(&store, &app("c"), "x", ids[0]).await;
    assert!(matches!(unknown, Err(ChangeError::Store(StoreError::NoSuchApp))), "{unknown:?}");
}

async fn a_sample_moves_with_all_that_is_known_of_it(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let from = enroll(&store, &a, "x", &[1, 2]).await;
    fixture.time.advance(Duration::from_secs(5));
    let to = enroll(&store, &a, "y", &[3]).await;
    let before = get(&store, &a, "x").await.unwrap();
    let moved = before.samples.iter().find(|sample| sample.id == from[1]).unwrap().clone();
    assert_eq!(moved.enrolled_by.as_deref(), Some("administrator:ann-2"));
    assert_eq!((moved.quality, moved.has_crop), (Some(Verdict { score: 0.02, fine: true }), true));
    events(&store).await;

    assert_eq!(move_sample(&store, &a, ("x", from[1], "y"), false).await.unwrap(), Revision(5));
    assert_eq!(get(&store, &a, "x").await.unwrap().samples, [before.samples[0].clone()]);
    let after = get(&store, &a, "y").await.unwrap();
    assert_eq!(after.samples[0], moved, "the older sample comes first, with its time");
    assert_eq!(
        samples(&store, &a, "y").await,
        [Sample { id: from[1], ..sample(2) }, Sample { id: to[0], ..sample(3) }]
    );
    assert_eq!(store.samples.crop(&a, &id("y"), from[1]).await.unwrap(), Some(crop(2)));
    assert_eq!(store.samples.crop(&a, &id("x"), from[1]).await.unwrap(), None);
    let expected = [("x".to_owned(), vec![from[0]]), ("y".to_owned(), vec![from[1], to[0]])];
    assert_eq!(changes(&store, &a, 3).await, expected, "replicas see both templates");
    let events = events(&store).await;
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!((event.operation.as_str(), event.detail.as_str()), (OutboxEvent::MOVE, "from x"));
    assert_eq!(event.actor, Some(by().actor));
    assert_eq!((event.template.as_deref(), event.sample, event.revision), (Some("y"), Some(from[1]), Some(5)));

    for (change, expected) in [
        (("x", from[1], "y"), ChangeRefusal::NoSample),
        (("x", from[0], "x"), ChangeRefusal::SameTemplate),
        (("z", from[0], "y"), ChangeRefusal::NoTemplate),
        (("x", from[0], "z"), ChangeRefusal::NoTarget),
        (("x", from[0], "y"), ChangeRefusal::LastSample),
    ] {
        assert_eq!(refusal(move_sample(&store, &a, change, false).await), expected);
    }
    assert_eq!(revision(&store, &a).await, Revision(5));
}

async fn the_last_sample_moves_only_if_its_template_may_go(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let x = enroll(&store, &a, "x", &[1]).await;
    let y = enroll(&store, &a, "y", &[2]).await;
    assert_eq!(refusal(move_sample(&store, &a, ("x", x[0], "y"), false).await), ChangeRefusal::LastSample);
    assert_eq!(move_sample(&store, &a, ("x", x[0], "y"), true).await.unwrap(), Revision(4));
    assert_eq!(get(&store, &a, "x").await, None);
    assert_eq!(changes(&store, &a, 2).await, [("x".to_owned(), vec![]), ("y".to_owned(), vec![x[0], y[0]])]);
    // A sample of the version before data keys moves, too, and gets a data key.
    with_a_row_before_data_keys(&fixture, &store, &a).await;
    let old = get(&store, &a, "x").await.unwrap().samples[0].id;
    move_sample(&store, &a, ("x", old, "y"), true).await.unwrap();
    let opened = samples(&store, &a, "y").await;
    assert!(opened.contains(&Sample { id: old, ..sample(1) }));
    assert_eq!(fixture.number("SELECT count(*) FROM samples WHERE data_key IS NULL").await, Some(0));
}

async fn templates_are_merged(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let from = enroll(&store, &a, "old", &[1, 2]).await;
    // A sample of another model moves as well.
    let other = EnrolledSample { sample: sample_of(9, ModelTag::new("other")), ..full(4) };
    store.templates.insert(&a, &id("old"), &other, OnConflict::Extend).await.unwrap();
    let created_at = get(&store, &a, "old").await.unwrap().created_at;
    fixture.time.advance(Duration::from_secs(60));
    let into = enroll(&store, &a, "new", &[3]).await;
    assert!(get(&store, &a, "new").await.unwrap().created_at > created_at);
    events(&store).await;

    assert_eq!(merge(&store, &a, "old", "new").await.unwrap(), Merged { revision: Revision(6), samples: 3 });
    let merged = get(&store, &a, "new").await.unwrap();
    assert_eq!(merged.created_at, created_at, "retention does not keep the older samples for longer");
    let ids: Vec<_> = merged.samples.iter().map(|sample| sample.id).collect();
    let expected: BTreeSet<_> = from.iter().chain(&into).chain([&other.sample.id]).copied().collect();
    assert_eq!(ids.iter().copied().collect::<BTreeSet<_>>(), expected);
    assert_eq!(get(&store, &a, "old").await, None);
    let seen = changes(&store, &a, 4).await;
    assert_eq!(seen[0], ("old".to_owned(), vec![]));
    assert_eq!((seen[1].0.as_str(), seen[1].1.len()), ("new", 3));
    assert_eq!(store.samples.crop(&a, &id("new"), other.sample.id).await.unwrap(), Some(crop(4)));
    assert_eq!(store.templates.samples(&a, &ModelTag::new("other"), &id("new")).await.unwrap(), [other.sample]);
    let events = events(&store).await;
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!((event.operation.as_str(), event.detail.as_str()), (OutboxEvent::MERGE, "from old"));
    assert_eq!((event.template.as_deref(), event.sample, event.revision), (Some("new"), None, Some(6)));

    assert_eq!(refusal(merge(&store, &a, "old", "new").await), ChangeRefusal::NoTemplate);
    assert_eq!(refusal(merge(&store, &a, "new", "old").await), ChangeRefusal::NoTarget);
    assert_eq!(refusal(merge(&store, &a, "new", "new").await), ChangeRefusal::SameTemplate);
    // The absorbed id is free.
    enroll(&store, &a, "old", &[7]).await;
}

async fn a_template_gets_another_id(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let ids = enroll(&store, &a, "ann", &[1, 2]).await;
    enroll(&store, &a, "bo", &[3]).await;
    let before = get(&store, &a, "ann").await.unwrap();
    events(&store).await;
    fixture.time.advance(Duration::from_secs(60));
    let renamed = store.samples.rename(&a, &id("ann"), &id("anna"), &by()).await;
    assert_eq!(renamed.unwrap(), Revision(5));
    let after = get(&store, &a, "anna").await.unwrap();
    assert_eq!((after.created_at, &after.samples), (before.created_at, &before.samples), "its times stay");
    assert_eq!(get(&store, &a, "ann").await, None);
    assert_eq!(samples(&store, &a, "anna").await.len(), 2);
    let mut expected = ids.clone();
    expected.sort();
    let seen = changes(&store, &a, 3).await;
    assert_eq!(seen[0], ("ann".to_owned(), vec![]), "replicas remove the old id");
    assert_eq!((seen[1].0.as_str(), BTreeSet::from_iter(seen[1].1.clone())), ("anna", BTreeSet::from_iter(expected)));
    assert_eq!(store.samples.crop(&a, &id("anna"), ids[0]).await.unwrap(), Some(crop(1)));
    let events = events(&store).await;
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!((event.operation.as_str(), event.detail.as_str()), (OutboxEvent::RENAME, "from ann"));
    assert_eq!((event.template.as_deref(), event.revision), (Some("anna"), Some(5)));

    let refused = |from: &'static str, to: &'static str| {
        let (store, a) = (store.clone(), a.clone());
        async move { refusal(store.samples.rename(&a, &id(from), &id(to), &by()).await) }
    };
    assert_eq!(refused("ann", "carl").await, ChangeRefusal::NoTemplate);
    assert_eq!(refused("anna", "bo").await, ChangeRefusal::TargetExists, "an id is never overwritten");
    assert_eq!(refused("anna", "anna").await, ChangeRefusal::SameTemplate);
    assert_eq!(revision(&store, &a).await, Revision(5));
}

fn key(text: &str) -> IdempotencyKey {
    text.parse().unwrap()
}

async fn kept_replies_follow_their_templates_and_end_with_their_samples(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let reply = |seed: u8| EnrollmentReply {
        fingerprint: Fingerprint([seed; 32]),
        transaction: TransactionId::random(),
        result: format!(r#"{{"age":{seed}}}"#),
    };
    let (first, second, third) = (full(1), full(2), full(3));
    let (one, two, three) = (reply(1), reply(2), reply(3));
    let idempotency = &store.idempotency;
    let (x, enrolled) = (id("x"), [first]);
    let new = semblance::store::NewTemplate::new(&x, &enrolled);
    idempotency.insert_once(&a, &key("1"), &new, OnConflict::Refuse, &one).await.unwrap();
    idempotency.add_sample_once(&a, &key("2"), &id("x"), &second, &two).await.unwrap();
    idempotency.add_sample_once(&a, &key("3"), &id("x"), &third, &three).await.unwrap();
    enroll(&store, &a, "y", &[4]).await;
    let kept = |name: &'static str| {
        let (store, a) = (store.clone(), a.clone());
        async move {
            let kept = store.idempotency.kept_reply(&a, &key(name)).await.unwrap()?;
            Some((kept.template.as_str().to_owned(), kept.reply))
        }
    };
    move_sample(&store, &a, ("x", second.sample.id, "y"), false).await.unwrap();
    assert_eq!(kept("1").await, Some(("x".to_owned(), one.clone())));
    assert_eq!(kept("2").await, Some(("y".to_owned(), two.clone())));
    // The reply describes the face: it ends with the sample.
    remove_sample(&store, &a, "x", third.sample.id).await.unwrap();
    assert_eq!(kept("3").await, None);
    merge(&store, &a, "y", "x").await.unwrap();
    assert_eq!(kept("2").await, Some(("x".to_owned(), two)));
    store.samples.rename(&a, &id("x"), &id("z"), &by()).await.unwrap();
    assert_eq!(kept("1").await, Some(("z".to_owned(), one)));
    store.templates.remove(&a, &id("z"), ErasureReason::RETENTION).await.unwrap();
    assert_eq!((kept("1").await, kept("2").await), (None, None));
}

async fn a_change_is_refused_above_the_limit_and_keeps_quotas_right(fixture: Fixture) {
    let store = fixture.open_limited(3).await;
    let a = with_app(&store, "a").await;
    store.apps.set_max_templates(&a, Some(4)).await.unwrap();
    store.apps.set_max_samples(&a, Some(9)).await.unwrap();
    let x = enroll(&store, &a, "x", &[1, 2, 3]).await;
    let y = enroll(&store, &a, "y", &[4, 5]).await;
    let z = enroll(&store, &a, "z", &[6]).await;
    let too_many = || ChangeRefusal::from(LimitReached::SamplesPerTemplate(3));
    assert_eq!(refusal(merge(&store, &a, "y", "x").await), too_many());
    assert_eq!(refusal(move_sample(&store, &a, ("z", z[0], "x"), true).await), too_many());
    assert_eq!(samples(&store, &a, "x").await.len(), 3);
    let counted = "SELECT CASE WHEN counted_revision = revision THEN counted_templates * 100 + counted_samples END
                   FROM applications";
    assert_eq!(fixture.number(counted).await, Some(306));
    merge(&store, &a, "z", "y").await.unwrap();
    assert_eq!(fixture.number(counted).await, Some(206));
    remove_sample(&store, &a, "y", y[0]).await.unwrap();
    assert_eq!(fixture.number(counted).await, Some(205));
    store.samples.rename(&a, &id("x"), &id("w"), &by()).await.unwrap();
    assert_eq!(fixture.number(counted).await, Some(205));
    remove_sample(&store, &a, "w", x[0]).await.unwrap();
    move_sample(&store, &a, ("y", y[1], "w"), false).await.unwrap();
    assert_eq!(fixture.number(counted).await, Some(204));
    assert_eq!(refusal(move_sample(&store, &a, ("y", z[0], "w"), true).await), too_many());
    remove_sample(&store, &a, "w", x[1]).await.unwrap();
    move_sample(&store, &a, ("y", z[0], "w"), true).await.unwrap();
    assert_eq!(fixture.number(counted).await, Some(103));
}

async fn a_crop_opens_with_its_sample_only(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let ids = enroll(&store, &a, "x", &[1]).await;
    enroll(&store, &a, "y", &[2]).await;
    let bytes = (crop(1).jpeg().len() + crop(2).jpeg().len() + 2 * 29) as u64;
    assert_eq!(store.samples.crop_bytes(&a).await.unwrap(), bytes);
    assert_eq!(store.samples.crop_bytes(&app("unknown")).await.unwrap(), 0);
    fixture
        .tamper("UPDATE crops SET sealed = (SELECT sealed FROM crops WHERE template_id = 'y') WHERE template_id = 'x'")
        .await;
    let swapped = store.samples.crop(&a, &id("x"), ids[0]).await;
    assert!(matches!(swapped, Err(StoreError::Corrupt(_))), "{swapped:?}");
    // A sample whose crop is damaged still matches, and is not moved as if it were whole.
    assert_eq!(samples(&store, &a, "x").await.len(), 1);
    assert!(matches!(merge(&store, &a, "x", "y").await, Err(ChangeError::Store(StoreError::Corrupt(_)))));
    assert_eq!(samples(&store, &a, "y").await.len(), 1);
}

async fn crops_that_are_no_longer_kept_are_erased(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    let b = with_app(&store, "b").await;
    for app in [&a, &b] {
        assert!(store.apps.set_keep_crops(app, true).await.unwrap());
        enroll(&store, app, "x", &[1, 2, 3]).await;
    }
    assert!(!store.apps.set_keep_crops(&app("unknown"), true).await.unwrap());
    assert!(store.apps.list().await.unwrap().iter().all(|app| app.keep_crops));
    assert_eq!(store.samples.erase_unkept_crops(100).await.unwrap(), 0);
    assert!(store.apps.set_keep_crops(&a, false).await.unwrap());
    assert_eq!(store.samples.erase_unkept_crops(2).await.unwrap(), 2);
    assert_eq!(store.samples.erase_unkept_crops(2).await.unwrap(), 1);
    assert_eq!(store.samples.erase_unkept_crops(2).await.unwrap(), 0);
    assert_eq!(store.samples.crop_bytes(&a).await.unwrap(), 0);
    assert!(store.samples.crop_bytes(&b).await.unwrap() > 0, "another application keeps its own");
    assert_eq!(samples(&store, &a, "x").await.len(), 3, "the samples stay");
    assert!(get(&store, &a, "x").await.unwrap().samples.iter().all(|sample| !sample.has_crop));
    assert_eq!(fixture.number("SELECT count(*) FROM crops").await, Some(3));
    assert!(store.apps.delete(&b).await.unwrap());
    assert_eq!(fixture.number("SELECT count(*) FROM crops").await, Some(0));
}

#[derive(Default)]
struct Kept(Vec<Record>);

impl BackupSink for Kept {
    fn begin(&mut self, _: &About) -> Result<(), BackupError> {
        Ok(())
    }

    fn record(&mut self, record: Record) -> Result<(), BackupError> {
        self.0.push(record);
        Ok(())
    }
}

struct Source(std::vec::IntoIter<Record>);

#[async_trait::async_trait]
impl RecordSource for Source {
    async fn next(&mut self) -> Result<Option<Record>, BackupError> {
        Ok(self.0.next())
    }
}

async fn what_moved_opens_after_a_new_sealing_key_and_in_a_restored_backup(fixture: Fixture) {
    fixture.open().await;
    let store = fixture.try_open(&format!("{KEY} {NEW_KEY}")).await.unwrap();
    let a = with_app(&store, "a").await;
    let x = enroll(&store, &a, "x", &[1, 2]).await;
    let y = enroll(&store, &a, "y", &[3]).await;
    let z = enroll(&store, &a, "z", &[4]).await;
    move_sample(&store, &a, ("x", x[0], "y"), false).await.unwrap();
    store.keys.activate(key_id(NEW_KEY)).await.unwrap();
    // Between the activation and the end of the rotation both keys are in use.
    merge(&store, &a, "y", "x").await.unwrap();
    store.samples.rename(&a, &id("x"), &id("w"), &by()).await.unwrap();
    assert_eq!(reseal_all(&store).await, 1, "only the sample that did not move is under the old key");
    let whole = |store: Store| {
        let (a, z, x, y) = (a.clone(), z.clone(), x.clone(), y.clone());
        async move {
            assert_eq!(samples(&store, &a, "w").await.len(), 3);
            for (template, sample, seed) in [("w", x[0], 1), ("w", x[1], 2), ("w", y[0], 3), ("z", z[0], 4)] {
                assert_eq!(store.samples.crop(&a, &id(template), sample).await.unwrap(), Some(crop(seed)));
            }
        }
    };
    let with_new = fixture.try_open(NEW_KEY).await.unwrap();
    whole(with_new.clone()).await;

    let mut kept = Kept::default();
    let counts = with_new.backup.read_all(&mut kept).await.unwrap();
    assert_eq!((counts["samples"], counts["crops"]), (4, 4));
    let target = Fixture::sqlite();
    let restored = target.try_open(NEW_KEY).await.unwrap();
    restored.backup.write_all(&mut Source(kept.0.into_iter())).await.unwrap();
    let restored = target.try_open(NEW_KEY).await.unwrap();
    assert_eq!(get(&restored, &a, "w").await, get(&with_new, &a, "w").await);
    whole(restored).await;
}

/// Random changes of two nodes at once: every sample is in one template, and a replica that follows the log agrees with
/// the rows.
async fn changes_of_two_nodes_lose_no_sample(fixture: Fixture) {
    let nodes = [fixture.open().await, fixture.open().await];
    let a = with_app(&nodes[0], "a").await;
    let names = ["p", "q", "r", "s"];
    let mut all_ids = BTreeSet::new();
    for (at, name) in names.iter().enumerate() {
        let seeds: Vec<u32> = (0..4).map(|n| at as u32 * 10 + n).collect();
        all_ids.extend(enroll(&nodes[0], &a, name, &seeds).await);
    }
    let enrolled = revision(&nodes[0], &a).await;
    let tasks: Vec<_> = nodes
        .iter()
        .enumerate()
        .map(|(n, store)| {
            let (store, a) = (store.clone(), a.clone());
            let ids: Vec<SampleId> = all_ids.iter().copied().collect();
            tokio::spawn(async move {
                let mut random = Random::new(n as u64 + 7);
                let mut done = 0;
                for _ in 0..60 {
                    let (from, to) = (names[random.below(4)], names[random.below(4)]);
                    let outcome = match random.below(40) {
                        0 => merge(&store, &a, from, to).await.map(drop),
                        1..=4 => store.samples.rename(&a, &id(from), &id("t"), &by()).await.map(drop),
                        5..=8 => store.samples.rename(&a, &id("t"), &id(from), &by()).await.map(drop),
                        _ => {
                            let here = get(&store, &a, from).await.map(|record| record.samples).unwrap_or_default();
                            let sample = here.first().map_or(ids[random.below(ids.len())], |sample| sample.id);
                            move_sample(&store, &a, (from, sample, to), random.below(8) == 0).await.map(drop)
                        }
                    };
                    match outcome {
                        Ok(()) => done += 1,
                        Err(ChangeError::Refused(_)) => {}
                        Err(ChangeError::Store(error)) => panic!("{error}"),
                    }
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.unwrap();
    }
    assert!(done > 10, "{done}");
    let rows = all(&nodes[1], &a).await;
    let found: Vec<SampleId> = rows.iter().flat_map(|template| &template.samples).map(|sample| sample.id).collect();
    assert_eq!(found.len(), all_ids.len(), "no sample is lost or doubled");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), all_ids);
    let now: BTreeMap<String, usize> =
        rows.iter().map(|template| (template.id.as_str().to_owned(), template.samples.len())).collect();
    let mut followed: BTreeMap<String, usize> = names.iter().map(|name| ((*name).to_owned(), 4)).collect();
    for (template, samples) in changes(&nodes[0], &a, enrolled.0).await {
        followed.insert(template, samples.len());
    }
    followed.retain(|_, samples| *samples > 0);
    assert_eq!(followed, now);
}
