//! A check of the data set: labels that are likely wrong, and photos that are there twice, decide the lowest error rates.

use std::collections::BTreeMap;

use serde::Serialize;

use super::data_set::DataSet;
use super::scores::{Neighbor, ScoredPair, Scores};

/// Two photos from this cosine on are likely the same picture.
pub const NEAR_DUPLICATE: f32 = 0.98;
/// Pairs that are listed as the worst.
const WORST_PAIRS: usize = 20;

/// A photo, by its file, and its person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedPhoto {
    /// The person of its label.
    pub person: String,
    /// Its path below the folder of the data set.
    pub file: String,
}

/// Two photos and their cosine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamedPair {
    /// Their cosine.
    pub cosine: f32,
    /// One photo.
    pub first: NamedPhoto,
    /// The other one.
    pub second: NamedPhoto,
}

/// A photo that is nearer to another person than to all other photos of its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LikelyMislabeled {
    /// The photo.
    pub photo: NamedPhoto,
    /// Its cosine to the nearest photo of its person.
    pub own_cosine: f32,
    /// Its cosine to the nearest photo of another person.
    pub other_cosine: f32,
    /// That photo.
    pub other: NamedPhoto,
}

/// What looks wrong in a data set.
#[derive(Debug, Serialize)]
pub struct DataCheck {
    /// Photos with the same bytes.
    pub same_bytes: Vec<Vec<NamedPhoto>>,
    /// Pairs with other bytes, but a cosine of at least 0.98, of one person.
    pub near_duplicates_of_one_person: Vec<NamedPair>,
    /// Such pairs of two people.
    pub near_duplicates_of_two_people: Vec<NamedPair>,
    /// Photos nearer to another person than to their own, the largest difference first.
    pub likely_mislabeled: Vec<LikelyMislabeled>,
    /// The lowest cosines of one person.
    pub worst_genuine: Vec<NamedPair>,
    /// The highest cosines of two people.
    pub worst_impostors: Vec<NamedPair>,
}

impl DataCheck {
    pub(super) fn new(data: &DataSet, scores: &Scores) -> Self {
        let near = |pair: &ScoredPair| {
            let digest = |photo: u32| &data.photos()[photo as usize].digest;
            pair.cosine >= NEAR_DUPLICATE && digest(pair.first) != digest(pair.second)
        };
        let mut genuine = scores.genuine.clone();
        genuine.sort_by(|a, b| a.cosine.total_cmp(&b.cosine));
        let impostors = impostors_with_neighbors(scores);
        let named = |pair: &ScoredPair| named_pair(data, pair);
        Self {
            same_bytes: same_bytes(data),
            near_duplicates_of_one_person: genuine.iter().rev().filter(|pair| near(pair)).map(named).collect(),
            near_duplicates_of_two_people: impostors.iter().filter(|pair| near(pair)).map(named).collect(),
            likely_mislabeled: likely_mislabeled(data, scores),
            worst_genuine: genuine.iter().take(WORST_PAIRS).map(named).collect(),
            worst_impostors: impostors.iter().take(WORST_PAIRS).map(named).collect(),
        }
    }
}

fn named(data: &DataSet, photo: usize) -> NamedPhoto {
    let photo = &data.photos()[photo];
    NamedPhoto { person: data.name(photo.person).to_owned(), file: photo.file.clone() }
}

fn named_pair(data: &DataSet, pair: &ScoredPair) -> NamedPair {
    let (first, second) = (named(data, pair.first as usize), named(data, pair.second as usize));
    NamedPair { cosine: pair.cosine, first, second }
}

fn same_bytes(data: &DataSet) -> Vec<Vec<NamedPhoto>> {
    let mut by_digest: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, photo) in data.photos().iter().enumerate() {
        by_digest.entry(&photo.digest).or_default().push(at);
    }
    let mut groups: Vec<Vec<usize>> = by_digest.into_values().filter(|photos| photos.len() > 1).collect();
    groups.sort();
    groups.into_iter().map(|photos| photos.into_iter().map(|photo| named(data, photo)).collect()).collect()
}

