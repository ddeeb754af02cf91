//! The templates of a data set, by person.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::photo::{Estimated, LabeledPhoto, PhotoOutcome};
use crate::domain::dot;

/// A photo with a template. Its number is its place among all of them.
#[derive(Debug)]
pub struct TemplatePhoto {
    /// The number of its person.
    pub person: usize,
    /// Its path below the folder of the data set.
    pub file: String,
    /// SHA-256 of its bytes.
    pub digest: String,
    /// Utility for recognition.
    pub crfiqa: Option<f64>,
    /// Age, gender and race as networks estimate them.
    pub estimated: Option<Estimated>,
}

/// A photo without a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedPhoto {
    /// Whose photo it is.
    pub person: String,
    /// Its path below the folder of the data set.
    pub file: String,
    /// The kind of its fault.
    pub reason: String,
}

/// The photos of a data set that have a template. Photos without one are counted only.
#[derive(Debug, Default)]
pub struct DataSet {
    names: Vec<String>,
    photos: Vec<TemplatePhoto>,
    values: Vec<f32>,
    dimension: usize,
    of_person: Vec<Vec<usize>>,
    relatives: BTreeSet<(usize, usize)>,
    /// Photos of each person with a photo, and how many of them have a template.
    attempts: BTreeMap<String, (usize, usize)>,
    faults: Vec<FailedPhoto>,
}

impl DataSet {
    /// The data set of these photos. Embeddings have one dimension, since one pack made them.
    pub fn new(photos: Vec<LabeledPhoto>) -> Self {
        let mut set = Self::default();
        let mut numbers: HashMap<String, usize> = HashMap::new();
        for photo in photos {
            let attempts = set.attempts.entry(photo.person.clone()).or_default();
            attempts.0 += 1;
            match photo.outcome {
                PhotoOutcome::Fault(reason) => {
                    set.faults.push(FailedPhoto { person: photo.person, file: photo.file, reason });
                }
                PhotoOutcome::Face(face) => {
                    attempts.1 += 1;
                    let person = *numbers.entry(photo.person.clone()).or_insert_with(|| {
                        set.names.push(photo.person);
                        set.of_person.push(Vec::new());
                        set.names.len() - 1
                    });
                    set.of_person[person].push(set.photos.len());
                    set.dimension = face.embedding.len();
                    set.values.extend_from_slice(&face.embedding);
                    set.photos.push(TemplatePhoto {
                        person,
                        file: photo.file,
                        digest: photo.digest,
                        crfiqa: face.crfiqa,
                        estimated: face.estimated,
                    });
                }
            }
        }
        set
    }

    /// Leaves pairs of people out of the impostors. Returns the names that no person with a template has.
    pub fn set_relatives(&mut self, pairs: &[(String, String)]) -> BTreeSet<String> {
        let numbers: HashMap<&str, usize> =
            self.names.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let mut unknown = BTreeSet::new();
        let mut relatives = BTreeSet::new();
        for (first, second) in pairs {
            match (numbers.get(first.as_str()), numbers.get(second.as_str())) {
                (Some(&a), Some(&b)) if a != b => {
                    relatives.insert((a.min(b), a.max(b)));
                }
                (a, b) => {
                    unknown.extend(a.is_none().then(|| first.clone()));
                    unknown.extend(b.is_none().then(|| second.clone()));
                }
            }
        }
        self.relatives = relatives;
        unknown
    }

    /// The photos with a template.
    pub fn photos(&self) -> &[TemplatePhoto] {
        &self.photos
    }

    /// People with at least one template.
    pub fn people(&self) -> usize {
        self.names.len()
    }

    /// The name of a person.
    pub fn name(&self, person: usize) -> &str {
        &self.names[person]
    }

    /// The photos of a person.
    pub fn photos_of(&self, person: usize) -> &[usize] {
        &self.of_person[person]
    }

    /// The embedding of a photo.
    pub fn embedding(&self, photo: usize) -> &[f32] {
        &self.values[photo * self.dimension..(photo + 1) * self.dimension]
    }

    /// The cosine of two photos.
    pub(super) fn cosine(&self, a: usize, b: usize) -> f32 {
        dot(self.embedding(a), self.embedding(b))
    }

    /// Pairs of people that are no impostors, the lower number first.
    pub(super) fn relatives(&self) -> &BTreeSet<(usize, usize)> {
        &self.relatives
    }

    /// Whether two people are left out as relatives.
    pub(super) fn are_relatives(&self, a: usize, b: usize) -> bool {
        !self.relatives.is_empty() && self.relatives.contains(&(a.min(b), a.max(b)))
    }

    /// Photos of each person that has any, and how many of them have a template.
    pub(super) fn attempts(&self) -> impl Iterator<Item = (usize, usize)> {
        self.attempts.values().copied()
    }

    /// Photos without a template.
    pub(super) fn faults(&self) -> &[FailedPhoto] {
        &self.faults
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::photo::FaceRecord;
    use super::*;

    /// A photo of a person with a template; its file and digest are made of the number.
    pub(in crate::evaluation) fn photo(person: &str, number: usize, embedding: &[f32]) -> LabeledPhoto {
        LabeledPhoto {
            person: person.to_owned(),
            file: format!("{person}/{person}_{number:04}.jpg"),
            digest: format!("{person} {number}"),
            outcome: PhotoOutcome::Face(FaceRecord { embedding: embedding.to_vec(), ..FaceRecord::default() }),
        }
    }

    /// A data set of (person, embedding).
    pub(in crate::evaluation) fn people(photos: &[(&str, [f32; 2])]) -> DataSet {
        let photos = photos.iter().enumerate().map(|(at, (person, values))| photo(person, at, values));
        DataSet::new(photos.collect())
    }

    #[test]
    fn photos_belong_to_their_person_in_any_order() {
        let set = people(&[("ann", [1.0, 0.0]), ("bob", [0.0, 1.0]), ("ann", [0.6, 0.8])]);
        assert_eq!((set.people(), set.name(0), set.photos_of(0), set.photos_of(1)), (2, "ann", &[0, 2][..], &[1][..]));
        assert!((set.cosine(0, 2) - 0.6).abs() < 1e-6);
    }

    #[test]
    fn relatives_are_known_in_both_orders_and_other_names_are_returned() {
        let mut set = people(&[("ann", [1.0, 0.0]), ("bob", [0.0, 1.0]), ("cyd", [1.0, 0.0])]);
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let unknown = set.set_relatives(&[pair("bob", "ann"), pair("ann", "eve"), pair("cyd", "cyd")]);
        assert_eq!(unknown, BTreeSet::from(["eve".to_owned()]));
        assert!(set.are_relatives(0, 1) && set.are_relatives(1, 0) && !set.are_relatives(0, 2));
        assert_eq!(set.relatives().len(), 1);
    }

    #[test]
    fn a_person_without_a_template_is_an_attempt_and_no_person() {
        let fault = LabeledPhoto { outcome: PhotoOutcome::Fault("no_face".to_owned()), ..photo("bob", 1, &[]) };
        let set = DataSet::new(vec![photo("ann", 0, &[1.0, 0.0]), fault]);
        assert_eq!(set.people(), 1);
        assert_eq!(set.attempts().collect::<Vec<_>>(), [(1, 1), (1, 0)]);
        assert_eq!(set.faults()[0].reason, "no_face");
    }
}
