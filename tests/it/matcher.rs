//! The invariant of the index: after any sequence of adds, replacements, removals and searches, the answer equals brute
//! force, to the last bit.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use semblance::compute::PoolConfig;
use semblance::domain::{AppId, Embedding, ModelTag, Revision, SampleId, TemplateId};
use semblance::gallery::{
    Applied, Change, IndexedTemplate, MatchError, Matcher, MatcherFeed, MemoryMatcher, Sample, brute_force,
};

fn matcher() -> MemoryMatcher {
    MemoryMatcher::new(PoolConfig { name: "search", threads: 1, queue: 64, deadline: Duration::from_secs(60) })
}

fn app(name: &str) -> AppId {
    name.parse().unwrap()
}

fn template(id: u8, vectors: &[Vec<f32>]) -> IndexedTemplate {
    let samples = vectors.iter().enumerate().map(|(n, v)| Sample {
        id: SampleId(uuid::Uuid::from_u128(u128::from(id) << 64 | n as u128)),
        embedding: Embedding::new(v, ModelTag::new("test")).unwrap(),
    });
    IndexedTemplate { id: format!("t{id}").parse().unwrap(), samples: samples.collect() }
}

fn search(matcher: &MemoryMatcher, app: &AppId, probe: &Embedding, limit: usize) -> semblance::gallery::Ranked {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(matcher.top_k(app, probe, limit)).unwrap()
}

const DIMENSION: usize = 19; // not a multiple of any vector width

/// Coordinates on a coarse grid, so that equal scores and duplicates are common.
fn vector() -> impl Strategy<Value = Vec<f32>> {
    let grid = prop_oneof![Just(-1.0f32), Just(0.0), Just(0.5), Just(1.0), -1.0f32..1.0];
    proptest::collection::vec(grid, DIMENSION).prop_filter("a direction", |v| v.iter().any(|x| x.abs() > 0.1))
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, Vec<Vec<f32>>),
    Remove(u8),
    Search(Vec<f32>, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..12, proptest::collection::vec(vector(), 1..4)).prop_map(|(id, v)| Step::Put(id, v)),
        2 => (0u8..12).prop_map(Step::Remove),
        3 => (vector(), 1usize..15).prop_map(|(v, k)| Step::Search(v, k)),
    ]
}

proptest! {
    #[test]
    fn any_history_equals_brute_force(steps in proptest::collection::vec(step(), 1..60)) {
        let (matcher, app) = (matcher(), app("a"));
        matcher.replace(&app, Revision(0), Vec::new());
        let mut truth: BTreeMap<u8, IndexedTemplate> = BTreeMap::new();
        let mut revision = Revision(0);
        for step in steps {
            match step {
                Step::Put(id, vectors) => {
                    let template = template(id, &vectors);
                    revision = revision.next();
                    truth.insert(id, template.clone());
                    prop_assert_eq!(matcher.apply(&app, Change::new(revision, template)), Applied::Done);
                }
                Step::Remove(id) => {
                    revision = revision.next();
                    truth.remove(&id);
                    let change = Change::new(revision, template(id, &[]));
                    prop_assert_eq!(matcher.apply(&app, change), Applied::Done);
                }
                Step::Search(probe, limit) => {
                    let probe = Embedding::new(&probe, ModelTag::new("test")).unwrap();
                    let all: Vec<_> = truth.values().cloned().collect();
                    let ranked = search(&matcher, &app, &probe, limit);
                    prop_assert_eq!(ranked.hits, brute_force::top_k(&all, &probe, limit));
                    prop_assert_eq!(ranked.revision, revision);
                    prop_assert_eq!(ranked.gallery_size, truth.len());
                }
            }
        }
        let size = matcher.size(&app);
        prop_assert_eq!(size.templates, truth.len());
        prop_assert_eq!(size.samples, truth.values().map(|t| t.samples.len()).sum::<usize>());
    }
}

#[test]
fn a_change_is_applied_once_and_only_in_order() {
    let (matcher, app) = (matcher(), app("a"));
    let change = |revision, id| Change::new(Revision(revision), template(id, &[vec![1.0, 0.0]]));
    assert_eq!(matcher.apply(&app, change(1, 1)), Applied::Gap, "not loaded yet");
    matcher.replace(&app, Revision(4), vec![]);
    assert_eq!(matcher.apply(&app, change(6, 1)), Applied::Gap);
    assert_eq!(matcher.apply(&app, change(5, 1)), Applied::Done);
    assert_eq!(matcher.apply(&app, change(5, 2)), Applied::Done, "seen before: nothing happens");
    assert_eq!(matcher.size(&app).templates, 1);
    assert_eq!(matcher.revision(&app), Some(Revision(5)));
}

