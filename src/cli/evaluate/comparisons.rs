//! All pairs of photos, compared, and counted in two ways: each comparison alike, and each person alike.

use std::collections::HashMap;

use super::statistics::{Embedded, share};

/// What each comparison counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// As much as every other: a person with many photos decides the rates.
    Comparison,
    /// As much as its people have left: each person has one vote in FNMR, each pair of people one in FMR.
    Person,
}

/// A threshold and the error rates at it, counted in one way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    pub(super) fmr: f64,
    pub(super) fnmr: f64,
}

/// The people of whom most comparisons of a kind are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Leading {
    pub(super) people: Vec<String>,
    pub(super) count: u64,
    pub(super) of: u64,
}

/// A cosine, and what it counts by [`Weight::Person`].
#[derive(Debug, Clone, Copy)]
struct Genuine {
    cosine: f32,
    weight: f64,
}

/// Genuine cosines in full, impostor cosines as histograms.
#[derive(Debug)]
pub(super) struct Comparisons {
    /// By cosine.
    genuine: Vec<Genuine>,
    /// Impostor comparisons in bins of 1e-4 from -1 to 1.
    impostor: Vec<u64>,
    /// What those of a bin count by [`Weight::Person`].
    impostor_weight: Vec<f64>,
    /// People with several photos, and pairs of people.
    people: (usize, u64),
}

const BINS: usize = 20_001;

fn bin(cosine: f32) -> usize {
    (((cosine.clamp(-1.0, 1.0) + 1.0) * 10_000.0).round() as usize).min(BINS - 1)
}

/// The least cosine that falls into a bin.
fn lower_edge(bin: usize) -> f32 {
    (bin as f32 / 10_000.0) - 1.0 - 0.5e-4
}

impl Comparisons {
    pub(super) fn new(embedded: &Embedded) -> Self {
        let photos = embedded.photos_per_person();
        let several = photos.iter().filter(|count| **count > 1).count();
        let pairs = photos.len() as u64 * (photos.len() as u64).saturating_sub(1) / 2;
        let mut all = Self {
            genuine: Vec::new(),
            impostor: vec![0; BINS],
            impostor_weight: vec![0.0; BINS],
            people: (several, pairs),
        };
        let part: Vec<f64> = photos.iter().map(|&count| 1.0 / count as f64).collect();
        embedded.compare_all(|a, b, cosine| {
            if a == b {
                let n = photos[a] as f64;
                all.genuine.push(Genuine { cosine, weight: 2.0 / (n * (n - 1.0)) });
            } else {
                all.impostor[bin(cosine)] += 1;
                all.impostor_weight[bin(cosine)] += part[a] * part[b];
            }
        });
        all.genuine.sort_by(|a, b| a.cosine.total_cmp(&b.cosine));
        all
    }

    pub(super) fn genuine(&self) -> usize {
        self.genuine.len()
    }

    pub(super) fn impostor(&self) -> u64 {
        self.impostor.iter().sum()
    }

    /// People with several photos.
    pub(super) fn people_with_several(&self) -> usize {
        self.people.0
    }

    /// Pairs of different people.
    pub(super) fn pairs_of_people(&self) -> u64 {
        self.people.1
    }

    /// What the impostor comparisons of a bin count, and what all do.
    fn impostors(&self, bin: usize, weight: Weight) -> f64 {
        match weight {
            Weight::Comparison => self.impostor[bin] as f64,
            Weight::Person => self.impostor_weight[bin],
        }
    }

    fn all_impostors(&self, weight: Weight) -> f64 {
        match weight {
            Weight::Comparison => self.impostor() as f64,
            Weight::Person => self.people.1 as f64,
        }
    }

