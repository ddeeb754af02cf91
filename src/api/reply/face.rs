//! What both layouts write alike.

use serde::{Serialize, Serializer};

use super::number::Number;
use crate::domain::{Analysis, BoundingBox, Landmarks, Measure, Quality, Reported, Verdict};

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

/// What was judged: `{"score": 0.1, "fine": true}`, or with `value` in place of `score`.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub(super) enum Judged {
    /// A probability, or a strength.
    Score { score: Number, fine: bool },
    /// A property of the picture.
    Value { value: Number, fine: bool },
}

impl Judged {
    /// A verdict as it is reported. `None` stays `None`: what was not measured is absent.
    fn new(verdict: Option<Verdict>, reported: Reported) -> Option<Self> {
        let Verdict { score, fine } = verdict?;
        let number = Number::finite(score)?;
        Some(match reported {
            Reported::Score => Self::Score { score: number, fine },
            Reported::Value => Self::Value { value: number, fine },
        })
    }

    /// The verdict of a check.
    pub(super) fn check(verdict: Option<Verdict>) -> Option<Self> {
        Self::new(verdict, Reported::Score)
    }
}

/// The measures in the order and under the names of a layout.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measures<const NEWER: bool>(pub(super) Quality);

/// The measures in the older layout.
pub(super) type OlderMeasures = Measures<false>;

/// The measures in the newer layout.
pub(super) type NewerMeasures = Measures<true>;

impl<const NEWER: bool> Measures<NEWER> {
    /// Each measure and its name.
    pub(super) fn names() -> impl Iterator<Item = (Measure, &'static str)> {
        let order = if NEWER { Measure::NEWER_LAYOUT } else { Measure::ALL };
        let name = |measure: Measure| if NEWER { measure.row().newer_name } else { measure.name() };
        order.into_iter().map(move |measure| (measure, name(measure)))
    }
}

impl<const NEWER: bool> Serialize for Measures<NEWER> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            Self::names()
                .filter_map(|(measure, name)| Some((name, Judged::new(self.0[measure], measure.row().reported)?))),
        )
    }
}

/// The checks and where the face is: all that the older layout has on `/liveness` and `/deepfake`.
#[derive(Debug, Serialize)]
pub(in crate::api) struct Checked {
    #[serde(skip_serializing_if = "Option::is_none")]
    liveness: Option<Judged>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deepfake: Option<Judged>,
    r#box: BoxReply,
    landmarks: LandmarksReply,
}

impl From<&Analysis> for Checked {
    fn from(analysis: &Analysis) -> Self {
        Self {
            liveness: Judged::check(analysis.liveness),
            deepfake: Judged::check(analysis.deepfake),
            r#box: (&analysis.face).into(),
            landmarks: (&analysis.landmarks).into(),
        }
    }
}
