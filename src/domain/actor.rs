//! Who does something.

use std::fmt;
use std::str::FromStr;

use super::{AdministratorId, AppKeyId, AppKeyIdError, IdError};

/// Who enrolls, changes or erases something, as stored and as recorded in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// An application, with this key.
    Key(AppKeyId),
    /// A person, through the administration API or the console.
    Administrator(AdministratorId),
    /// A command on the machine of the server.
    Command,
    /// The server itself, such as retention.
    Server,
}

impl Actor {
    /// The kind of actor, as a journal line names it: `key`, `admin`, `command` or `server`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Administrator(_) => "admin",
            Self::Command => "command",
            Self::Server => "server",
        }
    }

    /// The id of the actor, where it has one.
    pub fn id(&self) -> Option<String> {
        match self {
            Self::Key(id) => Some(id.to_string()),
            Self::Administrator(id) => Some(id.as_str().to_owned()),
            Self::Command | Self::Server => None,
        }
    }

    /// The key of the application that acts.
    pub fn key(&self) -> Option<AppKeyId> {
        match self {
            Self::Key(id) => Some(*id),
            Self::Administrator(_) | Self::Command | Self::Server => None,
        }
    }
}

const ADMINISTRATOR: &str = "administrator:";
const KEY: &str = "key:";

/// The stored form.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "{KEY}{id}"),
            Self::Administrator(id) => write!(f, "{ADMINISTRATOR}{id}"),
            Self::Command => f.write_str("command"),
            Self::Server => f.write_str("server"),
        }
    }
}

/// A text that is not the stored form of an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ActorError {
    /// The kind is unknown, as of a newer version.
    #[error("names no known kind of actor")]
    Kind,
    /// The id is not valid.
    #[error("an actor's id {0}")]
    Id(#[from] IdError),
    /// The id of a key is not valid.
    #[error("a key's id {0}")]
    Key(#[from] AppKeyIdError),
}

impl FromStr for Actor {
    type Err = ActorError;

    fn from_str(text: &str) -> Result<Self, ActorError> {
        match text {
            "command" => Ok(Self::Command),
            "server" => Ok(Self::Server),
            text => match (text.strip_prefix(KEY), text.strip_prefix(ADMINISTRATOR)) {
                (Some(id), _) => Ok(Self::Key(id.parse()?)),
                (None, Some(id)) => Ok(Self::Administrator(id.parse()?)),
                (None, None) => Err(ActorError::Kind),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_read_as_it_is_stored() {
        let administrator = Actor::Administrator("ada".parse().unwrap());
        for (actor, text) in [
            (Actor::Key("k-0000002f".parse().unwrap()), "key:k-0000002f"),
            (administrator, "administrator:ada"),
            (Actor::Command, "command"),
            (Actor::Server, "server"),
        ] {
            assert_eq!(actor.to_string(), text);
            assert_eq!(text.parse(), Ok(actor));
        }
        assert_eq!("".parse::<Actor>(), Err(ActorError::Kind));
        assert_eq!("robot:1".parse::<Actor>(), Err(ActorError::Kind));
        assert_eq!("key:2f".parse::<Actor>(), Err(ActorError::Key(AppKeyIdError)));
        assert_eq!("administrator:".parse::<Actor>(), Err(ActorError::Id(IdError::Empty)));
    }
}
