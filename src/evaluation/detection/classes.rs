//! The photos of one class, by the units that are drawn for the intervals.

use std::collections::BTreeMap;

use super::super::photo::{CheckScore, LabeledPhoto, PhotoOutcome};
use crate::domain::Check;

/// A photo of a class.
#[derive(Debug, Clone)]
pub struct ClassPhoto {
    /// The sub-folder of the class that it lies in, if any. All photos of a sub-folder are one unit.
    pub folder: Option<String>,
    /// The photo.
    pub photo: LabeledPhoto,
}

/// The photos of the bona fide side, or of one kind of attack.
#[derive(Debug, Clone)]
pub struct LabeledClass {
    /// Its name, as the folder has it.
    pub name: String,
    /// Its photos.
    pub photos: Vec<ClassPhoto>,
}

/// The scores of a data set, each once, in rising order. The threshold `k` is the score of that place: what has this score
/// or a higher one passes. The last threshold is above all scores.
#[derive(Debug)]
pub(super) struct Thresholds(Vec<f64>);

impl Thresholds {
    /// The scores of all classes.
    pub(super) fn new<'a>(classes: impl Iterator<Item = &'a LabeledClass>, check: Check) -> Self {
        let photos = classes.flat_map(|class| &class.photos);
        let mut scores: Vec<f64> = photos
            .filter_map(|photo| match answer(&photo.photo, check).ok()? {
                CheckScore::Score(score) => Some(score),
                CheckScore::NotJudged => None,
            })
            .collect();
        scores.sort_by(f64::total_cmp);
        scores.dedup();
        Self(scores)
    }

    /// How many there are, with that above all scores.
    pub(super) fn count(&self) -> usize {
        self.0.len() + 1
    }

    /// The value of a threshold; `None` above all scores.
    pub(super) fn value(&self, threshold: usize) -> Option<f64> {
        self.0.get(threshold).copied()
    }

    /// The highest threshold that a photo passes.
    fn highest_passed(&self, score: CheckScore) -> usize {
        match score {
            CheckScore::Score(score) => self.0.partition_point(|other| *other < score),
            CheckScore::NotJudged => self.0.len(),
        }
    }
}

/// Photos that are drawn together: a photo, or all photos of a sub-folder.
#[derive(Debug, Default, Clone)]
pub(super) struct Unit {
    /// The highest threshold that each photo with a response passes.
    pub(super) highest_passed: Vec<usize>,
    /// Photos without a response.
    pub(super) unanswered: usize,
    /// Photos that pass at the threshold in force.
    pub(super) passed: usize,
}

impl Unit {
    /// Photos with a response.
    pub(super) fn answered(&self) -> usize {
        self.highest_passed.len()
    }

    /// All photos.
    pub(super) fn photos(&self) -> usize {
        self.answered() + self.unanswered
    }
}

/// One class, counted.
#[derive(Debug)]
pub(super) struct Class<'a> {
    pub(super) labeled: &'a LabeledClass,
    pub(super) units: Vec<Unit>,
    /// Units that are sub-folders.
    pub(super) folders: usize,
    /// Scores of the judged photos, in rising order.
    pub(super) scores: Vec<f64>,
    /// Photos that pass because the check does not judge them.
    pub(super) not_judged: usize,
}

impl<'a> Class<'a> {
    pub(super) fn new(labeled: &'a LabeledClass, check: Check, thresholds: &Thresholds, in_force: f64) -> Self {
        let mut class = Self { labeled, units: Vec::new(), folders: 0, scores: Vec::new(), not_judged: 0 };
        let mut of_folder: BTreeMap<&str, usize> = BTreeMap::new();
        for photo in &labeled.photos {
            let next = class.units.len();
            let at = match &photo.folder {
                Some(folder) => *of_folder.entry(folder).or_insert(next),
                None => next,
            };
            if at == next {
                class.units.push(Unit::default());
            }
            let unit = &mut class.units[at];
            let Ok(score) = answer(&photo.photo, check) else {
                unit.unanswered += 1;
                continue;
            };
            unit.highest_passed.push(thresholds.highest_passed(score));
            match score {
                CheckScore::Score(score) => {
                    unit.passed += usize::from(score >= in_force);
                    class.scores.push(score);
                }
                CheckScore::NotJudged => {
                    unit.passed += 1;
                    class.not_judged += 1;
                }
            }
        }
        class.folders = of_folder.len();
        class.scores.sort_by(f64::total_cmp);
        class
    }

