//! Error rates of groups of people (ISO/IEC 19795-10).

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::bins::threshold_bin;
use super::data_set::DataSet;
use super::interval::Estimate;
use super::sample::{Both, Draws, Sample, Tail, Weighting};
use super::scores::Scores;
use super::verification::Threshold;

/// Upper ends of the bands of estimated ages.
const AGE_BANDS: [(u32, &str); 5] =
    [(17, "0-17"), (29, "18-29"), (44, "30-44"), (59, "45-59"), (u32::MAX, "60 and more")];

/// The groups of people, in one or several columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Groups {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// A value for each column, by the person's name. An empty value is no group.
    pub values: BTreeMap<String, Vec<String>>,
}

/// Error rates within a group, counted in one way.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct GroupRates {
    /// False match rate at the threshold of the settings; `None` without impostors.
    pub fmr: Option<Estimate>,
    /// False non-match rate there; `None` without genuine comparisons.
    pub fnmr: Option<Estimate>,
}

/// A group, its counts and its rates.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// The column.
    pub column: String,
    /// The value that its people have in common.
    pub value: String,
    /// People with a template.
    pub people: usize,
    /// People with several.
    pub people_with_several: u64,
    /// Their photos.
    pub photos: u64,
    /// Genuine comparisons.
    pub genuine: u64,
    /// Impostor comparisons within the group.
    pub impostors: u64,
    /// Pairs of people within the group.
    pub pairs_of_people: u64,
    /// The rates.
    #[serde(flatten)]
    pub rates: Both<GroupRates>,
}

/// Groups by what networks estimate of the photos: the most frequent gender and race of a person, and the median age.
pub fn estimated_groups(data: &DataSet) -> Groups {
    let columns = ["gender", "race", "age"].map(|column| format!("{column}, estimated")).into();
    let mut values = BTreeMap::new();
    for person in 0..data.people() {
        let estimates: Vec<_> =
            data.photos_of(person).iter().filter_map(|photo| data.photos()[*photo].estimated.as_ref()).collect();
        let gender = most_frequent(estimates.iter().filter_map(|estimated| estimated.gender.as_deref()));
        let race = most_frequent(estimates.iter().filter_map(|estimated| estimated.race.as_deref()));
        let mut ages: Vec<u32> = estimates.iter().filter_map(|estimated| estimated.age).collect();
        ages.sort_unstable();
        let age = ages.get(ages.len() / 2).and_then(|age| AGE_BANDS.iter().find(|(most, _)| age <= most));
        let age = age.map(|(_, band)| (*band).to_owned()).unwrap_or_default();
        values.insert(data.name(person).to_owned(), vec![gender, race, age]);
    }
    Groups { columns, values }
}

/// The most frequent text, the first in order among equals.
fn most_frequent<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    texts.for_each(|text| *counts.entry(text).or_default() += 1);
    let most = counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0)));
    most.map(|(text, _)| text.to_owned()).unwrap_or_default()
}

/// The rates of each group with at least two people, in the order of columns and values.
pub(super) fn group_rates(
    data: &DataSet,
    scores: &Scores,
    tail: Tail<'_>,
    groups: &Groups,
    threshold: Threshold,
    draws: Draws,
) -> Vec<Group> {
    let in_force = threshold_bin(threshold.cosine);
    let mut found = Vec::new();
    for (column, name) in groups.columns.iter().enumerate() {
        let mut members: BTreeMap<&str, HashSet<usize>> = BTreeMap::new();
        for person in 0..data.people() {
            let value = groups.values.get(data.name(person)).and_then(|values| values.get(column));
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                members.entry(value).or_default().insert(person);
            }
        }
        for (value, members) in members {
            // Only what reaches the threshold is needed.
            let keep = |photo: usize| members.contains(&data.photos()[photo].person);
            let sample = Sample::new(data, scores, tail.from(in_force), keep);
            if sample.people() > 1 {
                found.push(group(&sample, name, value, in_force, draws));
            }
        }
    }
    found
}

