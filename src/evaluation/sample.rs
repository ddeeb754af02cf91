//! Comparisons of some of the photos, counted for any choice of people: the bootstrap draws people with replacement.

use std::ops::Range;

use super::bins::{BINS, Counted, ErrorCurve, bin};
use super::data_set::DataSet;
use super::interval::percentiles;
use super::parallel::in_parallel;
use super::random::Random;
use super::scores::{ScoredPair, Scores};

/// What each comparison counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// As much as every other: a person with many photos decides the rates.
    Comparison,
    /// As much as its people have left: each person has one vote in FNMR, each pair of people one in FMR.
    Person,
}

impl Weighting {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Comparison, Self::Person];
}

/// One value for each way of counting.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Both<T> {
    /// Each comparison counts alike.
    pub by_comparison: T,
    /// Each person, or each pair of people, counts alike.
    pub by_person: T,
}

impl<T> Both<T> {
    /// The value of each way of counting.
    pub(super) fn new(mut value: impl FnMut(Weighting) -> T) -> Self {
        Self { by_comparison: value(Weighting::Comparison), by_person: value(Weighting::Person) }
    }

    /// The value of one way of counting.
    pub fn get(&self, weighting: Weighting) -> &T {
        match weighting {
            Weighting::Comparison => &self.by_comparison,
            Weighting::Person => &self.by_person,
        }
    }
}

/// How people are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Draws {
    /// How often.
    pub count: usize,
    /// Makes the draws repeatable.
    pub seed: u64,
    /// Threads that work on them.
    pub threads: usize,
}

/// The impostor comparisons of the highest cosines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail<'a> {
    pub(super) pairs: &'a [ScoredPair],
    /// All comparisons from this step on are there.
    pub(super) known_from: usize,
}

impl Tail<'_> {
    /// Only those from a step on.
    pub(super) fn from(self, step: usize) -> Self {
        Self { known_from: self.known_from.max(step), ..self }
    }
}

/// Impostor comparisons of a person with people of higher numbers.
#[derive(Debug)]
struct Impostors {
    person: u32,
    entries: Range<usize>,
}

/// Impostor comparisons with one other person in one step of the cosine.
#[derive(Debug, Clone, Copy)]
struct Entry {
    other: u32,
    step: u16,
    count: u32,
}

/// The comparisons of a choice of photos.
#[derive(Debug)]
pub(super) struct Sample {
    /// How many photos of each person are chosen.
    photos: Vec<u32>,
    /// People with a chosen photo.
    members: Vec<u32>,
    /// (person, step), by person.
    genuine: Vec<(u32, u16)>,
    impostors: Vec<Impostors>,
    entries: Vec<Entry>,
    relatives: Vec<(u32, u32)>,
    known_from: usize,
}

impl Sample {
    /// The comparisons of the photos that `keep` chooses.
    pub(super) fn new(data: &DataSet, scores: &Scores, tail: Tail<'_>, keep: impl Fn(usize) -> bool) -> Self {
        let known_from = tail.known_from;
        let person = |photo: u32| data.photos()[photo as usize].person as u32;
        let kept: Vec<bool> = (0..data.photos().len()).map(keep).collect();
        let both = |pair: &&ScoredPair| kept[pair.first as usize] && kept[pair.second as usize];
        let mut photos = vec![0; data.people()];
        kept.iter().enumerate().filter(|(_, kept)| **kept).for_each(|(at, _)| photos[data.photos()[at].person] += 1);
        let genuine = scores.genuine.iter().filter(both);
        let mut genuine: Vec<(u32, u16)> = genuine.map(|pair| (person(pair.first), bin(pair.cosine) as u16)).collect();
        genuine.sort_unstable();
        let impostors = tail.pairs.iter().filter(both).map(|pair| (pair, bin(pair.cosine)));
        let mut impostors: Vec<(u32, u32, u16)> = impostors
            .filter(|(_, step)| *step >= known_from)
            .map(|(pair, step)| {
                let (a, b) = (person(pair.first), person(pair.second));
                (a.min(b), a.max(b), step as u16)
            })
            .collect();
        impostors.sort_unstable();
        let (impostors, entries) = group(&impostors);
        let relatives = data.relatives().iter().map(|&(a, b)| (a as u32, b as u32));
        Self {
            members: (0..data.people() as u32).filter(|person| photos[*person as usize] > 0).collect(),
            relatives: relatives.filter(|&(a, b)| photos[a as usize] > 0 && photos[b as usize] > 0).collect(),
            photos,
            genuine,
            impostors,
            entries,
            known_from,
        }
    }

