//! The chain: every line proves the line before it.
//!
//! A line is an [`Entry`](super::Entry) as JSON whose last members are `prev`, the `mac` of the line before it, and
//! `mac`, the HMAC-SHA256 (RFC 2104) of `prev` and of the line without its `mac`. A valid line cannot be made without
//! the key, so each line proves itself, and a line that was inserted, removed or moved breaks the chain at that place.
//! Lines missing at an end are detected elsewhere: by the start of the chain (see `start.rs`), and by the database,
//! which knows a recent line. Lines of the first version have no `prev`; the line before proves them.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The key that makes and checks the chain.
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

/// The `mac` before the first line.
pub(super) const ORIGIN: Link = [0; 32];

const MAC_MEMBER: &str = ",\"mac\":\"";

const PREV_MEMBER: &str = ",\"prev\":\"";

fn link(key: &JournalKey, before: &Link, body: &str) -> Option<Link> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.0.as_ref()).ok()?;
    mac.update(before);
    mac.update(body.as_bytes());
    Some(mac.finalize().into_bytes().into())
}

pub(super) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// Makes the next line of a JSON object. Returns the line and its `mac`.
pub(super) fn seal(key: &JournalKey, before: &Link, object: &str) -> Option<(String, Link)> {
    let body = format!("{}{PREV_MEMBER}{}\"", object.strip_suffix('}')?, hex::encode(before));
    let next = link(key, before, &body)?;
    Some((format!("{body}{MAC_MEMBER}{}\"}}\n", hex::encode(next)), next))
}

/// The parts of a line, unchecked.
pub(super) struct Parts<'a> {
    body: &'a str,
    /// The `mac` of the line before; absent in lines of the first version.
    pub(super) prev: Option<Link>,
    /// The `mac` of the line.
    pub(super) mac: Link,
}

/// Splits a line without checking it.
pub(super) fn split(line: &str) -> Option<Parts<'_>> {
    let (body, rest) = line.rsplit_once(MAC_MEMBER)?;
    let mac = from_hex(rest.strip_suffix("\"}")?)?;
    let prev =
        body.strip_suffix('"').and_then(|body| body.rsplit_once(PREV_MEMBER)).and_then(|(_, prev)| from_hex(prev));
    Some(Parts { body, prev, mac })
}

/// Checks that a line is valid and, where `before` is known, that it follows that `mac`. Returns its `mac`.
pub(super) fn follows(key: &JournalKey, before: Option<&Link>, line: &str) -> Option<Link> {
    let Parts { body, prev, mac } = split(line)?;
    if prev.is_some() && before.is_some() && prev.as_ref() != before {
        return None;
    }
    let expected = link(key, prev.as_ref().or(before)?, body)?;
    (expected == mac).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> JournalKey {
        JournalKey::new(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn a_line_follows_only_its_predecessor() {
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
        assert_eq!((&line["prev"], line["mac"].as_str().unwrap().len()), (&hex::encode(after).into(), 64));
    }

    #[test]
    fn a_line_without_prev_is_proved_by_the_line_before_it() {
        let body = r#"{"n":2,"ms":1.5"#;
        let mac = link(&key(1), &[3; 32], body).unwrap();
        let line = format!("{body}{MAC_MEMBER}{}\"}}", hex::encode(mac));
        assert_eq!(follows(&key(1), Some(&[3; 32]), &line), Some(mac));
        assert_eq!(follows(&key(1), Some(&ORIGIN), &line), None);
        assert_eq!(follows(&key(1), None, &line), None);
    }
}
