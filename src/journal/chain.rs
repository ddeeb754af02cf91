//! The chain: every line proves the one before it.
//!
//! A line is an [`Entry`](super::Entry) as JSON whose last members are `prev`, the `mac` of the line before it, and
//! `mac`, HMAC-SHA256 (RFC 2104) of that one and of the line without its own. Without the key nobody makes a line
//! that fits, so each line proves itself, and one that was put in, left out or moved breaks the chain at that place.
//! What is cut off at an end is told by others: the mark of where the chain begins (see `start.rs`) and the database,
//! which knows a late line of it. Lines of the version before have no `prev`; the line before proves them.

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

const PREV: &str = ",\"prev\":\"";

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
    let body = format!("{}{PREV}{}\"", object.strip_suffix('}')?, hex(before));
    let next = link(key, before, &body)?;
    Some((format!("{body}{MARK}{}\"}}\n", hex(&next)), next))
}

/// A line in its parts, unchecked.
pub(super) struct Parts<'a> {
    body: &'a str,
    /// The `mac` of the line before; lines of the version before do not say it.
    pub(super) prev: Option<Link>,
    /// Its own.
    pub(super) mac: Link,
}

/// A line in its parts, unchecked.
pub(super) fn split(line: &str) -> Option<Parts<'_>> {
    let (body, rest) = line.rsplit_once(MARK)?;
    let mac = from_hex(rest.strip_suffix("\"}")?)?;
    let prev = body.strip_suffix('"').and_then(|body| body.rsplit_once(PREV)).and_then(|(_, prev)| from_hex(prev));
    Some(Parts { body, prev, mac })
}

/// Whether a line is sound, and the one that follows if it is known what it is to follow; if so, what follows on it.
pub(super) fn follows(key: &JournalKey, before: Option<&Link>, line: &str) -> Option<Link> {
    let Parts { body, prev, mac } = split(line)?;
    if prev.is_some() && before.is_some() && prev.as_ref() != before {
        return None;
    }
    let due = link(key, prev.as_ref().or(before)?, body)?;
    (due == mac).then_some(mac)
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
        assert_eq!(follows(&key(1), Some(&ORIGIN), first), Some(after));
        assert_eq!(follows(&key(1), Some(&after), second), Some(last));
        assert_eq!(follows(&key(1), None, second), Some(last), "it proves itself");
        assert_eq!(follows(&key(1), Some(&ORIGIN), second), None, "one was left out");
        assert_eq!(follows(&key(2), Some(&ORIGIN), first), None, "another key");
        for at in 0..second.len() {
            let mut changed = second.as_bytes().to_vec();
            changed[at] ^= 1;
            let changed = String::from_utf8_lossy(&changed).into_owned();
            assert_eq!(follows(&key(1), Some(&after), &changed), None, "byte {at}");
            assert_eq!(follows(&key(1), None, &changed), None, "byte {at}, by itself");
        }
        let line: serde_json::Value = serde_json::from_str(second).unwrap();
        assert_eq!((&line["prev"], line["mac"].as_str().unwrap().len()), (&hex(&after).into(), 64));
    }

    #[test]
    fn a_line_of_the_version_before_is_proved_by_the_one_before_it() {
        let body = r#"{"n":2,"ms":1.5"#;
        let mac = link(&key(1), &[3; 32], body).unwrap();
        let line = format!("{body}{MARK}{}\"}}", hex(&mac));
        assert_eq!(follows(&key(1), Some(&[3; 32]), &line), Some(mac));
        assert_eq!(follows(&key(1), Some(&ORIGIN), &line), None);
        assert_eq!(follows(&key(1), None, &line), None);
    }
}
