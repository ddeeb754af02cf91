//! `semblance calibrate`: its figures against a computation of this file, the pairs that it lists, and what it sets.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Database, Server, command};
use crate::support::eventually;

const TAG: &str = "sface-2021dec";
const DIMENSION: usize = 128;
/// The cosine of similarity 0.75, as pack.toml has it.
const OPERATING_POINT: f64 = 0.473;

/// Numbers that are the same at every run: a linear congruential generator (Knuth's MMIX).
struct Numbers(u64);

impl Numbers {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as f64 + 0.5) / f64::from(1u32 << 31)
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// A unit vector near another one, or anywhere.
    fn row(&mut self, near: Option<&[f32]>, noise: f64) -> Vec<f32> {
        let raw: Vec<f64> = (0..DIMENSION)
            .map(|at| near.map_or(0.0, |row| f64::from(row[at])) + noise * self.normal() / (DIMENSION as f64).sqrt())
            .collect();
        let norm = raw.iter().map(|v| v * v).sum::<f64>().sqrt();
        raw.into_iter().map(|v| (v / norm) as f32).collect()
    }
}

/// People by id; every fifth one has two samples.
fn people(count: usize) -> Vec<Vec<Vec<f32>>> {
    let mut numbers = Numbers(1);
    let person = |at| {
        let first = numbers.row(None, 1.0);
        let second = (at % 5 == 0).then(|| numbers.row(Some(&first), 2.0));
        [Some(first), second].into_iter().flatten().collect()
    };
    (0..count).map(person).collect()
}

fn id(person: usize) -> String {
    format!("person {person:04}")
}

/// A data folder with these people.
fn gallery(people: &[Vec<Vec<f32>>]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let lines = people.iter().enumerate().map(|(at, samples)| {
        let sample = |(number, row)| {
            let id = format!("00000000-0000-4000-8000-{:012}", 10 * at + number);
            json!({ "sampleId": id, "model": TAG, "embedding": row })
        };
        let samples: Vec<Value> = samples.iter().enumerate().map(sample).collect();
        format!("{}\n", json!({ "templateId": id(at), "samples": samples }))
    });
    let file = dir.path().join("people.ndjson");
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    run(dir.path(), &["app", "create", "staff"]);
    run(dir.path(), &["gallery", "import", file.to_str().unwrap()]);
    dir
}

