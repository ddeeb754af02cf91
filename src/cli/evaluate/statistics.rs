//! The arithmetic of error rates.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::{CliError, Pair};

/// Embeddings of labelled photos.
#[derive(Debug, Default)]
pub(super) struct Embedded {
    dimension: usize,
    values: Vec<f32>,
    person: Vec<usize>,
    names: Vec<String>,
    photos: HashMap<String, usize>,
    /// File names without their ending.
    stems: Vec<String>,
}

/// The accuracy over folds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Folds {
    pub(super) mean: f64,
    pub(super) standard_error: f64,
    pub(super) pairs: usize,
    pub(super) missing: usize,
}

/// A threshold and the two error rates of open-set identification.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdentificationPoint {
    pub(super) cosine: f32,
    /// Share of mated probes whose own template is not first, or is below the threshold.
    pub(super) fnir: f64,
    /// Share of non-mated probes for which any template reaches the threshold.
    pub(super) fpir: f64,
}

impl Embedded {
    pub(super) fn add(&mut self, person: &str, photo: &Path, values: &[f32]) {
        if self.names.last().is_none_or(|last| last != person) {
            self.names.push(person.to_owned());
        }
        self.dimension = values.len();
        self.values.extend_from_slice(values);
        let stem = photo.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        self.photos.insert(stem.clone(), self.person.len());
        self.stems.push(stem);
        self.person.push(self.names.len() - 1);
    }

    pub(super) fn len(&self) -> usize {
        self.person.len()
    }

    pub(super) fn people(&self) -> usize {
        self.names.len()
    }

    /// The name of a person, by their number.
    pub(super) fn name(&self, person: usize) -> &str {
        &self.names[person]
    }

    /// How many photos each person has.
    pub(super) fn photos_per_person(&self) -> Vec<usize> {
        let mut photos = vec![0; self.names.len()];
        self.person.iter().for_each(|person| photos[*person] += 1);
        photos
    }

    /// Compares each photo with each other one; passes on the people of both and the cosine.
    pub(super) fn compare_all(&self, mut each: impl FnMut(usize, usize, f32)) {
        for a in 0..self.len() {
            for b in a + 1..self.len() {
                each(self.person[a], self.person[b], self.cosine(a, b));
            }
        }
    }

    /// Each photo as an object of JSON.
    pub(super) fn lines(&self) -> impl Iterator<Item = serde_json::Value> {
        (0..self.len()).map(|at| {
            let person = self.name(self.person[at]);
            let photo = &self.stems[at];
            serde_json::json!({ "person": person, "photo": photo, "embedding": self.row(at) })
        })
    }

    fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.dimension..(at + 1) * self.dimension]
    }

    fn cosine(&self, a: usize, b: usize) -> f32 {
        dot(self.row(a), self.row(b))
    }

    /// LFW names its photos `PERSON_NNNN`.
    fn photo(&self, (person, number): &(String, u32)) -> Option<usize> {
        self.photos.get(&format!("{person}_{number:04}")).copied()
    }

    /// The first photo of everyone who has several is enrolled; the others are mated probes.
    /// Photos of people with one photo are non-mated probes.
    fn roles(&self) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
        let mut of: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, person) in self.person.iter().enumerate() {
            of.entry(*person).or_default().push(at);
        }
        let mut gallery = vec![];
        let mut mated = vec![];
        let mut non_mated = vec![];
        for photos in of.values() {
            match photos[..] {
                [only] => non_mated.push(only),
                [first, ref others @ ..] => {
                    gallery.push(first);
                    mated.extend_from_slice(others);
                }
                [] => {}
            }
        }
        (gallery, mated, non_mated)
    }

    pub(super) fn enrolled(&self) -> usize {
        self.roles().0.len()
    }

    pub(super) fn mated(&self) -> usize {
        self.roles().1.len()
    }

    pub(super) fn non_mated(&self) -> usize {
        self.roles().2.len()
    }

    pub(super) fn identification(&self, thresholds: &[f32]) -> Vec<IdentificationPoint> {
        let (gallery, mated, non_mated) = self.roles();
        let best = |probe: usize| {
            gallery
                .iter()
                .map(|&g| (self.cosine(probe, g), self.person[g] == self.person[probe]))
                .max_by(|a, b| a.0.total_cmp(&b.0))
        };
        let mated: Vec<_> = mated.into_iter().filter_map(best).collect();
        let non_mated: Vec<_> = non_mated.into_iter().filter_map(best).collect();
        thresholds
            .iter()
            .map(|&cosine| IdentificationPoint {
                cosine,
                fnir: share(mated.iter().filter(|(c, own)| !own || *c < cosine).count(), mated.len()),
                fpir: share(non_mated.iter().filter(|(c, _)| *c >= cosine).count(), non_mated.len()),
            })
            .collect()
    }
}

