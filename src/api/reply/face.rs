//! What both layouts write alike.

use serde::Serialize;

use super::number::Number;
use crate::domain::{Analysis, BoundingBox, Landmarks, Verdict};

/// A box in whole pixels.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct BoxReply {
    x: i64,
    y: i64,
    w: i64,
    h: i64,
}

impl From<&BoundingBox> for BoxReply {
    fn from(face: &BoundingBox) -> Self {
        Self { x: pixel(face.x), y: pixel(face.y), w: pixel(face.width), h: pixel(face.height) }
    }
}

/// Five points in whole pixels, in the order of [`Landmarks`].
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct LandmarksReply([[i64; 2]; 5]);

impl From<&Landmarks> for LandmarksReply {
    fn from(landmarks: &Landmarks) -> Self {
        Self(landmarks.0.map(|point| [pixel(point.x), pixel(point.y)]))
    }
}

fn pixel(value: f32) -> i64 {
    value.round() as i64
}

/// A measure under the key `score`: a probability.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Score {
    score: Number,
    fine: bool,
}

impl Score {
    /// `None` stays `None`: what was not measured is absent.
    pub(super) fn of(verdict: Option<Verdict>) -> Option<Self> {
        let verdict = verdict?;
        Some(Self { score: Number::finite(verdict.score)?, fine: verdict.fine })
    }
}

/// A measure under the key `value`: a property of the picture.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Value {
    value: Number,
    fine: bool,
}

impl Value {
    /// `None` stays `None`: what was not measured is absent.
    pub(super) fn of(verdict: Option<Verdict>) -> Option<Self> {
        let verdict = verdict?;
        Some(Self { value: Number::finite(verdict.score)?, fine: verdict.fine })
    }
}

/// The checks and where the face is: all that the older layout has on `/liveness` and `/deepfake`.
#[derive(Debug, Serialize)]
pub(in crate::api) struct Checked {
    #[serde(skip_serializing_if = "Option::is_none")]
    liveness: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deepfake: Option<Score>,
    r#box: BoxReply,
    landmarks: LandmarksReply,
}

impl Checked {
    /// Of an analysis.
    pub(in crate::api) fn of(analysis: &Analysis) -> Self {
        Self {
            liveness: Score::of(analysis.liveness),
            deepfake: Score::of(analysis.deepfake),
            r#box: (&analysis.face).into(),
            landmarks: (&analysis.landmarks).into(),
        }
    }
}