    /// People with a chosen photo.
    pub(super) fn people(&self) -> usize {
        self.members.len()
    }

    /// Chosen photos.
    pub(super) fn photos(&self) -> u64 {
        self.photos.iter().map(|count| u64::from(*count)).sum()
    }

    /// People with several chosen photos.
    pub(super) fn people_with_several(&self) -> u64 {
        self.photos.iter().filter(|count| **count > 1).count() as u64
    }

    /// Genuine comparisons.
    pub(super) fn genuine(&self) -> u64 {
        self.genuine.len() as u64
    }

    /// Impostor comparisons, or pairs of people who are impostors of each other.
    pub(super) fn impostors(&self, weighting: Weighting) -> u64 {
        self.impostor_total(None, weighting).round() as u64
    }

    /// The error rates of the whole sample.
    pub(super) fn curves(&self) -> Both<ErrorCurve> {
        self.curves_of(None)
    }

    /// The error rates of the whole data set at every threshold, also below the known steps.
    pub(super) fn whole_curves(&self, scores: &Scores) -> Both<ErrorCurve> {
        let mut counted = self.counted(None);
        counted.by_comparison.impostor = scores.impostor.iter().map(|count| *count as f64).collect();
        counted.by_person.impostor.clone_from(&scores.impostor_by_person);
        counted.by_comparison.known_from = 0;
        counted.by_person.known_from = 0;
        Both::new(|weighting| ErrorCurve::new(counted.get(weighting)))
    }

    fn curves_of(&self, drawn: Option<&[u32]>) -> Both<ErrorCurve> {
        let counted = self.counted(drawn);
        Both::new(|weighting| ErrorCurve::new(counted.get(weighting)))
    }

    /// What the comparisons count when each person is there as often as it was drawn. Two copies of a person are no
    /// impostors of each other.
    fn counted(&self, drawn: Option<&[u32]>) -> Both<Counted> {
        let times = |person: u32| drawn.map_or(1.0, |drawn| f64::from(drawn[person as usize]));
        let share = |person: u32| times(person) / f64::from(self.photos[person as usize].max(1));
        let mut impostor = Both::new(|_| vec![0.0; BINS]);
        let weights: Vec<(f64, f64)> =
            (0..self.photos.len() as u32).map(|person| (times(person), share(person))).collect();
        for group in &self.impostors {
            let (mine, my_share) = weights[group.person as usize];
            if mine == 0.0 {
                continue;
            }
            for entry in &self.entries[group.entries.clone()] {
                let (theirs, their_share) = weights[entry.other as usize];
                let count = f64::from(entry.count);
                impostor.by_comparison[usize::from(entry.step)] += mine * theirs * count;
                impostor.by_person[usize::from(entry.step)] += my_share * their_share * count;
            }
        }
        let mut genuine = Both::new(|_| vec![0.0; BINS]);
        let mut genuine_total = Both::new(|_| 0.0);
        for of_person in self.genuine.chunk_by(|a, b| a.0 == b.0) {
            let times = times(of_person[0].0);
            let each = times / of_person.len() as f64;
            for &(_, step) in of_person {
                genuine.by_comparison[usize::from(step)] += times;
                genuine.by_person[usize::from(step)] += each;
            }
            genuine_total.by_comparison += times * of_person.len() as f64;
            genuine_total.by_person += times;
        }
        let mut counted = |weighting| Counted {
            genuine: std::mem::take(match weighting {
                Weighting::Comparison => &mut genuine.by_comparison,
                Weighting::Person => &mut genuine.by_person,
            }),
            genuine_total: *genuine_total.get(weighting),
            impostor: std::mem::take(match weighting {
                Weighting::Comparison => &mut impostor.by_comparison,
                Weighting::Person => &mut impostor.by_person,
            }),
            impostor_total: self.impostor_total(drawn, weighting),
            known_from: self.known_from,
        };
        Both::new(&mut counted)
    }

