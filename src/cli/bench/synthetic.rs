//! Synthetic embeddings: random directions, or vectors with the statistics of real ones.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::super::CliError;
use super::super::ndjson::Line;
use crate::domain::{Embedding, ModelTag, SplitMix};

/// Generates people and photos of them.
///
/// Real embeddings are modelled as Gaussian on two levels (the model of probabilistic linear
/// discriminant analysis; Prince & Elder 2007): a person is the mean of all plus a deviation with the
/// covariance between people, a photo of the person that plus a deviation with the covariance within
/// people, at unit length. Without real ones every direction is as likely, and a person's photos are
/// the same direction with noise at 60 degrees in all.
pub(super) struct SyntheticFaces {
    dimension: usize,
    mean: Vec<f64>,
    /// Lower triangular factors, row by row; `None`: the identity.
    between: Option<Vec<f64>>,
    within: Option<Vec<f64>>,
    tag: ModelTag,
    random: SplitMix,
}

/// A person before the photo.
#[derive(Clone)]
pub(super) struct Person(Vec<f64>);

impl SyntheticFaces {
    pub(super) fn new(embeddings: Option<&Path>, dimension: usize, seed: u64) -> Result<Self, CliError> {
        match embeddings {
            Some(file) => Self::learn(file, seed),
            None => Ok(Self {
                dimension,
                mean: vec![0.0; dimension],
                between: None,
                within: None,
                tag: ModelTag::new("random"),
                random: SplitMix::new(seed),
            }),
        }
    }

    /// The statistics of an export.
    fn learn(file: &Path, seed: u64) -> Result<Self, CliError> {
        let reader = BufReader::new(File::open(file).map_err(CliError::file(file))?);
        let wrong = |what: &str| CliError::message(format!("{}: {what}", file.display()));
        let mut people: Vec<Vec<Vec<f64>>> = Vec::new();
        let mut tag: Option<String> = None;
        for line in reader.lines() {
            let line: Line = serde_json::from_str(&line.map_err(CliError::file(file))?)
                .map_err(|error| wrong(&error.to_string()))?;
            tag = tag.or_else(|| line.samples.first().map(|sample| sample.model.clone()));
            let photos = line.samples.iter().map(|s| s.embedding.iter().map(|v| f64::from(*v)).collect());
            people.push(photos.collect());
        }
        let dimension = people.iter().flatten().next().map_or(0, Vec::len);
        if dimension == 0 || people.iter().flatten().any(|photo| photo.len() != dimension) {
            return Err(wrong("no embeddings of one size"));
        }
        let average = |rows: &[Vec<f64>]| {
            let mut sum = vec![0.0; dimension];
            rows.iter().for_each(|row| sum.iter_mut().zip(row).for_each(|(s, v)| *s += v / rows.len() as f64));
            sum
        };
        people.retain(|photos| !photos.is_empty());
        let centres: Vec<Vec<f64>> = people.iter().map(|photos| average(photos)).collect();
        let mean = average(&centres);
        let (mut within, mut freedom) = (vec![0.0; dimension * dimension], 0usize);
        let mut total = vec![0.0; dimension * dimension];
        let mut photos_seen = 0usize;
        for (photos, centre) in people.iter().zip(&centres) {
            freedom += photos.len() - 1;
            for photo in photos {
                add_square(&mut within, photo, centre);
                add_square(&mut total, photo, &mean);
                photos_seen += 1;
            }
        }
        if freedom < dimension {
            return Err(wrong("too few templates with several samples to learn how photos of one person differ"));
        }
        within.iter_mut().for_each(|v| *v /= freedom as f64);
        let between: Vec<f64> =
            total.iter().zip(&within).map(|(all, within)| all / photos_seen as f64 - within).collect();
        Ok(Self {
            dimension,
            mean,
            between: Some(factor(&between, dimension)),
            within: Some(factor(&within, dimension)),
            tag: ModelTag::new(&tag.unwrap_or_default()),
            random: SplitMix::new(seed),
        })
    }

    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    pub(super) fn is_real(&self) -> bool {
        self.between.is_some()
    }

    pub(super) fn person(&mut self) -> Person {
        let deviation = self.deviation(false);
        Person(self.mean.iter().zip(deviation).map(|(mean, d)| mean + d).collect())
    }

    pub(super) fn photo(&mut self, person: &Person) -> Result<Embedding, CliError> {
        let deviation = self.deviation(true);
        let raw: Vec<f32> = person.0.iter().zip(deviation).map(|(p, d)| (p + d) as f32).collect();
        Embedding::new(&raw, self.tag.clone()).map_err(|error| CliError::message(error.to_string()))
    }

