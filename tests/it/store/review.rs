//! Probes that are held for review.

use semblance::domain::{Actor, Cosine, FaceCrop, ProbeId, TransactionId, Verdict};
use semblance::store::{
    ChangedBy, EnrolledSample, Held, HeldFilter, HeldProbe, HeldQuery, MAX_HELD, Merge, NewProbe, NewTemplate,
};

use super::*;

conformance! {
    a_probe_is_held_with_all_that_is_known_of_it
    a_face_that_comes_again_is_counted
    probes_are_listed_in_pages
    a_probe_becomes_a_sample_once
    a_probe_ends_with_its_time_its_template_and_its_application
    probes_follow_a_template_that_is_renamed_or_merged
    the_number_of_probes_is_bounded
    probes_open_after_a_new_sealing_key
}

/// No two of the test's embeddings are that much alike.
fn same() -> Cosine {
    Cosine::clamped(0.999)
}

fn probe(seed: u32, near: Option<(&str, f32)>) -> NewProbe {
    NewProbe {
        embedding: sample(seed).embedding,
        crop: seed.is_multiple_of(2).then(|| FaceCrop::new(format!("jpeg {seed}").into_bytes())),
        quality: Some(Verdict { score: 0.75, fine: true }),
        near: near.map(|(template, cosine)| (id(template), Cosine::clamped(cosine))),
        threshold: 0.75,
        transaction: TransactionId::random(),
        keep: Duration::from_secs(3600),
    }
}

async fn hold(store: &Store, app: &AppId, probe: &NewProbe) -> ProbeId {
    match store.review.hold(app, probe, same()).await.unwrap() {
        Held::New(id) => id,
        Held::Again(id) => panic!("{id} is another face"),
    }
}

async fn held(store: &Store, app: &AppId, filter: HeldFilter) -> Vec<HeldProbe> {
    store.review.held(app, &HeldQuery { filter, after: None, limit: 1000 }).await.unwrap()
}

/// The sample that a probe becomes.
fn of_probe(probe: &ProbeId, seed: u32) -> EnrolledSample {
    let mut new = enrolled(sample(seed));
    new.sample.id = SampleId(probe.0);
    new
}

async fn a_probe_is_held_with_all_that_is_known_of_it(fixture: Fixture) {
    let store = fixture.open().await;
    let app = with_app(&store, "a").await;
    insert(&store, &app, "ann", &sample(1)).await.unwrap();
    let new = probe(2, Some(("ann", 0.4)));
    let id = hold(&store, &app, &new).await;
    let (found, content) = store.review.probe(&app, id).await.unwrap().unwrap();
    assert_eq!(content.embedding, new.embedding);
    assert_eq!(content.crop, new.crop);
    assert_eq!((&found.near, found.threshold, found.quality), (&new.near, 0.75, new.quality));
    assert_eq!((found.times, found.transaction, found.has_crop), (1, new.transaction, true));
    assert_eq!(found.ends_at, found.first_seen_at + new.keep);
    let near = |of: &str| {
        let (store, app, of) = (&store, &app, self::id(of));
        async move { store.review.held_near(app, &of).await.unwrap() }
    };
    assert_eq!((near("ann").await, near("bob").await), (vec![found.clone()], vec![]));
    assert_eq!(held(&store, &app, HeldFilter::All).await, [found]);
    // Another application has none of it.
    let other = with_app(&store, "b").await;
    assert!(store.review.probe(&other, id).await.unwrap().is_none());
    assert!(!store.review.dismiss_probe(&other, id).await.unwrap());
    assert!(store.review.dismiss_probe(&app, id).await.unwrap());
    assert!(!store.review.dismiss_probe(&app, id).await.unwrap());
    assert_eq!(store.review.count_held(&app).await.unwrap(), 0);
}

