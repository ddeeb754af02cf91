//! The secrets of tokens, codes and sessions: 256 random bits as 43 characters of base64url.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::domain::{AdminTokenId, fill_random, random_uuid};
use crate::service::Error;
use crate::store::KeyHash;

/// How the text of a token begins: scanners for leaked secrets find it by this.
const TOKEN_PREFIX: &str = "sba_";

/// The characters of a secret.
const SECRET_CHARS: usize = 43;

/// Precedes the secret of a session in the digest that is its CSRF token.
const CSRF_LABEL: &[u8] = b"semblance csrf ";

/// A random secret.
pub(super) fn random() -> Result<String, Error> {
    let mut bytes = [0u8; 32];
    fill_random(&mut bytes).map_err(|error| Error::Internal(Box::new(error)))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// A random id for a token: 16 hex digits.
pub(super) fn random_token_id() -> Result<AdminTokenId, Error> {
    let id = random_uuid().simple().to_string();
    id.get(..16).unwrap_or_default().parse().map_err(|error| Error::Internal(Box::new(error)))
}

/// What is stored of a secret.
pub(super) fn hash(secret: &str) -> KeyHash {
    KeyHash(Sha256::digest(secret.as_bytes()).into())
}

/// Whether a text has the form of a secret.
pub(super) fn is_secret(text: &str) -> bool {
    text.len() == SECRET_CHARS && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The text of a token.
pub(super) fn token_text(id: &AdminTokenId, secret: &str) -> String {
    format!("{TOKEN_PREFIX}{id}_{secret}")
}

/// The id and the secret in the text of a token.
pub(super) fn parse_token(text: &str) -> Option<(AdminTokenId, &str)> {
    let (id, secret) = text.trim().strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
    (is_secret(secret) && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(())?;
    Some((id.parse().ok()?, secret))
}

/// The CSRF token of a session. Who knows it does not know the secret in the cookie.
pub(super) fn csrf_token(secret: &str) -> String {
    let digest = Sha256::new().chain_update(CSRF_LABEL).chain_update(secret.as_bytes()).finalize();
    URL_SAFE_NO_PAD.encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_written() {
        for _ in 0..200 {
            let (id, secret) = (random_token_id().unwrap(), random().unwrap());
            let text = token_text(&id, &secret);
            assert_eq!(parse_token(&format!(" {text}\n")), Some((id, secret.as_str())), "{text}");
        }
        let secret = "A".repeat(43);
        assert!(parse_token(&format!("sba_0a_{secret}")).is_some());
        for text in [
            String::new(),
            "sba_".to_owned(),
            format!("sba_0a{secret}"),
            format!("sba__{secret}"),
            format!("sba_0a_{secret}A"),
            format!("sba_0a_{}", &secret[1..]),
            format!("sba_0a_{}+", &secret[1..]),
            format!("sba_zz_{secret}"),
            format!("SBA_0a_{secret}"),
        ] {
            assert_eq!(parse_token(&text), None, "{text}");
        }
    }

    #[test]
    fn secrets_differ_and_their_csrf_token_is_another_text() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert!(one != other && is_secret(&one));
        assert_eq!(csrf_token(&one), csrf_token(&one));
        assert_ne!(csrf_token(&one), csrf_token(&other));
        assert_ne!(hash(&one).0.as_slice(), URL_SAFE_NO_PAD.decode(csrf_token(&one)).unwrap(), "not what is stored");
    }
}
