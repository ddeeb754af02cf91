//! Photos and people without a template: failure to acquire and failure to enroll.

use std::collections::BTreeMap;

use serde::Serialize;

use super::data_set::{DataSet, FailedPhoto};
use super::interval::Estimate;

/// How many photos and people have no template, and why.
#[derive(Debug, Clone, Serialize)]
pub struct Failures {
    /// All photos.
    pub photos: usize,
    /// Photos without a template.
    pub photos_failed: usize,
    /// Failure to acquire: the share of photos without a template.
    pub acquire: Estimate,
    /// Photos without a template, by the kind of their fault.
    pub by_reason: BTreeMap<String, usize>,
    /// The photos without a template.
    pub failed: Vec<FailedPhoto>,
    /// All people.
    pub people: usize,
    /// People without any template.
    pub people_failed: usize,
    /// Failure to enroll: the share of people without any template.
    pub enroll: Estimate,
}

impl Failures {
    pub(super) fn new(data: &DataSet) -> Self {
        let photos = data.attempts().map(|(photos, _)| photos).sum();
        let photos_failed = data.faults().len();
        let mut by_reason: BTreeMap<String, usize> = BTreeMap::new();
        data.faults().iter().for_each(|failed| *by_reason.entry(failed.reason.clone()).or_default() += 1);
        let people = data.attempts().count();
        let people_failed = data.attempts().filter(|(_, templates)| *templates == 0).count();
        Self {
            photos,
            photos_failed,
            acquire: Estimate::of_count(photos_failed, photos),
            by_reason,
            failed: data.faults().to_vec(),
            people,
            people_failed,
            enroll: Estimate::of_count(people_failed, people),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::data_set::tests::photo;
    use super::super::photo::{LabeledPhoto, PhotoOutcome};
    use super::*;

    #[test]
    fn a_person_is_enrolled_with_one_template() {
        let fault = |person, number, kind: &str| LabeledPhoto {
            outcome: PhotoOutcome::Fault(kind.to_owned()),
            ..photo(person, number, &[])
        };
        let face = [1.0, 0.0];
        let photos = vec![
            photo("ann", 0, &face),
            fault("ann", 1, "no_face"),
            fault("bob", 2, "no_face"),
            fault("bob", 3, "untrusted_face"),
            photo("cyd", 4, &face),
        ];
        let failures = Failures::new(&DataSet::new(photos));
        assert_eq!((failures.photos, failures.photos_failed, failures.acquire.rate), (5, 3, 0.6));
        assert_eq!((failures.people, failures.people_failed), (3, 1));
        assert_eq!(failures.failed[2].file, "bob/bob_0003.jpg");
        assert_eq!(failures.by_reason, BTreeMap::from([("no_face".to_owned(), 2), ("untrusted_face".to_owned(), 1)]));
    }
}