async fn a_face_that_comes_again_is_counted(fixture: Fixture) {
    let store = fixture.open().await;
    let app = with_app(&store, "a").await;
    insert(&store, &app, "ann", &sample(1)).await.unwrap();
    insert(&store, &app, "bob", &sample(9)).await.unwrap();
    let id = hold(&store, &app, &probe(2, None)).await;
    hold(&store, &app, &probe(3, None)).await;
    let again = |near| {
        let (store, app) = (&store, &app);
        async move { store.review.hold(app, &probe(2, near), same()).await.unwrap() }
    };
    assert_eq!(again(Some(("ann", 0.4))).await, Held::Again(id));
    assert_eq!(again(Some(("bob", 0.3))).await, Held::Again(id));
    let listed = held(&store, &app, HeldFilter::Near).await;
    assert_eq!((listed.len(), listed[0].id, listed[0].times), (1, id, 3));
    assert_eq!(listed[0].near, Some((self::id("ann"), Cosine::clamped(0.4))), "the nearest one stays");
    assert!(listed[0].last_seen_at >= listed[0].first_seen_at);
    assert_eq!(listed[0].ends_at, listed[0].first_seen_at + Duration::from_secs(3600), "the time is not extended");
    assert_eq!(held(&store, &app, HeldFilter::Unknown).await.len(), 1);
}

async fn probes_are_listed_in_pages(fixture: Fixture) {
    let store = fixture.open().await;
    let app = with_app(&store, "a").await;
    for seed in 0..25 {
        hold(&store, &app, &probe(seed, None)).await;
    }
    let mut after = None;
    let mut listed = Vec::new();
    loop {
        let query = HeldQuery { filter: HeldFilter::All, after, limit: 7 };
        let page = store.review.held(&app, &query).await.unwrap();
        after = page.last().map(HeldProbe::place);
        listed.extend(page.iter().map(|held| (held.last_seen_at, held.id)));
        if page.len() < 7 {
            break;
        }
    }
    assert_eq!(listed.len(), 25);
    assert!(listed.is_sorted_by(|a, b| a > b), "last seen first, none twice");
}

async fn a_probe_becomes_a_sample_once(fixture: Fixture) {
    let store = fixture.open().await;
    let app = with_app(&store, "a").await;
    insert(&store, &app, "ann", &sample(1)).await.unwrap();
    let first = hold(&store, &app, &probe(2, Some(("ann", 0.4)))).await;
    let missing = store.review.confirm_probe(&app, first, &id("zoe"), &of_probe(&first, 2)).await.unwrap();
    assert_eq!(missing, None);
    assert_eq!(store.review.count_held(&app).await.unwrap(), 1, "a decision that fails ends no probe");
    let revision = store.review.confirm_probe(&app, first, &id("ann"), &of_probe(&first, 2)).await.unwrap();
    assert!(revision.is_some());
    let again = store.review.confirm_probe(&app, first, &id("ann"), &of_probe(&first, 2)).await.unwrap();
    assert_eq!(again, None, "a probe is decided once");
    let samples = store.templates.get(&app, &id("ann")).await.unwrap().unwrap().samples;
    assert_eq!(samples.len(), 2);
    assert!(samples.iter().any(|sample| sample.id == SampleId(first.0)));

    let second = hold(&store, &app, &probe(4, None)).await;
    let sample = [of_probe(&second, 4)];
    let taken = id("ann");
    let refused = store.review.enroll_probe(&app, second, &NewTemplate::new(&taken, &sample)).await;
    assert!(refused.is_err());
    assert_eq!(store.review.count_held(&app).await.unwrap(), 1);
    let free = id("dan");
    let new = NewTemplate::new(&free, &sample);
    assert!(store.review.enroll_probe(&app, second, &new).await.unwrap().is_some());
    let other = id("eve");
    assert_eq!(store.review.enroll_probe(&app, second, &NewTemplate::new(&other, &sample)).await.unwrap(), None);
    assert!(store.templates.get(&app, &other).await.unwrap().is_none());
}

