//! The keys of an application: what identifies one, what it allows, and whether it is in force.

use std::fmt;
use std::str::FromStr;

use super::clock::random_uuid;

/// The public id of a key: `k-` and eight hex digits. Unlike the key itself it is no secret: journal, lists and replies
/// have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppKeyId(u32);

impl AppKeyId {
    /// A new random id.
    pub fn random() -> Self {
        Self(random_uuid().as_fields().0)
    }
}

impl fmt::Display for AppKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k-{:08x}", self.0)
    }
}

/// A text that is not the id of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be `k-` and eight lower-case hex digits, such as k-11d02f9a")]
pub struct AppKeyIdError;

impl FromStr for AppKeyId {
    type Err = AppKeyIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("k-").filter(|digits| digits.len() == 8).ok_or(AppKeyIdError)?;
        let is_canonical = digits.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit));
        let number = u32::from_str_radix(digits, 16).ok().filter(|_| is_canonical);
        number.map(Self).ok_or(AppKeyIdError)
    }
}

/// What a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// To search the gallery, and to compare and check photos.
    Identify,
    /// To add templates and samples, and to check photos.
    Enroll,
    /// To list and read templates.
    Read,
    /// To erase and replace templates.
    Delete,
}

impl Scope {
    /// All scopes, in the order in which they are written.
    pub const ALL: [Self; 4] = [Self::Identify, Self::Enroll, Self::Read, Self::Delete];

    /// The text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Enroll => "enroll",
            Self::Read => "read",
            Self::Delete => "delete",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be scopes: identify, enroll, read, delete")]
pub struct ScopeError;

impl FromStr for Scope {
    type Err = ScopeError;

    /// `enrol` is read as `enroll`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        known.or_else(|| (text == "enrol").then_some(Self::Enroll)).ok_or(ScopeError)
    }
}

/// A set of scopes. Its text form has them in the order of [`Scope::ALL`], separated by commas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scopes(u8);

impl Scopes {
    /// Everything: the contract.
    pub const ALL: Self = Self(0b1111);

    /// Nothing.
    pub const NONE: Self = Self(0);

    /// Whether a scope is in the set.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The scopes, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::NONE, |set, scope| Self(set.0 | scope.bit()))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, scope) in self.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { "," })?;
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

impl FromStr for Scopes {
    type Err = ScopeError;

    /// At least one scope, separated by commas.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(|scope| scope.trim().parse::<Scope>()).collect()
    }
}

/// What an operator has set a key to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySwitch {
    /// It is accepted until it ends or expires.
    Active,
    /// It is refused until it is resumed.
    Suspended,
    /// It is refused for ever.
    Ended,
}

impl KeySwitch {
    /// The text form, as stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Ended => "ended",
        }
    }
}

impl FromStr for KeySwitch {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = [Self::Active, Self::Suspended, Self::Ended];
        known.into_iter().find(|switch| switch.as_str() == text).ok_or("must be active, suspended or ended")
    }
}

/// The state of a key at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppKeyState {
    /// Accepted.
    Active,
    /// Accepted, beside the key that replaces it, until its end.
    Ending,
    /// Refused until it is resumed.
    Suspended,
    /// Refused: it was ended, its overlap is over, or it has expired.
    Ended,
}

impl AppKeyState {
    /// The text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Ending => "ending",
            Self::Suspended => "suspended",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for AppKeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_key_has_one_spelling() {
        let id = AppKeyId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(AppKeyId(0x2f).to_string(), "k-0000002f");
        for text in ["", "k-", "k-2f9a", "k-0000002F", "0000002f", "k-0000002f0", "k-+000002f", "K-0000002f"] {
            assert_eq!(text.parse::<AppKeyId>(), Err(AppKeyIdError), "{text}");
        }
    }

    #[test]
    fn scopes_are_read_as_they_are_written() {
        for (text, expected) in [
            ("identify", vec![Scope::Identify]),
            ("delete, identify", vec![Scope::Identify, Scope::Delete]),
            ("enrol", vec![Scope::Enroll]),
            ("enroll,enroll,read", vec![Scope::Enroll, Scope::Read]),
        ] {
            let scopes: Scopes = text.parse().unwrap();
            assert_eq!(scopes.iter().collect::<Vec<_>>(), expected, "{text}");
            assert_eq!(scopes.to_string().parse(), Ok(scopes));
        }
        assert_eq!(Scopes::ALL.to_string(), "identify,enroll,read,delete");
        assert_eq!(Scope::ALL.into_iter().collect::<Scopes>(), Scopes::ALL);
        for text in ["", "all", "identify,", "Identify", "identify enroll"] {
            assert_eq!(text.parse::<Scopes>(), Err(ScopeError), "{text}");
        }
        assert!(Scopes::NONE.is_empty() && !Scopes::NONE.contains(Scope::Read));
    }
}