    pub(super) fn photos(&self) -> usize {
        self.units.iter().map(Unit::photos).sum()
    }

    pub(super) fn answered(&self) -> usize {
        self.units.iter().map(Unit::answered).sum()
    }

    pub(super) fn passed(&self) -> usize {
        self.units.iter().map(|unit| unit.passed).sum()
    }

    /// Units with a response.
    pub(super) fn answered_units(&self) -> usize {
        self.units.iter().filter(|unit| unit.answered() > 0).count()
    }
}

/// The score of a photo, or the reason why it has none.
pub(super) fn answer(photo: &LabeledPhoto, check: Check) -> Result<CheckScore, &str> {
    match &photo.outcome {
        PhotoOutcome::Face(face) => face.check(check).ok_or("not_checked"),
        PhotoOutcome::Fault(reason) => Err(reason),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::super::photo::FaceRecord;
    use super::*;

    /// A photo of a class with a liveness score, in a sub-folder or not.
    pub(in super::super) fn photo(class: &str, number: usize, folder: Option<&str>, score: CheckScore) -> ClassPhoto {
        let face = FaceRecord { liveness: Some(score), embedding: vec![1.0, 0.0], ..FaceRecord::default() };
        ClassPhoto {
            folder: folder.map(str::to_owned),
            photo: LabeledPhoto {
                person: class.to_owned(),
                file: format!("{class}/{number:04}.jpg"),
                digest: format!("{class} {number}"),
                outcome: PhotoOutcome::Face(face),
            },
        }
    }

    pub(in super::super) fn unanswered(class: &str, number: usize, reason: &str) -> ClassPhoto {
        let mut photo = photo(class, number, None, CheckScore::NotJudged);
        photo.photo.outcome = PhotoOutcome::Fault(reason.to_owned());
        photo
    }

    /// A class of photos with these scores, each a unit of its own.
    pub(in super::super) fn class(name: &str, scores: &[f64]) -> LabeledClass {
        let photo = |(at, score): (usize, &f64)| photo(name, at, None, CheckScore::Score(*score));
        LabeledClass { name: name.to_owned(), photos: scores.iter().enumerate().map(photo).collect() }
    }

    #[test]
    fn photos_of_a_sub_folder_are_one_unit_and_others_one_each() {
        let score = CheckScore::Score(0.5);
        let labeled = LabeledClass {
            name: "print".to_owned(),
            photos: vec![
                photo("print", 0, Some("b"), score),
                photo("print", 1, None, score),
                photo("print", 2, Some("a"), CheckScore::Score(0.9)),
                photo("print", 3, Some("b"), CheckScore::NotJudged),
                unanswered("print", 4, "no_face"),
            ],
        };
        let thresholds = Thresholds::new(std::iter::once(&labeled), Check::Liveness);
        assert_eq!((thresholds.count(), thresholds.value(1), thresholds.value(2)), (3, Some(0.9), None));
        let class = Class::new(&labeled, Check::Liveness, &thresholds, 0.9);
        let units: Vec<_> =
            class.units.iter().map(|unit| (unit.highest_passed.clone(), unit.unanswered, unit.passed)).collect();
        assert_eq!(units, [(vec![0, 2], 0, 1), (vec![0], 0, 0), (vec![1], 0, 1), (vec![], 1, 0)]);
        assert_eq!((class.folders, class.not_judged, class.answered(), class.answered_units()), (2, 1, 4, 3));
    }
}
