//! Comparisons of different people, all of them: the searches of a gallery by people who are not in it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::panic::resume_unwind;
use std::thread::ScopedJoinHandle;

use crate::domain::{dot, mean_direction};

/// What is enrolled of one person: unit vectors of one size.
#[derive(Debug, Clone)]
pub struct Person<'a> {
    /// The samples.
    pub samples: Vec<&'a [f32]>,
    /// The mean of several samples: a search compares with it as well.
    mean: Option<Vec<f32>>,
}

impl<'a> Person<'a> {
    /// A person with these samples.
    pub fn new(samples: Vec<&'a [f32]>) -> Self {
        let mean = mean_direction(samples.iter().copied());
        Self { samples, mean }
    }

    /// The score of a probe in a search: the highest cosine to a sample or to the mean.
    pub(super) fn score(&self, probe: &[f32]) -> f32 {
        let vectors = self.samples.iter().copied().chain(self.mean.as_deref());
        vectors.map(|vector| cosine(probe, vector)).fold(-1.0, f32::max)
    }
}

/// Two people, by their places in the list; the smaller place first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// The smaller place.
    pub first: usize,
    /// The other one.
    pub second: usize,
}

impl Pair {
    /// A pair in order.
    pub fn new(a: usize, b: usize) -> Self {
        Self { first: a.min(b), second: a.max(b) }
    }
}

/// The score of a pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairScore {
    /// The pair.
    pub pair: Pair,
    /// A cosine.
    pub cosine: f32,
}

/// The highest score of a sample in a search of all other people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbeMaximum {
    /// The person of the sample.
    pub person: usize,
    /// The highest cosine to a sample of any other person.
    pub cosine: f32,
}

/// What is counted.
#[derive(Debug, Clone)]
pub struct Measure {
    /// Pairs that are left out: relatives, and people who are enrolled twice.
    pub left_out: HashSet<Pair>,
    /// How many of the highest scores of searches are kept.
    pub keep: usize,
    /// How many of the highest pairs are kept.
    pub list: usize,
    /// The threshold in force: comparisons that reach it are counted by person.
    pub threshold: f32,
    /// Threads.
    pub threads: usize,
}

/// All comparisons of different people of a gallery.
#[derive(Debug, Clone)]
pub struct Impostors {
    /// People.
    pub people: usize,
    /// Pairs of people, without those left out.
    pub pairs: u64,
    /// The highest scores of searches, highest first: of each pair of people, one is the probe with the first sample, the
    /// other one is enrolled with all samples. Which one, depends on the places only, so each pair counts once.
    pub searches: Vec<PairScore>,
    /// The pairs with the highest cosine between any of their samples, highest first.
    pub nearest: Vec<PairScore>,
    /// For each sample a search of all other people.
    pub maxima: Vec<ProbeMaximum>,
    /// For each person, the share of the comparisons with other people that reach the threshold in force.
    pub reached: Vec<f64>,
}

/// People that one pass compares with all others: the samples of a group stay in the cache.
const GROUP: usize = 16;