    /// The lowest threshold (to 1e-4) at which at most this share of the impostor comparisons match. `None` when
    /// there are too few of them to speak of such a rate: fewer than one may match.
    pub(super) fn at_fmr(&self, fmr: f64, weight: Weight) -> Option<f32> {
        let allowed = fmr * self.all_impostors(weight);
        if allowed < 1.0 {
            return None;
        }
        let mut matches = 0.0;
        let mut lowest = BINS;
        for at in (0..BINS).rev() {
            matches += self.impostors(at, weight);
            if matches > allowed {
                break;
            }
            lowest = at;
        }
        Some(lower_edge(lowest))
    }

    /// The error rates at a threshold that [`Self::at_fmr`] gave.
    pub(super) fn rates(&self, cosine: f32, weight: Weight) -> Rates {
        let first = (0..BINS).find(|bin| lower_edge(*bin) >= cosine).unwrap_or(BINS);
        let matches: f64 = (first..BINS).map(|bin| self.impostors(bin, weight)).fold(0.0, |sum, weight| sum + weight);
        let below = self.genuine.partition_point(|genuine| genuine.cosine < cosine);
        let fnmr = match weight {
            Weight::Comparison => share(below, self.genuine.len()),
            Weight::Person => {
                let missed: f64 =
                    self.genuine.iter().take(below).map(|genuine| genuine.weight).fold(0.0, |sum, weight| sum + weight);
                missed / (self.people.0 as f64).max(1.0)
            }
        };
        Rates { fmr: matches / self.all_impostors(weight).max(1.0), fnmr }
    }
}

/// The two people who match each other most often at a threshold; `None` when no impostors match.
pub(super) fn leading_impostors(embedded: &Embedded, threshold: f32) -> Option<Leading> {
    let mut matches: HashMap<(usize, usize), u64> = HashMap::new();
    embedded.compare_all(|a, b, cosine| {
        if a != b && cosine >= threshold {
            *matches.entry((a.min(b), a.max(b))).or_insert(0) += 1;
        }
    });
    let of = matches.values().sum();
    let ((a, b), count) = matches.into_iter().max_by_key(|&(people, count)| (count, std::cmp::Reverse(people)))?;
    Some(Leading { people: vec![embedded.name(a).to_owned(), embedded.name(b).to_owned()], count, of })
}

