//! Why a call of the administration API has no result.

/// A failure of administration itself. The text is for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The token, the code or the session is missing, wrong or over.
    #[error("sign in: the token, code or session is missing, wrong or has ended")]
    Unauthenticated,
    /// Something that a path names does not exist, or this administrator may not see it.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// Another administrator has the name.
    #[error("another administrator has this name")]
    NameTaken,
    /// No active owner would be left.
    #[error("the last active owner cannot be removed, disabled or given another role")]
    LastOwner,
    /// The administrator has as many tokens as it may have.
    #[error("an administrator has at most {0} tokens; end one first")]
    TooManyTokens(usize),
}
