//! Identifiers, parsed once.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

use super::clock::random_uuid;

/// Why a text is not an identifier. The text itself is not repeated: it may be hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing but white space.
    #[error("must not be empty")]
    Empty,
    /// More than the allowed number of characters.
    #[error("must have at most {0} characters")]
    TooLong(usize),
    /// A control character (U+0000 to U+001F, U+007F to U+009F).
    #[error("must not contain control characters")]
    Control,
}

fn parse(text: &str, max_chars: usize) -> Result<Arc<str>, IdError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.chars().count() > max_chars {
        return Err(IdError::TooLong(max_chars));
    }
    if text.chars().any(char::is_control) {
        return Err(IdError::Control);
    }
    Ok(Arc::from(text))
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $max_chars:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Maximum number of characters (Unicode scalar values).
            pub const MAX_CHARS: usize = $max_chars;

            /// A new random identifier: a lower-case hyphenated UUID v4.
            pub fn random() -> Self {
                Self(Arc::from(random_uuid().to_string()))
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Trims white space; refuses empty, overlong and control characters. Case is kept.
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text, Self::MAX_CHARS).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// An application: a tenant with its own credentials and its own gallery (the `APP-ID` header).
    AppId, 512
}

text_id! {
    /// An administrator: a person who uses the administration API or the console.
    AdministratorId, 64
}

text_id! {
    /// A token of an administrator. It is part of the token's text, and no secret.
    AdminTokenId, 32
}

text_id! {
    /// A session of the console. It is not the secret in the cookie.
    AdminSessionId, 64
}

text_id! {
    /// A template: one enrolled identity within an application. Opaque, case-sensitive text.
    TemplateId, 128
}

/// One sample (one enrolled photo's embedding) of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleId(pub Uuid);

impl SampleId {
    /// A new random identifier.
    pub fn random() -> Self {
        Self(random_uuid())
    }
}

impl fmt::Display for SampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// A probe that is held for review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub Uuid);

impl ProbeId {
    /// A new random identifier.
    pub fn random() -> Self {
        Self(random_uuid())
    }
}

impl fmt::Display for ProbeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// One request, from its first byte to its log line. A lower-case hyphenated UUID v4 on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId(pub Uuid);

impl TransactionId {
    /// A new random identifier.
    pub fn random() -> Self {
        Self(random_uuid())
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// The number of changes a gallery has seen. Raised by one, under a row lock, by every write, so
/// revisions have no gaps and commit in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision that follows this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_id_is_trimmed_and_keeps_its_case() {
        assert_eq!("  Ann-1 \n".parse::<TemplateId>().unwrap().as_str(), "Ann-1");
    }

    #[test]
    fn a_template_id_is_at_most_128_characters_not_bytes() {
        assert!("é".repeat(128).parse::<TemplateId>().is_ok());
        assert_eq!("é".repeat(129).parse::<TemplateId>(), Err(IdError::TooLong(128)));
    }

    #[test]
    fn empty_and_control_characters_are_refused() {
        assert_eq!(" \t".parse::<TemplateId>(), Err(IdError::Empty));
        assert_eq!("a\u{0}b".parse::<TemplateId>(), Err(IdError::Control));
        assert_eq!("a\u{85}b".parse::<TemplateId>(), Err(IdError::Control));
    }

    #[test]
    fn random_ids_are_lower_case_uuid_v4() {
        let id = TemplateId::random();
        let uuid = Uuid::parse_str(id.as_str()).unwrap();
        assert_eq!(uuid.get_version_num(), 4);
        assert_eq!(uuid.hyphenated().to_string(), id.as_str());
    }
}
