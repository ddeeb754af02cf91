//! `gallery check` lists templates that look like those of turned faces, half faces or no face, and deletes nothing.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::process::{Database, Server, photo};

/// A pack that accepts every face, as those of earlier versions did: the one in the repository without its limits.
fn pack_without_limits(dir: &Path) {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    for entry in std::fs::read_dir(&models).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "pack.toml" {
            std::os::unix::fs::symlink(entry.path(), dir.join(entry.file_name())).unwrap();
        }
    }
    let pack = std::fs::read_to_string(models.join("pack.toml")).unwrap();
    let is_limit = |line: &str| line.starts_with("min_human") || line.starts_with("min_trusted");
    assert_eq!(pack.lines().filter(|line| is_limit(line)).count(), 2);
    let open: Vec<&str> = pack.lines().filter(|line| !is_limit(line)).collect();
    std::fs::write(dir.join("pack.toml"), open.join("\n")).unwrap();
}

/// The photo with every color inverted.
fn negative(name: &str) -> Vec<u8> {
    let mut picture = image::load_from_memory(&photo(name)).unwrap().to_rgb8();
    picture.iter_mut().for_each(|value| *value = 255 - *value);
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[tokio::test]
async fn gallery_check_lists_suspicious_templates_and_keeps_them() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let app = server.first_app();
    let photos = ["person_a_2.jpg", "person_b_1.jpg", "person_b_2.jpg", "impostor_2.jpg"];
    for name in photos {
        app.add(name, &[("templateId", name)]).await;
    }
    let honest = server.command(&database, &["gallery", "check"]);
    assert!(honest.contains("0 of 4 templates look like those of turned faces, half faces or no face"), "{honest}");

    let pack = tempfile::tempdir().unwrap();
    let people = tempfile::tempdir().unwrap();
    pack_without_limits(pack.path());
    for name in photos {
        let file = Path::new(name).with_extension("png");
        std::fs::write(people.path().join(format!("negative-{}", file.display())), negative(name)).unwrap();
    }
    let pack = pack.path().to_str().unwrap();
    let people = people.path().to_str().unwrap();
    let imported = server.command(&database, &["--models", pack, "gallery", "import", people]);
    assert!(imported.contains("4 templates"), "{imported}");

    let checked = server.command(&database, &["gallery", "check"]);
    assert!(checked.contains("4 of 8 templates look like those of turned faces, half faces or no face"), "{checked}");
    for name in photos {
        let id = name.trim_end_matches(".jpg");
        assert!(checked.contains(&format!("  negative-{id}: 1 of 1 samples: ")), "{checked}");
        assert!(!checked.contains(&format!("  {name}: ")), "{checked}");
    }
    assert!(checked.contains("Nothing was deleted"), "{checked}");
    let kept: Value = app.get("templates").await.1;
    assert_eq!(kept["result"]["templates"].as_array().unwrap().len(), 8, "{kept}");
}

/// The help, the output and the pack give the same error rates.
#[tokio::test]
async fn the_help_has_the_error_rates_of_the_pack() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    server.first_app().add("person_a_2.jpg", &[]).await;
    let checked = server.command(&database, &["gallery", "check"]);
    let sentence = checked.lines().find(|line| line.starts_with("Of templates of upright, whole faces")).unwrap();
    let help = Command::new(env!("CARGO_BIN_EXE_semblance")).args(["gallery", "check", "--help"]).output().unwrap();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let help = words(&String::from_utf8(help.stdout).unwrap());
    assert!(help.contains(&words(sentence)), "{help}\n{sentence}");
}