fn run(data: &Path, arguments: &[&str]) -> String {
    let done = command(data, &Database::sqlite()).args(arguments).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn calibrated(data: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&run(data, &[&["calibrate", "--json"], arguments].concat())).unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// The score of a person in a search: the highest cosine of a probe to a sample, or to the mean of the samples.
fn best(probe: &[f32], samples: &[Vec<f32>]) -> f64 {
    let mean: Vec<f64> =
        (0..probe.len()).map(|at| samples.iter().map(|sample| f64::from(sample[at])).sum::<f64>()).collect();
    let norm = mean.iter().map(|value| value * value).sum::<f64>().sqrt();
    let to_mean = probe.iter().zip(&mean).map(|(a, b)| f64::from(*a) * b / norm).sum();
    samples.iter().map(|sample| cosine(probe, sample)).fold(to_mean, f64::max)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

fn assert_close(found: &Value, expected: f64) {
    assert!((number(found) - expected).abs() <= 1e-6 + 1e-4 * expected.abs(), "{found} instead of {expected}");
}

/// P(excess > y), written as in textbooks.
fn survival(shape: f64, scale: f64, excess: f64) -> f64 {
    (1.0 + shape * excess / scale).max(0.0).powf(-1.0 / shape)
}

fn log_likelihood(shape: f64, scale: f64, excesses: &[f64]) -> f64 {
    excesses.iter().map(|y| -scale.ln() - (1.0 + 1.0 / shape) * (1.0 + shape * y / scale).ln()).sum()
}

/// 1 - (1 - rate)^people.
fn fpir(rate: f64, people: f64) -> f64 {
    1.0 - (1.0 - rate).powf(people)
}

#[test]
fn the_figures_are_those_of_an_independent_computation() {
    let people = people(220);
    let dir = gallery(&people);
    let app: Value = serde_json::from_str(&run(dir.path(), &["app", "list", "--json"])).unwrap();
    run(dir.path(), &["app", "threshold", app["app_id"].as_str().unwrap(), "0.4"]);
    let report = calibrated(dir.path(), &["--gallery-size", "500", "--target-fpir", "0.05"]);
    let again = calibrated(dir.path(), &["--gallery-size", "500", "--target-fpir", "0.05"]);
    assert_eq!(report, again, "the same gallery gives the same figures");

    // Each pair once: the person of an even sum of places with the smaller place is the probe, else the other one.
    let mut scores = Vec::new();
    let mut matched = 0.0;
    let in_force = OPERATING_POINT * 0.4 / 0.75;
    for (a, samples) in people.iter().enumerate() {
        for (b, others) in people.iter().enumerate().skip(a + 1) {
            scores.push(if (a + b) % 2 == 0 { best(&samples[0], others) } else { best(&others[0], samples) });
        }
        let others = || people.iter().enumerate().filter(|(b, _)| *b != a);
        let matches = |probe: &&Vec<f32>| others().any(|(_, other)| best(probe, other) >= in_force);
        matched += samples.iter().filter(matches).count() as f64 / samples.len() as f64 / people.len() as f64;
    }
    scores.sort_by(|a, b| b.total_cmp(a));
    let pairs = 220.0 * 219.0 / 2.0;
    assert_eq!(report["counts"]["people"], 220);
    assert_eq!(report["counts"]["samples"], 264);
    assert_eq!(number(&report["counts"]["pairs"]), pairs);
    assert_close(&report["in_force"]["cosine"], in_force);
    assert_close(&report["in_force"]["matched_in_gallery"], matched);
    assert!(matched > 0.05, "{matched}");

    // The tail: the 1000 highest scores, fitted by maximum likelihood.
    let source = &report["source"];
    assert_eq!((source["name"].as_str().unwrap(), source["scores"].as_u64().unwrap()), ("gallery", 1000));
    let cutoff = scores[1000];
    assert_close(&source["cutoff"], cutoff);
    assert_close(&source["fmr_at_cutoff"], 1000.0 / pairs);
    let excesses: Vec<f64> = scores[..1000].iter().map(|score| score - cutoff).collect();
    let (shape, scale) = (number(&source["shape"]), number(&source["scale"]));
    let likelihood = log_likelihood(shape, scale, &excesses);
    for (shapes, scales) in [(0.01, 1.01), (-0.01, 0.99), (0.01, 0.99), (-0.01, 1.01), (0.03, 0.97), (-0.03, 1.03)] {
        assert!(log_likelihood(shape + shapes, scale * scales, &excesses) < likelihood, "{source}");
    }
    let grid = (-40..20).filter(|step| *step != 0).flat_map(|step| (50..150).map(move |of| (step, of)));
    let highest = grid
        .map(|(step, of)| log_likelihood(f64::from(step) / 100.0, scale * f64::from(of) / 100.0, &excesses))
        .filter(|value| value.is_finite())
        .fold(f64::NEG_INFINITY, f64::max);
    assert!(likelihood >= highest - 1e-6, "{likelihood} {highest}");
    let distribution: Vec<f64> = excesses.iter().rev().map(|y| 1.0 - survival(shape, scale, *y)).collect();
    let term = |at: usize| distribution[at].ln() + (1.0 - distribution[999 - at]).ln();
    let sum: f64 = (0..1000).map(|at| (2 * at + 1) as f64 * term(at)).sum();
    assert!((number(&source["anderson_darling"]) - (-1000.0 - sum / 1000.0)).abs() < 0.01, "{source}");
    assert!(number(&source["p_value"]) > 0.01, "{source}");

    // FPIR of 500 people at the threshold in force and at the proposed one.
    let rate = |cosine: f64| 1000.0 / pairs * survival(shape, scale, cosine - cutoff);
    assert_close(&report["in_force"]["fpir"]["value"], fpir(rate(in_force), 500.0));
    let proposed = &report["proposed"]["threshold"];
    let target = number(&proposed["cosine"]);
    assert!((fpir(rate(target), 500.0) - 0.05).abs() < 1e-5, "{proposed}");
    assert_close(&proposed["fpir"]["value"], 0.05);
    assert!(number(&proposed["fpir"]["low"]) < 0.05 && number(&proposed["fpir"]["high"]) > 0.05, "{proposed}");
    let similarity = number(&proposed["similarity"]);
    assert!((0.0..1e-4).contains(&(similarity - 0.75 * target / OPERATING_POINT + 1e-7)), "{proposed}");

    // FNIR: 44 people with two samples each, so both searches of a person have the same score.
    let genuine: Vec<f64> = people.iter().filter(|samples| samples.len() == 2).map(|s| cosine(&s[0], &s[1])).collect();
    assert_eq!(report["genuine"]["people"], 44);
    assert_eq!(report["genuine"]["searches"], 88);
    let missed = |cosine: f64| genuine.iter().filter(|score| **score < cosine).count() as f64 / 44.0;
    assert_close(&proposed["fnir"]["value"], missed(target));
    assert_eq!(report["outliers"], json!([]));
    assert_eq!(report["applied"], Value::Null);
}

#[tokio::test]
async fn relatives_are_listed_left_out_on_request_and_the_threshold_is_applied_once() {
    let mut people = people(240);
    let mut numbers = Numbers(2);
    for (copy, of) in [(7, 8), (101, 33)] {
        people[copy] = vec![numbers.row(Some(&people[of][0]), 0.3)];
    }
    let dir = gallery(&people);
    let database = Database::sqlite();
    let with = calibrated(dir.path(), &[]);
    let mut listed: Vec<Value> =
        with["outliers"].as_array().unwrap().iter().map(|pair| pair["template_ids"].clone()).collect();
    listed.sort_by_key(ToString::to_string);
    assert_eq!(listed, [json!([id(7), id(8)]), json!([id(33), id(101)])], "{with}");
    assert_eq!(with["counts"]["left_out"], 0);

    // The printed lines are a file of relatives.
    let text = run(dir.path(), &["calibrate"]);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("person ")).collect();
    assert!(
        lines.len() == 2 && text.contains("2 pairs are too similar") && text.contains("Nothing was changed"),
        "{text}"
    );
    let relatives = dir.path().join("relatives.txt");
    std::fs::write(&relatives, format!("{}\nabsent\t{}\n", lines.join("\n"), id(1))).unwrap();
    let relatives = relatives.to_str().unwrap();
    let without = calibrated(dir.path(), &["--relatives", relatives]);
    assert_eq!(without["outliers"], json!([]), "{without}");
    assert_eq!((&without["counts"]["left_out"], &without["counts"]["not_in_gallery"]), (&json!(2), &json!(1)));
    let threshold = |report: &Value| number(&report["proposed"]["threshold"]["cosine"]);
    assert!(threshold(&without) < threshold(&with), "{with} {without}");
    let matched = |report: &Value| number(&report["in_force"]["matched_in_gallery"]);
    assert!(matched(&with) >= 3.0 / 240.0 && matched(&without) == 0.0, "{with} {without}");

    let server = Server::start_in(dir, &database, &[]).await;
    let app = || -> Value { serde_json::from_str(&server.command(&database, &["app", "list", "--json"])).unwrap() };
    assert_eq!(app()["threshold"], Value::Null);
    let applied = server.command(&database, &["calibrate", "--json", "--apply", "--relatives", relatives]);
    let applied: Value = serde_json::from_str(&applied).unwrap();
    assert_eq!(applied["applied"], without["proposed"]["threshold"]["similarity"]);
    assert_eq!(app()["threshold"], applied["applied"]);
    eventually("the journal has the line", async || {
        let journal = server.command(&database, &["journal", "export"]);
        let mut lines = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.any(|line| line["operation"] == "calibrate" && line.to_string().contains("target FPIR: 0.01"))
    })
    .await;
}

#[test]
fn a_small_gallery_has_the_rates_of_the_pack_and_an_unreachable_target_is_not_applied() {
    let people = people(150);
    let dir = gallery(&people);
    let report = calibrated(dir.path(), &["--target-fpir", "0.1", "--gallery-size", "300"]);
    assert_eq!(report["source"]["name"], "pack");
    let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/pack.toml");
    let pack: toml::Table = std::fs::read_to_string(pack).unwrap().parse().unwrap();
    let points: Vec<(f64, f64)> = pack["embedder"]["false_matches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| (point[0].as_float().unwrap(), point[1].as_float().unwrap()))
        .collect();
    // The rate of 1 - 0.9^(1/300) lies between the first two points, where its logarithm is linear in the cosine.
    let rate = 1.0 - 0.9f64.powf(1.0 / 300.0);
    assert!(points[1].0 < rate && rate < points[0].0);
    let share = (rate / points[0].0).ln() / (points[1].0 / points[0].0).ln();
    assert_close(&report["proposed"]["threshold"]["cosine"], points[0].1 + share * (points[1].1 - points[0].1));
    assert_eq!(report["proposed"]["threshold"]["fpir"]["low"], Value::Null);
    let text = run(dir.path(), &["calibrate"]);
    assert!(text.contains("too few people: 200 are needed") && text.contains("measured for the model pack"), "{text}");

    // A cosine near 1, which no two photos of one person reach here.
    let unreachable = ["calibrate", "--target-fpir", "0.000001", "--gallery-size", "100000000", "--apply"];
    let done = command(dir.path(), &Database::sqlite()).args(unreachable).output().unwrap();
    let message = String::from_utf8(done.stderr).unwrap();
    assert!(
        !done.status.success() && message.contains("nothing is applied: the target cannot be reached"),
        "{message}"
    );
    for wrong in ["0", "0.6", "x"] {
        let arguments = ["calibrate", "--target-fpir", wrong];
        let done = command(dir.path(), &Database::sqlite()).args(arguments).output().unwrap();
        assert_eq!(done.status.code(), Some(2), "{wrong}");
    }
}