/// The standard protocol: for each fold, the threshold that is best on the nine others is applied
/// to it. A pair with a photo without an embedding counts as "different": the system would say so.
pub(super) fn ten_folds(embedded: &Embedded, folds: &[Vec<Pair>]) -> Result<Folds, CliError> {
    let mut missing = 0;
    let scored: Vec<Vec<(f32, bool)>> = folds
        .iter()
        .map(|fold| {
            fold.iter()
                .map(|pair| match (embedded.photo(&pair.first), embedded.photo(&pair.second)) {
                    (Some(a), Some(b)) => (embedded.cosine(a, b), pair.same),
                    _ => {
                        missing += 1;
                        (-1.0, pair.same)
                    }
                })
                .collect()
        })
        .collect();
    let pairs: usize = scored.iter().map(Vec::len).sum();
    if missing == pairs {
        return Err(CliError::message("none of the pairs' photos is in the folder"));
    }
    let accuracies: Vec<f64> = (0..scored.len())
        .map(|held_out| {
            let others =
                scored.iter().enumerate().filter(|(at, _)| *at != held_out).flat_map(|(_, f)| f.iter().copied());
            let threshold = best_threshold(others.collect());
            let right = scored[held_out].iter().filter(|(c, same)| (*c >= threshold) == *same).count();
            share(right, scored[held_out].len())
        })
        .collect();
    let n = accuracies.len() as f64;
    let mean = accuracies.iter().sum::<f64>() / n;
    let variance = accuracies.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    Ok(Folds { mean, standard_error: (variance / n).sqrt(), pairs, missing })
}

/// The threshold with the most right answers; "same" from it on.
fn best_threshold(mut scored: Vec<(f32, bool)>) -> f32 {
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut right = scored.iter().filter(|(_, same)| *same).count() as i64; // everyone "same"
    let mut best = right;
    let mut threshold = f32::NEG_INFINITY;
    for (at, (cosine, same)) in scored.iter().enumerate() {
        right += if *same { -1 } else { 1 }; // this one now "different"
        let next = scored.get(at + 1).map_or(f32::INFINITY, |n| n.0);
        if right > best && next > *cosine {
            (best, threshold) = (right, f32::midpoint(*cosine, next));
        }
    }
    threshold
}

pub(super) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    for (x, y) in a.chunks(16).zip(b.chunks(16)) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_threshold_separates_separable_scores() {
        let threshold = best_threshold(vec![(0.1, false), (0.2, false), (0.6, true), (0.9, true)]);
        assert!((threshold - 0.4).abs() < 1e-6);
    }

    #[test]
    fn equal_scores_are_never_separated() {
        let threshold = best_threshold(vec![(0.5, false), (0.5, true), (0.5, true)]);
        assert!(threshold <= 0.5);
    }

    #[test]
    fn identification_counts_misses_and_false_alarms() {
        let mut e = Embedded::default();
        e.add("ann", Path::new("ann_0001.jpg"), &[1.0, 0.0]);
        e.add("ann", Path::new("ann_0002.jpg"), &[0.8, 0.6]);
        e.add("bob", Path::new("bob_0001.jpg"), &[0.6, 0.8]);
        let points = e.identification(&[0.5, 0.7, 0.9]);
        let rates: Vec<_> = points.iter().map(|p| (p.fnir, p.fpir)).collect();
        assert_eq!(rates, [(0.0, 1.0), (0.0, 0.0), (1.0, 0.0)]);
    }
}
