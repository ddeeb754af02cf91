//! The chain: every line proves the one before it.
//!
//! A line is an [`Entry`](super::Entry) as JSON whose last member, `mac`, is HMAC-SHA256 (RFC 2104) of
//! the `mac` before it and of the line without its own. Without the key nobody makes a line that fits,
//! so one that was changed, put in, left out or moved breaks the chain at that place. Cut off at its
//! end, a chain is still one: whoever must know that compares its last number with an export.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What makes and checks the chain.
#[derive(Clone)]
pub struct JournalKey(Zeroizing<[u8; 32]>);

impl JournalKey {
    /// A key of 256 bits.
    pub fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl fmt::Debug for JournalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JournalKey(..)")
    }
}

/// The `mac` of a line.
pub(super) type Link = [u8; 32];

/// What comes before the first line.
pub(super) const ORIGIN: Link = [0; 32];

const MARK: &str = ",\"mac\":\"";

fn link(key: &JournalKey, before: &Link, body: &str) -> Option<Link> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.0.as_ref()).ok()?;
    mac.update(before);
    mac.update(body.as_bytes());
    Some(mac.finalize().into_bytes().into())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

/// A JSON object as the next line, and what the one after it follows on.
pub(super) fn seal(key: &JournalKey, before: &Link, object: &str) -> Option<(String, Link)> {
    let body = object.strip_suffix('}')?;
    let next = link(key, before, body)?;
    Some((format!("{body}{MARK}{}\"}}\n", hex(&next)), next))
}

/// The object and the `mac` of a line, unchecked.
pub(super) fn split(line: &str) -> Option<(&str, Link)> {
    let (body, rest) = line.rsplit_once(MARK)?;
    Some((body, from_hex(rest.strip_suffix("\"}")?)?))
}

/// Whether a line is the one that follows; if so, what follows on it.
pub(super) fn follows(key: &JournalKey, before: &Link, line: &str) -> Option<Link> {
    let (body, said) = split(line)?;
    let due = link(key, before, body)?;
    (due == said).then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> JournalKey {
        JournalKey::new(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn a_line_follows_its_own_only() {
        let (first, after) = seal(&key(1), &ORIGIN, r#"{"n":1,"text":",\"mac\":\"x"}"#).unwrap();
        let (second, last) = seal(&key(1), &after, r#"{"n":2}"#).unwrap();
        let (first, second) = (first.trim_end(), second.trim_end());
        assert_eq!(follows(&key(1), &ORIGIN, first), Some(after));
        assert_eq!(follows(&key(1), &after, second), Some(last));
        assert_eq!(follows(&key(1), &ORIGIN, second), None, "one was left out");
        assert_eq!(follows(&key(2), &ORIGIN, first), None, "another key");
        for at in 0..second.len() {
            let mut changed = second.as_bytes().to_vec();
            changed[at] ^= 1;
            let changed = String::from_utf8_lossy(&changed).into_owned();
            assert_eq!(follows(&key(1), &after, &changed), None, "byte {at}");
        }
        let line: serde_json::Value = serde_json::from_str(second).unwrap();
        assert_eq!(line["mac"].as_str().unwrap().len(), 64);
    }
}
