//! `semblance evaluate --attacks` and `--forgeries`: their counts and rates against the scores that `analyze` prints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use image::RgbImage;
use image::imageops::{self, FilterType};
use serde_json::{Value, json};

use super::Database;
use super::process::{command, decode, photo, png};

fn semblance(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let data = tempfile::tempdir().unwrap();
    command(data.path(), &Database::Sqlite).args(arguments).envs(settings.iter().copied()).output().unwrap()
}

fn evaluated(arguments: &[&str], settings: &[(&str, &str)]) -> Value {
    let done = semblance(&[&["evaluate", "--json", "--draws", "60"], arguments].concat(), settings);
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

/// A folder with these files.
fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (file, bytes) in files {
        let path = dir.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    dir
}

/// The score of a check of each photo that has one, as `analyze` prints it.
fn scores(dir: &Path, check: &str) -> BTreeMap<String, f64> {
    fn photos(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { photos(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    photos(dir, &mut found);
    let paths: Vec<&str> = found.iter().map(|path| path.to_str().unwrap()).collect();
    let done = semblance(&[&["analyze", "--json"], &paths[..]].concat(), &[]);
    let lines = String::from_utf8(done.stdout).unwrap();
    let mut scores = BTreeMap::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let file = Path::new(line["photo"].as_str().unwrap()).strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
        if let Some(score) =
            line.pointer(&format!("/result/{check}/score")).or(line["result"].pointer(&format!("/face/{check}/score")))
        {
            scores.insert(file, score.as_f64().unwrap());
        }
    }
    assert!(!scores.is_empty(), "{lines}");
    scores
}

/// The scores below a folder.
fn below(scores: &BTreeMap<String, f64>, folder: &str) -> Vec<f64> {
    scores.iter().filter(|(file, _)| file.starts_with(folder)).map(|(_, score)| *score).collect()
}

fn share(scores: &[f64], has: impl Fn(f64) -> bool) -> f64 {
    scores.iter().filter(|score| has(**score)).count() as f64 / scores.len() as f64
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

fn assert_near(found: &Value, expected: f64) {
    assert!((number(found) - expected).abs() < 1e-9, "{found} instead of {expected}");
}

/// A photo behind the lines of a screen.
fn screen(name: &str, period: u32) -> RgbImage {
    let mut image = decode(name);
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let dark = (x + y / 2) % period < period / 2;
        pixel.0 = pixel.0.map(|value| if dark { value / 2 } else { value.saturating_add(40) });
    }
    image
}

fn side_by_side(first: &RgbImage, second: &RgbImage) -> RgbImage {
    let height = first.height().min(second.height());
    let fitted = |image: &RgbImage| {
        let width = image.width() * height / image.height();
        imageops::resize(image, width, height, FilterType::Triangle)
    };
    let (first, second) = (fitted(first), fitted(second));
    let mut both = RgbImage::new(first.width() + second.width(), height);
    imageops::replace(&mut both, &first, 0, 0);
    imageops::replace(&mut both, &second, i64::from(first.width()), 0);
    both
}

/// Four live photos, two of them of one session; a kind with two clips, one with copies and a crowd, one without a face.
fn attacks() -> tempfile::TempDir {
    folder(&[
        ("live/one.jpg", photo("person_a_1.jpg")),
        ("live/two.jpg", photo("impostor_1.jpg")),
        ("live/session/three.jpg", photo("person_b_1.jpg")),
        ("live/session/four.jpg", photo("person_b_2.jpg")),
        ("attack/screen/clip 1/1.png", png(&screen("person_a_2.jpg", 4))),
        ("attack/screen/clip 1/2.png", png(&screen("person_a_2.jpg", 6))),
        ("attack/screen/clip 2/1.png", png(&screen("impostor_2.jpg", 6))),
        ("attack/copies/same.jpg", photo("person_a_1.jpg")),
        ("attack/copies/near.png", png(&decode("impostor_1.jpg"))),
        ("attack/copies/crowd.png", png(&side_by_side(&decode("person_b_1.jpg"), &decode("person_a_2.jpg")))),
        ("attack/blank/black.png", png(&RgbImage::new(300, 300))),
        ("attack/blank/broken.jpg", b"no photo".to_vec()),
    ])
}

#[test]
fn attacks_are_counted_by_kind_and_judged_as_the_server_does() {
    let dir = attacks();
    let scores = scores(dir.path(), "liveness");
    let out = tempfile::tempdir().unwrap();
    let file = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let attacks = dir.path().to_str().unwrap();
    let cache = file("cache");
    let arguments =
        ["--attacks", attacks, "--cache", &cache, "--curves", &file("curves"), "--report", &file("report.html")];
    let mut report = evaluated(&arguments, &[]);

    assert!(report.get("counts").is_none(), "recognition was not requested");
    let found = &report["attacks"];
    assert_eq!((&found["check"], &found["faces"]), (&json!("liveness"), &json!("only")));
    assert_eq!(found["threshold"], json!({ "score": 0.75, "setting": "quality.liveness", "is_default": true }));
    let live = &found["live"];
    assert_eq!((&live["photos"], &live["answered"], &live["units"]), (&json!(4), &json!(4), &json!(3)));
    assert_eq!(live["unit"], "sub_folder_and_photo");
    assert_near(&live["bpcer"]["rate"], share(&below(&scores, "live/"), |score| score < 0.75));
    assert_near(&live["bpnrr"]["rate"], 0.0);
    let kinds = found["kinds"].as_array().unwrap();
    let names: Vec<&str> = kinds.iter().map(|kind| kind["kind"].as_str().unwrap()).collect();
    assert_eq!(names, ["blank", "copies", "screen"]);
    let [blank, copies, screen] = [&kinds[0], &kinds[1], &kinds[2]];
    assert_eq!((&blank["apcer"], &blank["by_reason"]), (&Value::Null, &json!({ "no_face": 1, "not_a_photo": 1 })));
    assert_near(&blank["apnrr"]["rate"], 1.0);
    assert_eq!((&copies["photos"], &copies["by_reason"]), (&json!(3), &json!({ "many_faces": 1 })));
    assert_near(&copies["apnrr"]["rate"], 1.0 / 3.0);
    let of_copies = below(&scores, "attack/copies/");
    assert_eq!(of_copies.len(), 2);
    assert_near(&copies["apcer"]["rate"], share(&of_copies, |score| score >= 0.75));
    assert_near(&copies["passed_of_all"]["rate"], share(&of_copies, |score| score >= 0.75) * 2.0 / 3.0);
    let of_screens = below(&scores, "attack/screen/");
    assert_eq!((&screen["photos"], &screen["units"], &screen["unit"]), (&json!(3), &json!(2), &json!("sub_folder")));
    assert_near(&screen["apcer"]["rate"], share(&of_screens, |score| score >= 0.75));
    let highest = kinds.iter().filter_map(|kind| kind["apcer"]["rate"].as_f64()).fold(0.0, f64::max);
    assert_near(&found["highest"]["apcer"]["rate"], highest);
    let quantiles = screen["scores"]["quantiles"].as_array().unwrap();
    let sorted = |pick: fn(f64, f64) -> f64| of_screens.iter().copied().reduce(pick).unwrap();
    assert_near(&quantiles[0]["score"], sorted(f64::min));
    assert_near(&quantiles.last().unwrap()["score"], sorted(f64::max));
    // Nothing over all thresholds of so few units.
    assert!(found["over_all_thresholds"].as_array().unwrap().iter().all(|curve| curve["d_eer"].is_null()));
    let needs = json!({ "class": "live", "rate": null, "is_of_units": true, "needs": 20, "has": 3 });
    assert!(found["not_reported"].as_array().unwrap().contains(&needs), "{found}");

    let files = |photos: &Value| -> Vec<String> {
        photos.as_array().unwrap().iter().map(|photo| photo["file"].as_str().unwrap().to_owned()).collect()
    };
    let overlap = &found["overlap"];
    assert_eq!(files(&overlap["same_bytes_in_two_classes"][0]), ["live/one.jpg", "attack/copies/same.jpg"]);
    let near: Vec<&Value> = overlap["near_duplicates"].as_array().unwrap().iter().map(|pair| &pair["attack"]).collect();
    assert!(near.contains(&&json!({ "class": "copies", "file": "attack/copies/near.png" })), "{near:?}");

    let page = std::fs::read_to_string(file("report.html")).unwrap();
    assert!(page.contains("APCER") && page.contains("attack/copies/near.png") && page.contains("<svg"));
    for outside in ["<script", "http:", "https:", "src=", "href="] {
        assert!(!page.contains(outside), "{outside}");
    }
    let curves: Vec<_> = std::fs::read_dir(file("curves")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(curves, ["attacks.csv"]);
    let curve = std::fs::read_to_string(file("curves/attacks.csv")).unwrap();
    assert!(curve.starts_with("kind,threshold,apcer,bpcer\ncopies,") && curve.contains("\nscreen,"), "{curve}");

    // The second time every photo is in the cache, and the result is the same.
    assert_eq!(report["run"]["cached"], 0);
    let mut again = evaluated(&arguments, &[]);
    assert_eq!(again["run"]["cached"], 12);
    for report in [&mut report, &mut again] {
        report["run"]["cached"].take();
        report["run"]["started"].take();
    }
    assert_eq!(report, again);

    // Another threshold uses the same analyses: at 0 everything passes, at 1 what has no perfect score does not.
    for (limit, apcer, bpcer) in [("0", 1.0, 0.0), ("1", 0.0, 1.0)] {
        assert!(scores.values().all(|score| *score > 0.0 && *score < 1.0), "{scores:?}");
        let moved = evaluated(&["--attacks", attacks, "--cache", &cache], &[("SEMBLANCE_QUALITY_LIVENESS", limit)]);
        let found = &moved["attacks"];
        assert_eq!((&moved["run"]["cached"], &found["threshold"]["is_default"]), (&json!(12), &json!(false)));
        assert_near(&found["highest"]["apcer"]["rate"], apcer);
        assert_near(&found["live"]["bpcer"]["rate"], bpcer);
    }
}

/// Photos of both sides in 24 variants each, so that the figures over all thresholds are reported.
#[test]
fn the_equal_error_rate_is_that_of_the_scores() {
    let names =
        ["person_a_1.jpg", "person_a_2.jpg", "person_b_1.jpg", "person_b_2.jpg", "impostor_1.jpg", "impostor_2.jpg"];
    let mut files = Vec::new();
    for (at, name) in (0..24u32).map(|at| (at, names[at as usize % names.len()])) {
        let small = |image: &RgbImage| {
            let width = 260 + 10 * at;
            imageops::resize(image, width, width * image.height() / image.width(), FilterType::Triangle)
        };
        files.push((format!("live/{at:02}.png"), png(&small(&decode(name)))));
        files.push((format!("attack/screen/{at:02}.png"), png(&small(&screen(name, 4 + at % 3)))));
    }
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(file, bytes)| (file.as_str(), bytes.clone())).collect();
    let dir = folder(&files);
    let scores = scores(dir.path(), "liveness");
    let (live, attacks) = (below(&scores, "live/"), below(&scores, "attack/"));
    assert!(live.len() >= 20 && attacks.len() >= 20, "{scores:?}");
    let report = evaluated(&["--attacks", dir.path().to_str().unwrap()], &[]);
    let curve = &report["attacks"]["over_all_thresholds"][0];

    let rates = |threshold: f64| (share(&attacks, |s| s >= threshold), share(&live, |s| s < threshold));
    let all: Vec<(f64, f64)> = scores.values().map(|score| rates(*score)).chain([(0.0, 1.0)]).collect();
    let gap = |(apcer, bpcer): &(f64, f64)| (apcer - bpcer).abs();
    let least = all.iter().map(gap).fold(1.0, f64::min);
    let rate = number(&curve["d_eer"]["rate"]["rate"]);
    let mut nearest = all.iter().filter(|rates| gap(rates) < least + 1e-9);
    assert!(nearest.any(|(apcer, bpcer)| (f64::midpoint(*apcer, *bpcer) - rate).abs() < 1e-9), "{rate} of {all:?}");
    assert!(number(&curve["d_eer"]["rate"]["low"]) <= rate && rate <= number(&curve["d_eer"]["rate"]["high"]));
    // 24 photos carry none of the fixed rates; a tenth needs 300.
    assert_eq!((&curve["bpcer_at_apcer"], &curve["apcer_at_bpcer"]), (&json!([]), &json!([])));
    let missing = report["attacks"]["not_reported"].as_array().unwrap();
    let of_screen: Vec<&Value> = missing.iter().filter(|entry| entry["class"] == "screen").collect();
    assert_eq!((of_screen.len(), &of_screen[0]["needs"], &of_screen[0]["rate"]), (3, &json!(300), &json!(0.1)));
}

/// A face that is too small for the deepfake check passes at every threshold; the words are plain ones.
#[test]
fn forgeries_have_plain_names_and_faces_that_are_not_judged_are_counted() {
    let whole = decode("person_a_2.jpg");
    let tiny = imageops::resize(&whole, whole.width() / 8, whole.height() / 8, FilterType::Triangle);
    let dir = folder(&[
        ("genuine/one.jpg", photo("person_a_2.jpg")),
        ("genuine/two.jpg", photo("person_b_1.jpg")),
        ("forged/face-swap/one.png", png(&screen("impostor_2.jpg", 5))),
        ("forged/tiny/small.png", png(&tiny)),
    ]);
    let people = folder(&[("ann/1.jpg", photo("person_a_1.jpg")), ("bob/1.jpg", photo("person_b_1.jpg"))]);
    let arguments = [people.path().to_str().unwrap(), "--forgeries", dir.path().to_str().unwrap()];
    let report = evaluated(&arguments, &[("SEMBLANCE_QUALITY_DEEPFAKE", "1")]);
    assert_eq!((&report["counts"]["people"], &report["run"]["faces"]), (&json!(2), &json!("central")));
    assert!(report.get("attacks").is_none());
    let found = &report["forgeries"];
    assert_eq!((&found["genuine"]["flagged"]["rate"], &found["genuine"]["answered"]), (&json!(1.0), &json!(2)));
    let [swap, tiny] = [&found["kinds"][0], &found["kinds"][1]];
    assert_eq!((&swap["missed"]["rate"], &swap["not_judged"]), (&json!(0.0), &json!(0)));
    assert_eq!(
        (&tiny["missed"]["rate"], &tiny["not_judged"], &tiny["scores"]["photos"]),
        (&json!(1.0), &json!(1), &json!(0))
    );
    assert_eq!(found["highest"]["kind"], "tiny");

    let done = semblance(&[&["evaluate"], &arguments[..]].concat(), &[]);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(text.starts_with("Evaluation of 2 photos of 2 people, detection of forgeries on 4 photos\n"), "{text}");
    for part in
        ["Detection of forgeries", "missed forgeries", "pass at every threshold: tiny 1", "0.9 (quality.deepfake"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_folder_of_another_layout_is_refused_with_the_way_out() {
    let dir = folder(&[("genuine/one.jpg", photo("person_a_1.jpg")), ("forged/one.jpg", photo("person_a_1.jpg"))]);
    let path = dir.path().to_str().unwrap();
    for (option, parts) in [
        ("--attacks", ["has no folder live/", "FOLDER/attack/print/"]),
        ("--forgeries", ["forged has photos that belong to no kind (1)", "forged/face-swap/"]),
    ] {
        let done = semblance(&["evaluate", option, path], &[]);
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(1) && parts.iter().all(|part| error.contains(part)), "{error}");
    }
    // Options of recognition need photos of people, and without a folder nothing can be measured.
    for arguments in [&["evaluate", "--attacks", path, "--estimate-groups"][..], &["evaluate"]] {
        assert_eq!(semblance(arguments, &[]).status.code(), Some(2), "{arguments:?}");
    }
}