impl Impostors {
    /// Compares everyone with everyone else.
    pub fn measure(people: &[Person<'_>], measure: &Measure) -> Self {
        let threads = measure.threads.clamp(1, people.len().div_ceil(GROUP).max(1));
        let parts: Vec<Part> = std::thread::scope(|scope| {
            let spawned: Vec<_> =
                (0..threads).map(|at| scope.spawn(move || Part::measure(people, measure, at, threads))).collect();
            // Without the part of a thread that panicked all figures would be wrong.
            let part = |thread: ScopedJoinHandle<'_, Part>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            spawned.into_iter().map(part).collect()
        });
        let n = people.len() as u64;
        let mut all = Self {
            people: people.len(),
            pairs: (n * n.saturating_sub(1) / 2).saturating_sub(measure.left_out.len() as u64),
            searches: Vec::new(),
            nearest: Vec::new(),
            maxima: Vec::new(),
            reached: vec![0.0; people.len()],
        };
        for part in parts {
            all.searches.extend(part.searches.scores());
            all.nearest.extend(part.nearest.scores());
            all.maxima.extend(part.maxima);
            for (person, reached) in part.reached {
                if let Some(place) = all.reached.get_mut(person) {
                    *place = reached;
                }
            }
        }
        for (scores, most) in [(&mut all.searches, measure.keep), (&mut all.nearest, measure.list)] {
            scores.sort_by(|a, b| b.cosine.total_cmp(&a.cosine).then(a.pair.cmp(&b.pair)));
            scores.truncate(most);
        }
        all.maxima.sort_by(|a, b| a.person.cmp(&b.person).then(a.cosine.total_cmp(&b.cosine)));
        all
    }

    /// The share of people who would match another one at a cosine, each person counted once: a person with several samples
    /// counts with the share of them that match. These searches have one person fewer in the gallery than there are.
    pub fn matched(&self, cosine: f32) -> f64 {
        let (mut sum, mut counted) = (0.0, 0usize);
        for samples in self.maxima.chunk_by(|a, b| a.person == b.person) {
            let matched = samples.iter().filter(|sample| sample.cosine >= cosine).count();
            sum += matched as f64 / samples.len() as f64;
            counted += 1;
        }
        if counted == 0 { 0.0 } else { sum / counted as f64 }
    }
}

/// The work of one thread.
struct Part {
    searches: Highest,
    nearest: Highest,
    maxima: Vec<ProbeMaximum>,
    reached: Vec<(usize, f64)>,
}

impl Part {
    /// The groups of people whose number is `at` modulo `threads`.
    fn measure(people: &[Person<'_>], measure: &Measure, at: usize, threads: usize) -> Self {
        let mut part = Self {
            searches: Highest::new(measure.keep),
            nearest: Highest::new(measure.list),
            maxima: Vec::new(),
            reached: Vec::new(),
        };
        for (number, group) in people.chunks(GROUP).enumerate().skip(at).step_by(threads) {
            part.group(people, group, number * GROUP, measure);
        }
        part
    }

    fn group(&mut self, people: &[Person<'_>], group: &[Person<'_>], start: usize, measure: &Measure) {
        let mut best: Vec<Vec<f32>> = group.iter().map(|person| vec![-1.0; person.samples.len()]).collect();
        let mut reached = vec![(0.0, 0usize); group.len()];
        for (other, enrolled) in people.iter().enumerate() {
            for (within, probes) in group.iter().enumerate() {
                let person = start + within;
                let pair = Pair::new(person, other);
                if person == other || measure.left_out.contains(&pair) {
                    continue;
                }
                let (mut nearest, mut matched) = (-1.0f32, 0usize);
                for (number, probe) in probes.samples.iter().enumerate() {
                    let score = enrolled.score(probe);
                    nearest = nearest.max(score);
                    matched += usize::from(score >= measure.threshold);
                    best[within][number] = best[within][number].max(score);
                    if number == 0 && (person < other) == (person + other).is_multiple_of(2) {
                        self.searches.offer(PairScore { pair, cosine: score });
                    }
                }
                if person < other {
                    self.nearest.offer(PairScore { pair, cosine: nearest });
                }
                reached[within].0 += matched as f64 / probes.samples.len().max(1) as f64;
                reached[within].1 += 1;
            }
        }
        for (within, best) in best.into_iter().enumerate() {
            let person = start + within;
            self.maxima.extend(best.into_iter().map(|cosine| ProbeMaximum { person, cosine }));
            let (sum, compared) = reached[within];
            self.reached.push((person, if compared == 0 { 0.0 } else { sum / compared as f64 }));
        }
    }
}

/// The highest scores so far, at most a number of them.
struct Highest {
    most: usize,
    heap: BinaryHeap<Reverse<Ranked>>,
    /// The lowest score in a full heap.
    cutoff: f32,
}

impl Highest {
    fn new(most: usize) -> Self {
        Self { most, heap: BinaryHeap::new(), cutoff: f32::NEG_INFINITY }
    }

    fn offer(&mut self, score: PairScore) {
        if self.most == 0 || score.cosine < self.cutoff {
            return;
        }
        self.heap.push(Reverse(Ranked(score)));
        if self.heap.len() > self.most {
            self.heap.pop();
        }
        if self.heap.len() == self.most {
            self.cutoff = self.heap.peek().map_or(f32::NEG_INFINITY, |lowest| lowest.0.0.cosine);
        }
    }

    fn scores(self) -> impl Iterator<Item = PairScore> {
        self.heap.into_iter().map(|ranked| ranked.0.0)
    }
}

/// A score in order: the higher cosine is greater; of equal ones, the pair that comes first.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ranked(PairScore);

impl Eq for Ranked {}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cosine.total_cmp(&other.0.cosine).then(other.0.pair.cmp(&self.0.pair))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The cosine of two unit vectors.
pub(super) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    dot(a, b).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SplitMix;

    /// Random directions; every third person has two samples.
    fn rows(people: usize) -> Vec<Vec<Vec<f32>>> {
        let mut random = SplitMix::new(3);
        let mut row = || {
            let raw: Vec<f64> = (0..20).map(|_| random.uniform() - 0.5).collect();
            let norm = raw.iter().map(|v| v * v).sum::<f64>().sqrt();
            raw.into_iter().map(|v| (v / norm) as f32).collect::<Vec<f32>>()
        };
        (0..people).map(|n| (0..if n % 3 == 0 { 2 } else { 1 }).map(|_| row()).collect()).collect()
    }

    fn view(rows: &[Vec<Vec<f32>>]) -> Vec<Person<'_>> {
        rows.iter().map(|person| Person::new(person.iter().map(Vec::as_slice).collect())).collect()
    }

