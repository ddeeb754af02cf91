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

/// A command waits for its own work: the deadline is for the clients of a server.
#[test]
fn a_measurement_outlasts_the_deadline_of_a_search() {
    let data = tempfile::tempdir().unwrap();
    let mut bench = command(data.path(), &Database::Sqlite);
    bench.args(["bench", "search", "--templates", "20000", "--probes", "2"]).env("SEMBLANCE_LIMITS_QUEUE_MS", "0");
    let done = bench.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
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

/// A folder of people: (person, photos).
fn photo_folder(people: &[(&str, &[&str])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (person, photos) in people {
        std::fs::create_dir(dir.path().join(person)).unwrap();
        for photo in *photos {
            std::fs::copy(photo_path(photo), dir.path().join(person).join(photo)).unwrap();
        }
    }
    dir
}

/// Two people with two photos, two with one.
const PEOPLE: [(&str, &[&str]); 4] = [
    ("ann", &["person_a_1.jpg", "person_a_2.jpg"]),
    ("bob", &["person_b_1.jpg", "person_b_2.jpg"]),
    ("cyd", &["impostor_1.jpg"]),
    ("dan", &["impostor_2.jpg"]),
];

#[test]
fn evaluate_weights_comparisons_and_people() {
    let dir = photo_folder(&PEOPLE);
    let file = dir.path().join("embeddings.jsonl");
    let arguments = ["evaluate", dir.path().to_str().unwrap(), "--json", "--embeddings", file.to_str().unwrap()];
    let report: Value = serde_json::from_str(&run(&arguments)).unwrap();
    let counts = &report["counts"];
    assert_eq!((&counts["genuine"], &counts["impostors"]), (&2.into(), &13.into()));
    assert_eq!((&counts["people_with_several_photos"], &counts["pairs_of_people"]), (&2.into(), &6.into()));
    assert_eq!(report["leading"]["genuine"], serde_json::json!({ "people": ["ann"], "count": 1, "of": 2 }));
    assert_eq!(report["failures"]["acquire"]["rate"], 0.0);
    // 13 comparisons and 6 pairs of people carry none of the rates; the lowest needs 30 / 0.01.
    for (counted, impostors) in [("by_comparison", 13), ("by_person", 6)] {
        let rates = &report["verification"][counted];
        assert_eq!(rates["points"], serde_json::json!([]));
        assert_eq!(rates["not_reported"][0], serde_json::json!({ "rate": 0.01, "needs": 3000, "has": impostors }));
        // These people are distinguished without an error, of which 13 comparisons are weak evidence.
        let fmr = &rates["in_force"]["fmr"];
        assert_eq!((&fmr["rate"], &fmr["high"]), (&0.0.into(), &0.5.into()), "3 / 6 pairs of people");
        assert_eq!(rates["equal_error"]["rate"]["rate"], 0.0);
    }
    assert_eq!(report["identification"]["measured"], serde_json::json!([]));
    assert_eq!(report["identification"]["extrapolated"][0]["extrapolated"], true);

    let lines = std::fs::read_to_string(file).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let photos: Vec<(&str, &str)> =
        lines.iter().map(|line| (line["person"].as_str().unwrap(), line["photo"].as_str().unwrap())).collect();
    let of = |(person, photos): (&'static str, &'static [&'static str])| {
        photos.iter().map(move |photo| (person, Path::new(photo).file_stem().unwrap().to_str().unwrap()))
    };
    assert_eq!(photos, PEOPLE.into_iter().flat_map(of).collect::<Vec<_>>());
    for line in &lines {
        let values: Vec<f64> = line["embedding"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        assert_eq!(values.len(), 128);
        assert!((values.iter().map(|value| value * value).sum::<f64>() - 1.0).abs() < 1e-3);
    }
}

/// Cyd has a copy of a photo of Ann, Eve is Bob under another name, and a file of Dan is no photo.
#[test]
fn evaluate_checks_the_data_set_and_writes_its_files() {
    let dir = photo_folder(&[
        ("ann", &["person_a_1.jpg", "person_a_2.jpg"]),
        ("bob", &["person_b_1.jpg"]),
        ("cyd", &["impostor_1.jpg", "person_a_1.jpg"]),
        ("dan", &["impostor_2.jpg"]),
        ("eve", &["person_b_2.jpg"]),
    ]);
    std::fs::write(dir.path().join("dan/broken.jpg"), "no photo").unwrap();
    let out = tempfile::tempdir().unwrap();
    let file = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(file("relatives"), "eve\tbob\nbob,zoe\n").unwrap();
    std::fs::write(file("groups"), "person,team\nann,red\nbob,red\ncyd,red\ndan,blue\neve,blue\n").unwrap();
    let photos = dir.path().to_str().unwrap();
    let arguments = [
        "evaluate",
        photos,
        "--json",
        "--draws",
        "40",
        "--seed",
        "9",
        "--relatives",
        &file("relatives"),
        "--groups",
        &file("groups"),
        "--cache",
        &file("cache"),
        "--curves",
        &file("curves"),
        "--report",
        &file("report.html"),
    ];
    let mut report: Value = serde_json::from_str(&run(&arguments)).unwrap();

    let failures = &report["failures"];
    assert_eq!((&failures["photos"], &failures["photos_failed"]), (&8.into(), &1.into()));
    assert_eq!(failures["by_reason"], serde_json::json!({ "not_a_photo": 1 }));
    assert_eq!(failures["failed"][0]["file"], "dan/broken.jpg");
    let check = &report["data_check"];
    let files = |photos: &Value| -> Vec<String> {
        photos.as_array().unwrap().iter().map(|photo| photo["file"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(files(&check["same_bytes"][0]), ["ann/person_a_1.jpg", "cyd/person_a_1.jpg"]);
    let mislabeled: Vec<&str> =
        check["likely_mislabeled"].as_array().unwrap().iter().map(|m| m["photo"]["file"].as_str().unwrap()).collect();
    // Ann's photo is nearer to its copy, and Cyd's copy to Ann than to Cyd.
    assert!(mislabeled.contains(&"cyd/person_a_1.jpg"), "{mislabeled:?}");
    assert_eq!(check["worst_genuine"][0]["second"]["file"], "cyd/person_a_1.jpg");

    let counts = &report["counts"];
    // 7 templates: 21 pairs, two of them genuine, one of relatives.
    assert_eq!(
        (&counts["genuine"], &counts["impostors"], &counts["comparisons_of_relatives"]),
        (&2.into(), &18.into(), &1.into())
    );
    assert_eq!((&counts["pairs_of_people"], &counts["pairs_of_relatives"]), (&9.into(), &1.into()));
    // Ann and Cyd share a face: both photos of Ann match Cyd's copy.
    let matches = &report["leading"]["false_matches"];
    assert_eq!(*matches, serde_json::json!({ "people": ["ann", "cyd"], "count": 2, "of": 2 }));
    let groups = report["groups"].as_array().unwrap();
    let fmr = |group: &Value| group["by_comparison"]["fmr"]["rate"].clone();
    assert_eq!(groups.iter().map(|group| group["value"].as_str().unwrap()).collect::<Vec<_>>(), ["blue", "red"]);
    // Within red, 8 comparisons of two people.
    assert_eq!((fmr(&groups[0]), fmr(&groups[1]), &groups[1]["impostors"]), (0.0.into(), 0.25.into(), &8.into()));

    let page = std::fs::read_to_string(file("report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("cyd/person_a_1.jpg") && page.contains("seed 9"));
    for outside in ["<script", "http:", "https:", "src=", "href="] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(std::fs::read_to_string(out.path().join("curves/det.csv")).unwrap().lines().count() > 2);

    // The second time every photo is in the cache, and the result is the same.
    assert_eq!(report["run"]["cached"], 0);
    let mut again: Value = serde_json::from_str(&run(&arguments)).unwrap();
    assert_eq!(again["run"]["cached"], 8);
    for report in [&mut report, &mut again] {
        report["run"]["cached"].take();
        report["run"]["started"].take();
    }
    assert_eq!(report, again);
    let cache: Vec<_> =
        std::fs::read_dir(out.path().join("cache")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(cache.len(), 1);
    // The copy is analyzed once.
    assert_eq!(std::fs::read_to_string(&cache[0]).unwrap().lines().count(), 7);
    #[cfg(unix)]
    for private in [cache[0].clone(), file("report.html").into()] {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600, "{private:?}");
    }
}

#[test]
fn evaluate_estimates_groups_and_names_their_source() {
    let dir = photo_folder(&PEOPLE);
    let arguments = ["evaluate", dir.path().to_str().unwrap(), "--draws", "20", "--estimate-groups"];
    let report: Value = serde_json::from_str(&run(&[&arguments[..], &["--json"]].concat())).unwrap();
    let groups = report["groups"].as_array().unwrap();
    let columns: std::collections::BTreeSet<&str> =
        groups.iter().map(|group| group["column"].as_str().unwrap()).collect();
    assert!(!columns.is_empty() && columns.iter().all(|column| column.ends_with(", estimated")), "{columns:?}");
    let text = run(&arguments);
    assert!(text.contains("Groups estimated from the photos by the networks of the pack"), "{text}");
}
