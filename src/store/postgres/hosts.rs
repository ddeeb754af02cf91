//! The URL of a Postgres: one host or several, and which kind of server is required.

use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use zeroize::Zeroizing;

use crate::store::error::OpenError;

/// The parameters of a URL that SQLx understands. Others are ignored with a warning.
const PARAMETERS: [&str; 17] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "options",
];

/// Which servers may be used, as in libpq. A server of Semblance writes, so the choices without a writable server are
/// refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetSession {
    /// Every server that accepts the connection.
    Any,
    /// A server whose transactions may write by default.
    ReadWrite,
    /// A server that is not in recovery.
    Primary,
}

/// One server of the URL.
pub(super) struct Host {
    /// `HOST:PORT`, for messages.
    pub(super) name: String,
    url: Zeroizing<String>,
}

impl Host {
    /// How to connect. The URL is parsed each time, so that a changed `~/.pgpass` is read again.
    pub(super) fn options(&self) -> Result<PgConnectOptions, OpenError> {
        let options = PgConnectOptions::from_str(&self.url).map_err(|_| OpenError::Url)?;
        // The brackets of an IPv6 address are no part of the host.
        let host = options.get_host().to_owned();
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let options = if let Some(address) = address { options.host(address) } else { options };
        // Text is not used for numbers, and PgBouncer refuses this parameter by default.
        Ok(options.application_name("semblance").extra_float_digits(None::<i8>))
    }
}

/// What a URL says.
pub(super) struct Hosts {
    pub(super) hosts: Vec<Host>,
    pub(super) target: TargetSession,
}

impl Hosts {
    /// Parses `postgres://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME?PARAMETERS`.
    ///
    /// # Errors
    /// [`OpenError::Url`] and [`OpenError::UrlParameter`].
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        let (scheme, rest) = url.split_once("://").ok_or(OpenError::Url)?;
        if !["postgres", "postgresql"].contains(&scheme) {
            return Err(OpenError::Url);
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let (query, target) = parameters(query)?;
        let hosts = hosts.split(',').map(|host| {
            let url = Zeroizing::new(format!("{scheme}://{user}{host}{path}?{}", *query));
            let mut host = Host { name: String::new(), url };
            let options = host.options()?;
            host.name = match options.get_socket() {
                Some(socket) => socket.display().to_string(),
                None => format!("{}:{}", options.get_host(), options.get_port()),
            };
            Ok(host)
        });
        let hosts = hosts.collect::<Result<Vec<_>, OpenError>>()?;
        // A node needs a server that it can write to.
        let default = if hosts.len() > 1 { TargetSession::ReadWrite } else { TargetSession::Any };
        Ok(Self { hosts, target: target.unwrap_or(default) })
    }

    /// Whether connections are encrypted and what of the server is verified; `None` for a socket in the file system.
    /// `true`: worth a warning.
    pub(super) fn security(&self) -> Option<(bool, &'static str)> {
        let options = self.hosts.iter().find_map(|host| {
            let options = host.options().ok()?;
            let is_socket = options.get_socket().is_some() || options.get_host().starts_with('/');
            (!is_socket).then_some(options)
        })?;
        let is_local = ["localhost", "127.0.0.1", "::1"].contains(&options.get_host());
        let (is_weak, text) = match options.get_ssl_mode() {
            PgSslMode::Disable => (true, "sslmode=disable: the connection is not encrypted"),
            PgSslMode::Allow => (true, "sslmode=allow: the connection is not encrypted"),
            PgSslMode::Prefer => (
                true,
                "sslmode=prefer (the default): the connection is encrypted only if the server offers it, and neither the \
                 certificate of the server nor its name is verified",
            ),
            PgSslMode::Require => (
                true,
                "sslmode=require: the connection is encrypted, but neither the certificate of the server nor its name is \
                 verified",
            ),
            PgSslMode::VerifyCa => (
                true,
                "sslmode=verify-ca: the connection is encrypted and the certificate verified, but not that it names this \
                 host",
            ),
            PgSslMode::VerifyFull => (false, "sslmode=verify-full: certificate and name of the server are verified"),
        };
        Some((is_weak && !is_local, text))
    }
}

