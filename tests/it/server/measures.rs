//! The commands that measure: they end well, and their figures are of what they name.

use std::path::Path;

use serde_json::Value;

use super::Database;
use super::process::{command, photo_path, png};

fn run(arguments: &[&str]) -> String {
    let data = tempfile::tempdir().unwrap();
    let done = command(data.path(), &Database::Sqlite).args(arguments).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// With the default numbers of templates and of searches that wait.
#[test]
fn bench_search_succeeds_with_its_defaults() {
    let report: Value = serde_json::from_str(&run(&["bench", "search", "--probes", "50", "--json"])).unwrap();
    let rates = report["searches_per_second"].as_array().unwrap();
    let waiting: Vec<u64> = rates.iter().map(|rate| rate["waiting"].as_u64().unwrap()).collect();
    assert_eq!(waiting, [1, 2, 4, 8, 16, 32, 64]);
    assert!(rates.iter().all(|rate| rate["rate"].as_f64().unwrap() > 0.0), "{report}");
}

/// The table follows from what was measured, and a photo without a face is refused by name.
#[test]
fn bench_machine_says_what_the_machine_carries() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("scratch");
    let photo = photo_path("person_a_1.jpg");
    let arguments = ["bench", "machine", "--seconds", "1", "--templates", "2000", "--json", "--database"];
    let arguments = [&arguments[..], &[database.to_str().unwrap(), photo.to_str().unwrap()]].concat();
    let report: Value = serde_json::from_str(&run(&arguments)).unwrap();
    assert!(!database.exists(), "the database is removed");
    let number = |value: &Value| value.as_f64().unwrap();
    assert!(number(&report["photo_ms"]) > 0.0 && number(&report["photos_per_second"]) > 0.0, "{report}");
    // 128 numbers are 512 bytes in memory; sealed, with their keys and ids, they take some more in the database.
    assert!((512.0..2000.0).contains(&number(&report["template_bytes"])), "{report}");
    assert!((700.0..4000.0).contains(&number(&report["stored_bytes"])), "{report}");
    let sizes = report["computed"].as_array().unwrap();
    let [first, second] = [&sizes[0], &sizes[1]];
    assert_eq!((number(&first["people"]), number(&second["people"])), (1e3, 1e4));
    let grown = number(&second["memory_bytes"]) - number(&first["memory_bytes"]);
    assert!((grown - 9e3 * number(&report["template_bytes"])).abs() < 1.0, "{report}");

    let things = folder.path().join("no-face.png");
    std::fs::write(&things, png(&image::RgbImage::new(300, 300))).unwrap();
    let data = tempfile::tempdir().unwrap();
    let refused = command(data.path(), &Database::Sqlite).args(["bench", "machine"]).arg(&things).output().unwrap();
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && error.contains("no-face.png: "), "{error}");
}

#[test]
fn bench_models_times_every_model_and_bench_identify_names_the_box() {
    let text = run(&["bench", "models", "--rounds", "2"]);
    for model in ["yunet-320", "yunet-960", "sface", "traits", "state", "defects", "liveness", "deepfake"] {
        let lines = text.lines().filter(|line| line.starts_with(&format!("{model}: median "))).count();
        assert_eq!(lines, 1, "{model}: {text}");
    }
    let photo = photo_path("person_a_1.jpg");
    let line = run(&["bench", "identify", "--json", "--rounds", "1", photo.to_str().unwrap()]);
    let line: Value = serde_json::from_str(&line).unwrap();
    let shape: Vec<f64> = line["box"].as_array().unwrap().iter().map(|edge| edge.as_f64().unwrap()).collect();
    let landmarks = line["landmarks"].as_array().unwrap();
    assert_eq!((shape.len(), landmarks.len()), (4, 5));
    for point in landmarks {
        let (x, y) = (point[0].as_f64().unwrap(), point[1].as_f64().unwrap());
        assert!(x > shape[0] && x < shape[0] + shape[2] && y > shape[1] && y < shape[1] + shape[3], "{line}");
    }
}

/// Two people with two photos, two with one.
#[test]
fn evaluate_weights_comparisons_and_people() {
    let dir = tempfile::tempdir().unwrap();
    let people = [
        ("ann", &["person_a_1.jpg", "person_a_2.jpg"][..]),
        ("bob", &["person_b_1.jpg", "person_b_2.jpg"]),
        ("cyd", &["impostor_1.jpg"]),
        ("dan", &["impostor_2.jpg"]),
    ];
    for (person, photos) in people {
        std::fs::create_dir(dir.path().join(person)).unwrap();
        for photo in photos {
            std::fs::copy(photo_path(photo), dir.path().join(person).join(photo)).unwrap();
        }
    }
    let file = dir.path().join("embeddings.jsonl");
    let arguments = ["evaluate", dir.path().to_str().unwrap(), "--json", "--embeddings", file.to_str().unwrap()];
    let report: Value = serde_json::from_str(&run(&arguments)).unwrap();
    assert_eq!(report["comparisons"], serde_json::json!({ "genuine": 2, "impostor": 13 }));
    assert_eq!((&report["people_with_several_photos"], &report["pairs_of_people"]), (&2.into(), &6.into()));
    assert_eq!(report["leading"]["genuine"], serde_json::json!({ "people": ["ann"], "count": 1, "of": 2 }));
    // Of 13 comparisons and of 6 pairs of people, none may match at any of the rates.
    assert_eq!(report["operating_points"], serde_json::json!([]));
    assert_eq!(report["operating_points_by_person"], serde_json::json!([]));

    let lines = std::fs::read_to_string(file).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let photos: Vec<(&str, &str)> =
        lines.iter().map(|line| (line["person"].as_str().unwrap(), line["photo"].as_str().unwrap())).collect();
    let of = |(person, photos): (&'static str, &'static [&'static str])| {
        photos.iter().map(move |photo| (person, Path::new(photo).file_stem().unwrap().to_str().unwrap()))
    };
    assert_eq!(photos, people.into_iter().flat_map(of).collect::<Vec<_>>());
    for line in &lines {
        let values: Vec<f64> = line["embedding"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        assert_eq!(values.len(), 128);
        assert!((values.iter().map(|value| value * value).sum::<f64>() - 1.0).abs() < 1e-3);
    }
}
