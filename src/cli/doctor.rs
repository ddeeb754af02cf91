//! `semblance doctor`: checks everything that the server needs, one by one.

mod telemetry_files;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::CliError;
use super::output::outln;
use crate::app::{self, StartError};
use crate::domain::{Clock, rfc3339};
use crate::service::{ClockDoubt, StoreClock};
use crate::settings::{AdminListen, Settings, UserFolders};
use crate::store::{OpenError, OpenMode};
use crate::telemetry::error_chain;

/// Runs every check, also after a failure, and prints what to do.
pub(super) async fn run(settings: Settings) -> Result<(), CliError> {
    let mut failed = 0;
    let mut report = |what: &str, outcome: Result<String, String>| match outcome {
        Ok(text) => outln!("ok    {what}: {text}"),
        Err(text) => {
            failed += 1;
            outln!("FAIL  {what}: {text}")
        }
    };
    report("processor", Ok(processor()))?;
    report("data folder", data_folder(&settings.data))?;
    report("models", models(&settings))?;
    report("address", address(settings.listen))?;
    match settings.admin.listen {
        AdminListen::At(admin) => report("address of the administration", address(admin))?,
        AdminListen::Default => {
            let free = address(AdminListen::DEFAULT).unwrap_or_else(|taken| format!("not served: {taken}"));
            report("address of the administration", Ok(free))?;
        }
        AdminListen::Api | AdminListen::Off => {}
    }
    report("certificate", certificate(&settings))?;
    report("sealing key", key(&settings))?;
    report("database", database(&settings).await)?;
    report("clock", clock(&settings).await)?;
    for warning in &settings.warnings {
        outln!("warn  settings: {warning}")?;
    }
    for path in telemetry_files::find(&UserFolders::current()) {
        let path = path.display();
        outln!(
            "warn  telemetry files: {path} is from the telemetry client of ONNX Runtime 1.29 or later, which earlier \
             builds of Semblance loaded (other programs may, too); `rm -r '{path}'` removes it"
        )?;
    }
    match failed {
        0 => Ok(()),
        n => Err(CliError::message(format!("{n} checks failed"))),
    }
}

fn processor() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{} with {cores} cores", std::env::consts::ARCH)
}

/// Whether the server can write to its folder, or create it. Nothing is written.
fn data_folder(dir: &Path) -> Result<String, String> {
    let path = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&path);
    match can_write(existing) {
        Ok(()) if existing == path => Ok(format!("{} can be written", dir.display())),
        Ok(()) => Ok(format!("{} does not exist yet; the server creates it", dir.display())),
        Err(error) => Err(format!("{} cannot be written: {error}", existing.display())),
    }
}

#[cfg(unix)]
fn can_write(dir: &Path) -> std::io::Result<()> {
    use rustix::fs::{Access, access};
    if !dir.is_dir() {
        return Err(std::io::ErrorKind::NotADirectory.into());
    }
    Ok(access(dir, Access::WRITE_OK | Access::EXEC_OK)?)
}

#[cfg(not(unix))]
fn can_write(dir: &Path) -> std::io::Result<()> {
    let is_read_only = std::fs::metadata(dir)?.permissions().readonly();
    if is_read_only { Err(std::io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
}

fn models(settings: &Settings) -> Result<String, String> {
    let text = |error: StartError| error.to_string();
    let dir = app::models_dir(settings).map_err(text)?;
    app::load_engine(settings).map_err(text)?;
    Ok(format!("{} is complete and loads", dir.display()))
}

fn address(listen: SocketAddr) -> Result<String, String> {
    TcpListener::bind(listen)
        .map(|_| format!("{listen} is free"))
        .map_err(|error| format!("cannot listen on {listen}: {error}"))
}

fn certificate(settings: &Settings) -> Result<String, String> {
    match app::tls(settings) {
        Ok(None) => Ok("none, plain HTTP; clients on phones need HTTPS".to_owned()),
        Ok(Some(tls)) => {
            let cert = settings.tls.cert.display();
            let problem = tls.expiry().problem(Clock::system().now());
            problem.map_or_else(|| Ok(format!("{cert} and its key load")), |problem| Err(format!("{cert}: {problem}")))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn key(settings: &Settings) -> Result<String, String> {
    let Some(file) = app::key_file(settings) else { return Ok("set as a value".to_owned()) };
    let path = file.path().display();
    match (file.path().exists(), file.is_exposed()) {
        (false, _) => Ok(format!("{path} does not exist yet; the server creates it")),
        (true, false) => Ok(format!("only its owner can read {path}")),
        (true, true) => Err(format!("other users can read {path}; run `chmod 600 {path}`")),
    }
}

/// The clock by which templates and keys expire.
async fn clock(settings: &Settings) -> Result<String, String> {
    let Ok(store) = app::open_store(settings, OpenMode::Read).await else {
        return Ok("not checked: the database does not open".to_owned());
    };
    let reading = store.retention.read_clock().await.map_err(|error| error.to_string())?;
    let clock = StoreClock::new(Clock::system());
    let doubt = clock.observe_reading(&reading);
    let now = rfc3339(reading.now);
    match doubt {
        None if reading.is_servers => {
            Ok(format!("the database's is {now}, this machine's differs by {} ms", clock.offset_ms()))
        }
        None => Ok(now),
        Some(doubt @ ClockDoubt::Differs(_)) => Err(format!("{doubt}; set the clock of the machine that is wrong")),
        Some(doubt) => Err(format!(
            "{doubt} (it shows {now}), so nothing expires; if it is right, run `semblance retention confirm-clock`"
        )),
    }
}

async fn database(settings: &Settings) -> Result<String, String> {
    let store = match app::open_store(settings, OpenMode::Read).await {
        Ok(store) => store,
        // The next start of the server mends these.
        Err(StartError::Open(error @ (OpenError::NoFile(_) | OpenError::Empty | OpenError::Unused))) => {
            return Ok(error.to_string());
        }
        Err(error) => return Err(error_chain(&error)),
    };
    let galleries = store.templates.revisions().await.map_err(|error| error.to_string())?;
    Ok(format!("opens with this key; {} applications", galleries.len()))
}
