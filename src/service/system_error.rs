//! Why an operator's request is refused.

use super::jobs::JobRefusal;

/// Why an operator's request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SystemError {
    /// Expiry is not paused.
    #[error("expiry is not paused: the clock is not in doubt")]
    NotPaused,
    /// Nothing of the application waits for a confirmation.
    #[error("nothing of this application is held")]
    NothingHeld,
    /// Another number of people is held than the one that was confirmed.
    #[error("{0} people are held, not the number that you confirm; look again")]
    CountDiffers(u64),
    /// A job does not begin.
    #[error(transparent)]
    Job(#[from] JobRefusal),
    /// The settings name no folder for backups.
    #[error("there is no folder for backups: set backup.dir")]
    BackupsOff,
    /// A search of the journal takes too long for one request.
    #[error("the journal is too large for one request; search it with a time")]
    SearchTooLong,
    /// The journal is searched by as many requests as may at once.
    #[error("the journal is being searched by others, try again later")]
    JournalBusy,
}
