//! `gallery import` with photos as a personnel department has them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use image::{DynamicImage, ImageFormat, RgbImage};
use serde_json::Value;
use tempfile::TempDir;

use super::process::{Database, OwnPostgres, Server, command, decode, photo, png};
use crate::support::{eventually_blocking, eventually_some};

on_both_databases! {
    photos_are_imported_from_nested_folders_and_others_get_a_reason;
    every_format_is_imported_or_reported_by_name;
    an_interrupted_import_continues;
    the_guard_of_an_import_warns_or_refuses;
    the_guard_and_the_least_quality_of_an_application;
}

/// A data folder with one application, and a folder of photos.
struct Desk {
    data: TempDir,
    photos: TempDir,
    database: Database,
}

impl Desk {
    fn new(database: Database) -> Self {
        let desk = Self { data: tempfile::tempdir().unwrap(), photos: tempfile::tempdir().unwrap(), database };
        let made = desk.command(&["app", "create", "staff"]).output().unwrap();
        assert!(made.status.success(), "{}", text(&made.stderr));
        desk
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.data.path(), &self.database);
        command.args(arguments);
        command
    }

    fn import_command(&self, flags: &[&str]) -> Command {
        let mut command = self.command(&["gallery", "import", self.photos.path().to_str().unwrap()]);
        command.args(flags).arg("--report").arg(self.data.path().join("report"));
        command
    }

    /// Imports; the exit code and the report.
    fn import(&self, flags: &[&str]) -> (i32, Report) {
        let done = self.import_command(flags).output().unwrap();
        let code = done.status.code().unwrap();
        assert!([0, 3].contains(&code), "{}", text(&done.stderr));
        (code, self.report())
    }

    fn report(&self) -> Report {
        let json: Value =
            serde_json::from_slice(&std::fs::read(self.data.path().join("report.json")).unwrap()).unwrap();
        let csv = std::fs::read_to_string(self.data.path().join("report.csv")).unwrap();
        assert_eq!(csv.lines().count(), 1 + json["files"].as_array().unwrap().len(), "both report alike: {csv}");
        Report(json)
    }

    fn put(&self, path: &str, bytes: &[u8]) -> PathBuf {
        self.put_at(Path::new(path), bytes)
    }

    fn put_at(&self, path: &Path, bytes: &[u8]) -> PathBuf {
        let path = self.photos.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The templates: ids and how many samples each has, in order.
    fn templates(&self) -> Vec<(String, usize)> {
        let file = self.data.path().join("export.ndjson");
        let _ = std::fs::remove_file(&file);
        let done = self.command(&["gallery", "export", file.to_str().unwrap()]).output().unwrap();
        assert!(done.status.success(), "{}", text(&done.stderr));
        let lines = std::fs::read_to_string(&file).unwrap();
        let template = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            (line["templateId"].as_str().unwrap().to_owned(), line["samples"].as_array().unwrap().len())
        };
        lines.lines().map(template).collect()
    }

    fn names(&self) -> Vec<String> {
        self.templates().into_iter().map(|(name, _)| name).collect()
    }
}

struct Report(Value);

impl Report {
    fn count(&self, of: &str) -> u64 {
        self.0["counts"][of].as_u64().unwrap()
    }

    /// Outcome and code of a file, in which its row ends.
    fn of(&self, path: &str) -> (&str, &str) {
        let row = self.row(path);
        (row["outcome"].as_str().unwrap(), row["code"].as_str().unwrap())
    }

    fn row(&self, path: &str) -> &Value {
        let mut rows = self.0["files"].as_array().unwrap().iter();
        let row = rows.find(|row| row["path"].as_str().unwrap().ends_with(path));
        let row = row.unwrap_or_else(|| panic!("{path} has no row: {}", self.0));
        assert!(["reason", "remedy", "person"].iter().all(|key| row[key].is_string()), "{row}");
        assert!(!row["reason"].as_str().unwrap().is_empty() && !row["remedy"].as_str().unwrap().is_empty(), "{row}");
        row
    }