/// The parameters for SQLx, and the required kind of server.
fn parameters(query: &str) -> Result<(Zeroizing<String>, Option<TargetSession>), OpenError> {
    let invalid = |name, message: &str| OpenError::UrlParameter { name, message: message.to_owned() };
    let mut kept = form_urlencoded::Serializer::new(String::new());
    let mut target = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "target_session_attrs" => {
                target = Some(match &*value {
                    "any" => TargetSession::Any,
                    "read-write" => TargetSession::ReadWrite,
                    "primary" => TargetSession::Primary,
                    "read-only" | "standby" | "prefer-standby" => {
                        let message = "a server of Semblance writes: any, read-write and primary are possible";
                        return Err(invalid("target_session_attrs", message));
                    }
                    _ => return Err(invalid("target_session_attrs", "must be any, read-write or primary")),
                });
            }
            "host" | "hostaddr" | "port" if value.contains(',') => {
                return Err(invalid("host", "name several hosts as postgres://USER@HOST1:PORT,HOST2:PORT/NAME"));
            }
            "sslmode" | "ssl-mode" if PgSslMode::from_str(&value).is_err() => {
                let message = "must be disable, prefer, require, verify-ca or verify-full";
                return Err(invalid("sslmode", message));
            }
            known if PARAMETERS.contains(&known) || known.starts_with("options[") => {
                kept.append_pair(&name, &value);
            }
            "application_name" => {}
            unknown => tracing::warn!(parameter = unknown, "a parameter of database.url is not supported and ignored"),
        }
    }
    Ok((Zeroizing::new(kept.finish()), target))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(url: &str) -> Vec<String> {
        Hosts::parse(url).unwrap().hosts.into_iter().map(|host| host.name).collect()
    }

    #[test]
    fn one_host_or_several_are_found() {
        assert_eq!(names("postgres://u@h:5433/d"), ["h:5433"]);
        assert_eq!(names("postgresql://u:p%2C%40@h1:5432,h2:5433,[::1]:9/d"), ["h1:5432", "h2:5433", "::1:9"]);
        assert_eq!(names("postgres://u@%2Fvar%2Frun/d"), ["/var/run"]);
        assert_eq!(names("postgres:///d?host=/tmp"), ["/tmp"]);
        let several =
            Hosts::parse("postgres://u:p%2C%40@h1,h2:5433/d%20e?sslmode=verify-full&options=-c%20a%3Db").unwrap();
        for host in &several.hosts {
            let options = host.options().unwrap();
            assert_eq!((options.get_username(), options.get_database()), ("u", Some("d e")));
            assert_eq!(options.get_options(), Some("-c a=b"));
            assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyFull));
        }
    }

    #[test]
    fn the_kind_of_server_is_chosen() {
        let target = |url| Hosts::parse(url).map(|hosts| hosts.target);
        assert!(matches!(target("postgres://h/d"), Ok(TargetSession::Any)));
        assert!(matches!(target("postgres://h,i/d"), Ok(TargetSession::ReadWrite)));
        assert!(matches!(target("postgres://h,i/d?target_session_attrs=any"), Ok(TargetSession::Any)));
        assert!(matches!(target("postgres://h/d?target_session_attrs=primary&x=1"), Ok(TargetSession::Primary)));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (url, named) in [
            ("mysql://h/d", "postgres://USER@HOST/NAME"),
            ("h/d", "postgres://USER@HOST/NAME"),
            ("postgres://h:port/d", "postgres://USER@HOST/NAME"),
            ("postgres://h/d?target_session_attrs=standby", "target_session_attrs"),
            ("postgres://h/d?target_session_attrs=both", "target_session_attrs"),
            ("postgres://h/d?sslmode=on", "sslmode"),
            ("postgres:///d?host=h1,h2", "HOST1:PORT,HOST2:PORT"),
        ] {
            let error = Hosts::parse(url).err().unwrap().to_string();
            assert!(error.contains(named), "{url}: {error}");
        }
    }

    #[test]
    fn what_is_not_verified_is_known() {
        let security = |url| Hosts::parse(url).unwrap().security();
        assert!(security("postgres://h/d").is_some_and(|(weak, text)| weak && text.contains("prefer (the default)")));
        assert!(security("postgres://localhost/d").is_some_and(|(weak, _)| !weak));
        assert!(security("postgres://h/d?sslmode=verify-full").is_some_and(|(weak, _)| !weak));
        assert_eq!(security("postgres:///d?host=/tmp"), None);
    }
}
