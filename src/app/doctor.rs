//! The checks of `semblance doctor` and of the administration API: everything that the server needs, one by one. They
//! write nothing.

mod telemetry_files;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::StartError;
use crate::domain::{Clock, rfc3339};
use crate::service::{ClockDoubt, Service, StoreClock};
use crate::settings::{AdminListen, Settings, UserFolders};
use crate::store::{OpenError, OpenMode, Store};
use crate::telemetry::error_chain;

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As it should be.
    Good,
    /// It works, but an operator should know.
    Warning,
    /// The server does not start, or does not serve as configured.
    Failed,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is checked.
    pub name: &'static str,
    /// How it is.
    pub outcome: Outcome,
    /// What was found.
    pub text: String,
    /// What to do.
    pub remedy: Option<String>,
}

impl Check {
    fn good(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Good, text: text.into(), remedy: None }
    }

    fn failed(name: &'static str, text: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, ..Self::good(name, text) }
    }

    fn warning(name: &'static str, text: impl Into<String>) -> Self {
        Self { outcome: Outcome::Warning, ..Self::good(name, text) }
    }

    fn of(name: &'static str, found: Result<String, String>) -> Self {
        found.map_or_else(|text| Self::failed(name, text), |text| Self::good(name, text))
    }

    fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// What was found and what to do, on one line.
    pub fn line(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{}; {remedy}", self.text),
            None => self.text.clone(),
        }
    }
}

/// Who asks.
#[derive(Clone, Copy)]
pub enum Patient<'a> {
    /// A command: the models are loaded, the addresses bound and the database opened for the check.
    Machine,
    /// The running server, which has loaded, bound and opened these.
    Server {
        /// Its store.
        store: &'a Store,
        /// Its use cases.
        service: &'a Service,
    },
}

/// Runs every check, also after one that failed.
pub async fn check_all(settings: &Settings, patient: Patient<'_>) -> Vec<Check> {
    let mut checks = vec![Check::good("processor", processor()), Check::of("data folder", data_folder(&settings.data))];
    match patient {
        Patient::Machine => {
            checks.push(Check::of("models", models(settings)));
            checks.push(Check::of("address", address(settings.listen)));
            match settings.admin.listen {
                AdminListen::At(admin) => checks.push(Check::of("address of the administration", address(admin))),
                AdminListen::Default => {
                    let free = address(AdminListen::DEFAULT).unwrap_or_else(|taken| format!("not served: {taken}"));
                    checks.push(Check::good("address of the administration", free));
                }
                AdminListen::Api | AdminListen::Off => {}
            }
        }
        Patient::Server { service, .. } if service.is_engine_ready() => {
            checks.push(Check::good("models", "loaded; they computed the golden outputs when the server started"));
        }
        Patient::Server { .. } => checks.push(Check::failed("models", "the workers of the engine are not ready")),
    }
    checks.extend([certificate(settings), key(settings)]);
    let store = match patient {
        Patient::Machine => super::open_store(settings, OpenMode::Read).await,
        Patient::Server { store, .. } => Ok(store.clone()),
    };
    match store {
        Ok(store) => checks.extend([database(&store).await, clock(&store).await]),
        Err(error) => {
            checks.push(closed_database(&error));
            checks.push(Check::good("clock", "not checked: the database does not open"));
        }
    }
    checks.extend(settings.warnings.iter().map(|warning| Check::warning("settings", warning)));
    checks.extend(telemetry_files::find(&UserFolders::current()).iter().map(|path| telemetry_file(path)));
    checks
}

fn telemetry_file(path: &Path) -> Check {
    let path = path.display();
    let text = format!(
        "{path} is from the telemetry client of ONNX Runtime 1.29 or later, which earlier builds of Semblance loaded \
         (other programs may, too)"
    );
    Check::warning("telemetry files", text).remedy(format!("`rm -r '{path}'` removes it"))
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
    let dir = super::models_dir(settings).map_err(text)?;
    super::load_engine(settings).map_err(text)?;
    Ok(format!("{} is complete and loads", dir.display()))
}

fn address(listen: SocketAddr) -> Result<String, String> {
    TcpListener::bind(listen)
        .map(|_| format!("{listen} is free"))
        .map_err(|error| format!("cannot listen on {listen}: {error}"))
}

fn certificate(settings: &Settings) -> Check {
    let found = match super::tls(settings) {
        Ok(None) => Ok("none, plain HTTP; clients on phones need HTTPS".to_owned()),
        Ok(Some(tls)) => {
            let cert = settings.tls.cert.display();
            let problem = tls.expiry().problem(Clock::system().now());
            problem.map_or_else(|| Ok(format!("{cert} and its key load")), |problem| Err(format!("{cert}: {problem}")))
        }
        Err(error) => Err(error.to_string()),
    };
    Check::of("certificate", found)
}

fn key(settings: &Settings) -> Check {
    const NAME: &str = "sealing key";
    let Some(file) = super::key_file(settings) else { return Check::good(NAME, "set as a value") };
    let path = file.path().display();
    match (file.path().exists(), file.is_exposed()) {
        (false, _) => Check::good(NAME, format!("{path} does not exist yet; the server creates it")),
        (true, false) => Check::good(NAME, format!("only its owner can read {path}")),
        (true, true) => {
            Check::failed(NAME, format!("other users can read {path}")).remedy(format!("run `chmod 600 {path}`"))
        }
    }
}

/// The clock by which templates and keys expire.
async fn clock(store: &Store) -> Check {
    const NAME: &str = "clock";
    let reading = match store.retention.read_clock().await {
        Ok(reading) => reading,
        Err(error) => return Check::failed(NAME, error.to_string()),
    };
    let clock = StoreClock::new(Clock::system());
    let doubt = clock.observe_reading(&reading);
    let now = rfc3339(reading.now);
    match doubt {
        None if reading.is_servers => {
            Check::good(NAME, format!("the database's is {now}, this machine's differs by {} ms", clock.offset_ms()))
        }
        None => Check::good(NAME, now),
        Some(doubt @ ClockDoubt::Differs(_)) => {
            Check::failed(NAME, doubt.to_string()).remedy("set the clock of the machine that is wrong")
        }
        Some(doubt) => Check::failed(NAME, format!("{doubt} (it shows {now}), so nothing expires"))
            .remedy("if it is right, run `semblance retention confirm-clock`"),
    }
}

fn closed_database(error: &StartError) -> Check {
    match error {
        // The next start of the server mends these.
        StartError::Open(error @ (OpenError::NoFile(_) | OpenError::Empty | OpenError::Unused)) => {
            Check::good("database", error.to_string())
        }
        error => Check::failed("database", error_chain(error)),
    }
}

async fn database(store: &Store) -> Check {
    let galleries = store.templates.revisions().await.map_err(|error| error.to_string());
    Check::of("database", galleries.map(|galleries| format!("opens with this key; {} applications", galleries.len())))
}
