//! People, identify and import in a real browser.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::browser::{Browser, Tab};
use super::{look, look_at, server, sign_in};
use crate::support::{Server as Scripted, figure, photo};

/// The photos that an import of 500 files consists of, besides 440 people.
const COUPLES: usize = 20;
const WITHOUT_FACE: usize = 25;
const NOT_PHOTOS: usize = 15;
const FILES: usize = 500;

fn photo_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/photos").join(name)
}

/// The browser reports each refused call; the page has shown it in words.
fn only_refusals(tab: &mut Tab) {
    let is_refusal = |text: &String| {
        let is_status = ["status of 400", "status of 409"].iter().any(|status| text.contains(status));
        is_status && text.contains("/api/admin/v1/applications/")
    };
    let other: Vec<String> = tab.problems().into_iter().filter(|text| !is_refusal(text)).collect();
    assert_eq!(other, Vec::<String>::new());
}

fn text(tab: &mut Tab, selector: &str) -> String {
    tab.eval(&format!("document.querySelector({})?.innerText ?? ''", json!(selector))).as_str().unwrap().to_owned()
}

/// The address of a page of the first application.
fn page(tab: &mut Tab, path: &str) {
    tab.open(&format!("/console/{path}"));
}

/// Chooses a person in the open dialog by the beginning of an id, with the keyboard.
fn choose_person(tab: &mut Tab, id: &str) {
    tab.eval("[...document.querySelectorAll('[role=combobox]')].at(-1).focus()");
    tab.write(id);
    tab.until("document.querySelector('[role=option]')");
    tab.press("ArrowDown");
    tab.press("Enter");
    let value = tab.eval("[...document.querySelectorAll('[role=combobox]')].at(-1).value");
    assert!(value.as_str().unwrap().contains(id), "{value}");
}

