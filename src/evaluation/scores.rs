//! Every photo compared with every other one.

use std::ops::Range;

use super::bins::{BINS, bin};
use super::data_set::DataSet;
use super::parallel::in_parallel;

/// Photos of other people that are kept for each photo, the nearest first.
const NEIGHBORS: usize = 200;
/// Photos that are compared with all others at once: the embeddings of the others are read once for all of them.
const BLOCK: usize = 16;

/// Another photo and its cosine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Neighbor {
    pub(super) photo: u32,
    pub(super) cosine: f32,
}

/// Two photos and their cosine; the number of the first one is lower.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ScoredPair {
    pub(super) first: u32,
    pub(super) second: u32,
    pub(super) cosine: f32,
}

/// The cosines of a data set. Relatives are no impostors, and no neighbors.
#[derive(Debug)]
pub(super) struct Scores {
    /// Photos of one person.
    pub(super) genuine: Vec<ScoredPair>,
    /// Impostor comparisons by step of the cosine.
    pub(super) impostor: Vec<u64>,
    /// What these count when each pair of people counts alike.
    pub(super) impostor_by_person: Vec<f64>,
    /// Comparisons that were left out because both people are relatives.
    pub(super) of_relatives: u64,
    /// For each photo the nearest ones of other people, the nearest first.
    pub(super) neighbors: Vec<Vec<Neighbor>>,
    /// For each photo the nearest one of the same person.
    pub(super) nearest_own: Vec<Option<Neighbor>>,
}

/// What one range of photos adds.
struct Part {
    genuine: Vec<ScoredPair>,
    impostor: Vec<u64>,
    impostor_by_person: Vec<f64>,
    of_relatives: u64,
    neighbors: Vec<Vec<Neighbor>>,
    nearest_own: Vec<Option<Neighbor>>,
}

impl Scores {
    pub(super) fn new(data: &DataSet, threads: usize) -> Self {
        let count = data.photos().len();
        // Few large ranges, since each has a histogram of its own.
        let size = count.div_ceil(64).max(BLOCK);
        let parts = in_parallel(threads, count, size, |range| compare_rows(data, range));
        let mut all = Self {
            genuine: Vec::new(),
            impostor: vec![0; BINS],
            impostor_by_person: vec![0.0; BINS],
            of_relatives: 0,
            neighbors: Vec::new(),
            nearest_own: Vec::new(),
        };
        for part in parts {
            all.genuine.extend(part.genuine);
            all.impostor.iter_mut().zip(part.impostor).for_each(|(sum, count)| *sum += count);
            all.impostor_by_person.iter_mut().zip(part.impostor_by_person).for_each(|(sum, weight)| *sum += weight);
            all.of_relatives += part.of_relatives;
            all.neighbors.extend(part.neighbors);
            all.nearest_own.extend(part.nearest_own);
        }
        all
    }

    /// Impostor comparisons.
    pub(super) fn impostors(&self) -> u64 {
        self.impostor.iter().sum()
    }

    /// The lowest step from which on there are at most so many impostor comparisons.
    pub(super) fn step_with_impostors(&self, most: u64) -> usize {
        let mut count = 0;
        let fits = |at: &usize| {
            count += self.impostor[*at];
            count <= most
        };
        (0..BINS).rev().take_while(fits).last().unwrap_or(BINS)
    }
}

fn compare_rows(data: &DataSet, rows: Range<usize>) -> Part {
    let photos = data.photos();
    let mut part = Part {
        genuine: Vec::new(),
        impostor: vec![0; BINS],
        impostor_by_person: vec![0.0; BINS],
        of_relatives: 0,
        neighbors: Vec::with_capacity(rows.len()),
        nearest_own: Vec::with_capacity(rows.len()),
    };
    let weights: Vec<f64> = (0..data.people()).map(|person| 1.0 / data.photos_of(person).len() as f64).collect();
    let mut cosines = vec![vec![0.0f32; photos.len()]; BLOCK];
    for start in rows.clone().step_by(BLOCK) {
        let block = start..(start + BLOCK).min(rows.end);
        for other in 0..photos.len() {
            for (row, cosines) in block.clone().zip(&mut cosines) {
                cosines[other] = data.cosine(row, other);
            }
        }
        for (row, cosines) in block.zip(&cosines) {
            add_row(data, row, cosines, &weights, &mut part);
        }
    }
    part
}

