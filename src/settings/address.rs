//! Addresses to listen on, as people write them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Where the administration answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminListen {
    /// At [`AdminListen::DEFAULT`], if that is free.
    Default,
    /// At an address of its own, and only there.
    At(SocketAddr),
    /// Where the API does.
    Api,
    /// Nowhere.
    Off,
}

impl AdminListen {
    /// The address where nothing is set: of this machine only.
    pub const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);
}

/// The forms of an address.
const FORMS: &str = "must be an address with a port such as 127.0.0.1:8080, 0.0.0.0:8080 (all addresses), [::1]:8080, \
                     localhost:8080, or a port such as 8080 (on 127.0.0.1)";

/// Reads an address and its port. A port alone, and `localhost`, are on 127.0.0.1. No name is looked up.
fn parse(text: &str) -> Option<SocketAddr> {
    let text = text.trim();
    let port = text.strip_prefix("localhost:").unwrap_or(text);
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match is_port {
        true => port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        false => text.parse().ok(),
    }
}

/// An address.
pub(super) fn address<'de, D: Deserializer<'de>>(text: D) -> Result<SocketAddr, D::Error> {
    parse(&String::deserialize(text)?).ok_or_else(|| D::Error::custom(FORMS))
}

/// Where the administration answers.
pub(super) fn admin_listen<'de, D: Deserializer<'de>>(text: D) -> Result<AdminListen, D::Error> {
    let text = String::deserialize(text)?;
    match text.trim() {
        "" => Ok(AdminListen::Default),
        "api" => Ok(AdminListen::Api),
        "off" => Ok(AdminListen::Off),
        text => {
            parse(text).map(AdminListen::At).ok_or_else(|| D::Error::custom(format!("{FORMS}, \"api\" or \"off\"")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, address) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            (" 0.0.0.0:1 ", "0.0.0.0:1"),
            ("[::1]:8080", "[::1]:8080"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("8080", "127.0.0.1:8080"),
            ("0", "127.0.0.1:0"),
        ] {
            assert_eq!(parse(text), Some(address.parse().unwrap()), "{text}");
        }
        for text in ["", "localhost", "127.0.0.1", ":8080", "example.org:8080", "65536", "localhost:x", "+80", "::1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
