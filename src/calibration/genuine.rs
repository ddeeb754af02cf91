//! Comparisons of one person's samples with each other: how many people a threshold costs.

use super::estimate::Estimate;
use super::impostors::{Person, cosine};
use crate::domain::wilson;

/// The searches of people who have several samples: each sample against the others of its person.
#[derive(Debug, Clone, Default)]
pub struct Genuine {
    /// For each of these people, the score of each sample in a search of the person's other samples and their mean.
    people: Vec<Vec<f32>>,
}

impl Genuine {
    /// Compares the samples of each person. Copies of one photo (a cosine of 1, but for rounding) are no comparison.
    pub fn measure(people: &[Person<'_>]) -> Self {
        const COPY: f32 = 0.999_99;
        let mut all = Vec::new();
        for person in people.iter().filter(|person| person.samples.len() > 1) {
            let mut scores = Vec::new();
            for probe in &person.samples {
                let others: Vec<&[f32]> =
                    person.samples.iter().copied().filter(|sample| cosine(probe, sample) < COPY).collect();
                if !others.is_empty() {
                    scores.push(Person::new(others).score(probe));
                }
            }
            if !scores.is_empty() {
                all.push(scores);
            }
        }
        Self { people: all }
    }

    /// People who have several samples.
    pub fn people(&self) -> usize {
        self.people.len()
    }

    /// Their searches.
    pub fn searches(&self) -> usize {
        self.people.iter().map(Vec::len).sum()
    }

    /// The highest score.
    pub fn highest(&self) -> Option<f32> {
        self.people.iter().flatten().copied().max_by(f32::total_cmp)
    }

    /// FNIR at a cosine: the share of searches below it, each person counted once. The interval is Wilson's (1927) for as many
    /// people. `None` without people who have several samples.
    pub fn missed(&self, cosine: f64) -> Option<Estimate> {
        let of = |scores: &Vec<f32>| {
            scores.iter().filter(|score| f64::from(**score) < cosine).count() as f64 / scores.len() as f64
        };
        let count = self.people.len();
        (count > 0).then(|| {
            let value = self.people.iter().map(of).sum::<f64>() / count as f64;
            let (low, high) = wilson(value, count);
            Estimate { value, low, high }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(degrees: f32) -> Vec<f32> {
        vec![degrees.to_radians().cos(), degrees.to_radians().sin()]
    }

    #[test]
    fn each_person_counts_once_and_copies_do_not_count() {
        let rows =
            [vec![at(0.0), at(60.0)], vec![at(0.0), at(30.0), at(75.0)], vec![at(0.0)], vec![at(10.0), at(10.0)]];
        let people: Vec<Person<'_>> =
            rows.iter().map(|person| Person::new(person.iter().map(Vec::as_slice).collect())).collect();
        let genuine = Genuine::measure(&people);
        assert_eq!((genuine.people(), genuine.searches()), (2, 5));
        // The sample at 30 degrees is nearest to the mean of the others, which is at 37.5.
        assert!((genuine.highest().unwrap() - 7.5f32.to_radians().cos()).abs() < 1e-6);
        // cos 60 = 0.5, cos 30 = 0.87, cos 45 = 0.71: at 0.6 the first person is missed, the second one never.
        assert_eq!(genuine.missed(0.6).unwrap().value, 0.5);
        // At 0.8 one of three searches of the second person is missed as well.
        assert!((genuine.missed(0.8).unwrap().value - (1.0 + 1.0 / 3.0) / 2.0).abs() < 1e-9);
        assert_eq!(Genuine::measure(&people[2..]).missed(0.6), None);
    }
}