/// Pairs of people of whom one photo has the other among its neighbors, the highest cosine first. The highest of all are
/// among them.
fn impostors_with_neighbors(scores: &Scores) -> Vec<ScoredPair> {
    let pair = |at: usize, neighbor: &Neighbor| {
        let at = at as u32;
        ScoredPair { first: at.min(neighbor.photo), second: at.max(neighbor.photo), cosine: neighbor.cosine }
    };
    // Of each photo the nearest ones, and all that are near duplicates.
    let of_photo = |(at, neighbors): (usize, &Vec<Neighbor>)| -> Vec<ScoredPair> {
        let listed = neighbors.iter().enumerate();
        let listed = listed.filter(|(place, near)| *place < WORST_PAIRS || near.cosine >= NEAR_DUPLICATE);
        listed.map(|(_, neighbor)| pair(at, neighbor)).collect()
    };
    let mut pairs: Vec<ScoredPair> = scores.neighbors.iter().enumerate().flat_map(of_photo).collect();
    pairs.sort_by(|a, b| b.cosine.total_cmp(&a.cosine).then((a.first, a.second).cmp(&(b.first, b.second))));
    pairs.dedup_by_key(|pair| (pair.first, pair.second));
    pairs
}

fn likely_mislabeled(data: &DataSet, scores: &Scores) -> Vec<LikelyMislabeled> {
    let nearest = scores.nearest_own.iter().zip(&scores.neighbors).enumerate();
    let found = nearest.filter_map(|(photo, (own, others))| {
        let (own, other) = (own.as_ref()?, others.first()?);
        (other.cosine > own.cosine).then(|| LikelyMislabeled {
            photo: named(data, photo),
            own_cosine: own.cosine,
            other_cosine: other.cosine,
            other: named(data, other.photo as usize),
        })
    });
    let mut found: Vec<LikelyMislabeled> = found.collect();
    found.sort_by(|a, b| (b.other_cosine - b.own_cosine).total_cmp(&(a.other_cosine - a.own_cosine)));
    found
}

#[cfg(test)]
mod tests {
    use super::super::data_set::tests::{people, photo};
    use super::*;

    fn check(data: &DataSet) -> DataCheck {
        DataCheck::new(data, &Scores::new(data, 1))
    }

    #[test]
    fn a_photo_nearer_to_another_person_is_likely_mislabeled() {
        let east = [1.0, 0.0];
        let check = check(&people(&[("ann", east), ("ann", [0.8, 0.6]), ("ann", [0.0, 1.0]), ("bob", [-0.6, 0.8])]));
        let found: Vec<_> = check.likely_mislabeled.iter().map(|found| found.photo.file.as_str()).collect();
        assert_eq!(found, ["ann/ann_0002.jpg"]);
        assert_eq!(check.likely_mislabeled[0].other.person, "bob");
        assert_eq!(check.worst_genuine[0].second.file, "ann/ann_0002.jpg");
        assert_eq!(check.worst_impostors[0].first.file, "ann/ann_0002.jpg");
        assert_eq!(check.worst_impostors.len(), 3);
    }

    #[test]
    fn copies_and_near_duplicates_are_listed_apart() {
        let east = [1.0, 0.0];
        let mut copy = photo("bob", 1, &east);
        "ann 0".clone_into(&mut copy.digest);
        let near = [0.99, 0.141];
        let photos = vec![photo("ann", 0, &east), copy, photo("bob", 2, &near), photo("cyd", 3, &[0.0, 1.0])];
        let check = check(&DataSet::new(photos));
        assert_eq!(check.same_bytes.len(), 1);
        assert_eq!(check.same_bytes[0].iter().map(|photo| photo.person.as_str()).collect::<Vec<_>>(), ["ann", "bob"]);
        assert_eq!(check.near_duplicates_of_one_person.len(), 1);
        assert_eq!(check.near_duplicates_of_two_people.len(), 1);
        assert_eq!(check.near_duplicates_of_two_people[0].second.file, "bob/bob_0002.jpg");
    }
}
