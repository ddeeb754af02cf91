//! Head pose from five landmarks.

use crate::domain::{Landmarks, Pose};

/// Placeholder until fitted.
pub(super) fn pose(landmarks: &Landmarks) -> Option<Pose> {
    landmarks.eye_distance().is_finite().then_some(Pose { pitch: 0.0, yaw: 0.0, roll: 0.0 })
}
