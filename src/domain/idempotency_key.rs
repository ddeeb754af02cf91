//! The `Idempotency-Key` of a request.

use std::fmt;
use std::str::FromStr;

/// A client's name for a request and all its repetitions, unique within its application.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Longest key, in characters.
    pub const MAX_CHARS: usize = 255;

    /// The text of the key, without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Logs do not repeat what a client made up.
impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(..)")
    }
}

/// A text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be one quoted string of 1 to {max} printable ASCII characters, or such a text without quotes, blanks, commas, \
     semicolons and backslashes, for example a UUID",
    max = IdempotencyKey::MAX_CHARS
)]
pub struct IdempotencyKeyError;

impl FromStr for IdempotencyKey {
    type Err = IdempotencyKeyError;

    /// Parses a string of RFC 9651, as the draft of the header requires, or a bare text, as many clients send it. Both
    /// forms of a text are the same key.
    fn from_str(text: &str) -> Result<Self, IdempotencyKeyError> {
        let text = text.trim_matches([' ', '\t']);
        let key = match text.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None if text.chars().all(is_bare) => text.to_owned(),
            None => return Err(IdempotencyKeyError),
        };
        if (1..=Self::MAX_CHARS).contains(&key.len()) { Ok(Self(key)) } else { Err(IdempotencyKeyError) }
    }
}

fn is_bare(character: char) -> bool {
    character.is_ascii_graphic() && !matches!(character, '"' | '\\' | ',' | ';')
}

/// A quoted string after its first quote. Parameters after it are refused: none is defined.
fn unquoted(quoted: &str) -> Result<String, IdempotencyKeyError> {
    let mut key = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    loop {
        match characters.next() {
            Some('"') if characters.as_str().is_empty() => return Ok(key),
            Some('\\') => match characters.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                _ => return Err(IdempotencyKeyError),
            },
            Some(character @ ' '..='~') if character != '"' => key.push(character),
            _ => return Err(IdempotencyKeyError),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<String> {
        text.parse().ok().map(|key: IdempotencyKey| key.0)
    }

    #[test]
    fn quoted_strings_and_bare_texts_are_keys() {
        let longest = "x".repeat(255);
        for (text, key) in [
            ("\"8e03978e-40d5-43e8-bc93-6894a57f9324\"", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
            ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
            ("  \"a b\"\t", "a b"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            ("kFn2/9Zo+w==", "kFn2/9Zo+w=="),
            ("order:17", "order:17"),
            (&longest, &longest),
        ] {
            assert_eq!(read(text).as_deref(), Some(key), "{text}");
        }
        let too_long = "x".repeat(256);
        for text in [
            "",
            " ",
            "\"\"",
            "\"",
            "\"a",
            "a\"",
            "\"a\"b",
            "\"a\";b=1",
            "\"a\", \"b\"",
            "a b",
            "a,b",
            "a;b=1",
            r"a\b",
            r#""a\b""#,
            "\"a\u{7}\"",
            "é",
            "\"é\"",
            &too_long,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_quoted_key_comes_back(key in "[ -~]{1,255}") {
            let quoted = format!("\"{}\"", key.replace('\\', r"\\").replace('"', r#"\""#));
            prop_assert_eq!(read(&quoted), Some(key));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            if let Some(key) = read(&text) {
                prop_assert!((1..=255).contains(&key.len()) && key.chars().all(|c| (' '..='~').contains(&c)));
            }
        }
    }
}
