//! What can be wrong with a photo.

use super::DecodeFault;

/// Why a photo cannot be analysed. Each has a code and a text on the wire (`api::error`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhotoFault {
    /// No photo was sent.
    #[error("no photo was sent")]
    Missing,
    /// The declared media type is neither JPEG nor PNG.
    #[error("the declared media type is not an image we read")]
    WrongType,
    /// The photo has no bytes.
    #[error("the photo is empty")]
    Empty,
    /// The bytes cannot be decoded within the limits, or are of a format that is not accepted.
    #[error(transparent)]
    Undecodable(#[from] DecodeFault),
    /// No face was found.
    #[error("no face was found")]
    NoFace,
    /// More than one face that matters was found.
    #[error("more than one face was found")]
    ManyFaces,
    /// The face is too small, or its landmarks are degenerate: no embedding could be trusted.
    #[error("the face is too small")]
    TooSmall,
}
