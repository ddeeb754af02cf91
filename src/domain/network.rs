//! Networks of IP addresses, and what counts as one client.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// The prefix of IPv4 addresses when they are mapped to IPv6.
const MAPPED_PREFIX: u32 = 96;

/// A network: all addresses with one prefix. An IPv4 network also holds the IPv6-mapped addresses of its hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Its first address, IPv4 mapped to IPv6.
    first: u128,
    /// The bits after the prefix.
    host_bits: u32,
}

/// A text that is not a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address (10.0.0.7, fd00::7) or a network (10.0.0.0/8, fd00::/8)")]
pub struct NetworkError(String);

impl Network {
    /// Whether an address is in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.prefix_of(mapped(address)) == self.prefix_of(self.first)
    }

    fn prefix_of(&self, address: u128) -> u128 {
        address.checked_shr(self.host_bits).unwrap_or(0)
    }
}

fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(address) => address.into(),
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// An address, or an address and the length of the prefix after a slash.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let skipped = if address.is_ipv4() { MAPPED_PREFIX } else { 0 };
        let longest = Ipv6Addr::BITS - skipped;
        let prefix = match prefix {
            None => longest,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        };
        if prefix > longest {
            return Err(wrong());
        }
        Ok(Self { first: mapped(address), host_bits: longest - prefix })
    }
}

/// A list of networks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// Whether an address is in one of the networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Whether the list has no network.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(texts: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(texts)?;
        texts.iter().map(|text| text.parse()).collect::<Result<_, NetworkError>>().map_err(serde::de::Error::custom)
    }
}

/// What counts as one client: an IPv4 address, or the /64 network of an IPv6 address, which one host usually owns whole.
pub fn client_key(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{:x}::/64", u128::from(address) >> 64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_holds_the_addresses_with_its_prefix() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3/8", "10.9.9.9", "9.9.9.9"),
            ("10.0.0.7", "10.0.0.7", "10.0.0.8"),
            ("10.0.0.7", "::ffff:10.0.0.7", "::ffff:10.0.0.8"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.1.2.3"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(ip(inside)), "{network:?} {inside}");
            assert!(!network.contains(ip(outside)), "{network:?} {outside}");
        }
        let all: Network = "::/0".parse().unwrap();
        assert!(all.contains(ip("::1")) && all.contains(ip("10.0.0.1")));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            ["", "x", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "fd00::/129", "localhost", "::1/64/2"]
        {
            assert_eq!(text.parse::<Network>(), Err(NetworkError(text.to_owned())));
        }
    }

    #[test]
    fn the_addresses_of_a_host_are_one_client() {
        let key = |text: &str| client_key(ip(text));
        assert_eq!(key("::ffff:10.0.0.7"), key("10.0.0.7"));
        assert_ne!(key("10.0.0.8"), key("10.0.0.7"));
        assert_eq!(key("2001:db8:1:2:3::4"), key("2001:db8:1:2::1"));
        assert_ne!(key("2001:db8:1:3::1"), key("2001:db8:1:2::1"));
    }
}
