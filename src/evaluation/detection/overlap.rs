//! Photos that two classes share: one of the two labels is wrong, or the photo was copied by mistake.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::NEAR_DUPLICATE;
use super::super::parallel::in_parallel;
use super::super::photo::PhotoOutcome;
use super::classes::{ClassPhoto, LabeledClass};
use crate::domain::dot;

/// Photos that one thread compares before it takes the next ones.
const PHOTOS_AT_ONCE: usize = 16;

/// A photo, by its file, and its class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassedPhoto {
    /// The class.
    pub class: String,
    /// Its path below the folder of the data set.
    pub file: String,
}

/// A bona fide photo and an attack of nearly the same face.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NearPair {
    /// The cosine of their templates.
    pub cosine: f32,
    /// The bona fide photo.
    pub bona_fide: ClassedPhoto,
    /// The attack.
    pub attack: ClassedPhoto,
}

/// Photos that are there several times.
#[derive(Debug, Clone, Serialize)]
pub struct Overlap {
    /// Photos with the same bytes in two classes.
    pub same_bytes_in_two_classes: Vec<Vec<ClassedPhoto>>,
    /// Photos with the same bytes in one class.
    pub same_bytes_in_one_class: Vec<Vec<ClassedPhoto>>,
    /// For each attack with other bytes its nearest bona fide photo, if their cosine is at least 0.98; the highest first.
    pub near_duplicates: Vec<NearPair>,
}

impl Overlap {
    pub(super) fn new(bona_fide: &LabeledClass, kinds: &[LabeledClass], threads: usize) -> Self {
        let mut by_digest: BTreeMap<&str, Vec<(&LabeledClass, &ClassPhoto)>> = BTreeMap::new();
        for class in std::iter::once(bona_fide).chain(kinds) {
            for photo in &class.photos {
                by_digest.entry(&photo.photo.digest).or_default().push((class, photo));
            }
        }
        let copies: Vec<Vec<(&LabeledClass, &ClassPhoto)>> =
            by_digest.into_values().filter(|photos| photos.len() > 1).collect();
        let (in_two, in_one): (Vec<_>, Vec<_>) =
            copies.into_iter().partition(|photos| photos.iter().any(|(class, _)| class.name != photos[0].0.name));
        Self {
            same_bytes_in_two_classes: in_two.into_iter().map(named).collect(),
            same_bytes_in_one_class: in_one.into_iter().map(named).collect(),
            near_duplicates: near_duplicates(bona_fide, kinds, threads),
        }
    }
}

fn named(photos: Vec<(&LabeledClass, &ClassPhoto)>) -> Vec<ClassedPhoto> {
    photos.into_iter().map(|(class, photo)| classed(class, photo)).collect()
}

fn classed(class: &LabeledClass, photo: &ClassPhoto) -> ClassedPhoto {
    ClassedPhoto { class: class.name.clone(), file: photo.photo.file.clone() }
}

fn embedding(photo: &ClassPhoto) -> Option<&[f32]> {
    match &photo.photo.outcome {
        PhotoOutcome::Face(face) => Some(&face.embedding),
        PhotoOutcome::Fault(_) => None,
    }
}

fn near_duplicates(bona_fide: &LabeledClass, kinds: &[LabeledClass], threads: usize) -> Vec<NearPair> {
    let attacks: Vec<(&LabeledClass, &ClassPhoto)> =
        kinds.iter().flat_map(|kind| kind.photos.iter().map(move |photo| (kind, photo))).collect();
    let nearest = |(kind, attack): &(&LabeledClass, &ClassPhoto)| {
        let values = embedding(attack)?;
        let others = bona_fide.photos.iter().filter(|other| other.photo.digest != attack.photo.digest);
        let cosines = others.filter_map(|other| Some((dot(values, embedding(other)?), other)));
        let (cosine, other) = cosines.max_by(|a, b| a.0.total_cmp(&b.0))?;
        let pair = NearPair { cosine, bona_fide: classed(bona_fide, other), attack: classed(kind, attack) };
        (cosine >= NEAR_DUPLICATE).then_some(pair)
    };
    let found = in_parallel(threads, attacks.len(), PHOTOS_AT_ONCE, |range| {
        attacks[range].iter().filter_map(nearest).collect::<Vec<NearPair>>()
    });
    let mut found: Vec<NearPair> = found.into_iter().flatten().collect();
    found.sort_by(|a, b| b.cosine.total_cmp(&a.cosine).then_with(|| a.attack.file.cmp(&b.attack.file)));
    found
}

#[cfg(test)]
mod tests {
    use super::super::super::photo::{CheckScore, FaceRecord};
    use super::super::classes::tests::{photo, unanswered};
    use super::*;

    fn face(class: &str, number: usize, digest: &str, embedding: [f32; 2]) -> ClassPhoto {
        let mut photo = photo(class, number, None, CheckScore::NotJudged);
        digest.clone_into(&mut photo.photo.digest);
        photo.photo.outcome = PhotoOutcome::Face(FaceRecord { embedding: embedding.to_vec(), ..FaceRecord::default() });
        photo
    }

    #[test]
    fn copies_and_near_photos_of_both_sides_are_listed() {
        let class = |name: &str, photos| LabeledClass { name: name.to_owned(), photos };
        let live = class("live", vec![face("live", 0, "a", [1.0, 0.0]), face("live", 1, "b", [0.0, 1.0])]);
        let print = vec![
            face("print", 0, "a", [1.0, 0.0]),
            face("print", 1, "c", [0.99, 0.141]),
            face("print", 2, "d", [0.8, 0.6]),
            unanswered("print", 3, "no_face"),
        ];
        let screen = vec![face("screen", 0, "e", [-1.0, 0.0]), face("screen", 1, "e", [-1.0, 0.0])];
        let overlap = Overlap::new(&live, &[class("print", print), class("screen", screen)], 2);
        let files = |photos: &[ClassedPhoto]| photos.iter().map(|photo| photo.file.clone()).collect::<Vec<_>>();
        assert_eq!(overlap.same_bytes_in_two_classes.len(), 1);
        assert_eq!(files(&overlap.same_bytes_in_two_classes[0]), ["live/0000.jpg", "print/0000.jpg"]);
        assert_eq!(files(&overlap.same_bytes_in_one_class[0]), ["screen/0000.jpg", "screen/0001.jpg"]);
        let near: Vec<_> = overlap.near_duplicates.iter().map(|pair| pair.attack.file.as_str()).collect();
        assert_eq!(near, ["print/0001.jpg"]);
        assert_eq!(overlap.near_duplicates[0].bona_fide.file, "live/0000.jpg");
    }
}
