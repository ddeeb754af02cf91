//! Errors of review.

/// Why a decision about a held probe is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReviewRefusal {
    /// The probe was decided, or has ended.
    #[error("this item was decided or has ended")]
    NoProbe,
    /// The model that made its embedding is no longer in use.
    #[error("the probe is of another model than the one in use: dismiss it")]
    OtherModel,
}
