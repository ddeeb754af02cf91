//! How a request of the administration came: under which name, with TLS or without.

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderName, header};

use crate::api::peer::{Client, Peer};
use crate::api::{AdminConfig, ApiConfig, ApiError, Forbidden};

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The cookie over TLS. Browsers take one of this prefix only with `Secure`, `Path=/` and without a domain.
const SECURE_COOKIE: &str = "__Host-semblance";

/// The beginning of the cookie over plain HTTP; the port follows, because cookies of one host are those of all its ports.
const PLAIN_COOKIE: &str = "semblance";

/// How a request came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct Transport {
    /// Whether the client used TLS, to this server or to a trusted proxy.
    is_https: bool,
    /// The name, and the port where it was given.
    authority: Authority,
}

impl Transport {
    /// Checks the name and the encryption of a request.
    ///
    /// # Errors
    /// [`ApiError::WrongHost`] for a name that is not one of this server: a page of that name may have been rebound to
    /// this address. [`Forbidden::NoTls`] for plain HTTP from another machine.
    pub(in crate::api) fn check(parts: &Parts, config: &ApiConfig) -> Result<Self, ApiError> {
        let authority = authority(parts).ok_or(ApiError::WrongHost)?;
        if !is_allowed(authority.host(), &config.admin) {
            return Err(ApiError::WrongHost);
        }
        let is_https = config.admin.is_tls || is_forwarded_https(parts, config);
        let client = parts.extensions.get::<Client>().map(|client| client.address);
        let is_local = client.is_some_and(|client| client.is_loopback()) && is_loopback(authority.host());
        if !(is_https || is_local || config.admin.plain_http) {
            return Err(Forbidden::NoTls.into());
        }
        Ok(Self { is_https, authority })
    }

    /// The name of the session's cookie.
    pub(super) fn cookie_name(&self) -> String {
        if self.is_https {
            return SECURE_COOKIE.to_owned();
        }
        format!("{PLAIN_COOKIE}-{}", self.authority.port_u16().unwrap_or(80))
    }

    /// The cookie of a session; of an empty secret, the end of the cookie.
    pub(super) fn cookie(&self, secret: &str) -> String {
        let name = self.cookie_name();
        let secure = if self.is_https { "; Secure" } else { "" };
        let end = if secret.is_empty() { "; Max-Age=0" } else { "" };
        format!("{name}={secret}; Path=/; HttpOnly; SameSite=Strict{secure}{end}")
    }

    /// The secret in the cookie of a request.
    pub(super) fn secret_of<'a>(&self, parts: &'a Parts) -> Option<&'a str> {
        let name = self.cookie_name();
        let lines = parts.headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether a request comes from a page of this very origin, as far as the browser says.
    pub(super) fn is_same_origin(&self, parts: &Parts, is_origin_required: bool) -> bool {
        let site = parts.headers.get(SEC_FETCH_SITE).map(|value| value.as_bytes());
        if site.is_some_and(|site| site != b"same-origin" && (is_origin_required || site != b"none")) {
            return false;
        }
        match parts.headers.get(header::ORIGIN) {
            None => !is_origin_required,
            Some(origin) => origin.to_str().is_ok_and(|origin| self.is_origin(origin)),
        }
    }

    fn is_origin(&self, origin: &str) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let default_port = match scheme {
            "https" => 443,
            "http" if !self.is_https => 80,
            _ => return false,
        };
        let Ok(authority) = authority.parse::<Authority>() else { return false };
        let port = |authority: &Authority| authority.port_u16().unwrap_or(default_port);
        authority.host().eq_ignore_ascii_case(self.authority.host()) && port(&authority) == port(&self.authority)
    }
}

/// Over HTTP/2 the name is a part of the URI.
fn authority(parts: &Parts) -> Option<Authority> {
    match parts.uri.authority() {
        Some(authority) => Some(authority.clone()),
        None => {
            let mut names = parts.headers.get_all(header::HOST).iter();
            let name = names.next()?.to_str().ok()?.parse().ok()?;
            names.next().is_none().then_some(name)
        }
    }
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || bare(host).parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn is_allowed(host: &str, config: &AdminConfig) -> bool {
    if is_loopback(host) || config.hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) {
        return true;
    }
    // A name can be rebound, an address cannot.
    let Ok(address) = bare(host).parse::<std::net::IpAddr>() else { return false };
    config.listen.is_some_and(|listen| listen.is_unspecified() || listen.to_canonical() == address.to_canonical())
}