async fn a_probe_ends_with_its_time_its_template_and_its_application(fixture: Fixture) {
    let store = fixture.open().await;
    let app = with_app(&store, "a").await;
    insert(&store, &app, "ann", &sample(1)).await.unwrap();
    let near = hold(&store, &app, &probe(2, Some(("ann", 0.4)))).await;
    let short = NewProbe { keep: Duration::from_millis(1), ..probe(3, None) };
    let short = hold(&store, &app, &short).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(store.review.probe(&app, short).await.unwrap().is_none(), "it has ended before it is erased");
    assert_eq!(store.review.expire_probes(100).await.unwrap(), 1);
    assert_eq!(store.review.expire_probes(100).await.unwrap(), 0);
    store.templates.remove(&app, &id("ann"), ErasureReason::RETENTION).await.unwrap();
    assert!(store.review.probe(&app, near).await.unwrap().is_none(), "erased with the template that it came near");

    // A shorter time and none reach what is held.
    hold(&store, &app, &probe(4, None)).await;
    assert!(store.apps.set_keep_probes(&app, Some(Duration::from_secs(60))).await.unwrap());
    let listed = held(&store, &app, HeldFilter::All).await;
    assert_eq!(listed[0].ends_at, listed[0].first_seen_at + Duration::from_secs(60));
    assert!(store.apps.set_keep_probes(&app, None).await.unwrap());
    assert_eq!(store.review.count_held(&app).await.unwrap(), 0);
    assert_eq!(store.review.expire_probes(100).await.unwrap(), 1);

    hold(&store, &app, &probe(5, None)).await;
    assert!(store.apps.delete(&app).await.unwrap());
    assert_eq!(store.review.count_held(&app).await.unwrap(), 0);
}

async fn probes_follow_a_template_that_is_renamed_or_merged(fixture: Fixture) {
    let store = fixture.open().await;
    let app = with_app(&store, "a").await;
    insert(&store, &app, "ann", &sample(1)).await.unwrap();
    insert(&store, &app, "bob", &sample(9)).await.unwrap();
    let near = hold(&store, &app, &probe(2, Some(("ann", 0.4)))).await;
    let by = ChangedBy { actor: Actor::Server, transaction: None };
    store.samples.rename(&app, &id("ann"), &id("anna"), &by).await.unwrap();
    let candidate = || async { store.review.probe(&app, near).await.unwrap().unwrap().0.near.unwrap().0 };
    assert_eq!(candidate().await, id("anna"));
    let (from, into) = (id("anna"), id("bob"));
    store.samples.merge(&app, Merge { from: &from, into: &into }, &by).await.unwrap();
    assert_eq!(candidate().await, id("bob"));
}

async fn the_number_of_probes_is_bounded(fixture: Fixture) {
    let store = fixture.open().await;
    let app = with_app(&store, "a").await;
    insert(&store, &app, "ann", &sample(1)).await.unwrap();
    let near = hold(&store, &app, &probe(100_000, Some(("ann", 0.4)))).await;
    let first = hold(&store, &app, &probe(100_001, None)).await;
    assert_eq!(store.review.hold(&app, &probe(100_001, None), same()).await.unwrap(), Held::Again(first));
    let dropped = hold(&store, &app, &probe(100_002, None)).await;
    for seed in 0..MAX_HELD as u32 - 2 {
        // Each of a model of its own, so none is compared with all others.
        let embedding = sample_of(seed, ModelTag::new(&format!("model-{seed}"))).embedding;
        hold(&store, &app, &NewProbe { embedding, ..probe(seed, None) }).await;
    }
    assert_eq!(store.review.count_held(&app).await.unwrap(), MAX_HELD as u64);
    for kept in [near, first] {
        assert!(store.review.probe(&app, kept).await.unwrap().is_some());
    }
    assert!(store.review.probe(&app, dropped).await.unwrap().is_none(), "seen once, and longest ago");
}

async fn probes_open_after_a_new_sealing_key(fixture: Fixture) {
    fixture.open().await;
    let store = fixture.try_open(&format!("{KEY} {NEW_KEY}")).await.unwrap();
    let app = with_app(&store, "a").await;
    let new = probe(2, None);
    let id = hold(&store, &app, &new).await;
    store.keys.activate(key_id(NEW_KEY)).await.unwrap();
    assert_eq!(reseal_all(&store).await, 1);
    let status = store.keys.status().await.unwrap();
    assert_eq!(status.in_use, [(key_id(NEW_KEY), 1)]);
    let store = fixture.try_open(NEW_KEY).await.unwrap();
    let (_, content) = store.review.probe(&app, id).await.unwrap().unwrap();
    assert_eq!((content.embedding, content.crop), (new.embedding, new.crop));
}