    /// All impostor comparisons, those below the known steps as well: (sum^2 - sum of squares) / 2.
    fn impostor_total(&self, drawn: Option<&[u32]>, weighting: Weighting) -> f64 {
        let weight = |person: u32| {
            let times = drawn.map_or(1.0, |drawn| f64::from(drawn[person as usize]));
            match weighting {
                Weighting::Comparison => times * f64::from(self.photos[person as usize]),
                Weighting::Person => times,
            }
        };
        let sum: f64 = self.members.iter().map(|person| weight(*person)).sum();
        let squares: f64 = self.members.iter().map(|person| weight(*person).powi(2)).sum();
        let relatives: f64 = self.relatives.iter().map(|&(a, b)| weight(a) * weight(b)).sum();
        (sum * sum - squares) / 2.0 - relatives
    }

    /// 95 % intervals of the values that `measure` reads off the curves, by drawing people with replacement.
    pub(super) fn bootstrap(
        &self,
        draws: Draws,
        measure: impl Fn(&Both<ErrorCurve>) -> Vec<Option<f64>> + Sync,
    ) -> Vec<Option<(f64, f64)>> {
        let values = in_parallel(draws.threads, draws.count, 1, |range| {
            let mut random = Random::for_draw(draws.seed, range.start);
            let mut drawn = vec![0; self.photos.len()];
            for (at, times) in random.multiplicities(self.members.len()).into_iter().enumerate() {
                drawn[self.members[at] as usize] = times;
            }
            measure(&self.curves_of(Some(&drawn)))
        });
        let count = values.first().map_or(0, Vec::len);
        (0..count).map(|at| percentiles(values.iter().map(|value| value[at]))).collect()
    }
}

fn group(impostors: &[(u32, u32, u16)]) -> (Vec<Impostors>, Vec<Entry>) {
    let mut groups = Vec::new();
    let mut entries = Vec::new();
    for of_person in impostors.chunk_by(|a, b| a.0 == b.0) {
        let start = entries.len();
        for equal in of_person.chunk_by(|a, b| a == b) {
            entries.push(Entry { other: equal[0].1, step: equal[0].2, count: equal.len() as u32 });
        }
        groups.push(Impostors { person: of_person[0].0, entries: start..entries.len() });
    }
    (groups, entries)
}

#[cfg(test)]
mod tests {
    use super::super::bins::threshold_bin;
    use super::super::data_set::tests::people;
    use super::super::scores::impostors_from;
    use super::*;

    const EAST: [f32; 2] = [1.0, 0.0];
    const NORTH: [f32; 2] = [0.0, 1.0];
    const WEST: [f32; 2] = [-1.0, 0.0];

    fn sample(data: &DataSet, keep: impl Fn(usize) -> bool) -> Sample {
        let scores = Scores::new(data, 1);
        Sample::new(data, &scores, Tail { pairs: &impostors_from(data, 1, 0), known_from: 0 }, keep)
    }

    /// Ann has 3 photos and is always recognized; Bob has 2, which do not match. Ann and Bob match in 3 of 6 comparisons,
    /// and Cyd matches no one.
    fn ann_bob_cyd() -> DataSet {
        people(&[("ann", EAST), ("ann", EAST), ("ann", EAST), ("bob", EAST), ("bob", NORTH), ("cyd", WEST)])
    }

