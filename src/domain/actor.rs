//! Who does something.

use std::fmt;

use super::AdministratorId;

/// Who enrolls, changes or erases something, as stored and as recorded in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// An application, with its credentials.
    Application,
    /// A person, through the administration API or the console.
    Administrator(AdministratorId),
    /// A command on the machine of the server.
    Command,
    /// The server itself, such as retention.
    Server,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application => f.write_str("application"),
            Self::Administrator(id) => write!(f, "administrator:{id}"),
            Self::Command => f.write_str("command"),
            Self::Server => f.write_str("server"),
        }
    }
}