    fn best(probe: &[f32], enrolled: &Person<'_>) -> f32 {
        let cosine =
            |sample: &&[f32]| probe.iter().zip(*sample).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let dimension = probe.len();
        let mut mean = vec![0.0f32; dimension];
        enrolled.samples.iter().for_each(|sample| (0..dimension).for_each(|at| mean[at] += sample[at]));
        let norm = mean.iter().map(|value| value * value).sum::<f32>().sqrt();
        mean.iter_mut().for_each(|value| *value /= norm);
        enrolled.samples.iter().chain([&mean.as_slice()]).map(cosine).fold(-1.0, f64::max) as f32
    }

    #[test]
    fn every_pair_is_compared_once_and_every_sample_searches_all_others() {
        let rows = rows(41);
        let people = view(&rows);
        let left_out = HashSet::from([Pair::new(5, 2), Pair::new(40, 0)]);
        let measure = Measure { left_out: left_out.clone(), keep: 5000, list: 30, threshold: 0.3, threads: 3 };
        let found = Impostors::measure(&people, &measure);
        assert_eq!((found.people, found.pairs), (41, 41 * 40 / 2 - 2));
        let pairs: HashSet<Pair> = found.searches.iter().map(|score| score.pair).collect();
        assert_eq!((pairs.len() as u64, found.searches.len() as u64), (found.pairs, found.pairs));
        for score in &found.searches {
            let Pair { first, second } = score.pair;
            let (probe, enrolled) = if (first + second) % 2 == 0 { (first, second) } else { (second, first) };
            assert!((score.cosine - best(people[probe].samples[0], &people[enrolled])).abs() < 1e-6);
        }
        assert!(found.searches.is_sorted_by(|a, b| a.cosine >= b.cosine));
        assert_eq!(found.maxima.len(), rows.iter().map(Vec::len).sum::<usize>());
        let mut matched = 0.0;
        for (person, samples) in people.iter().enumerate() {
            let others = || (0..41).filter(|other| *other != person && !left_out.contains(&Pair::new(person, *other)));
            let mut expected: Vec<f32> = samples
                .samples
                .iter()
                .map(|probe| others().map(|other| best(probe, &people[other])).fold(-1.0, f32::max))
                .collect();
            expected.sort_by(f32::total_cmp);
            let got: Vec<f32> = found.maxima.iter().filter(|m| m.person == person).map(|m| m.cosine).collect();
            assert!(expected.iter().zip(&got).all(|(a, b)| (a - b).abs() < 1e-6) && expected.len() == got.len());
            matched += expected.iter().filter(|cosine| **cosine >= 0.5).count() as f64 / expected.len() as f64 / 41.0;
            let hits = |probe: &&[f32]| others().filter(|other| best(probe, &people[*other]) >= 0.3).count() as f64;
            let share =
                samples.samples.iter().map(hits).sum::<f64>() / samples.samples.len() as f64 / others().count() as f64;
            assert!((found.reached[person] - share).abs() < 1e-9);
        }
        assert!((found.matched(0.5) - matched).abs() < 1e-9 && matched > 0.0);
        let mut nearest: Vec<f32> = (0..41)
            .flat_map(|a| (a + 1..41).map(move |b| Pair::new(a, b)))
            .filter(|pair| !left_out.contains(pair))
            .map(|pair| {
                people[pair.first].samples.iter().map(|probe| best(probe, &people[pair.second])).fold(-1.0, f32::max)
            })
            .collect();
        nearest.sort_by(|a, b| b.total_cmp(a));
        assert_eq!(found.nearest.len(), 30);
        assert!(found.nearest.iter().zip(nearest).all(|(found, cosine)| (found.cosine - cosine).abs() < 1e-6));
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let rows = rows(100);
        let people = view(&rows);
        let measure = |threads| {
            let measure = Measure { left_out: HashSet::new(), keep: 50, list: 10, threshold: 0.5, threads };
            Impostors::measure(&people, &measure)
        };
        let (one, four) = (measure(1), measure(4));
        assert_eq!(one.searches, four.searches);
        assert_eq!(one.nearest, four.nearest);
        assert_eq!(one.maxima, four.maxima);
        assert_eq!(one.reached, four.reached);
    }

    #[test]
    fn a_gallery_of_one_or_none_has_no_pairs() {
        let rows = rows(1);
        for people in [view(&rows), Vec::new()] {
            let measure = Measure { left_out: HashSet::new(), keep: 9, list: 9, threshold: 0.5, threads: 2 };
            let found = Impostors::measure(&people, &measure);
            assert_eq!(
                (found.pairs, found.searches.len(), found.matched(-1.0)),
                (0, 0, if people.is_empty() { 0.0 } else { 1.0 })
            );
        }
    }
}