/// Enrolls the photos of `.cache/photos` under an id, with a name.
fn enroll(tab: &mut Tab, id: &str, name: &str, photos: &[&str]) {
    page(tab, "enroll");
    let files: Vec<PathBuf> = photos.iter().map(|photo| photo_file(photo)).collect();
    tab.choose("input[type=file]", &files.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    tab.until(&format!("document.querySelectorAll('.photos li').length === {}", photos.len()));
    tab.fill("Person id", id);
    tab.fill("Name", name);
    tab.click("Enroll");
    tab.shows("The person is enrolled");
}

/// Enrolled by file with one photo that is another person's; named by a photo; the wrong sample is found and moved to
/// the right person; deleted with a receipt.
#[tokio::test]
async fn a_wrong_enrollment_is_found_and_corrected() {
    let Some(browser) = Browser::start("the console: people") else { return };
    let server = server().await;
    let mut tab = browser.tab(server.url());
    sign_in(&mut tab, &server);
    page(&mut tab, "people");
    tab.shows("No person is enrolled yet");
    look_at(&mut tab, "people-empty");

    enroll(&mut tab, "ada-01", "Ada Example", &["person_a_1.jpg", "person_a_2.jpg", "person_b_1.jpg"]);
    tab.shows("3 photos are accepted.");
    tab.picture("enrolled");
    assert_eq!(tab.violations(), Vec::<String>::new());
    enroll(&mut tab, "b-77", "Bo Sample", &["person_b_2.jpg"]);
    page(&mut tab, "people");
    tab.shows("2 people");
    look_at(&mut tab, "people");

    // The name of the search is in no address.
    tab.fill("Search people", "exam");
    tab.shows("1 of 2 people");
    let address = tab.eval("location.href");
    assert!(!address.as_str().unwrap().contains("exam"), "{address}");
    tab.click("Ada Example");
    tab.until("document.querySelector('h1')?.innerText === 'Ada Example' && document.querySelector('.sample')");
    tab.shows("A sample does not fit the others.");
    look_at(&mut tab, "person");
    let wrong = tab.eval("[...document.querySelectorAll('.sample')].findIndex((one) => one.matches('.amber')) + 1");
    tab.click(&format!("Move sample {wrong}"));
    choose_person(&mut tab, "b-77");
    look_at(&mut tab, "dialog-move");
    tab.eval("document.querySelector('dialog form').requestSubmit()");
    tab.shows(&format!("Sample {wrong} is now with b-77."));
    tab.until("document.querySelectorAll('.sample').length === 2 && !document.querySelector('.sample.amber')");

    page(&mut tab, "identify");
    look_at(&mut tab, "identify-empty");
    tab.choose("input[type=file]", &[&photo_file("person_b_1.jpg")]);
    tab.until("document.querySelector('.verdict')");
    assert_eq!(text(&mut tab, ".verdict"), "Bo Sample");
    tab.until("document.querySelector('.face-box') && document.querySelectorAll('.face-point').length === 5");
    look_at(&mut tab, "identify");
    tab.choose("input[type=file]", &[&photo_file("impostor_1.jpg")]);
    tab.shows("Not enrolled, or not recognizable");
    look_at(&mut tab, "identify-none");
    tab.click("Enroll as …");
    tab.until("document.querySelectorAll('.photos li').length === 1");
    page(&mut tab, "identify?mode=verify");
    choose_person(&mut tab, "ada-01");
    tab.choose("input[type=file]", &[&photo_file("person_a_1.jpg")]);
    tab.shows("It is this person");
    look_at(&mut tab, "verify");
    tab.is_clean();

    page(&mut tab, "people/ada-01");
    tab.click("Edit");
    tab.fill("Groups", "staff, night shift");
    look_at(&mut tab, "dialog-details");
    tab.eval("document.querySelector('dialog form').requestSubmit()");
    tab.shows("night shift");
    tab.eval("[...document.querySelectorAll('.choices-list button')].at(-1).click()");
    tab.shows("Delete Ada Example?");
    tab.shows("2 samples are erased");
    look_at(&mut tab, "dialog-delete");
    tab.eval("document.querySelector('dialog form').requestSubmit()");
    tab.shows("The person is deleted");
    tab.shows("The receipt is signed.");
    look_at(&mut tab, "dialog-receipt");
    tab.eval("document.querySelector('dialog .primary').click()");
    tab.until("location.pathname.endsWith('/people') && document.querySelector('tbody')");
    tab.shows("1 person");
    assert_eq!(tab.eval("document.body.innerText.includes('Ada Example')"), false);
    tab.is_clean();
}

/// A film of one photo, as the browser's fake camera plays it.
fn film(folder: &Path, name: &str) -> PathBuf {
    use image::codecs::jpeg::JpegEncoder;
    use image::imageops::{FilterType, overlay, resize};
    let photo = image::open(photo_file(name)).unwrap().to_rgb8();
    let height = 480;
    let width = photo.width() * height / photo.height();
    let mut frame = image::RgbImage::from_pixel(640, height, image::Rgb([128, 128, 128]));
    overlay(&mut frame, &resize(&photo, width, height, FilterType::Triangle), (640 - i64::from(width)) / 2, 0);
    let mut film = Vec::new();
    for _ in 0..8 {
        JpegEncoder::new_with_quality(&mut film, 92).encode_image(&frame).unwrap();
    }
    let file = folder.join("camera.mjpeg");
    std::fs::write(&file, film).unwrap();
    file
}

/// The camera's picture is looked at while it is live, becomes a photo, and the camera is off afterwards.
#[tokio::test]
async fn a_person_is_identified_by_the_camera() {
    let folder = tempfile::tempdir().unwrap();
    let film = format!("--use-file-for-fake-video-capture={}", film(folder.path(), "person_a_1.jpg").display());
    let Some(browser) = Browser::start_with("the console: camera", &[&film]) else { return };
    let server = server().await;
    let mut tab = browser.tab(server.url());
    let started = std::time::Instant::now();
    sign_in(&mut tab, &server);
    enroll(&mut tab, "ada-01", "Ada Example", &["person_a_2.jpg"]);
    // Within the console, so that going back keeps the page and with it the list of streams.
    page(&mut tab, "people");
    tab.click("Identify");
    tab.until("document.querySelector('h1')?.innerText === 'Identify'");
    tab.eval(
        "{ const media = navigator.mediaDevices; const open = media.getUserMedia.bind(media); window.streams = [];
           media.getUserMedia = async (wish) => { const stream = await open(wish); streams.push(stream); return stream; }; }",
    );
    tab.click("Use the camera");
    tab.until("document.querySelector('video')?.videoWidth === 640");
    tab.until("document.querySelector('dialog .face-box') || document.querySelector('.verdict')");
    if tab.eval("Boolean(document.querySelector('dialog'))") == true {
        look_at(&mut tab, "camera");
        tab.eval("[...document.querySelectorAll('dialog .primary')].at(-1)?.click()");
    }
    tab.until("document.querySelector('.verdict')");
    assert_eq!(text(&mut tab, ".verdict"), "Ada Example");
    let text = format!("{:.1} s, from the sign-in, pictures taken meanwhile", started.elapsed().as_secs_f64());
    figure("console: enrolled by file, identified by camera", &text);
    let live = "streams.flatMap((stream) => stream.getTracks()).filter((track) => track.readyState === 'live').length";
    assert_eq!(tab.eval(live), 0, "the camera is off");

    // Leaving the page turns it off, too, and no picture stays.
    tab.click("Use the camera");
    tab.until("document.querySelector('video')?.videoWidth === 640");
    tab.eval("history.back()");
    tab.until("document.querySelector('h1')?.innerText === 'People'");
    tab.until(&format!("{live} === 0 && !document.querySelector('video, main img[src^=blob]')"));
    only_refusals(&mut tab);
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// 500 files in folders, some refused: each is in or on the list with its reason, the largest face is taken on request,
/// and the same folder again changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_500_photos_is_imported() {
    let Some(browser) = Browser::start("the console: import") else { return };
    let server = Scripted::start().await;
    let owner = server.bootstrap().await;
    let folder = tempfile::tempdir().unwrap();
    for n in 0..FILES {
        let content = match n {
            n if n < COUPLES => photo("couple"),
            n if n < COUPLES + WITHOUT_FACE => photo("nobody"),
            n if n < COUPLES + WITHOUT_FACE + NOT_PHOTOS => b"not a photo".to_vec(),
            n => photo(&format!("person {n}")),
        };
        write(folder.path(), &format!("p-{n:03}/=1+1.jpg"), &content);
    }
    write(folder.path(), "notes.docx", b"left out");
    let mut tab = browser.tab(&format!("http://{}", server.addr));
    tab.open("/console/import");
    tab.fill("Token", owner.token());
    tab.click("Sign in");
    tab.shows("Drop a folder or files here");
    look_at(&mut tab, "import-empty");
    let begin = |tab: &mut Tab| {
        tab.choose("input[webkitdirectory]", &[folder.path()]);
        tab.shows("500 people, 500 photos");
        tab.shows("1 file is not a photo and is left out.");
    };
    begin(&mut tab);
    look_at(&mut tab, "import-mapping");
    tab.fill("Groups for all", "staff");
    let before = count(&server, &owner).await;
    assert_eq!(before, 0, "nothing is sent before it is confirmed");
    tab.click("Import 500 people");
    tab.click("Pause");
    tab.shows("The import is paused");
    look_at_refusals(&mut tab, "import-paused");
    tab.click("Go on");

    // It goes on while another page is open.
    tab.click("People");
    tab.until("document.querySelector('h1')?.innerText === 'People'");
    tab.click("Import");
    tab.shows("The import is complete");
    let counts = text(&mut tab, ".counts-row");
    assert!(counts.contains("440 photos in") && counts.contains("60 refused"), "{counts}");
    for (reason, number) in [
        ("There is more than one face on the photo.", COUPLES),
        ("There is no face on the photo.", WITHOUT_FACE),
        ("The file cannot be read as a photo.", NOT_PHOTOS),
    ] {
        let shown = tab.eval(&format!(
            "[...document.querySelectorAll('section.card')].find((card) => card.querySelector('h2').innerText === {})
               ?.querySelector('.badge').innerText",
            json!(reason)
        ));
        assert_eq!(shown, number.to_string(), "{reason}");
    }
    look_at_refusals(&mut tab, "import-done");
    assert_eq!(count(&server, &owner).await, 440);
    let csv = downloaded(&mut tab, "Download the result (CSV)");
    assert_eq!(csv.lines().count(), 1 + FILES);
    assert!(csv.contains("There is no face on the photo."));

    tab.click(&format!("Try {COUPLES} photos again with the largest face"));
    tab.until("document.querySelector('.counts-row').innerText.includes('460 photos in')");
    tab.shows("The import is complete");
    assert_eq!(count(&server, &owner).await, 460);

    tab.click("Import more");
    begin(&mut tab);
    tab.click("Import 500 people");
    tab.shows("The import is complete");
    let counts = text(&mut tab, ".counts-row");
    assert!(counts.contains("0 photos in") && counts.contains("460 skipped, the person exists"), "{counts}");
    assert_eq!(count(&server, &owner).await, 460);
    only_refusals(&mut tab);
}

