//! Administrators: people who use the administration API and the console.

use std::fmt;
use std::str::FromStr;

use super::IdError;

/// What an administrator may do. A role belongs to a person, not to a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Everything.
    Owner,
    /// People, photos, imports and review of the listed applications.
    Operator,
    /// The journal, receipts and figures, and one person by exact id.
    Auditor,
}

/// A text that is not a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be owner, operator or auditor")]
pub struct RoleError;

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Owner, Self::Operator, Self::Auditor];

    /// The role as stored and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(RoleError)
    }
}

/// The most characters of a name.
const MAX_NAME_CHARS: usize = 200;

/// Reads the name of an administrator or of a token: trimmed, 1 to 200 characters, none of them a control character.
///
/// # Errors
/// [`IdError`].
pub fn administrator_name(text: &str) -> Result<String, IdError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.chars().count() > MAX_NAME_CHARS {
        return Err(IdError::TooLong(MAX_NAME_CHARS));
    }
    if text.chars().any(char::is_control) {
        return Err(IdError::Control);
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_bounded() {
        assert_eq!(administrator_name("  Ada Example "), Ok("Ada Example".to_owned()));
        assert_eq!(administrator_name(" "), Err(IdError::Empty));
        assert_eq!(administrator_name(&"é".repeat(201)), Err(IdError::TooLong(200)));
        assert_eq!(administrator_name("a\nb\u{0}"), Err(IdError::Control));
    }

    #[test]
    fn a_role_is_read_as_it_is_written() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        for text in ["", "Owner", "admin", "owner "] {
            assert_eq!(text.parse::<Role>(), Err(RoleError), "{text:?}");
        }
    }
}
