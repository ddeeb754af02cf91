//! What commands and the server print, and what happens where it cannot be written.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use super::process::{Database, Server, command, credentials, eventually_in_file, photo_path};
use crate::support::{figure, skipped};

/// A file on which every write fails: the disk is full.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// Exit code and error output of a command whose output goes to a full disk.
fn on_a_full_disk(data: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let done = command(data, &Database::Sqlite).args(arguments).stdout(full()).output().unwrap();
    (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
}

fn run(data: &Path, arguments: &[&str]) -> String {
    let done = command(data, &Database::Sqlite).args(arguments).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// The files that keep a key which could not be printed.
fn kept(data: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("new-key-")).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_command_that_cannot_print_fails_without_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let (id, _) = credentials(run(data, &["app", "create", "first", "--json"]).as_bytes());
    let photo = photo_path("person_a_1.jpg");
    let photo = photo.to_str().unwrap();
    let export = data.join("export.ndjson");
    let key = run(data, &["journal", "receipt-key"]);
    let commands: Vec<Vec<&str>> = vec![
        vec!["app", "list"],
        vec!["app", "list", "--json"],
        vec!["app", "attributes", &id, "on"],
        vec!["app", "retention", &id, "90d"],
        vec!["app", "guard", &id, "warn"],
        vec!["app", "quality", &id, "off"],
        vec!["app", "threshold", &id, "default"],
        vec!["app", "limits", &id, "--share", "0.5"],
        vec!["app", "rename", &id, "renamed"],
        vec!["app", "suspend", &id],
        vec!["app", "resume", &id],
        vec!["app", "key", "list", &id],
        vec!["app", "create", "second"],
        vec!["app", "rotate-key", &id, "--json"],
        vec!["key", "add"],
        vec!["key", "rotate"],
        vec!["key", "status"],
        vec!["key", "status", "--json"],
        vec!["gallery", "export", "--app", &id, export.to_str().unwrap()],
        vec!["gallery", "import", "--app", &id, export.to_str().unwrap()],
        vec!["gallery", "check", "--app", &id],
        vec!["journal", "receipt-key"],
        vec!["models", "list"],
        vec!["models", "list", "--json"],
        vec!["analyze", photo],
        vec!["analyze", "--json", photo],
        vec!["bench", "models", "--rounds", "1"],
        vec!["config"],
        vec!["config", "--json"],
        vec!["doctor"],
        vec!["app", "delete", &id],
    ];
    assert!(!key.is_empty());
    for arguments in &commands {
        let (code, message) = on_a_full_disk(data, arguments);
        let is_reported = message.contains("output: No space left on device");
        assert!(code == Some(1) && is_reported && !message.contains("panicked"), "{arguments:?}: {code:?} {message}");
    }
    // Nor where the error output is full, too.
    for arguments in [&["app", "list"][..], &["app", "delete", "unknown"]] {
        let status = command(data, &Database::Sqlite).args(arguments).stdout(full()).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(1), "{arguments:?}");
    }
    figure(
        "commands whose output cannot be written",
        &format!("{} commands: each fails with exit code 1, no panic", commands.len()),
    );
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_that_cannot_be_printed_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let (id, _) = credentials(run(data, &["app", "create", "first", "--json"]).as_bytes());
    assert!(kept(data).is_empty(), "a key that was printed is not kept");
    let (code, message) = on_a_full_disk(data, &["app", "rotate-key", &id]);
    let [file] = &kept(data)[..] else { panic!("no file: {message}") };
    assert!(code == Some(1) && message.contains(file.to_str().unwrap()), "{message}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let rotated = credentials(&std::fs::read(file).unwrap());
    // A reader that has gone is no reason to lose the key either.
    let mut child = command(data, &Database::Sqlite)
        .args(["app", "create", "second"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(1), "{}", String::from_utf8_lossy(&done.stderr));
    let files = kept(data);
    let second = files.iter().find(|path| *path != file).expect("the key of the second application is kept");
    let created = credentials(&std::fs::read(second).unwrap());
    // An unknown application leaves nothing behind.
    let (code, _) = on_a_full_disk(data, &["app", "rotate-key", "00000000-0000-4000-8000-000000000000"]);
    assert_eq!((code, kept(data).len()), (Some(1), 2));
    let server = Server::start_in(dir, &Database::sqlite(), &[]).await;
    for credentials in [rotated, created] {
        assert_eq!(server.app(credentials).get("templates").await.0, 200);
    }
}

/// Standard output of a container is kept in a log: the key is not in it.
#[tokio::test]
async fn the_first_key_is_printed_on_a_terminal_only() {
    let dir = tempfile::tempdir().unwrap();
    let printed = dir.path().join("printed");
    let mut server =
        command(dir.path(), &Database::Sqlite).arg("serve").stdout(File::create(&printed).unwrap()).spawn().unwrap();
    eventually_in_file(&printed, " serves http://").await;
    let file = dir.path().join("credentials.json");
    let (id, key) = credentials(&std::fs::read(&file).unwrap());
    let text = std::fs::read_to_string(&printed).unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(text.contains(&id) && text.contains(file.to_str().unwrap()) && !text.contains(&key), "{text}");

    let terminal = "import os, pty, signal, sys\n\
                    pid, terminal = pty.fork()\n\
                    if pid == 0: os.execv(sys.argv[1], sys.argv[1:])\n\
                    seen = b''\n\
                    while b' serves http://' not in seen: seen += os.read(terminal, 4096)\n\
                    os.kill(pid, signal.SIGKILL)\n\
                    sys.stdout.write(seen.decode())\n";
    let dir = tempfile::tempdir().unwrap();
    let serve = command(dir.path(), &Database::Sqlite);
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut shown = Command::new(python);
    for (name, value) in serve.get_envs() {
        match value {
            Some(value) => shown.env(name, value),
            None => shown.env_remove(name),
        };
    }
    let shown = match shown.args(["-c", terminal]).arg(serve.get_program()).arg("serve").output() {
        Ok(shown) => shown,
        Err(error) => return skipped("the first key on a terminal", &format!("no Python: {error}")),
    };
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let (id, key) = credentials(&std::fs::read(dir.path().join("credentials.json")).unwrap());
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(text.contains(&format!("APP-ID:  {id}")) && text.contains(&format!("APP-KEY: {key}")), "{text}");
}

#[test]
fn a_password_on_the_command_line_gives_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let list = |url: &str| {
        let done =
            command(dir.path(), &Database::Sqlite).args(["app", "list", "--database-url", url]).output().unwrap();
        assert!(!done.status.success());
        String::from_utf8_lossy(&done.stderr).into_owned()
    };
    let message = list("postgres://someone:hunter2@127.0.0.1:1/none");
    assert!(message.contains("warning: the password in --database-url is visible"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
    assert!(!list("postgres://someone@127.0.0.1:1/none").contains("warning"));
}