fn is_forwarded_https(parts: &Parts, config: &ApiConfig) -> bool {
    let is_trusted = parts.extensions.get::<Peer>().is_some_and(|peer| config.trusted_proxies.contains(peer.0));
    let proto = parts.headers.get(X_FORWARDED_PROTO).and_then(|value| value.to_str().ok());
    is_trusted && proto.is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https"))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn parts(headers: &[(&str, &str)], peer: &str) -> Parts {
        let mut request = Request::builder().uri("/api/admin/v1/session");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let address = peer.parse().unwrap();
        parts.extensions.insert(Peer(address));
        parts.extensions.insert(Client { address, is_forwarded: false });
        parts
    }

    fn config(listen: &str, hosts: &[&str]) -> ApiConfig {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let admin = AdminConfig { listen: listen.parse().ok(), hosts, ..AdminConfig::default() };
        ApiConfig { admin, ..ApiConfig::default() }
    }

    fn check(host: &str, peer: &str, config: &ApiConfig) -> Result<Transport, u16> {
        Transport::check(&parts(&[("host", host)], peer), config).map_err(|error| error.body().status.as_u16())
    }

    #[test]
    fn only_names_of_this_server_are_allowed() {
        let local = config("127.0.0.1", &["faces.example"]);
        for host in ["localhost", "LOCALHOST:8081", "127.0.0.1:8081", "[::1]:8081", "127.9.9.9", "a.localhost"] {
            assert!(check(host, "127.0.0.1", &local).is_ok(), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "192.0.2.1", "127.0.0.1.evil.example", "", "a b"] {
            assert_eq!(check(host, "127.0.0.1", &local), Err(421), "{host}");
        }
        let both = parts(&[("host", "localhost"), ("host", "evil.example")], "127.0.0.1");
        assert!(Transport::check(&both, &local).is_err());
        let tls = |mut config: ApiConfig| {
            config.admin.is_tls = true;
            config
        };
        assert!(check("Faces.Example:443", "192.0.2.9", &tls(local)).is_ok());
        assert!(check("192.0.2.1", "192.0.2.9", &tls(config("192.0.2.1", &[]))).is_ok());
        assert_eq!(check("192.0.2.2", "192.0.2.9", &tls(config("192.0.2.1", &[]))), Err(421));
        assert!(check("192.0.2.2", "192.0.2.9", &tls(config("0.0.0.0", &[]))).is_ok());
        assert_eq!(check("evil.example", "192.0.2.9", &tls(config("0.0.0.0", &[]))), Err(421));
    }

    #[test]
    fn plain_http_is_for_this_machine() {
        let mut config = config("0.0.0.0", &["faces.example"]);
        assert!(check("localhost", "127.0.0.1", &config).is_ok());
        assert!(check("localhost", "::ffff:127.0.0.1", &config).is_err(), "the envelope makes it canonical");
        assert_eq!(check("localhost", "192.0.2.9", &config), Err(403));
        assert_eq!(check("faces.example", "127.0.0.1", &config), Err(403), "a proxy that reports nothing");
        config.admin.plain_http = true;
        assert!(check("faces.example", "192.0.2.9", &config).is_ok());
        config.admin.plain_http = false;
        config.trusted_proxies = ["10.0.0.1".parse().unwrap()].into_iter().collect();
        let forwarded = |peer: &str| {
            let headers = [("host", "faces.example"), ("x-forwarded-proto", "https")];
            Transport::check(&parts(&headers, peer), &config)
        };
        assert!(forwarded("10.0.0.1").unwrap().is_https);
        assert!(forwarded("10.0.0.2").is_err(), "only a trusted proxy says so");
    }

    #[test]
    fn the_cookie_depends_on_the_encryption() {
        let plain = Transport { is_https: false, authority: "localhost:8081".parse().unwrap() };
        assert_eq!(plain.cookie("s"), "semblance-8081=s; Path=/; HttpOnly; SameSite=Strict");
        let https = Transport { is_https: true, ..plain.clone() };
        assert_eq!(https.cookie("s"), "__Host-semblance=s; Path=/; HttpOnly; SameSite=Strict; Secure");
        assert!(https.cookie("").ends_with("; Max-Age=0"));
        let cookies = parts(&[("cookie", "a=b; semblance-8081=x"), ("cookie", "__Host-semblance=y")], "127.0.0.1");
        assert_eq!((plain.secret_of(&cookies), https.secret_of(&cookies)), (Some("x"), Some("y")));
    }

    #[test]
    fn an_origin_is_the_own_one() {
        let plain = Transport { is_https: false, authority: "localhost:8081".parse().unwrap() };
        let https = Transport { is_https: true, authority: "faces.example".parse().unwrap() };
        let is_same = |transport: &Transport, headers: &[(&str, &str)]| {
            transport.is_same_origin(&parts(headers, "127.0.0.1"), true)
        };
        assert!(is_same(&plain, &[("origin", "http://localhost:8081")]));
        assert!(is_same(&https, &[("origin", "https://faces.example"), ("sec-fetch-site", "same-origin")]));
        assert!(is_same(&https, &[("origin", "https://FACES.example:443")]));
        for origin in
            ["http://localhost", "http://localhost:8082", "http://127.0.0.1:8081", "null", "", "localhost:8081"]
        {
            assert!(!is_same(&plain, &[("origin", origin)]), "{origin}");
        }
        for origin in ["http://faces.example", "https://faces.example:8443", "https://evil.example"] {
            assert!(!is_same(&https, &[("origin", origin)]), "{origin}");
        }
        assert!(!is_same(&https, &[("origin", "https://faces.example"), ("sec-fetch-site", "same-site")]));
        assert!(!is_same(&https, &[]), "a browser always sends it");
        assert!(https.is_same_origin(&parts(&[], "127.0.0.1"), false), "a program does not");
    }
}
