//! The rules of the architecture: who imports what, where libraries and unsafe code may stand, how long files are.

mod graph;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use graph::{Graph, cycles};

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// (file below src, the code of it: no comments, no tests)
fn code() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources(&src)
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let lines: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            (name, lines.join("\n"))
        })
        .collect()
}

/// What each room may import from the others: `tests/it/imports.toml`.
fn may_import() -> BTreeMap<String, Vec<String>> {
    #[derive(serde::Deserialize)]
    struct List {
        room: Vec<Room>,
    }
    #[derive(serde::Deserialize)]
    struct Room {
        name: String,
        may_import: Vec<String>,
        why: String,
    }
    let list: List = toml::from_str(include_str!("imports.toml")).unwrap();
    assert!(list.room.iter().all(|room| !room.why.is_empty()));
    list.room.into_iter().map(|room| (room.name, room.may_import)).collect()
}

#[test]
fn imports_follow_the_list() {
    let may_import = may_import();
    let imports = Graph::new(&code()).imports();
    let rooms: BTreeSet<&String> = imports.iter().map(|import| &import.from[0]).collect();
    assert!(rooms.iter().all(|room| may_import.contains_key(*room)), "a room is missing in imports.toml: {rooms:?}");
    let wrong = imports.iter().filter(|import| {
        let (from, to) = (&import.from[0], &import.to[0]);
        from != to && !may_import[from].contains(to)
    });
    let wrong: Vec<String> = wrong.map(|import| format!("{} uses {}", import.from.join("/"), import.text)).collect();
    assert_eq!(wrong, Vec::<String>::new());
}

/// Among the rooms, and among the modules of each folder.
#[test]
fn imports_form_no_cycles() {
    assert_eq!(cycles(&Graph::new(&code()).imports()), Vec::<String>::new());
}

#[test]
fn libraries_stay_in_their_rooms() {
    let homes: [(&str, &[&str]); 10] = [
        ("axum::", &["api/"]),
        ("sqlx::", &["store/"]),
        ("ort::", &["engine/"]),
        ("std::env::var", &["settings/", "engine/telemetry_lock.rs"]),
        ("multer::", &["api/"]),
        ("aes_gcm::", &["store/"]),
        ("mozjpeg_sys", &["image/decode/libjpeg.rs"]),
        ("zune_jpeg::", &["image/decode/quick.rs"]),
        ("ring::signature", &["journal/"]),
        // Its threads have no bound, so it is for files, and `FileWork` bounds what requests bring.
        ("spawn_blocking", &["service/snapshots.rs", "compute/file_work.rs"]),
    ];
    let mut wrong = Vec::new();
    for (file, code) in code() {
        for (library, rooms) in homes {
            let named = code
                .match_indices(library)
                .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
            if named && !rooms.iter().any(|room| file.starts_with(room)) {
                wrong.push(format!("{file} uses {library}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// The dot products of a search, the variable that is set before `main`, and the calls of libjpeg: the lint refuses it
/// elsewhere.
#[test]
fn unsafe_code_is_in_three_places_only() {
    const PLACES: [&str; 3] = ["gallery/kernel/", "engine/telemetry_lock.rs", "image/decode/libjpeg.rs"];
    let named =
        |code: &str| code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word.starts_with("unsafe"));
    let found: Vec<String> = code().into_iter().filter(|(_, code)| named(code)).map(|(file, _)| file).collect();
    assert!(found.iter().all(|file| PLACES.iter().any(|place| file.starts_with(place))), "{found:?}");
    assert!(PLACES.iter().all(|place| found.iter().any(|file| file.starts_with(place))), "{found:?}");
    let package: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
    assert_eq!(package["lints"]["rust"]["unsafe_code"].as_str(), Some("deny"));
}

#[test]
fn files_have_at_most_400_lines() {
    let long: Vec<String> = code()
        .into_iter()
        .map(|(file, code)| (file, code.lines().count()))
        .filter(|(_, lines)| *lines > 400)
        .map(|(file, lines)| format!("{file}: {lines} lines"))
        .collect();
    assert_eq!(long, Vec::<String>::new());
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = ["todo!", "unimplemented!", "TODO", "FIXME"];
    let wrong: Vec<String> = code()
        .into_iter()
        .filter(|(_, code)| marks.iter().any(|mark| code.contains(mark)))
        .map(|(file, _)| file)
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
}

/// What was trained here is committed with its script and its card, and the box stays small.
#[test]
fn every_model_has_a_card() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let pack: toml::Table = std::fs::read_to_string(models.join("pack.toml")).unwrap().parse().unwrap();
    let mut own = 0;
    for model in pack["model"].as_array().unwrap() {
        let text = |key: &str| model[key].as_str().unwrap();
        if text("file").starts_with("fetched/") {
            continue;
        }
        own += 1;
        assert!(models.join(text("file")).is_file(), "{} is missing", text("file"));
        let card = std::fs::read_to_string(models.join(text("file")).with_extension("md")).unwrap();
        for heading in ["Architecture", "Data", "Training", "Figures", "Limits", "Intended use", "Licence"] {
            assert!(card.contains(&format!("\n## {heading}\n")), "the card of {} has no {heading}", text("id"));
        }
        assert!(text("source").starts_with("models/train/"));
        assert!(models.join("..").join(text("source")).is_file(), "{} is missing", text("source"));
        assert!(!model["measured"].as_table().unwrap().is_empty());
    }
    assert_eq!(own, 7);
    let bytes: u64 = std::fs::read_dir(&models)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap())
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.len())
        .sum();
    assert!(bytes <= 25 << 20, "models/ holds {bytes} bytes");
}
