//! Makes connections: tries the servers of the URL in turn until one is of the required kind.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::{Instant, sleep, timeout};
use zeroize::Zeroizing;

use super::hosts::{Host, Hosts, TargetSession};
use super::session::{SessionError, SessionSettings};
use crate::store::error::OpenError;

/// The first and the longest pause before all servers are tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Makes connections to the servers of a URL.
pub(super) struct Connector {
    hosts: Vec<Host>,
    target: TargetSession,
    password: Option<PasswordFile>,
    pub(super) session: SessionSettings,
    /// The server of the latest connection.
    current: AtomicUsize,
}

/// Why no server could be used: each with its reason.
#[derive(Debug)]
pub(super) struct ConnectError(Vec<(String, HostError)>);

#[derive(Debug, thiserror::Error)]
enum HostError {
    #[error("no answer in time")]
    Timeout,
    #[error(transparent)]
    Options(#[from] OpenError),
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (host, error)) in self.0.iter().enumerate() {
            let separator = if at > 0 { "; " } else { "" };
            write!(f, "{separator}{host}: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectError {}

impl ConnectError {
    /// Whether a server starts, which takes as long as it has to recover from its log.
    pub(super) fn is_starting(&self) -> bool {
        self.0.iter().any(|(_, error)| error.code().as_deref() == Some("57P03"))
    }
}

impl HostError {
    /// The SQLSTATE with which a server refused the connection.
    fn code(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Session(SessionError::Sql(error)) => error.as_database_error()?.code(),
            _ => None,
        }
    }

    /// Whether a moment later it may be different: a server starts, has too many connections, or becomes the primary.
    fn is_transient(&self) -> bool {
        match self {
            Self::Session(SessionError::ReadOnly | SessionError::Standby) => true,
            Self::Session(SessionError::Sql(sqlx::Error::Io(error))) => {
                error.kind() == std::io::ErrorKind::ConnectionRefused
            }
            _ => self.code().is_some_and(|code| ["53300", "57P03"].contains(&&*code)),
        }
    }
}

impl Connector {
    /// # Errors
    /// When the URL or the password file is unusable.
    pub(super) fn new(url: &str, password_file: Option<&PathBuf>, session: SessionSettings) -> Result<Self, OpenError> {
        let Hosts { hosts, target } = Hosts::parse(url)?;
        let password = password_file.map(|path| PasswordFile::read(path.clone())).transpose()?;
        Ok(Self { hosts, target, password, session, current: AtomicUsize::new(0) })
    }

    /// A connection with the settings of every call.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<PgConnection, ConnectError> {
        self.connect_with(&self.session, deadline).await
    }

    /// A connection with settings of its own. The server of the latest connection is tried first.
    pub(super) async fn connect_with(
        &self,
        session: &SessionSettings,
        deadline: Instant,
    ) -> Result<PgConnection, ConnectError> {
        let count = self.hosts.len();
        let (mut backoff, longest) = BACKOFF;
        loop {
            let first = self.current.load(Ordering::Relaxed);
            let mut failed = Vec::new();
            for step in 0..count {
                let at = (first + step) % count;
                let Some(host) = self.hosts.get(at) else { continue };
                // A server that is silent leaves time for the others.
                let left = u32::try_from(count - step).unwrap_or(1);
                let share = deadline.saturating_duration_since(Instant::now()) / left;
                let outcome = timeout(share, self.connect_to(host, session)).await;
                match outcome.unwrap_or(Err(HostError::Timeout)) {
                    Ok(connection) => {
                        if at != first {
                            tracing::warn!(host = host.name, "the database is used at another host");
                            self.current.store(at, Ordering::Relaxed);
                        }
                        return Ok(connection);
                    }
                    Err(error) => failed.push((host.name.clone(), error)),
                }
            }
            let is_transient = failed.iter().any(|(_, error)| error.is_transient());
            if !is_transient || Instant::now() + backoff >= deadline {
                return Err(ConnectError(failed));
            }
            sleep(backoff).await;
            backoff = longest.min(backoff * 2);
        }
    }

    async fn connect_to(&self, host: &Host, session: &SessionSettings) -> Result<PgConnection, HostError> {
        let mut connection = self.options_of(host)?.connect().await.map_err(SessionError::from)?;
        match session.apply(&mut connection, self.target).await {
            Ok(()) => Ok(connection),
            Err(error) => {
                let _ = connection.close_hard().await;
                Err(error.into())
            }
        }
    }

    /// How to reach the server of the latest connection.
    pub(super) fn current(&self) -> Result<PgConnectOptions, OpenError> {
        let host = self.hosts.get(self.current.load(Ordering::Relaxed)).ok_or(OpenError::Url)?;
        self.options_of(host)
    }

    fn options_of(&self, host: &Host) -> Result<PgConnectOptions, OpenError> {
        let options = host.options()?;
        Ok(match &self.password {
            Some(file) => options.password(&file.password()),
            None => options,
        })
    }
}

/// A file with the password. It is read for every connection, so that a changed password is found.
struct PasswordFile {
    path: PathBuf,
    /// What was read last, for the moment in which the file is replaced.
    latest: Mutex<Zeroizing<String>>,
}

impl PasswordFile {
    fn read(path: PathBuf) -> Result<Self, OpenError> {
        let latest = Mutex::new(Self::content(&path).map_err(|source| OpenError::File { path: path.clone(), source })?);
        Ok(Self { path, latest })
    }

    fn content(path: &PathBuf) -> std::io::Result<Zeroizing<String>> {
        let text = Zeroizing::new(std::fs::read_to_string(path)?);
        Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    fn password(&self) -> Zeroizing<String> {
        let mut latest = self.latest.lock();
        match Self::content(&self.path) {
            Ok(password) => *latest = password,
            Err(error) => {
                tracing::warn!(file = %self.path.display(), %error, "database.password_file cannot be read; the password read before is used");
            }
        }
        latest.clone()
    }
}