    fn deviation(&mut self, within: bool) -> Vec<f64> {
        let noise: Vec<f64> = (0..self.dimension).map(|_| normal(&mut self.random)).collect();
        match if within { &self.within } else { &self.between } {
            Some(lower) => lower
                .chunks_exact(self.dimension)
                .enumerate()
                .map(|(at, row)| row.iter().zip(&noise).take(at + 1).map(|(a, b)| a * b).sum())
                .collect(),
            None => noise,
        }
    }
}

fn add_square(sums: &mut [f64], a: &[f64], centre: &[f64]) {
    let away: Vec<f64> = a.iter().zip(centre).map(|(a, c)| a - c).collect();
    for (line, left) in sums.chunks_exact_mut(away.len()).zip(&away) {
        line.iter_mut().zip(&away).for_each(|(sum, right)| *sum += left * right);
    }
}

/// The Cholesky factor of a covariance, with the least addition to the diagonal that makes it positive definite.
fn factor(covariance: &[f64], n: usize) -> Vec<f64> {
    let trace: f64 = (0..n).map(|at| covariance[at * n + at]).sum();
    let mut jitter = 1e-9 * trace / n as f64;
    loop {
        let mut lower = vec![0.0; n * n];
        let whole = (0..n).all(|row| {
            (0..=row).all(|column| {
                let dot: f64 = (0..column).map(|k| lower[row * n + k] * lower[column * n + k]).sum();
                let rest = covariance[row * n + column] - dot + if row == column { jitter } else { 0.0 };
                lower[row * n + column] = if row == column { rest.sqrt() } else { rest / lower[column * n + column] };
                row != column || rest > 0.0
            })
        });
        if whole || !jitter.is_finite() {
            return lower;
        }
        jitter = (jitter * 2.0).max(f64::MIN_POSITIVE);
    }
}

/// Close to normal, with variance 1: the sum of four uniform numbers.
fn normal(random: &mut SplitMix) -> f64 {
    let bits = random.bits();
    let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xffff).sum();
    (sum as f64 / 65_536.0 - 2.0 + 2.0 / 65_536.0) * 3f64.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_times_itself_is_the_covariance() {
        let covariance = [4.0, 2.0, 0.6, 2.0, 3.0, 0.4, 0.6, 0.4, 1.0];
        let lower = factor(&covariance, 3);
        for row in 0..3 {
            for column in 0..3 {
                let product: f64 = (0..3).map(|k| lower[row * 3 + k] * lower[column * 3 + k]).sum();
                assert!((product - covariance[row * 3 + column]).abs() < 1e-6);
            }
        }
        // What is not quite a covariance gets a little more on the diagonal.
        assert!(factor(&[1.0, 1.0, 1.0, 0.999], 2).iter().all(|v| v.is_finite()));
    }

    #[test]
    fn generated_numbers_are_close_to_normal() {
        let mut random = SplitMix::new(1);
        let numbers: Vec<f64> = (0..100_000).map(|_| normal(&mut random)).collect();
        let mean = numbers.iter().sum::<f64>() / 1e5;
        let variance = numbers.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn photos_of_a_person_resemble_each_other_as_much_as_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("export.ndjson");
        let mut truth = SyntheticFaces::new(None, 8, 3).unwrap();
        let mut lines = String::new();
        for n in 0..300 {
            let person = truth.person();
            let samples: Vec<_> = (0..4)
                .map(|_| {
                    let photo = truth.photo(&person).unwrap();
                    serde_json::json!({ "sampleId": crate::domain::random_uuid(), "model": "m", "embedding": photo.values() })
                })
                .collect();
            lines += &format!("{}\n", serde_json::json!({ "templateId": format!("t{n}"), "samples": samples }));
        }
        std::fs::write(&file, lines).unwrap();
        let mut learned = SyntheticFaces::new(Some(&file), 0, 4).unwrap();
        assert!(learned.is_real() && learned.dimension() == 8);
        let genuine = |source: &mut SyntheticFaces| {
            let cosines = (0..2000).map(|_| {
                let person = source.person();
                let (a, b) = (source.photo(&person).unwrap(), source.photo(&person).unwrap());
                f64::from(a.cosine(&b).unwrap().get())
            });
            cosines.sum::<f64>() / 2000.0
        };
        let expected = genuine(&mut truth);
        let found = genuine(&mut learned);
        assert!((expected - found).abs() < 0.05, "{expected} {found}");
    }
}
