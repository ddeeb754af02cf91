//! What can be wrong with a photo.

use std::fmt;

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
    /// The detection is not a human face, by the network that decides it.
    #[error("no human face was found: human {0}")]
    NotHuman(Shortfall),
    /// The face is too small, or its landmarks are degenerate: no embedding could be trusted.
    #[error("the face is too small")]
    TooSmall,
    /// The face is seen from the side: its eyes coincide although it is large enough.
    #[error("the face is seen in full profile")]
    Profile,
    /// The face is so covered, degraded or turned that its embedding cannot be trusted.
    #[error("the face cannot be distinguished from others: trusted {0}")]
    Untrusted(Shortfall),
}

impl PhotoFault {
    /// A stable word for reports and statistics, without the values of this photo.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Missing | Self::Empty => "empty_file",
            Self::WrongType => "wrong_type",
            Self::Undecodable(fault) => fault.kind(),
            Self::NoFace => "no_face",
            Self::ManyFaces => "many_faces",
            Self::NotHuman(_) => "not_human",
            Self::TooSmall => "face_too_small",
            Self::Profile => "profile",
            Self::Untrusted(_) => "untrusted_face",
        }
    }
}

/// A measured value from 0 to 1 and the limit that it missed, in ten-thousandths, so that faults can be compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shortfall {
    value: u16,
    limit: u16,
}

impl Shortfall {
    /// A value below its limit.
    pub fn new(value: f64, limit: f64) -> Self {
        let steps = |number: f64| (number.clamp(0.0, 1.0) * 1e4).round() as u16;
        Self { value: steps(value), limit: steps(limit) }
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is below {}", f64::from(self.value) / 1e4, f64::from(self.limit) / 1e4)
    }
}

impl fmt::Debug for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
