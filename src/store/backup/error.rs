//! Why a backup cannot be made, read or restored.

use crate::store::error::StoreError;

/// Why a backup cannot be made, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file cannot be read or written.
    #[error("{0}")]
    Io(#[source] std::io::Error),
    /// The file does not begin as a backup does.
    #[error("it is not a backup that `semblance backup` made")]
    Foreign,
    /// The format of the file is of a later version.
    #[error("it is a backup of format {0}, which this version cannot read; use the version of Semblance that made it")]
    Format(u8),
    /// The file ends too early.
    #[error("the backup is cut off; copy it again")]
    CutOff,
    /// The file was changed.
    #[error("the backup is damaged: its seal does not open")]
    Damaged,
    /// It holds something that this version does not know.
    #[error("the backup holds {0}, which this version does not know; restore it with the version that made it")]
    Newer(String),
    /// A value is too long for a backup.
    #[error("a value of {0} bytes is too long for a backup")]
    TooLong(usize),
    /// Sealing keys are missing.
    #[error(
        "the backup needs the sealing keys {needed}, and {missing} is not among those given ({given}); put it into the \
         key file (DATA/sealing.key, SEMBLANCE_KEY_FILE or SEMBLANCE_KEY)"
    )]
    KeysMissing {
        /// All that are needed.
        needed: String,
        /// Those that are missing.
        missing: String,
        /// Those that were given.
        given: String,
    },
    /// The database that is to be filled is in use.
    #[error(
        "the database already has applications; a backup is restored into an empty database only, and nothing was changed"
    )]
    NotEmpty,
    /// The other side of a copy has stopped.
    #[error("the copy was stopped")]
    Stopped,
    /// The database failed.
    #[error("database: {0}")]
    Store(#[from] StoreError),
}

/// A sealed chunk that does not open, as an error of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the backup is damaged")]
pub(super) struct BrokenSeal;

impl From<std::io::Error> for BackupError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            return Self::CutOff;
        }
        if error.get_ref().is_some_and(|inner| inner.is::<BrokenSeal>()) { Self::Damaged } else { Self::Io(error) }
    }
}
