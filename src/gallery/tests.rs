//! The invariant of the index, with codes in every possible state: after any sequence of adds, replacements, removals,
//! searches and maintenance tasks, the answer equals brute force, to the last bit.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::index::Index;
use super::search::{Query, Scratch};
use super::*;
use crate::domain::ModelTag;

/// Galleries that are hard in different ways.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Random,
    Clustered,
    AllEqual,
    OneHot,
    /// A few coordinates carry nearly all the length.
    Tiny,
    /// Half of them the negatives of the others.
    Mirrored,
    Grid,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Random),
        Just(Kind::Clustered),
        Just(Kind::AllEqual),
        Just(Kind::OneHot),
        Just(Kind::Tiny),
        Just(Kind::Mirrored),
        Just(Kind::Grid)
    ]
}

/// A number in [-1, 1) from two others.
fn noise(a: usize, b: usize) -> f32 {
    let mut z = (a as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (b as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 30)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

fn vector(kind: Kind, n: usize, dimension: usize) -> Embedding {
    let raw: Vec<f32> = (0..dimension)
        .map(|d| match kind {
            Kind::Random => noise(n, d),
            Kind::Clustered => noise(n % 5, d) + 0.02 * noise(n, d),
            Kind::AllEqual => 1.0,
            Kind::OneHot => f32::from(u8::from(d == n % dimension)),
            Kind::Tiny => noise(n, d) * if d < 2 { 1.0 } else { 1e-6 },
            Kind::Mirrored => noise(n / 2, d) * if n.is_multiple_of(2) { 1.0 } else { -1.0 },
            Kind::Grid => (noise(n, d) * 2.0).round() + if d == 0 { 0.5 } else { 0.0 },
        })
        .collect();
    Embedding::new(&raw, ModelTag::new("test")).unwrap()
}

fn template(id: usize, samples: &[Embedding]) -> IndexedTemplate {
    let sample = |(n, e): (usize, &Embedding)| Sample {
        id: SampleId(uuid::Uuid::from_u128((id as u128) << 64 | n as u128)),
        embedding: e.clone(),
    };
    let name = match id % 3 {
        0 => format!("t{id}"),
        1 => uuid::Uuid::from_u128(id as u128 * 0x1234_5678_9abc_def0_1234_5678).to_string(),
        _ => format!("a template with a rather long name: {id}"),
    };
    IndexedTemplate { id: name.parse().unwrap(), samples: samples.iter().enumerate().map(sample).collect() }
}

#[derive(Debug, Clone)]
enum Step {
    Put {
        id: usize,
        samples: usize,
        seed: usize,
    },
    /// Many at once, so that there are several segments.
    Fill {
        count: usize,
        seed: usize,
    },
    Remove {
        id: usize,
    },
    Drain {
        from: usize,
        count: usize,
    },
    Search {
        seeds: Vec<usize>,
        limit: usize,
    },
    Maintain {
        most: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let limit = prop_oneof![4 => Just(1usize), 4 => 0usize..12, 1 => 12usize..3000];
    prop_oneof![
        3 => (0usize..3000, 1usize..4, 0usize..5000).prop_map(|(id, samples, seed)| Step::Put { id, samples, seed }),
        2 => (1usize..1400, 0usize..5000).prop_map(|(count, seed)| Step::Fill { count, seed }),
        2 => (0usize..3000).prop_map(|id| Step::Remove { id }),
        1 => (0usize..3000, 1usize..900).prop_map(|(from, count)| Step::Drain { from, count }),
        5 => (proptest::collection::vec(0usize..6000, 1..7), limit).prop_map(|(seeds, limit)| Step::Search { seeds, limit }),
        3 => (0usize..6).prop_map(|most| Step::Maintain { most }),
    ]
}

struct Bench {
    index: Index,
    truth: BTreeMap<usize, IndexedTemplate>,
    revision: Revision,
    scratch: Scratch,
}

impl Bench {
    fn apply(&mut self, id: usize, samples: &[Embedding]) {
        self.revision = self.revision.next();
        let template = template(id, samples);
        if samples.is_empty() {
            self.truth.remove(&id);
        } else {
            self.truth.insert(id, template.clone());
        }
        assert_eq!(self.index.apply(Change::new(self.revision, template)), Applied::Done);
    }

    fn maintain(&mut self, most: usize) {
        for _ in 0..most {
            let Some(task) = self.index.next_task() else { break };
            self.index.finish(task.run());
        }
    }

    fn check(&mut self, probes: &[Embedding], limit: usize) {
        let all: Vec<IndexedTemplate> = self.truth.values().cloned().collect();
        let queries: Vec<Query<'_>> = probes.iter().map(|probe| Query { probe: probe.values(), limit }).collect();
        let ranked = self.index.searcher().search(&queries, &mut self.scratch);
        for (probe, ranked) in probes.iter().zip(ranked) {
            let expected = brute_force::top_k(&all, probe, limit);
            let bits = |hits: &[Hit]| hits.iter().map(|hit| hit.cosine.get().to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&ranked.hits), bits(&expected));
            assert_eq!(ranked.hits, expected);
            assert_eq!((ranked.revision, ranked.gallery_size), (self.revision, all.len()));
            assert_eq!(ranked.samples, all.iter().map(|template| template.samples.len()).sum::<usize>());
        }
        let size = self.index.size();
        assert_eq!(size.samples, all.iter().map(|t| t.samples.len()).sum::<usize>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_history_equals_brute_force(
        kind in kind(),
        other in kind(),
        dimension in prop_oneof![Just(1usize), Just(7), Just(19), Just(64), Just(128), 1usize..140],
        min_indexed_rows in prop_oneof![Just(1usize), Just(300)],
        steps in proptest::collection::vec(step(), 1..25),
    ) {
        let mut bench = Bench {
            index: Index::with_min_indexed_rows(Revision(0), vec![], min_indexed_rows),
            truth: BTreeMap::new(),
            revision: Revision(0),
            scratch: Scratch::default(),
        };
        for step in steps {
            match step {
                Step::Put { id, samples, seed } => {
                    let samples: Vec<_> = (0..samples).map(|n| vector(other, seed + n, dimension)).collect();
                    bench.apply(id, &samples);
                }
                Step::Fill { count, seed } => {
                    for n in 0..count {
                        bench.apply((seed + n) % 3000, &[vector(kind, seed + n, dimension)]);
                    }
                }
                Step::Remove { id } => bench.apply(id, &[]),
                Step::Drain { from, count } => (from..from + count).for_each(|id| bench.apply(id % 3000, &[])),
                Step::Search { seeds, limit } => {
                    let probes: Vec<_> =
                        seeds.iter().map(|seed| vector(if seed % 2 == 0 { kind } else { other }, *seed, dimension)).collect();
                    bench.check(&probes, limit);
                }
                Step::Maintain { most } => bench.maintain(most),
            }
        }
        bench.maintain(usize::MAX);
        bench.check(&[vector(kind, 1, dimension), vector(other, 2, dimension)], 3);
    }
}

fn frames(index: &Index) -> Vec<Vec<u8>> {
    index.export().collect()
}

fn restored(revision: Revision, frames: Vec<Vec<u8>>) -> Result<Index, NotAGallery> {
    Index::from_frames(revision, &mut frames.into_iter().map(Ok))
}

#[test]
fn frames_round_trip_a_gallery() {
    let mut bench = Bench {
        index: Index::with_min_indexed_rows(Revision(0), vec![], 1),
        truth: BTreeMap::new(),
        revision: Revision(0),
        scratch: Scratch::default(),
    };
    for n in 0..2500 {
        let samples: Vec<_> = (0..1 + n % 3).map(|s| vector(Kind::Random, n + 10_000 * s, 19)).collect();
        bench.apply(n, &samples);
    }
    // Now samples of one template lie in different segments.
    (0..700).for_each(|n| bench.apply(3 * n, &[]));
    bench.index = restored(bench.revision, frames(&bench.index)).unwrap();
    bench.maintain(usize::MAX);
    let probes: Vec<_> = (0..9).map(|n| vector(Kind::Random, 311 * n, 19)).collect();
    bench.check(&probes, 3);
    (0..400).for_each(|n| bench.apply(5 * n, &[]));
    bench.apply(9000, &[vector(Kind::Random, 1, 19)]);
    bench.check(&probes, 3);
    assert!(frames(&restored(Revision(4), Vec::new()).unwrap()).is_empty());
}

proptest! {
    #[test]
    fn damaged_frames_are_refused(at in 0usize..9000, bit in 0u8..8, length in 0usize..9000) {
        let index = Index::new(Revision(0), (0..60).map(|n| template(n, &[vector(Kind::Random, n, 19)])).collect());
        let whole = frames(&index).remove(0);
        let mut flipped = whole.clone();
        flipped[at % whole.len()] ^= 1 << bit;
        let _ = restored(Revision(0), vec![flipped]);
        prop_assert!(restored(Revision(0), vec![whole[..length % whole.len()].to_vec()]).is_err());
    }
}

#[test]
fn a_maintained_gallery_compares_few_rows() {
    let templates = (0..66_000).map(|n| template(n, &[vector(Kind::Random, n, 128)])).collect();
    let mut bench = Bench {
        index: Index::new(Revision(0), templates),
        truth: BTreeMap::new(),
        revision: Revision(0),
        scratch: Scratch::default(),
    };
    bench.maintain(usize::MAX);
    let probes: Vec<_> = (0..20).map(|n| vector(Kind::Random, n * 997 + 100_000, 128)).collect();
    for probe in &probes {
        let _ = bench.index.searcher().search(&[Query { probe: probe.values(), limit: 1 }], &mut bench.scratch);
    }
    let stats = bench.scratch.stats;
    assert_eq!((stats.searches, stats.rows), (20, 20 * 66_000));
    assert!(stats.compared < stats.rows / 20, "{stats:?}");
    let bytes = bench.index.size().bytes as f64 / 66_000.0;
    assert!(bytes < 700.0, "{bytes} bytes a template");
}
