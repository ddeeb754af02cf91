//! The verification protocol of Labeled Faces in the Wild (View 2): accuracy over ten folds.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use super::data_set::DataSet;

/// Two photos of the protocol as (person, number), and whether they show one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolPair {
    /// One photo.
    pub first: (String, u32),
    /// The other one.
    pub second: (String, u32),
    /// Whether both show one person.
    pub same: bool,
}

/// The pairs of a protocol file, by fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol(Vec<Vec<ProtocolPair>>);

/// Why a text is not a protocol file, or cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A line that is neither a head nor a pair.
    #[error("not a pair: {0:?}")]
    Line(String),
    /// Another number of pairs than the head announces.
    #[error("{found} pairs, not {folds} x 2 x {count}")]
    Count {
        /// Pairs that the file has.
        found: usize,
        /// Folds of the head.
        folds: usize,
        /// Pairs of a kind in a fold.
        count: usize,
    },
    /// The data set is another one.
    #[error("no photo of the pairs is in the folder")]
    OtherPhotos,
}

/// The accuracy over folds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Folds {
    /// The mean over the folds.
    pub accuracy: f64,
    /// The standard error of the mean.
    pub standard_error: f64,
    /// All pairs.
    pub pairs: usize,
    /// Pairs with a photo that has no template; they count as "different".
    pub pairs_without_embedding: usize,
}

impl Protocol {
    /// Reads a head line `FOLDS COUNT`, then per fold COUNT lines `NAME i j` and COUNT lines `NAME i NAME j`.
    ///
    /// # Errors
    /// [`ProtocolError::Line`] and [`ProtocolError::Count`].
    pub fn parse(text: &str) -> Result<Self, ProtocolError> {
        let bad = |line: &str| ProtocolError::Line(line.to_owned());
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let head = lines.next().unwrap_or_default();
        let mut numbers = head.split_whitespace().map(str::parse::<usize>);
        let (Some(Ok(folds)), Some(Ok(count))) = (numbers.next(), numbers.next()) else { return Err(bad(head)) };
        let pairs: Vec<ProtocolPair> =
            lines.map(|line| pair(line).ok_or_else(|| bad(line))).collect::<Result<_, _>>()?;
        let expected = folds.checked_mul(count).and_then(|pairs| pairs.checked_mul(2));
        if folds == 0 || count == 0 || expected != Some(pairs.len()) {
            return Err(ProtocolError::Count { found: pairs.len(), folds, count });
        }
        Ok(Self(pairs.chunks(2 * count).map(<[_]>::to_vec).collect()))
    }

    /// For each fold, the threshold that is best on the others is applied to it. A pair with a photo without a template
    /// counts as "different", as a server would report it.
    ///
    /// # Errors
    /// [`ProtocolError::OtherPhotos`].
    pub fn accuracy(&self, data: &DataSet) -> Result<Folds, ProtocolError> {
        let by_name: HashMap<String, usize> =
            data.photos().iter().enumerate().map(|(at, p)| (stem(&p.file), at)).collect();
        // LFW names its photos `PERSON_NNNN`.
        let photo = |(person, number): &(String, u32)| by_name.get(&format!("{person}_{number:04}")).copied();
        let mut missing = 0;
        let mut score = |pair: &ProtocolPair| match (photo(&pair.first), photo(&pair.second)) {
            (Some(a), Some(b)) => (data.cosine(a, b), pair.same),
            _ => {
                missing += 1;
                (-1.0, pair.same)
            }
        };
        let scored: Vec<Vec<(f32, bool)>> = self.0.iter().map(|fold| fold.iter().map(&mut score).collect()).collect();
        let pairs: usize = scored.iter().map(Vec::len).sum();
        if missing == pairs {
            return Err(ProtocolError::OtherPhotos);
        }
        let accuracies: Vec<f64> = (0..scored.len()).map(|held_out| accuracy_of(&scored, held_out)).collect();
        let n = accuracies.len() as f64;
        let mean = accuracies.iter().sum::<f64>() / n;
        let variance = accuracies.iter().map(|accuracy| (accuracy - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        let standard_error = (variance / n).sqrt();
        Ok(Folds { accuracy: mean, standard_error, pairs, pairs_without_embedding: missing })
    }
}

fn stem(file: &str) -> String {
    Path::new(file).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn pair(line: &str) -> Option<ProtocolPair> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let photo = |name: &str, number: &str| Some((name.to_owned(), number.parse::<u32>().ok()?));
    let (first, second, same) = match words[..] {
        [name, i, j] => (photo(name, i)?, photo(name, j)?, true),
        [a, i, b, j] => (photo(a, i)?, photo(b, j)?, false),
        _ => return None,
    };
    Some(ProtocolPair { first, second, same })
}

fn accuracy_of(scored: &[Vec<(f32, bool)>], held_out: usize) -> f64 {
    let others = scored.iter().enumerate().filter(|(at, _)| *at != held_out).flat_map(|(_, fold)| fold.iter().copied());
    let threshold = best_threshold(others.collect());
    let right = scored[held_out].iter().filter(|(cosine, same)| (*cosine >= threshold) == *same).count();
    right as f64 / scored[held_out].len().max(1) as f64
}

/// The threshold with the most right answers; "same" from it on.
fn best_threshold(mut scored: Vec<(f32, bool)>) -> f32 {
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut right = scored.iter().filter(|(_, same)| *same).count() as i64; // all of them "same"
    let mut best = right;
    let mut threshold = f32::NEG_INFINITY;
    for (at, (cosine, same)) in scored.iter().enumerate() {
        right += if *same { -1 } else { 1 }; // this one now "different"
        let next = scored.get(at + 1).map_or(f32::INFINITY, |next| next.0);
        if right > best && next > *cosine {
            (best, threshold) = (right, f32::midpoint(*cosine, next));
        }
    }
    threshold
}

#[cfg(test)]
mod tests {
    use super::super::data_set::tests::photo;
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
    fn a_pair_without_a_template_counts_as_different() {
        let data = DataSet::new(vec![
            photo("ann", 1, &[1.0, 0.0]),
            photo("ann", 2, &[0.96, 0.28]),
            photo("bob", 1, &[-0.6, 0.8]),
        ]);
        let protocol = Protocol::parse("2 1\nann 1 2\nann 1 bob 1\nann 2 1\nann 2 cyd 1\n").unwrap();
        let folds = protocol.accuracy(&data).unwrap();
        assert_eq!((folds.accuracy, folds.pairs, folds.pairs_without_embedding), (1.0, 4, 1));
        let other = Protocol::parse("1 1\neve 1 2\neve 1 dan 1\n").unwrap();
        assert_eq!(other.accuracy(&data), Err(ProtocolError::OtherPhotos));
    }

    #[test]
    fn a_file_that_is_no_protocol_is_refused() {
        assert_eq!(Protocol::parse(""), Err(ProtocolError::Line(String::new())));
        assert_eq!(Protocol::parse("1 1\nann one 2\n"), Err(ProtocolError::Line("ann one 2".to_owned())));
        let count = ProtocolError::Count { found: 1, folds: 1, count: 1 };
        assert_eq!(Protocol::parse("1 1\nann 1 2\n"), Err(count));
        assert!(Protocol::parse(&format!("{} 4\nann 1 2\n", usize::MAX)).is_err());
    }
}