fn add_row(data: &DataSet, row: usize, cosines: &[f32], weights: &[f64], part: &mut Part) {
    let photos = data.photos();
    let person = photos[row].person;
    let has_relatives = !data.relatives().is_empty();
    let mut nearest_own: Option<Neighbor> = None;
    let mut others = Vec::with_capacity(photos.len());
    for (other, &cosine) in cosines.iter().enumerate() {
        let theirs = photos[other].person;
        let neighbor = Neighbor { photo: other as u32, cosine };
        if theirs == person {
            if other == row {
                continue;
            }
            if nearest_own.is_none_or(|nearest| cosine > nearest.cosine) {
                nearest_own = Some(neighbor);
            }
            if other > row {
                part.genuine.push(ScoredPair { first: row as u32, second: other as u32, cosine });
            }
        } else if has_relatives && data.are_relatives(person, theirs) {
            part.of_relatives += u64::from(other > row);
        } else {
            others.push(neighbor);
            if other > row {
                part.impostor[bin(cosine)] += 1;
                part.impostor_by_person[bin(cosine)] += weights[person] * weights[theirs];
            }
        }
    }
    let by_cosine = |a: &Neighbor, b: &Neighbor| b.cosine.total_cmp(&a.cosine).then(a.photo.cmp(&b.photo));
    if others.len() > NEIGHBORS {
        others.select_nth_unstable_by(NEIGHBORS - 1, by_cosine);
        others.truncate(NEIGHBORS);
    }
    others.sort_by(by_cosine);
    others.shrink_to_fit();
    part.neighbors.push(others);
    part.nearest_own.push(nearest_own);
}

/// The impostor comparisons from a step on.
pub(super) fn impostors_from(data: &DataSet, threads: usize, step: usize) -> Vec<ScoredPair> {
    let photos = data.photos();
    let has_relatives = !data.relatives().is_empty();
    let parts = in_parallel(threads, photos.len(), 64, |rows| {
        let mut found = Vec::new();
        for other in rows.start + 1..photos.len() {
            for row in rows.start..rows.end.min(other) {
                let (mine, theirs) = (photos[row].person, photos[other].person);
                if mine == theirs || (has_relatives && data.are_relatives(mine, theirs)) {
                    continue;
                }
                let cosine = data.cosine(row, other);
                if bin(cosine) >= step {
                    found.push(ScoredPair { first: row as u32, second: other as u32, cosine });
                }
            }
        }
        found
    });
    parts.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::super::bins::threshold_bin;
    use super::super::data_set::tests::people;
    use super::*;

    const EAST: [f32; 2] = [1.0, 0.0];
    const NORTH: [f32; 2] = [0.0, 1.0];
    const BETWEEN: [f32; 2] = [0.6, 0.8];

    #[test]
    fn every_pair_is_counted_once_on_any_number_of_threads() {
        let photos: Vec<(String, [f32; 2])> = (0..100u8)
            .map(|n| {
                let angle = f32::from(n) / 20.0;
                (format!("p{}", n % 40), [angle.cos(), angle.sin()])
            })
            .collect();
        let data = people(&photos.iter().map(|(name, values)| (name.as_str(), *values)).collect::<Vec<_>>());
        let scores: Vec<Scores> = [1, 4].map(|threads| Scores::new(&data, threads)).into();
        // 20 people with 3 photos, 20 with 2.
        assert_eq!((scores[0].genuine.len(), scores[0].impostors()), (80, 4950 - 80));
        assert!((scores[0].impostor_by_person.iter().sum::<f64>() - 780.0).abs() < 1e-9);
        assert_eq!(scores[0].impostor, scores[1].impostor);
        assert_eq!(scores[0].genuine, scores[1].genuine);
        let tail = impostors_from(&data, 3, threshold_bin(0.5));
        let from: u64 = scores[0].impostor[threshold_bin(0.5)..].iter().sum();
        assert_eq!(tail.len() as u64, from);
        let step = scores[0].step_with_impostors(100);
        assert!(scores[0].impostor[step..].iter().sum::<u64>() <= 100);
        assert!(scores[0].impostor[step - 1..].iter().sum::<u64>() > 100);
    }

    #[test]
    fn neighbors_are_of_other_people_and_sorted() {
        let data = people(&[("ann", EAST), ("ann", BETWEEN), ("bob", NORTH), ("cyd", BETWEEN)]);
        let scores = Scores::new(&data, 2);
        let photos = |at: usize| scores.neighbors[at].iter().map(|neighbor| neighbor.photo).collect::<Vec<_>>();
        assert_eq!((photos(0), photos(2)), (vec![3, 2], vec![1, 3, 0]));
        assert_eq!(scores.nearest_own[0].map(|own| own.photo), Some(1));
        assert_eq!(scores.nearest_own[2], None);
    }

    #[test]
    fn relatives_are_no_impostors_and_no_neighbors() {
        let mut data = people(&[("ann", EAST), ("bob", EAST), ("bob", NORTH), ("cyd", NORTH)]);
        data.set_relatives(&[("bob".to_owned(), "ann".to_owned())]);
        let scores = Scores::new(&data, 1);
        assert_eq!((scores.impostors(), scores.of_relatives), (3, 2));
        assert_eq!(scores.neighbors[0].len(), 1);
        assert_eq!(impostors_from(&data, 1, 0).len(), 3);
    }
}
