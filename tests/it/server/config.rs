//! `semblance config`: which settings a server with the same file, variables and flags has.

use std::process::Command;

use serde_json::Value;

fn config(dir: &std::path::Path, arguments: &[&str]) -> String {
    let file = dir.join("semblance.toml");
    std::fs::write(&file, "# ours\n\n[limits]\nbody_bytes = 30000\n[database]\nurl = \"postgres://u:hunter2@h/d\"\n")
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_semblance"))
        .env_clear()
        .env("SEMBLANCE_KEY", "hunter3")
        .env("SEMBLANCE_LOG_LEVEL", "debug")
        .args(["config", "--config", file.to_str().unwrap(), "--data", "/d"])
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("hunter"), "a secret is printed: {text}");
    text
}

#[test]
fn config_names_the_source_of_every_setting() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("semblance.toml");
    let path = path.display();
    let text = config(dir.path(), &["--changed"]);
    let expected = format!(
        "data = \"/d\"  # command line\nkey = (set)  # SEMBLANCE_KEY\n\n[database]\nurl = (set)  # {path}, line 6\n\n\
         [limits]\nbody_bytes = 30000  # {path}, line 4\n\n[log]\nlevel = \"debug\"  # SEMBLANCE_LOG_LEVEL; SIGHUP reads \
         it again\n"
    );
    assert_eq!(text, expected);
    let all = config(dir.path(), &[]);
    assert!(all.contains("[matching]\n"), "{all}");
    assert!(all.contains("upload_bytes = 0  # default; in force: 480000\n"), "{all}");
}

#[test]
fn config_as_json_is_for_programs() {
    let dir = tempfile::tempdir().unwrap();
    let text = config(dir.path(), &["--json"]);
    let entries: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let entry = |key: &str| entries.iter().find(|entry| entry["key"] == key).unwrap();
    let body = entry("limits.body_bytes");
    assert_eq!((&body["value"], &body["source"], &body["fileLine"]), (&30_000.into(), &"file".into(), &4.into()));
    let url = entry("database.url");
    assert_eq!((&url["value"], &url["isSet"], &url["source"]), (&Value::Null, &true.into(), &"file".into()));
    let level = entry("log.level");
    assert_eq!((&level["variable"], &level["reloadable"]), (&"SEMBLANCE_LOG_LEVEL".into(), &true.into()));
    assert_eq!(entry("data")["source"], "flag");
    assert_eq!(entry("quality.blur")["source"], "default");
    assert!(entries.len() > 60, "{}", entries.len());
}