    fn rows(&self) -> usize {
        self.0["files"].as_array().unwrap().len()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Two people side by side, the first twice as large.
fn two_people() -> Vec<u8> {
    let first = decode("person_b_1.jpg");
    let second = decode("impostor_2.jpg");
    let second = image::imageops::thumbnail(&second, first.width() / 2, first.height() / 2);
    let mut both = RgbImage::new(first.width() + second.width(), first.height());
    image::imageops::replace(&mut both, &first, 0, 0);
    image::imageops::replace(&mut both, &second, i64::from(first.width()), 0);
    png(&both)
}

/// Formats that the API refuses by default are imported, whatever the file is called; HEIC and AVIF are named.
async fn every_format_is_imported_or_reported_by_name(database: Database) {
    let desk = Desk::new(database);
    let picture = DynamicImage::from(decode("person_b_1.jpg"));
    let formats = [
        ("ann.jpg", ImageFormat::WebP),
        ("bob", ImageFormat::Bmp),
        ("cy.tif", ImageFormat::Tiff),
        ("dee.gif", ImageFormat::Gif),
    ];
    for (name, format) in formats {
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        desk.put(name, bytes.get_ref());
    }
    desk.put("eve.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic");
    desk.put("fay.heic", b"\0\0\0\x18ftypavif\0\0\0\0mif1avif");
    let (code, report) = desk.import(&["--guard", "off"]);
    assert_eq!((code, desk.names()), (3, ["ann", "bob", "cy", "dee"].map(str::to_owned).to_vec()));
    for (path, format, remedy) in [("eve.jpg", "HEIC", "Most Compatible"), ("fay.heic", "AVIF", "JPEG")] {
        assert_eq!(report.of(path), ("left", "unsupported_format"));
        let row = report.row(path);
        assert_eq!(row["reason"], format!("{format} is not decoded"));
        assert!(row["remedy"].as_str().unwrap().contains(remedy), "{row}");
    }
}

async fn photos_are_imported_from_nested_folders_and_others_get_a_reason(database: Database) {
    let desk = Desk::new(database);
    desk.put("Sales/ann/1.jpg", &photo("person_a_1.jpg"));
    desk.put("Sales/ann/2.jpg", &photo("person_a_2.jpg"));
    desk.put("Law/cy.jpeg", &photo("impostor_1.jpg"));
    desk.put("Law/dee/passport", &photo("impostor_2.jpg"));
    desk.put("Law/eve.png", &png(&RgbImage::from_pixel(300, 300, image::Rgb([90, 120, 90]))));
    desk.put("Sales/ann/4.png", &png(&RgbImage::from_pixel(300, 300, image::Rgb([90, 90, 120]))));
    desk.put("Law/both.png", &two_people());
    desk.put("Law/list.txt", b"ann, bob, cy");
    desk.put("Law/half.jpg", &photo("person_a_1.jpg")[..2000]);
    desk.put("Law/none.jpg", b"");
    desk.put("Law/Thumbs.db", b"\xff\xd8\xff");
    let mut left = vec![
        ("Law/eve.png", "no_face"),
        ("Sales/ann/4.png", "no_face"),
        ("Law/both.png", "many_faces"),
        ("Law/list.txt", "not_a_photo"),
        ("Law/half.jpg", "incomplete"),
        ("Law/none.jpg", "empty_file"),
    ];
    #[cfg(target_os = "linux")]
    {
        std::os::unix::fs::symlink("/nowhere/x.jpg", desk.photos.path().join("Law/gone.jpg")).unwrap();
        // A file that exists, and cannot be read.
        std::os::unix::fs::symlink("/proc/self/mem", desk.photos.path().join("Law/worn.jpg")).unwrap();
        left.extend([("Law/gone.jpg", "dangling_link"), ("Law/worn.jpg", "unreadable")]);
    }
    let (code, report) = desk.import(&[]);
    assert_eq!(code, 3);
    assert_eq!(desk.templates(), [("ann".to_owned(), 2), ("cy".to_owned(), 1), ("dee".to_owned(), 1)]);
    for (path, code) in &left {
        assert_eq!(report.of(path), ("left", *code));
    }
    assert_eq!((report.count("left"), report.rows()), (left.len() as u64, left.len()));
    assert_eq!((report.count("templates"), report.count("samples"), report.count("ignored")), (3, 4, 1));

    // Again: what is enrolled is known, and what is left is reported again, with the same reasons.
    let (code, again) = desk.import(&[]);
    assert_eq!((code, again.count("templates"), again.count("enrolled_before")), (3, 0, 4));
    assert_eq!(again.0["files"], report.0["files"]);
    // Nothing is replaced by itself, also where one of the photos is refused.
    let (_, again) = desk.import(&["--replace"]);
    assert_eq!((again.count("templates"), again.count("enrolled_before")), (0, 4));
    assert_eq!(again.0["files"], report.0["files"]);

    // Corrected, added, and with the largest face counting.
    desk.put("Law/eve.png", &photo("person_b_2.jpg"));
    desk.put("Sales/ann/3.jpg", &with_trailer("person_a_1.jpg", 7));
    let (code, report) = desk.import(&["--faces", "largest", "--guard", "off"]);
    assert_eq!(code, 3);
    assert_eq!(report.of("Sales/ann/3.jpg"), ("left", "template_exists"));
    assert_eq!(desk.names(), ["ann", "both", "cy", "dee", "eve"]);
    let (_, report) = desk.import(&["--add-samples"]);
    assert_eq!((report.count("samples"), &desk.templates()[0]), (1, &("ann".to_owned(), 3)));
    let (_, report) = desk.import(&["--add-samples"]);
    assert_eq!((report.count("samples"), report.count("enrolled_before")), (0, 7), "a photo is added once");

    // One photo is removed: its person is replaced by the remaining photos; unchanged people are not.
    std::fs::remove_file(desk.photos.path().join("Sales/ann/1.jpg")).unwrap();
    let (_, report) = desk.import(&["--replace", "--faces", "largest", "--guard", "off"]);
    assert_eq!((report.count("templates"), report.count("samples")), (1, 2));
    assert_eq!(desk.templates()[0], ("ann".to_owned(), 2));

    // Without anything that is left, the code is 0.
    for (path, _) in left.iter().filter(|(path, _)| !["Law/eve.png", "Law/both.png"].contains(path)) {
        std::fs::remove_file(desk.photos.path().join(path)).unwrap();
    }
    let (code, report) = desk.import(&["--faces", "largest"]);
    assert_eq!((code, report.rows()), (0, 0), "{}", report.0);
}

/// The same photo with other bytes: something behind its end.
fn with_trailer(name: &str, number: u32) -> Vec<u8> {
    [photo(name), number.to_be_bytes().to_vec()].concat()
}

async fn an_interrupted_import_continues(database: Database) {
    const PEOPLE: u32 = 150;
    let (name, code) = if matches!(database, Database::Sqlite) { ("-INT", 130) } else { ("-TERM", 143) };
    let desk = Desk::new(database);
    for person in 0..PEOPLE {
        for (at, name) in ["person_a_1.jpg", "person_a_2.jpg"].into_iter().enumerate() {
            desk.put(&format!("p{person:03}/{at}.jpg"), &with_trailer(name, person));
        }
    }
    let state = desk.data.path().join("state.jsonl");
    let flags = ["--guard", "off", "--state", state.to_str().unwrap()];
    let written = || std::fs::read_to_string(&state).map_or(0, |lines| lines.lines().count());
    let mut before = 0;
    for (signal, code) in [("-KILL", None), (name, Some(code))] {
        let child = desk.import_command(&flags).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        eventually_blocking("a result is written", || written() > before);
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let Output { status, stderr, .. } = child.wait_with_output().unwrap();
        assert_eq!(status.code(), code, "{signal}: {}", text(&stderr));
        let templates = desk.templates();
        assert!(templates.len() < PEOPLE as usize, "it was at work");
        assert!(templates.iter().all(|(_, samples)| *samples == 2), "no person is enrolled in part: {templates:?}");
        assert!(2 * templates.len() >= written(), "what is in the state file is in the database");
        if code.is_some() {
            let report = desk.report();
            assert_eq!(report.0["interrupted"], true);
            assert!(
                report.count("not_reached") > 0 && text(&stderr).contains("run the same command again"),
                "{}",
                report.0
            );
        }
        before = written();
    }
    let there = desk.templates().len();
    let (code, report) = desk.import(&flags);
    assert_eq!((code, report.rows()), (0, 0), "{}", report.0);
    assert_eq!(report.count("enrolled_before"), 2 * there as u64);
    let templates = desk.templates();
    assert!(templates.len() == PEOPLE as usize && templates.iter().all(|(_, samples)| *samples == 2), "{templates:?}");
}

/// The first batch of 256 people is written, and more are to come.
#[tokio::test]
async fn an_import_survives_a_database_restart_in_the_middle() {
    survives_a_database_restart(300).await;
}

/// All people are written, and what is left is the line in the journal.
#[tokio::test]
async fn an_import_survives_a_database_restart_at_the_end() {
    survives_a_database_restart(20).await;
}

/// Postgres is killed after the first batch, and comes back.
async fn survives_a_database_restart(people: u32) {
    let Some(postgres) = OwnPostgres::start().await else { return };
    let desk = Desk::new(Database::Postgres(postgres.url().to_owned()));
    for person in 0..people {
        desk.put(&format!("p{person:03}.jpg"), &with_trailer("person_a_1.jpg", person));
    }
    let state = desk.data.path().join("state.jsonl");
    let flags = ["--guard", "off", "--state", state.to_str().unwrap()];
    let child = desk.import_command(&flags).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    eventually_blocking("a result is written", || !std::fs::read_to_string(&state).unwrap_or_default().is_empty());
    postgres.kill();
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert_eq!(desk.report().count("templates"), u64::from(people));
    let templates = desk.templates();
    assert!(templates.len() == people as usize && templates.iter().all(|(_, samples)| *samples == 1), "{templates:?}");
}

async fn the_guard_of_an_import_warns_or_refuses(database: Database) {
    let desk = Desk::new(database);
    desk.put("ann/1.jpg", &photo("person_a_1.jpg"));
    desk.put("ann/2.jpg", &photo("person_a_2.jpg"));
    desk.put("ann/3.jpg", &photo("impostor_1.jpg"));
    desk.put("bob/1.jpg", &photo("person_b_1.jpg"));
    desk.put("robert/1.jpg", &photo("person_b_2.jpg"));
    desk.put("Board/1.jpg", &photo("impostor_2.jpg"));
    desk.put("Board/2.jpg", &with_trailer("person_b_1.jpg", 1));
    let (code, report) = desk.import(&["--guard", "refuse"]);
    assert_eq!(code, 3);
    assert_eq!(report.of("ann/3.jpg"), ("left", "unlike_samples"));
    assert_eq!(report.of("Board/1.jpg"), ("left", "several_people"));
    assert_eq!(report.of("Board/2.jpg"), ("left", "several_people"));
    // Of the two that are one person, the one that is looked at first stays.
    let names = desk.names();
    let (stays, other) = if names.contains(&"bob".to_owned()) { ("bob", "robert") } else { ("robert", "bob") };
    assert_eq!(names, ["ann", stays]);
    let row = report.row(&format!("{other}/1.jpg"));
    assert!(row["code"] == "enrolled_elsewhere" && row["reason"].as_str().unwrap().contains(stays), "{row}");

    // By default all of that is enrolled, with warnings, but several people are never one.
    let (code, report) = desk.import(&["--replace"]);
    assert_eq!(code, 3);
    assert_eq!(report.of("ann/3.jpg"), ("warned", "unlike_samples"));
    assert_eq!(report.of(&format!("{other}/1.jpg")), ("warned", "enrolled_elsewhere"));
    assert_eq!(desk.templates()[0], ("ann".to_owned(), 3));
    assert_eq!(desk.names().len(), 3);
    // Unless the layout says that they are.
    let (_, report) = desk.import(&["--layout", "folders"]);
    assert_eq!(report.of("Board/1.jpg"), ("warned", "unlike_samples"));
    assert!(desk.names().contains(&"Board".to_owned()));
}

async fn the_guard_and_the_least_quality_of_an_application(database: Database) {
    let server = Server::start(&database).await;
    let app = server.first_app();
    let (id, _) = app.credentials();
    let listed = || {
        let listed = server.command(&database, &["app", "list", "--json"]);
        serde_json::from_str::<Value>(listed.lines().next().unwrap()).unwrap()
    };
    assert_eq!((&listed()["guard"], &listed()["min_quality"]), (&Value::from("off"), &Value::Null));
    // By default nothing is compared.
    app.add("person_a_1.jpg", &[("templateId", "a")]).await;
    let reply = app.add("person_a_2.jpg", &[("templateId", "a-again")]).await;
    assert_eq!(reply["result"]["warnings"], Value::Null);
    assert_eq!(app.delete("a-again").await.0, 200);

    server.command(&database, &["app", "guard", &id, "warn"]);
    assert_eq!(listed()["guard"], "warn");
    let warned = eventually_some("the guard is in force", async || {
        let reply = app.add("person_a_2.jpg", &[("templateId", "a-again")]).await;
        assert_eq!(app.delete("a-again").await.0, 200);
        reply["result"]["warnings"].is_array().then_some(reply)
    })
    .await;
    let warning = &warned["result"]["warnings"][0];
    assert_eq!((&warning["code"], &warning["templateId"]), (&"enrolled_elsewhere".into(), &"a".into()));
    assert!(warning["similarity"].as_f64().unwrap() > 0.75, "{warning}");
    // An impostor, and another photo of the person, are not a mix-up.
    assert_eq!(app.add("impostor_1.jpg", &[("templateId", "x")]).await["result"]["warnings"], Value::Null);
    let (status, reply) = app.post_photo("templates/a/samples", "person_a_2.jpg", &[]).await;
    assert_eq!((status, &reply["result"]["warnings"]), (200, &Value::Null), "{reply}");
    let (status, reply) = app.post_photo("templates/a/samples", "impostor_2.jpg", &[]).await;
    assert_eq!((status, &reply["result"]["warnings"][0]["code"]), (200, &"unlike_samples".into()), "{reply}");
    let (status, reply) = app.post_photo("add?replace=true", "person_a_1.jpg", &[("templateId", "a")]).await;
    assert_eq!((status, &reply["result"]["warnings"]), (200, &Value::Null), "who is replaced is no other: {reply}");

    server.command(&database, &["app", "guard", &id, "refuse"]);
    // Until it is in force, `tmp` is replaced again and again.
    let refused = async |name: &'static str| {
        eventually_some("the enrollment is refused", async || {
            let (status, reply) = app.post_photo("add?replace=true", name, &[("templateId", "tmp")]).await;
            (status == 400).then(|| {
                assert_eq!(reply["result"]["code"], 400, "{reply}");
                reply["result"]["info"].as_str().unwrap().to_owned()
            })
        })
        .await
    };
    let info = refused("person_a_2.jpg").await;
    assert!(info.contains("enrolled already under templateId a "), "{info}");
    let (status, reply) = app.post_photo("templates/a/samples", "impostor_2.jpg", &[]).await;
    let info = reply["result"]["info"].as_str().unwrap();
    assert!(status == 400 && info.contains("matches no other sample"), "{reply}");

    server.command(&database, &["app", "guard", &id, "off"]);
    server.command(&database, &["app", "quality", &id, "0.999"]);
    assert_eq!(listed()["min_quality"], 0.999);
    let low = |info: &str| info.starts_with("photo quality (crfiqa) 0.") && info.contains("below the least of 1.00");
    let info = refused("person_b_1.jpg").await;
    assert!(low(&info), "{info}");
    let (status, reply) = app.post_photo("templates/a/samples", "person_a_2.jpg", &[]).await;
    assert!(status == 400 && low(reply["result"]["info"].as_str().unwrap()), "{reply}");
    let people = tempfile::tempdir().unwrap();
    std::fs::write(people.path().join("b.jpg"), photo("person_b_1.jpg")).unwrap();
    let (code, message) = server.try_command(&database, &["gallery", "import", people.path().to_str().unwrap()]);
    assert!(code == Some(3) && message.contains("low_quality"), "{code:?} {message}");
    for wrong in ["0", "1.5", "nan", "good"] {
        let (code, message) = server.try_command(&database, &["app", "quality", &id, wrong]);
        assert!(code == Some(2) && message.contains("such as 0.57"), "{wrong}: {message}");
    }
    server.command(&database, &["app", "quality", &id, "off"]);
    assert_eq!(listed()["min_quality"], Value::Null);
    let journal = server.command(&database, &["journal", "export"]);
    assert!(journal.contains("\"app guard\"") && journal.contains("\"app quality\""), "{journal}");
}

#[test]
fn names_become_normalized_ids() {
    let desk = Desk::new(Database::sqlite());
    desk.put("Rene\u{301}.jpg", &photo("person_a_1.jpg"));
    let mut names = vec!["Ren\u{e9}".to_owned()];
    #[cfg(target_os = "linux")]
    {
        let latin1: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"M\xfcller/1.jpg");
        desk.put_at(Path::new(latin1), &photo("person_b_1.jpg"));
        names.insert(0, "M%FCller".to_owned());
    }
    desk.put("bad\u{7f}name.jpg", &photo("impostor_1.jpg"));
    let (code, report) = desk.import(&[]);
    assert_eq!(code, 3);
    assert_eq!(desk.names(), names);
    assert_eq!(report.of("bad\u{7f}name.jpg"), ("left", "bad_name"));
    #[cfg(target_os = "linux")]
    assert_eq!(report.of("M%FCller/1.jpg"), ("warned", "name_not_utf8"));
}