fn group(sample: &Sample, column: &str, value: &str, in_force: usize, draws: Draws) -> Group {
    let intervals = sample.bootstrap(draws, |curves| {
        let of =
            |weighting: &Weighting| [curves.get(*weighting).fmr(in_force), Some(curves.get(*weighting).fnmr(in_force))];
        Weighting::ALL.iter().flat_map(of).collect()
    });
    let curves = sample.curves();
    let pairs_of_people = sample.impostors(Weighting::Person);
    let rates = |weighting| {
        let first = if weighting == Weighting::Comparison { 0 } else { 2 };
        let interval = |at: usize| intervals.get(first + at).copied().flatten();
        let curve = curves.get(weighting);
        let fmr = curve.fmr(in_force).filter(|_| pairs_of_people > 0);
        GroupRates {
            fmr: fmr.map(|fmr| Estimate::new(fmr, interval(0), pairs_of_people)),
            fnmr: (sample.genuine() > 0)
                .then(|| Estimate::new(curve.fnmr(in_force), interval(1), sample.people_with_several())),
        }
    };
    Group {
        column: column.to_owned(),
        value: value.to_owned(),
        people: sample.people(),
        people_with_several: sample.people_with_several(),
        photos: sample.photos(),
        genuine: sample.genuine(),
        impostors: sample.impostors(Weighting::Comparison),
        pairs_of_people,
        rates: Both::new(rates),
    }
}

#[cfg(test)]
mod tests {
    use super::super::data_set::tests::{people, photo};
    use super::super::photo::{Estimated, PhotoOutcome};
    use super::super::scores::impostors_from;
    use super::*;

    const EAST: [f32; 2] = [1.0, 0.0];
    const NORTH: [f32; 2] = [0.0, 1.0];

    #[test]
    fn rates_are_of_comparisons_within_a_group() {
        let data =
            people(&[("ann", EAST), ("ann", NORTH), ("bob", EAST), ("cyd", EAST), ("dan", NORTH), ("eve", EAST)]);
        let of = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        let groups = Groups {
            columns: of(&["team"]),
            values: [("ann", "red"), ("bob", "red"), ("cyd", "blue"), ("dan", "blue"), ("eve", "")]
                .map(|(person, team)| (person.to_owned(), of(&[team])))
                .into(),
        };
        let scores = Scores::new(&data, 1);
        let threshold = Threshold { similarity: 0.75, cosine: 0.5 };
        let draws = Draws { count: 50, seed: 1, threads: 1 };
        let found = group_rates(
            &data,
            &scores,
            Tail { pairs: &impostors_from(&data, 1, 0), known_from: 0 },
            &groups,
            threshold,
            draws,
        );
        assert_eq!(found.iter().map(|group| group.value.as_str()).collect::<Vec<_>>(), ["blue", "red"]);
        let (blue, red) = (&found[0].rates, &found[1].rates);
        // Cyd and Dan differ; the only pair gives an upper end of 3 / 1, at most 1.
        assert_eq!(blue.by_person.fmr, Some(Estimate { rate: 0.0, low: Some(0.0), high: Some(1.0) }));
        assert!(blue.by_person.fnmr.is_none(), "no person of the group has several photos");
        assert_eq!(red.by_comparison.fmr.unwrap().rate, 0.5);
        assert_eq!(red.by_person.fnmr.unwrap().rate, 1.0);
        assert_eq!((found[1].people, found[1].photos, found[1].impostors, found[1].pairs_of_people), (2, 3, 2, 1));
    }

    #[test]
    fn a_person_is_in_the_group_of_most_estimates_and_of_the_median_age() {
        let photo = |number, age, gender: &str| {
            let mut photo = photo("ann", number, &EAST);
            if let PhotoOutcome::Face(face) = &mut photo.outcome {
                face.estimated = Some(Estimated { age: Some(age), gender: Some(gender.to_owned()), race: None });
            }
            photo
        };
        let data = DataSet::new(vec![photo(0, 16, "female"), photo(1, 31, "male"), photo(2, 40, "female")]);
        let groups = estimated_groups(&data);
        assert_eq!(groups.columns[0], "gender, estimated");
        assert_eq!(groups.values["ann"], ["female", "", "30-44"]);
    }
}