    #[test]
    fn each_comparison_or_each_person_has_equal_weight() {
        let sample = sample(&ann_bob_cyd(), |_| true);
        assert_eq!((sample.genuine(), sample.people_with_several()), (4, 2));
        assert_eq!((sample.impostors(Weighting::Comparison), sample.impostors(Weighting::Person)), (11, 3));
        let at = threshold_bin(0.5);
        let curves = sample.curves();
        assert!((curves.by_comparison.fnmr(at) - 0.25).abs() < 1e-9);
        assert!((curves.by_comparison.fmr(at).unwrap() - 3.0 / 11.0).abs() < 1e-9);
        assert!((curves.by_person.fnmr(at) - 0.5).abs() < 1e-9, "of two people, one is never recognized");
        assert!(
            (curves.by_person.fmr(at).unwrap() - 0.5 / 3.0).abs() < 1e-9,
            "of three pairs, one matches half the time"
        );
    }

    #[test]
    fn a_drawn_person_counts_as_often_as_it_was_drawn() {
        let sample = sample(&ann_bob_cyd(), |_| true);
        let counted = sample.counted(Some(&[2, 1, 0]));
        // Ann's 3 comparisons twice, Bob's once; of impostors 2 x 1 x 6 comparisons of Ann and Bob, and half of them match.
        assert!((counted.by_comparison.genuine_total - 7.0).abs() < 1e-9);
        assert!((counted.by_comparison.impostor_total - 12.0).abs() < 1e-9);
        assert!((counted.by_comparison.impostor.iter().sum::<f64>() - 12.0).abs() < 1e-9);
        assert!((counted.by_person.genuine_total - 3.0).abs() < 1e-9);
        assert!((counted.by_person.impostor_total - 2.0).abs() < 1e-9);
        let curve = ErrorCurve::new(&counted.by_person);
        assert!((curve.fmr(threshold_bin(0.5)).unwrap() - 0.5).abs() < 1e-9);
        assert!((curve.fnmr(threshold_bin(0.5)) - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn photos_that_are_not_kept_and_relatives_do_not_count() {
        let mut data = ann_bob_cyd();
        let without_cyd = sample(&data, |photo| photo != 5);
        assert_eq!((without_cyd.people(), without_cyd.impostors(Weighting::Comparison)), (2, 6));
        data.set_relatives(&[("ann".to_owned(), "bob".to_owned())]);
        let all = sample(&data, |_| true);
        assert_eq!((all.impostors(Weighting::Comparison), all.impostors(Weighting::Person)), (5, 2));
        assert_eq!(all.curves().by_comparison.fmr(threshold_bin(0.5)), Some(0.0));
    }

    /// 40 people are recognized half of the time: the share of people drawn from them has a standard deviation of
    /// sqrt(0.25 / 40) = 0.079, so the interval is about 0.5 +- 0.155.
    #[test]
    fn the_bootstrap_has_the_width_that_theory_gives() {
        let names: Vec<String> = (0..40).map(|at| format!("p{at:02}")).collect();
        let photos: Vec<(&str, [f32; 2])> = names
            .iter()
            .enumerate()
            .flat_map(|(at, name)| [(name.as_str(), EAST), (name.as_str(), if at % 2 == 0 { EAST } else { NORTH })])
            .collect();
        let sample = sample(&people(&photos), |_| true);
        let draws = |threads| Draws { count: 2000, seed: 5, threads };
        let measure = |curves: &Both<ErrorCurve>| vec![Some(curves.by_person.fnmr(threshold_bin(0.5)))];
        let interval = sample.bootstrap(draws(2), measure)[0].unwrap();
        assert!((interval.0 - 0.345).abs() < 0.03 && (interval.1 - 0.655).abs() < 0.03, "{interval:?}");
        assert_eq!(sample.bootstrap(draws(1), measure)[0], Some(interval), "threads do not change the draws");
    }
}
