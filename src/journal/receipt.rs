//! Receipts of erasures: lines that anyone with the public key can verify.
//!
//! A line that records an erasure has a member `receipt` before `prev` and `mac`: the Ed25519 signature (RFC 8032), in
//! hex, of [`CONTEXT`] and the JSON object of the line without the three. So the person whose template it was, or an
//! auditor, can check the line alone, without the journal and its key. The signing key is derived from the journal key:
//! all nodes of a database sign with the same one, and it does not change.

use std::fmt;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::JournalKey;
use super::chain::from_hex;

/// Precedes the signed text, so that the signature is valid for nothing else.
const CONTEXT: &[u8] = b"semblance erasure receipt 1\n";

/// Derives the seed of the signing key from the journal key.
const SEED_LABEL: &[u8] = b"semblance receipts";

const RECEIPT_MEMBER: &str = ",\"receipt\":\"";

/// The key that verifies receipts: an Ed25519 public key of 32 bytes, displayed as hex.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReceiptKey([u8; 32]);

impl fmt::Display for ReceiptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ReceiptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiptKey({self})")
    }
}

impl std::str::FromStr for ReceiptKey {
    type Err = ReceiptFault;

    fn from_str(text: &str) -> Result<Self, ReceiptFault> {
        from_hex(text).map(Self).ok_or(ReceiptFault::Key)
    }
}

/// Why a line is not a valid receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptFault {
    /// Not 64 hex digits.
    #[error("a receipt key is 64 hex digits")]
    Key,
    /// The line has no receipt.
    #[error("it has no receipt")]
    Missing,
    /// The line was changed, or signed with another key.
    #[error("it was changed, or signed with another key")]
    Forged,
}

impl JournalKey {
    /// The key that verifies the receipts of this journal.
    pub fn receipt_key(&self) -> Option<ReceiptKey> {
        Signer::new(self)?.public()
    }
}

/// Signs receipts.
pub(super) struct Signer(Ed25519KeyPair);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}

impl Signer {
    /// `None` when the library refuses the seed. Any 32 bytes are valid, so it should not.
    pub(super) fn new(key: &JournalKey) -> Option<Self> {
        let seed: Zeroizing<[u8; 32]> =
            Zeroizing::new(Sha256::new().chain_update(SEED_LABEL).chain_update(key.bytes()).finalize().into());
        Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).ok().map(Self)
    }

    fn public(&self) -> Option<ReceiptKey> {
        self.0.public_key().as_ref().try_into().ok().map(ReceiptKey)
    }

    /// Adds the receipt to a JSON object.
    pub(super) fn sign(&self, object: &str) -> Option<String> {
        let body = object.strip_suffix('}')?;
        let signature = self.0.sign(&[CONTEXT, object.as_bytes()].concat());
        Some(format!("{body}{RECEIPT_MEMBER}{}\"}}", hex::encode(signature)))
    }
}

/// Checks the receipt of a line, with or without the members of the chain after it.
///
/// # Errors
/// [`ReceiptFault`].
pub fn check_receipt(key: &ReceiptKey, line: &str) -> Result<(), ReceiptFault> {
    // A template id cannot contain the member: in a JSON string its quotes are escaped.
    let (body, rest) = line.rsplit_once(RECEIPT_MEMBER).ok_or(ReceiptFault::Missing)?;
    let (signature, after) = rest.split_at_checked(128).ok_or(ReceiptFault::Forged)?;
    if !is_end(after) {
        return Err(ReceiptFault::Forged);
    }
    let signature: [u8; 64] = from_hex(signature).ok_or(ReceiptFault::Forged)?;
    let signed = [CONTEXT, body.as_bytes(), b"}"].concat();
    UnparsedPublicKey::new(&ED25519, key.0).verify(&signed, &signature).map_err(|_| ReceiptFault::Forged)
}

/// Whether only `prev` (absent in lines of the first version), `mac` and the end of the object follow a signature.
fn is_end(mut text: &str) -> bool {
    for member in ["\",\"prev\":\"", "\",\"mac\":\""] {
        let rest = text.strip_prefix(member).and_then(|rest| rest.split_at_checked(64));
        text = match rest {
            Some((hex, rest)) if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => rest,
            _ => text,
        };
    }
    text == "\"}"
}

/// Whether a line has a receipt, valid or not.
pub(super) fn has_receipt(line: &str) -> bool {
    line.contains(RECEIPT_MEMBER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(byte: u8) -> Signer {
        Signer::new(&JournalKey::new(Zeroizing::new([byte; 32]))).unwrap()
    }

    #[test]
    fn a_receipt_proves_itself_and_nothing_else() {
        let one = signer(1);
        let two = signer(2);
        let object = r#"{"n":7,"app":"a","outcome":"removed","templateId":"t,\"receipt\":\"x"}"#;
        let line = one.sign(object).unwrap();
        let key = one.public().unwrap();
        assert_eq!(check_receipt(&key, &line), Ok(()));
        assert_eq!(key.to_string().parse::<ReceiptKey>(), Ok(key));
        let with_mac = format!("{},\"mac\":\"{}\"}}", line.strip_suffix('}').unwrap(), "0".repeat(64));
        assert_eq!(check_receipt(&key, &with_mac), Ok(()));
        let zeros = "0".repeat(64);
        let in_chain = format!("{},\"prev\":\"{zeros}\",\"mac\":\"{zeros}\"}}", line.strip_suffix('}').unwrap());
        assert_eq!(check_receipt(&key, &in_chain), Ok(()));
        let longer = in_chain.replace(",\"mac\"", ",\"app\":\"b\",\"mac\"");
        assert_eq!(check_receipt(&key, &longer), Err(ReceiptFault::Forged), "nothing else may follow");
        assert_eq!(check_receipt(&two.public().unwrap(), &line), Err(ReceiptFault::Forged));
        assert_eq!(check_receipt(&key, object), Err(ReceiptFault::Missing), "the member in an id does not count");
        for at in 0..line.len() {
            let mut bytes = line.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(check_receipt(&key, &changed).is_err(), "byte {at}: {changed}");
            assert!(check_receipt(&key, &line[..at]).is_err(), "cut at {at}");
        }
    }
}
