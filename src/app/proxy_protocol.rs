//! The header of the PROXY protocol, versions 1 and 2: the address of a proxy's client, before TLS and HTTP.
//! <https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

/// The longest header of version 1, with its line end.
const MAX_LINE_BYTES: usize = 107;

/// The first bytes of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, version and command, family, and the length of the rest.
const FIXED_BYTES: usize = 16;

/// The most bytes after the fixed part of version 2. Addresses take at most 216; the rest are extensions (TLVs), which
/// are skipped. nginx has the same limit.
const MAX_REST_BYTES: usize = 4096;

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Its length in bytes; what follows is TLS or HTTP.
    pub bytes: usize,
    /// The client. `None`: the proxy speaks for itself (a health check), or the client has no IP address.
    pub client: Option<IpAddr>,
}

/// Bytes that are not a header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection does not begin with a header of the PROXY protocol: {0}")]
pub struct ProxyHeaderError(&'static str);

impl ProxyHeader {
    /// Reads the header at the beginning of `bytes`; `None` while it is incomplete.
    ///
    /// # Errors
    /// When the bytes are not the beginning of a header.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, ProxyHeaderError> {
        let common = bytes.len().min(SIGNATURE.len());
        if bytes.first() == Some(&SIGNATURE[0]) {
            if bytes[..common] != SIGNATURE[..common] {
                return Err(ProxyHeaderError("the signature of version 2 is wrong"));
            }
            return version_2(bytes);
        }
        version_1(bytes)
    }
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`, and a line end.
fn version_1(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    const NAME: &[u8] = b"PROXY ";
    let common = bytes.len().min(NAME.len());
    if bytes[..common] != NAME[..common] {
        return Err(ProxyHeaderError("the first bytes are of neither version"));
    }
    let start = &bytes[..bytes.len().min(MAX_LINE_BYTES)];
    let Some(end) = start.windows(2).position(|two| two == b"\r\n") else {
        let too_long = start.len() == MAX_LINE_BYTES;
        return if too_long { Err(ProxyHeaderError("the line is longer than 107 bytes")) } else { Ok(None) };
    };
    let wrong = ProxyHeaderError("the line is malformed");
    let line = str::from_utf8(&start[NAME.len().min(end)..end]).map_err(|_| wrong)?;
    let mut fields = line.split(' ');
    let family = fields.next().unwrap_or_default();
    let client = match family {
        // What follows UNKNOWN is to be ignored.
        "UNKNOWN" => None,
        "TCP4" | "TCP6" => {
            let mut next = || fields.next().ok_or(wrong);
            let (source, target, source_port, target_port) = (next()?, next()?, next()?, next()?);
            let address = |text: &str| match family {
                "TCP4" => text.parse().map(IpAddr::V4),
                _ => text.parse().map(IpAddr::V6),
            };
            let source = address(source).map_err(|_| wrong)?;
            address(target).map_err(|_| wrong)?;
            if !is_port(source_port) || !is_port(target_port) || fields.next().is_some() {
                return Err(wrong);
            }
            Some(source.to_canonical())
        }
        _ => return Err(wrong),
    };
    Ok(Some(ProxyHeader { bytes: end + 2, client }))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
        && text.parse::<u16>().is_ok()
}

/// The binary header; `bytes` begins with as much of the signature as there is.
fn version_2(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyHeaderError> {
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_REST_BYTES {
        return Err(ProxyHeaderError("it is longer than 4 KiB"));
    }
    // The version is 2 in the upper half of the byte.
    let speaks_for_itself = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyHeaderError("version or command is unknown")),
    };
    let Some(rest) = bytes.get(FIXED_BYTES..FIXED_BYTES + length) else { return Ok(None) };
    let short = ProxyHeaderError("it is too short for its addresses");
    let client = match family {
        _ if speaks_for_itself => None,
        // TCP over IPv4, then IPv6: two addresses and two ports, the source first.
        0x11 => {
            let addresses: &[u8; 12] = rest.first_chunk().ok_or(short)?;
            let [a, b, c, d, ..] = *addresses;
            Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        0x21 => {
            let addresses: &[u8; 36] = rest.first_chunk().ok_or(short)?;
            let source: &[u8; 16] = addresses.first_chunk().ok_or(short)?;
            Some(IpAddr::V6(Ipv6Addr::from(*source)).to_canonical())
        }
        // Unspecified, and Unix sockets: the client has no address.
        0x00 | 0x31 | 0x32 => None,
        _ => return Err(ProxyHeaderError("the family or protocol is not TCP over IPv4 or IPv6")),
    };
    Ok(Some(ProxyHeader { bytes: FIXED_BYTES + length, client }))
}

/// Reads a header from a connection. Returns the client, and what was read of the bytes after the header.
///
/// # Errors
/// When the connection fails, begins otherwise, or does not send the whole header within `limit`.
pub(super) async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
    limit: Duration,
) -> io::Result<(Option<IpAddr>, Vec<u8>)> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut received = Vec::with_capacity(256);
    let read = async {
        loop {
            if let Some(header) = ProxyHeader::parse(&received).map_err(invalid)? {
                return Ok(header);
            }
            if stream.read_buf(&mut received).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
    };
    let header = timeout(limit, read).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    received.drain(..header.bytes);
    Ok((header.client, received))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(bytes: &[u8]) -> Option<IpAddr> {
        let header = ProxyHeader::parse(bytes).unwrap().unwrap();
        assert_eq!(header.bytes, bytes.len());
        for end in 0..bytes.len() {
            assert_eq!(ProxyHeader::parse(&bytes[..end]), Ok(None), "{end} bytes");
        }
        assert_eq!(ProxyHeader::parse(&[bytes, b"GET / HTTP/1.1\r\n"].concat()), Ok(Some(header)));
        header.client
    }

    fn second(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    #[test]
    fn both_versions_name_the_client() {
        let some = |text: &str| Some(text.parse().unwrap());
        assert_eq!(client(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"), some("192.0.2.1"));
        assert_eq!(client(b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n"), some("2001:db8::1"));
        assert_eq!(client(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"), some("192.0.2.1"));
        assert_eq!(client(b"PROXY UNKNOWN\r\n"), None);
        assert_eq!(client(b"PROXY UNKNOWN ffff:f...f:ffff 1 2 3\r\n"), None);
        let four = [192, 0, 2, 1, 198, 51, 100, 1, 220, 4, 1, 187];
        assert_eq!(client(&second(0x21, 0x11, &four)), some("192.0.2.1"));
        assert_eq!(client(&second(0x21, 0x11, &[&four[..], &[4, 0, 1, 7]].concat())), some("192.0.2.1"), "a TLV");
        let six = [&[0x20, 1, 0xd, 0xb8], &[0; 11][..], &[1], &[0; 20]].concat();
        assert_eq!(client(&second(0x21, 0x21, &six)), some("2001:db8::1"));
        assert_eq!(client(&second(0x20, 0x00, &[])), None, "a health check");
        assert_eq!(client(&second(0x20, 0x11, &four)), None, "a health check with addresses");
        assert_eq!(client(&second(0x21, 0x31, &[0; 216])), None, "a Unix socket");
    }

    #[test]
    fn what_is_not_a_header_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\x16\x03\x01",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n",
            b"PROXY TCP4  192.0.2.1 198.51.100.1 56324 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 056324 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 65536\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP6 192.0.2.1 192.0.2.1 1 2\r\n",
            b"PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n",
            b"PROXY \r\n",
            &[&b"PROXY UNKNOWN "[..], &[b'x'; 93]].concat(),
            b"\r\n\r\n\0\r\nQUIX",
            &second(0x11, 0x11, &[0; 12]),
            &second(0x22, 0x11, &[0; 12]),
            &second(0x21, 0x11, &[0; 11]),
            &second(0x21, 0x21, &[0; 35]),
            &second(0x21, 0x12, &[0; 12]),
            &second(0x21, 0x11, &[0; MAX_REST_BYTES + 1]),
        ] {
            assert!(ProxyHeader::parse(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[tokio::test]
    async fn only_the_header_is_taken() {
        let mut sent = &b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\n\x16\x03"[..];
        let (client, rest) = read_header(&mut sent, Duration::from_secs(5)).await.unwrap();
        assert_eq!((client, &rest[..]), (Some(IpAddr::from([192, 0, 2, 1])), &b"\x16\x03"[..]));
        let mut short = &b"PROXY TCP4 192.0.2.1"[..];
        assert_eq!(
            read_header(&mut short, Duration::from_secs(5)).await.unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        let (mut server, _client) = tokio::io::duplex(64);
        assert_eq!(
            read_header(&mut server, Duration::from_millis(10)).await.unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
    }
}