/// As [`look_at`], while calls are refused.
fn look_at_refusals(tab: &mut Tab, name: &str) {
    look(tab, name);
    only_refusals(tab);
}

async fn count(server: &Scripted, owner: &crate::support::admin::As) -> u64 {
    let path = format!("/applications/{}/people/search", server.app.app_id.as_str());
    let (status, found) = server.admin(owner, "POST", &path, json!({ "total": true, "limit": 1 })).await;
    assert_eq!(status, 200, "{found}");
    found["total"].as_u64().unwrap()
}

/// The text that a button saves as a file.
fn downloaded(tab: &mut Tab, button: &str) -> String {
    tab.eval("{ window.saved = null; const make = URL.createObjectURL; URL.createObjectURL = (blob) => ((window.saved = blob), make(blob)); }");
    tab.click(button);
    tab.until("window.saved");
    let text = tab.eval("window.saved.text()");
    text.as_str().unwrap().to_owned()
}

/// A list maps files to people with their details; a cell that would be a formula is quoted in the result.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_who_is_on_which_photo() {
    let Some(browser) = Browser::start("the console: import with a list") else { return };
    let server = Scripted::start().await;
    let owner = server.bootstrap().await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "=one.jpg", &photo("ann"));
    write(folder.path(), "two.jpg", &photo("ann.2"));
    write(folder.path(), "three.jpg", &photo("bob"));
    write(folder.path(), "extra.jpg", &photo("eve"));
    let list = "\u{feff}file;templateId;name;groups\r\n=one.jpg;a-1;\"Example; Ada\";staff, door\r\ntwo.jpg;a-1;;\r\n\
                three.jpg;b-1;Bo;\r\nabsent.jpg;c-1;;\r\n";
    write(folder.path(), "people.csv", list.as_bytes());
    let mut tab = browser.tab(&format!("http://{}", server.addr));
    tab.open("/console/import");
    tab.fill("Token", owner.token());
    tab.click("Sign in");
    let files: Vec<PathBuf> = ["=one.jpg", "two.jpg", "three.jpg", "extra.jpg", "people.csv"]
        .iter()
        .map(|name| folder.path().join(name))
        .collect();
    tab.choose("input[type=file]", &files.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    tab.shows("2 people, 3 photos");
    tab.shows("1 photo belongs to no person and is not sent.");
    tab.shows("1 file of the list is not here: absent.jpg");
    tab.click("Import 2 people");
    tab.shows("The import is complete");
    let path = format!("/applications/{}/people/a-1", server.app.app_id.as_str());
    let (status, person) = server.admin(&owner, "GET", &path, Value::Null).await;
    assert_eq!((status, &person["name"]), (200, &json!("Example; Ada")), "{person}");
    assert_eq!((&person["groups"], &person["sampleCount"]), (&json!(["door", "staff"]), &json!(2)));
    let csv = downloaded(&mut tab, "Download the result (CSV)");
    assert!(csv.contains("\"'=one.jpg\",\"a-1\",\"in\""), "{csv}");
    tab.is_clean();
}
