//! The address of a proxy's client, from the header in which trusted proxies report it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderName, header};

use crate::domain::Networks;

/// The header that trusted proxies set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: addresses, separated by commas.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// A header of which the part that a trusted proxy added has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address of the client is malformed or hidden")]
pub struct ForwardedError;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

impl ForwardedHeader {
    fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => X_FORWARDED_FOR,
            Self::Forwarded => header::FORWARDED,
        }
    }

    /// The client of a request that came from `peer`: the last address in the header that is not of a trusted proxy. What
    /// stands before it may be made up. Without the header, or from a peer that is not trusted, it is the peer.
    ///
    /// # Errors
    /// When a trusted proxy added something else than an address.
    pub fn client(self, headers: &HeaderMap, peer: IpAddr, trusted: &Networks) -> Result<IpAddr, ForwardedError> {
        let mut client = peer.to_canonical();
        for line in headers.get_all(self.name()).iter().rev() {
            if !trusted.contains(client) {
                break;
            }
            let line = line.to_str().map_err(|_| ForwardedError)?;
            let hops = self.hops(line)?;
            for hop in hops.iter().rev() {
                if !trusted.contains(client) {
                    break;
                }
                client = hop.ok_or(ForwardedError)?;
            }
        }
        Ok(client)
    }

    /// The addresses in one line of the header, in its order; `None` for what is not an address.
    fn hops(self, line: &str) -> Result<Vec<Option<IpAddr>>, ForwardedError> {
        match self {
            Self::XForwardedFor => {
                let texts = line.split(',').map(|text| text.trim_matches(BLANKS)).filter(|text| !text.is_empty());
                Ok(texts.map(address).collect())
            }
            Self::Forwarded => forwarded_elements(line),
        }
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

/// The `for` parameters of a `Forwarded` line. A line that breaks the grammar is an error as a whole: it is not known where
/// its elements end.
fn forwarded_elements(line: &str) -> Result<Vec<Option<IpAddr>>, ForwardedError> {
    let mut hops = Vec::new();
    for element in split_unquoted(line, ',')? {
        if element.is_empty() {
            continue;
        }
        let mut client = None;
        for pair in split_unquoted(element, ';')?.into_iter().filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(ForwardedError)?;
            if name.eq_ignore_ascii_case("for") {
                let text = unquoted(value)?;
                if client.replace(address(&text)).is_some() {
                    return Err(ForwardedError);
                }
            }
        }
        hops.push(client.flatten());
    }
    Ok(hops)
}

/// Splits at a separator outside quoted strings, and trims blanks.
fn split_unquoted(text: &str, separator: char) -> Result<Vec<&str>, ForwardedError> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == separator && !quoted => {
                parts.push(text[start..at].trim_matches(BLANKS));
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    if quoted {
        return Err(ForwardedError);
    }
    parts.push(text[start..].trim_matches(BLANKS));
    Ok(parts)
}

/// A token, or the content of a quoted string.
fn unquoted(value: &str) -> Result<String, ForwardedError> {
    let Some(inner) = value.strip_prefix('"') else {
        return if value.contains('"') { Err(ForwardedError) } else { Ok(value.to_owned()) };
    };
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    loop {
        match rest.next().ok_or(ForwardedError)? {
            '"' => break,
            '\\' => text.push(rest.next().ok_or(ForwardedError)?),
            c => text.push(c),
        }
    }
    if rest.next().is_some() { Err(ForwardedError) } else { Ok(text) }
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`. `None` for
/// `unknown`, for a made-up name (`_hidden`), and for anything else.
fn address(text: &str) -> Option<IpAddr> {
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let port = if port.is_empty() { None } else { Some(port.strip_prefix(':')?) };
            (IpAddr::V6(address.parse::<Ipv6Addr>().ok()?), port)
        }
        None if text.matches(':').count() > 1 => (IpAddr::V6(text.parse().ok()?), None),
        None => {
            let (address, port) = text.split_once(':').map_or((text, None), |(address, port)| (address, Some(port)));
            (IpAddr::V4(address.parse::<Ipv4Addr>().ok()?), port)
        }
    };
    port.is_none_or(is_port).then(|| address.to_canonical())
}

/// A number, or a made-up name, which begins with `_`.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        }
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn trusted() -> Networks {
        ["10.0.0.0/8", "fd00::/8"].into_iter().map(|text| text.parse().unwrap()).collect()
    }

    fn client(header: ForwardedHeader, lines: &[&str], peer: &str) -> Result<String, ForwardedError> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header.name(), HeaderValue::from_str(line).unwrap());
        }
        header.client(&headers, peer.parse().unwrap(), &trusted()).map(|client| client.to_string())
    }

    #[test]
    fn the_last_address_that_is_not_a_proxy_is_the_client() {
        for (lines, expected) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
            (&["made up, 192.0.2.1 , 10.0.0.2"], "192.0.2.1"),
            (&["198.51.100.9", "192.0.2.1", "10.0.0.2"], "192.0.2.1"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["[2001:db8::1]:4711,fd00::7"], "2001:db8::1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            (&[" , 192.0.2.1,\t"], "192.0.2.1"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&[""], PROXY),
            (&[], PROXY),
        ] {
            assert_eq!(client(ForwardedHeader::XForwardedFor, lines, PROXY).as_deref(), Ok(expected), "{lines:?}");
        }
        for (lines, expected) in [
            (&["for=192.0.2.1"][..], "192.0.2.1"),
            (&["For=\"[2001:db8:cafe::17]:4711\";proto=https;by=10.0.0.1"], "2001:db8:cafe::17"),
            (&["for=198.51.100.9, for=192.0.2.1;host=\"a,b;for=\\\"x\""], "192.0.2.1"),
            (&["for=_hidden, for=192.0.2.1, for=10.0.0.2"], "192.0.2.1"),
            (&["for=\"192.0.2.1:_gaze\""], "192.0.2.1"),
            (&["for=\"192.0.\\2.1\""], "192.0.2.1"),
            (&[",; for=192.0.2.1;"], "192.0.2.1"),
            (&["for=192.0.2.1", "for=10.9.9.9"], "192.0.2.1"),
        ] {
            assert_eq!(client(ForwardedHeader::Forwarded, lines, PROXY).as_deref(), Ok(expected), "{lines:?}");
        }
    }

    #[test]
    fn a_peer_that_is_not_trusted_cannot_choose_its_address() {
        for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
            assert_eq!(client(header, &["for=192.0.2.1"], "198.51.100.7").as_deref(), Ok("198.51.100.7"));
            assert_eq!(client(header, &["192.0.2.1"], "::ffff:198.51.100.7").as_deref(), Ok("198.51.100.7"));
        }
    }

    #[test]
    fn a_malformed_or_hidden_address_is_an_error() {
        for line in
            ["unknown", "192.0.2.256", "192.0.2.1:", "192.0.2.1:123456", "[::1", "[::1]x", "a\u{7f}", "192.0.2.1 x"]
        {
            if let Ok(value) = HeaderValue::from_str(line) {
                assert!(client(ForwardedHeader::XForwardedFor, &[value.to_str().unwrap()], PROXY).is_err(), "{line}");
            }
        }
        for line in [
            "for=unknown",
            "for=_hidden",
            "proto=https",
            "for=192.0.2.1;for=192.0.2.2",
            "for=\"192.0.2.1",
            "for=\"192.0.2.1\"x",
            "192.0.2.1",
            "for",
        ] {
            assert!(client(ForwardedHeader::Forwarded, &[line], PROXY).is_err(), "{line}");
        }
    }
}