/// The person with the most genuine comparisons; `None` when there are none.
pub(super) fn leading_genuine(embedded: &Embedded) -> Option<Leading> {
    let photos = embedded.photos_per_person();
    let pairs = |count: usize| count as u64 * (count as u64).saturating_sub(1) / 2;
    let (person, count) =
        photos.iter().copied().enumerate().max_by_key(|&(at, count)| (count, std::cmp::Reverse(at)))?;
    let of = photos.iter().map(|&count| pairs(count)).sum();
    (of > 0).then(|| Leading { people: vec![embedded.name(person).to_owned()], count: pairs(count), of })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn people(photos: &[(&str, [f32; 2])]) -> Embedded {
        let mut embedded = Embedded::default();
        for (at, (person, values)) in photos.iter().enumerate() {
            embedded.add(person, Path::new(&format!("{person}_{at:04}.jpg")), values);
        }
        embedded
    }

    #[test]
    fn operating_point_stays_within_the_requested_fmr() {
        let mut impostor = vec![0; BINS];
        for at in 0..1000 {
            impostor[bin(at as f32 / 1000.0)] += 1;
        }
        let genuine = [0.5, 0.985, 0.999].map(|cosine| Genuine { cosine, weight: 1.0 }).to_vec();
        let all = Comparisons { genuine, impostor, impostor_weight: vec![0.0; BINS], people: (3, 3) };
        let cosine = all.at_fmr(0.01, Weight::Comparison).unwrap();
        assert!((cosine - 0.99).abs() < 1e-3, "{cosine}");
        let rates = all.rates(cosine, Weight::Comparison);
        assert!((rates.fnmr - 2.0 / 3.0).abs() < 1e-9);
        assert!((rates.fmr - 0.01).abs() < 1e-9);
        assert!(all.at_fmr(1e-4, Weight::Comparison).is_none(), "1000 comparisons say nothing of a rate of 1e-4");
        assert!(all.at_fmr(0.1, Weight::Person).is_none(), "nor do 3 pairs of people of a rate of 0.1");
    }

    #[test]
    fn rates_without_comparisons_are_zero_and_not_minus_zero() {
        let all = Comparisons::new(&people(&[("ann", [1.0, 0.0]), ("bob", [0.0, 1.0])]));
        for weight in [Weight::Comparison, Weight::Person] {
            let rates = all.rates(0.5, weight);
            assert_eq!((rates.fnmr.to_bits(), rates.fmr.to_bits()), (0, 0), "{weight:?}");
        }
    }

    /// Ann has 3 photos and is always recognised; Bob has 2, which do not match. Ann and Bob match in 3 of 6
    /// comparisons, and Cyd matches no one.
    #[test]
    fn each_person_has_equal_weight() {
        let east = [1.0, 0.0];
        let north = [0.0, 1.0];
        let west = [-1.0, 0.0];
        let embedded =
            people(&[("ann", east), ("ann", east), ("ann", east), ("bob", east), ("bob", north), ("cyd", west)]);
        let all = Comparisons::new(&embedded);
        assert_eq!((all.genuine(), all.impostor()), (4, 11));
        assert_eq!((all.people_with_several(), all.pairs_of_people()), (2, 3));
        let comparisons = all.rates(0.5, Weight::Comparison);
        assert!((comparisons.fnmr - 0.25).abs() < 1e-9 && (comparisons.fmr - 3.0 / 11.0).abs() < 1e-9);
        let people = all.rates(0.5, Weight::Person);
        assert!((people.fnmr - 0.5).abs() < 1e-9, "of two people, one is never recognised");
        assert!((people.fmr - 0.5 / 3.0).abs() < 1e-9, "of three pairs, one matches half of the time");
        // At a rate of 0.34, one pair of people of three may match; of 11 comparisons, 3.
        assert!(all.at_fmr(0.34, Weight::Person).unwrap() < 0.5);
        assert!(all.at_fmr(0.2, Weight::Comparison).unwrap() > 0.99);
    }

    #[test]
    fn both_weightings_agree_with_one_photo_per_person() {
        let photos: Vec<(String, [f32; 2])> = (0..40u8)
            .map(|n| (n.to_string(), [f32::from(n).to_radians().cos(), f32::from(n).to_radians().sin()]))
            .collect();
        let embedded = people(&photos.iter().map(|(name, values)| (name.as_str(), *values)).collect::<Vec<_>>());
        let all = Comparisons::new(&embedded);
        for fmr in [0.01, 0.1, 0.5] {
            let cosine = all.at_fmr(fmr, Weight::Comparison).unwrap();
            assert_eq!(all.at_fmr(fmr, Weight::Person), Some(cosine));
            let by_comparison = all.rates(cosine, Weight::Comparison);
            let by_person = all.rates(cosine, Weight::Person);
            assert!((by_comparison.fmr - by_person.fmr).abs() < 1e-9 && by_comparison.fmr <= fmr);
        }
    }

    #[test]
    fn the_leading_people_are_named() {
        let east = [1.0, 0.0];
        let north = [0.0, 1.0];
        let embedded = people(&[("ann", east), ("bob", east), ("bob", east), ("cyd", east), ("dan", north)]);
        let leading = leading_impostors(&embedded, 0.5).unwrap();
        assert_eq!(leading, Leading { people: vec!["ann".into(), "bob".into()], count: 2, of: 5 });
        assert_eq!(leading_impostors(&embedded, 1.5), None);
        let genuine = leading_genuine(&embedded).unwrap();
        assert_eq!(genuine, Leading { people: vec!["bob".into()], count: 1, of: 1 });
        assert_eq!(leading_genuine(&people(&[("ann", east), ("bob", north)])), None);
    }
}
