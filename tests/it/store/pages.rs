//! Pages are bounded however many samples a template has, and samples are opened outside of the runtime.

use std::ops::RangeInclusive;

use semblance::store::GalleryPosition;

use super::*;

conformance! {
    pages_of_a_gallery_are_bounded_by_samples
    pages_of_changes_are_bounded_by_samples
    a_template_that_changed_often_is_read_once
    lists_are_bounded_by_samples
    opening_samples_leaves_the_runtime_free
}

async fn filled(store: &Store, a: &AppId, sizes: &[(&str, u32)]) {
    let template = |name: &str, samples| IndexedTemplate { id: id(name), samples: (0..samples).map(sample).collect() };
    let templates: Vec<_> = sizes.iter().map(|(name, samples)| template(name, *samples)).collect();
    for written in store.templates.insert_all(a, &templates, OnConflict::Refuse).await.unwrap() {
        written.unwrap();
    }
}

fn sizes(templates: &[IndexedTemplate]) -> Vec<(&str, usize)> {
    templates.iter().map(|template| (template.id.as_str(), template.samples.len())).collect()
}

async fn pages_of_a_gallery_are_bounded_by_samples(fixture: Fixture) {
    let store = fixture.open_limited(1000).await;
    let a = with_app(&store, "a").await;
    filled(&store, &a, &[("a", 3), ("b", 600), ("c", 2), ("d", 4), ("e", 4), ("f", 1)]).await;
    let mut pages: Vec<Vec<(String, usize)>> = Vec::new();
    let mut after = None;
    loop {
        let page = store.templates.load(&a, &model(), after.as_ref(), 10).await.unwrap();
        let ids: BTreeSet<_> = page.templates.iter().flat_map(|t| t.samples.iter().map(|s| s.id)).collect();
        assert_eq!(ids.len(), page.templates.iter().map(|t| t.samples.len()).sum::<usize>(), "no sample twice");
        pages.push(sizes(&page.templates).into_iter().map(|(name, samples)| (name.to_owned(), samples)).collect());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let of = |name: &str, samples| (name.to_owned(), samples);
    let expected =
        vec![vec![of("a", 3)], vec![of("b", 600)], vec![of("c", 2), of("d", 4), of("e", 4)], vec![of("f", 1)]];
    assert_eq!(pages, expected);
    // A page that ends with the gallery has no successor.
    let last = store.templates.load(&a, &model(), Some(&id("e")), 1).await.unwrap();
    assert_eq!((sizes(&last.templates), last.next), (vec![("f", 1)], None));
}

/// The changes after a revision: what each covers, its template and its samples.
async fn changes(
    store: &Store,
    a: &AppId,
    after: GalleryPosition,
    limit: usize,
) -> (Vec<(RangeInclusive<u64>, String, usize)>, GalleryPosition) {
    match store.templates.changes(a, &model(), after, limit).await.unwrap() {
        Changes::List { changes, tag, .. } => {
            let last = changes.last().map_or(after, |change| GalleryPosition { revision: change.revision, tag });
            let seen = changes
                .iter()
                .map(|c| (c.first.0..=c.revision.0, c.template.id.to_string(), c.template.samples.len()))
                .collect();
            (seen, last)
        }
        Changes::TooOld => panic!("the log is whole"),
    }
}

async fn pages_of_changes_are_bounded_by_samples(fixture: Fixture) {
    let store = fixture.open_limited(1000).await;
    let a = with_app(&store, "a").await;
    filled(&store, &a, &[("a", 3), ("b", 300), ("c", 2)]).await;
    store.templates.add_sample(&a, &id("c"), &enrolled(sample(7))).await.unwrap();
    store.templates.add_sample(&a, &id("a"), &enrolled(sample(8))).await.unwrap();
    store.templates.remove(&a, &id("c"), ErasureReason::IMPORT).await.unwrap();
    let of = |covered, name: &str, samples| (covered, name.to_owned(), samples);
    let (seen, at) = changes(&store, &a, Revision(0).into(), 10).await;
    assert_eq!((seen, at.revision), (vec![of(1..=1, "a", 4)], Revision(1)), "its state may be later");
    let (seen, at) = changes(&store, &a, at, 10).await;
    assert_eq!((seen, at.revision), (vec![of(2..=2, "b", 300), of(3..=4, "c", 0)], Revision(4)), "read whole");
    let (seen, at) = changes(&store, &a, at, 10).await;
    assert_eq!((seen, at.revision), (vec![of(5..=5, "a", 4), of(6..=6, "c", 0)], Revision(6)));
    let current = store.templates.revisions().await.unwrap().into_iter().find(|(app, _)| *app == a).unwrap().1;
    assert_eq!(at, current, "the position has the tag of its own revision");
    assert_eq!(changes(&store, &a, at, 10).await.0, []);
    // The position between two pages has its tag, too: with another one the history is another one.
    let (_, at) = changes(&store, &a, Revision(0).into(), 10).await;
    assert!(at.tag.is_some());
    let other = GalleryPosition { tag: at.tag.map(|tag| tag ^ 1), ..at };
    assert_eq!(store.templates.changes(&a, &model(), other, 10).await.unwrap(), Changes::TooOld);
}

async fn a_template_that_changed_often_is_read_once(fixture: Fixture) {
    let store = fixture.open_limited(1000).await;
    let a = with_app(&store, "a").await;
    filled(&store, &a, &[("a", 200), ("b", 1)]).await;
    for seed in 0..20 {
        store.templates.add_sample(&a, &id("a"), &enrolled(sample(seed))).await.unwrap();
    }
    let (seen, at) = changes(&store, &a, Revision(0).into(), 1000).await;
    let expected = [(1..=1, "a".to_owned(), 220), (2..=22, "b".to_owned(), 1)];
    assert_eq!((seen.as_slice(), at.revision), (expected.as_slice(), Revision(22)));
}

/// Rows are written past the store: a list does not open them.
async fn lists_are_bounded_by_samples(fixture: Fixture) {
    let store = fixture.open().await;
    let a = with_app(&store, "a").await;
    filled(&store, &a, &[("a", 1), ("b", 1), ("c", 1), ("d", 1)]).await;
    for (name, count) in [("b", 50_000), ("c", 30_000)] {
        let sql = format!(
            "INSERT INTO samples (app_id, template_id, created_at, sample_id, model, sealed, data_key)
             WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
             SELECT app_id, template_id, created_at + n, sample_id, model, sealed, data_key
             FROM samples, numbers WHERE template_id = '{name}'"
        );
        fixture.tamper(&sql).await;
    }
    let mut pages: Vec<Vec<(String, usize)>> = Vec::new();
    let mut after = None;
    loop {
        let page = store.templates.page(&a, after.as_ref(), 100).await.unwrap();
        pages.push(page.templates.iter().map(|t| (t.id.to_string(), t.samples.len())).collect());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let of = |name: &str, samples| (name.to_owned(), samples);
    assert_eq!(pages, [vec![of("a", 1)], vec![of("b", 50_001)], vec![of("c", 30_001), of("d", 1)]]);
}

/// The runtime of this test has one thread.
async fn opening_samples_leaves_the_runtime_free(fixture: Fixture) {
    let store = fixture.open_limited(4000).await;
    let a = with_app(&store, "a").await;
    filled(&store, &a, &[("a", 4000)]).await;
    let mut ticks = 0;
    let model = model();
    let loading = store.templates.load(&a, &model, None, 4000);
    let mut loading = std::pin::pin!(loading);
    let mut interval = tokio::time::interval(Duration::from_millis(1));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let page = loop {
        tokio::select! {
            page = &mut loading => break page.unwrap(),
            _ = interval.tick() => ticks += 1,
        }
    };
    assert_eq!(sizes(&page.templates), [("a", 4000)]);
    assert!(ticks >= 10, "the runtime ran {ticks} times while samples were opened");
}