#[test]
fn galleries_are_separate() {
    let matcher = matcher();
    let (a, b) = (app("a"), app("b"));
    matcher.replace(&a, Revision(0), vec![template(1, &[vec![1.0, 0.0]])]);
    matcher.replace(&b, Revision(0), vec![template(2, &[vec![0.0, 1.0]])]);
    let probe = Embedding::new(&[1.0, 0.0], ModelTag::new("test")).unwrap();
    let id = |n: &str| n.parse::<TemplateId>().unwrap();
    assert_eq!(search(&matcher, &a, &probe, 5).hits.iter().map(|h| &h.template).collect::<Vec<_>>(), [&id("t1")]);
    assert_eq!(search(&matcher, &b, &probe, 5).hits.iter().map(|h| &h.template).collect::<Vec<_>>(), [&id("t2")]);
    matcher.unload(&a);
    assert_eq!(matcher.loaded(), [b]);
}

#[tokio::test]
async fn an_unloaded_gallery_differs_from_an_empty_one() {
    let matcher = matcher();
    let probe = Embedding::new(&[1.0], ModelTag::new("test")).unwrap();
    assert_eq!(matcher.top_k(&app("a"), &probe, 1).await, Err(MatchError::NotLoaded));
    matcher.replace(&app("a"), Revision(0), vec![]);
    assert_eq!(matcher.top_k(&app("a"), &probe, 1).await.unwrap().hits, []);
}

#[test]
fn memory_is_released_after_removals() {
    let (matcher, app) = (matcher(), app("a"));
    let many = (0..=250u8).map(|id| template(id, &[vec![f32::from(id) + 1.0; 128]])).collect();
    matcher.replace(&app, Revision(0), many);
    let full = matcher.size(&app).bytes;
    for id in 0..250u8 {
        matcher.apply(&app, Change::new(Revision(u64::from(id) + 1), template(id, &[])));
    }
    assert_eq!(matcher.size(&app).templates, 1);
    assert!(matcher.size(&app).bytes < full / 2, "{} of {full}", matcher.size(&app).bytes);
}

/// Searches share passes, and clients go away at any moment: the remaining ones get the right answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_that_share_passes_are_all_answered() {
    let config = PoolConfig { name: "search", threads: 2, queue: 4096, deadline: Duration::from_secs(60) };
    let (matcher, app) = (std::sync::Arc::new(MemoryMatcher::new(config)), app("a"));
    let direction = |n: u32| (0..32).map(|at| (f64::from(n * 37 + at * at * 11 + 1)).sin() as f32).collect::<Vec<_>>();
    let all: Vec<_> = (0..200u8).map(|id| template(id, &[direction(u32::from(id))])).collect();
    matcher.replace(&app, Revision(0), all.clone());
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..64u32 {
        let (matcher, app, all) = (matcher.clone(), app.clone(), all.clone());
        clients.spawn(async move {
            for n in 0..50 {
                let probe = Embedding::new(&direction(client * 1000 + n), ModelTag::new("test")).unwrap();
                let search = matcher.top_k(&app, &probe, 3);
                if (client + n) % 3 == 0 {
                    // The client goes away after its search is queued.
                    let _ = tokio::time::timeout(Duration::ZERO, search).await;
                } else {
                    assert_eq!(search.await.unwrap().hits, brute_force::top_k(&all, &probe, 3));
                }
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
}

/// A value that is logged by mistake contains no face data.
#[test]
fn debug_output_contains_no_coordinates() {
    let (matcher, app) = (matcher(), app("a"));
    let values: Vec<f32> = (0..DIMENSION).map(|n| (n as f32 * 0.7).sin()).collect();
    matcher.replace(&app, Revision(3), vec![template(1, std::slice::from_ref(&values))]);
    let stored = Embedding::new(&values, ModelTag::new("test")).unwrap();
    let export = matcher.export(&app).unwrap();
    let text = format!("{matcher:?} {matcher:#?} {export:?} {:?} {:?}", template(1, &[values]), stored);
    assert!(text.contains("1 galleries") && text.contains("revision 3"), "{text}");
    for value in stored.values().iter().filter(|value| value.abs() > 0.01) {
        let digits = format!("{:.4}", value.abs());
        assert!(!text.contains(&digits[..5]), "{value} is in {text}");
    }
}