#[test]
fn wrong_import_arguments_are_reported() {
    let desk = Desk::new(Database::sqlite());
    let file = desk.put("x.ndjson", b"");
    let run = |arguments: &[&str]| {
        let done = desk.command(arguments).output().unwrap();
        (done.status.code(), text(&done.stderr))
    };
    let (code, message) = run(&["gallery", "import", file.to_str().unwrap(), "--layout", "files"]);
    assert!(code == Some(1) && message.contains("--layout is for folders"), "{message}");
    let photo = desk.put("y.jpg", &photo("person_a_1.jpg"));
    let (code, message) = run(&["gallery", "import", photo.to_str().unwrap()]);
    assert!(code == Some(1) && message.contains("is a photo: import the folder"), "{message}");
    let (code, message) = run(&["gallery", "import", desk.photos.path().to_str().unwrap(), "--guard", "maybe"]);
    assert!(code == Some(2) && message.contains("must be off, warn or refuse"), "{message}");
    let (code, message) = run(&["gallery", "import", "/nowhere"]);
    assert!(code == Some(1) && message.contains("/nowhere"), "{message}");
}

/// Where standard error is no terminal, there are lines rather than a bar, and no control characters.
#[test]
fn without_a_terminal_no_progress_bar_is_drawn() {
    let desk = Desk::new(Database::sqlite());
    desk.put("ann.jpg", &photo("person_a_1.jpg"));
    let done = desk.import_command(&[]).output().unwrap();
    assert!(done.status.success());
    assert!(!done.stderr.contains(&0x1b) && !done.stderr.contains(&b'\r'), "{}", text(&done.stderr));
    assert!(text(&done.stdout).contains("1 templates with 1 samples imported"), "{}", text(&done.stdout));
}
