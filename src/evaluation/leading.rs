//! The people who decide a rate: few of them can be behind most comparisons.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::Serialize;

use super::bins::bin;
use super::data_set::DataSet;
use super::scores::ScoredPair;

/// The people of whom most comparisons of a kind are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leading {
    /// One person, or two.
    pub people: Vec<String>,
    /// Their comparisons.
    pub count: u64,
    /// All comparisons of that kind.
    pub of: u64,
}

/// The people behind most comparisons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeadingPeople {
    /// The person with the most genuine comparisons; `None` without any.
    pub genuine: Option<Leading>,
    /// The two people with the most false matches at the threshold of the settings; `None` without any.
    pub false_matches: Option<Leading>,
}

impl LeadingPeople {
    /// `impostors` has all impostor comparisons that reach the step `in_force`.
    pub(super) fn new(data: &DataSet, impostors: &[ScoredPair], in_force: usize) -> Self {
        Self { genuine: leading_genuine(data), false_matches: leading_impostors(data, impostors, in_force) }
    }
}

fn leading_impostors(data: &DataSet, impostors: &[ScoredPair], in_force: usize) -> Option<Leading> {
    let mut matches: HashMap<(usize, usize), u64> = HashMap::new();
    for pair in impostors.iter().filter(|pair| bin(pair.cosine) >= in_force) {
        let person = |photo: u32| data.photos()[photo as usize].person;
        let (a, b) = (person(pair.first), person(pair.second));
        *matches.entry((a.min(b), a.max(b))).or_insert(0) += 1;
    }
    let of = matches.values().sum();
    let ((a, b), count) = matches.into_iter().max_by_key(|&(people, count)| (count, Reverse(people)))?;
    Some(Leading { people: vec![data.name(a).to_owned(), data.name(b).to_owned()], count, of })
}

fn leading_genuine(data: &DataSet) -> Option<Leading> {
    let pairs = |person: usize| {
        let count = data.photos_of(person).len() as u64;
        count * count.saturating_sub(1) / 2
    };
    let person = (0..data.people()).max_by_key(|&person| (pairs(person), Reverse(person)))?;
    let of = (0..data.people()).map(pairs).sum();
    (of > 0).then(|| Leading { people: vec![data.name(person).to_owned()], count: pairs(person), of })
}

#[cfg(test)]
mod tests {
    use super::super::bins::threshold_bin;
    use super::super::data_set::tests::people;
    use super::super::scores::impostors_from;
    use super::*;

    #[test]
    fn the_leading_people_are_named() {
        let east = [1.0, 0.0];
        let north = [0.0, 1.0];
        let data = people(&[("ann", east), ("bob", east), ("bob", east), ("cyd", east), ("dan", north)]);
        let leading = |cosine| LeadingPeople::new(&data, &impostors_from(&data, 1, 0), threshold_bin(cosine));
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let matches = Leading { people: names(&["ann", "bob"]), count: 2, of: 5 };
        assert_eq!(leading(0.5).false_matches, Some(matches));
        assert_eq!(leading(0.5).genuine, Some(Leading { people: names(&["bob"]), count: 1, of: 1 }));
        let apart = people(&[("ann", east), ("bob", north)]);
        let none = LeadingPeople::new(&apart, &impostors_from(&apart, 1, 0), threshold_bin(0.5));
        assert_eq!(none, LeadingPeople { genuine: None, false_matches: None });
    }
}
