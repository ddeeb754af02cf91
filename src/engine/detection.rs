//! Detections, and the merging of overlapping ones.

use crate::domain::{BoundingBox, Landmarks, Point};

/// A detected face, in pixels of the detector's input or of the photo.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Detection {
    /// The box.
    pub(super) face: BoundingBox,
    /// The five landmarks.
    pub(super) landmarks: Landmarks,
    /// Confidence, 0 to 1.
    pub(super) score: f32,
    /// By how many degrees the image was turned to make the face upright. The box is that of the upright face, about its
    /// center in the image; [`Detection::outline`] is the box to report.
    pub(super) turn: f64,
}

impl Detection {
    /// The same face in another coordinate system.
    pub(super) fn mapped(&self, face: impl Fn(&BoundingBox) -> BoundingBox, point: impl Fn(Point) -> Point) -> Self {
        Self { face: face(&self.face), landmarks: Landmarks(self.landmarks.0.map(point)), ..*self }
    }

    /// The smallest upright box in the image that contains the face.
    pub(super) fn outline(&self) -> BoundingBox {
        self.face.turned(self.turn)
    }

    /// The angle of the line of the eyes, relative to the turn, from -180 to 180 degrees.
    pub(super) fn tilt(&self) -> f64 {
        (self.landmarks.eye_line() - self.turn + 180.0).rem_euclid(360.0) - 180.0
    }

    /// The same face in the mirror image of an image of this width. Left and right are the image's, so eyes and mouth
    /// corners change places.
    pub(super) fn mirrored(&self, width: u32) -> Self {
        let last = width as f32 - 1.0;
        let [a, b, c, d, e] = self.landmarks.0.map(|p| Point { x: last - p.x, y: p.y });
        let face = BoundingBox { x: last - self.face.x - self.face.width, ..self.face };
        Self { face, landmarks: Landmarks([b, a, c, e, d]), ..*self }
    }

    /// The weighted mean of detections of one face, with the score of the first.
    fn mean(first: &Self, others: impl Iterator<Item = (Self, f32)>) -> Self {
        let mut sum = [0.0f32; 14];
        let mut total = 0.0;
        for (detection, weight) in others {
            total += weight;
            sum.iter_mut().zip(detection.numbers()).for_each(|(s, n)| *s += weight * n);
        }
        if total > 0.0 { Self::from_numbers(sum.map(|s| s / total), first) } else { *first }
    }

    /// The mean of two detections of one face, with the better score.
    pub(super) fn between(self, other: Self) -> Self {
        let middle = Self::mean(&self, [(self, 1.0), (other, 1.0)].into_iter());
        Self { score: self.score.max(other.score), ..middle }
    }

    fn numbers(&self) -> [f32; 14] {
        let BoundingBox { x, y, width, height } = self.face;
        let [a, b, c, d, e] = self.landmarks.0;
        [x, y, width, height, a.x, a.y, b.x, b.y, c.x, c.y, d.x, d.y, e.x, e.y]
    }

    fn from_numbers(n: [f32; 14], first: &Self) -> Self {
        let point = |i: usize| Point { x: n[i], y: n[i + 1] };
        Self {
            face: BoundingBox { x: n[0], y: n[1], width: n[2], height: n[3] },
            landmarks: Landmarks([point(4), point(6), point(8), point(10), point(12)]),
            ..*first
        }
    }
}

/// How candidates are merged to faces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merge {
    /// A candidate that overlaps a better one by more than this is dropped.
    pub(super) nms_iou: f32,
    /// A candidate that overlaps a kept one by more than this is averaged into it.
    pub(super) vote_iou: f32,
}

/// Most candidates that are compared, best first: this bounds the cost of a hostile photo.
const MAX_COMPARED: usize = 1000;

/// Keeps the best of overlapping candidates, best first: greedy non-maximum suppression.
pub(super) fn suppress(mut found: Vec<Detection>, iou: f32) -> Vec<Detection> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(MAX_COMPARED);
    let mut kept: Vec<Detection> = Vec::new();
    for detection in found {
        if kept.iter().all(|better| better.face.iou(&detection.face) <= iou) {
            kept.push(detection);
        }
    }
    kept
}

/// Suppression, then box voting (after Gidaris and Komodakis, ICCV 2015): box and landmarks of a kept
/// face become the mean of all candidates that agree with it, weighted by the square of their score.
/// It needs no further run of the network, and stabilizes the landmarks of faces whose size matches none of the network's
/// scales.
pub(super) fn merge(found: Vec<Detection>, limits: Merge) -> Vec<Detection> {
    let mut faces = suppress(found.clone(), limits.nms_iou);
    for face in &mut faces {
        let agree = found
            .iter()
            .filter(|d| d.face.iou(&face.face) > limits.vote_iou && d.score > 0.5 * face.score)
            .map(|d| (*d, d.score * d.score));
        *face = Detection::mean(face, agree);
    }
    faces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn detection(x: f32, y: f32, side: f32, score: f32) -> Detection {
        let point = |u: f32, v: f32| Point { x: x + u * side, y: y + v * side };
        Detection {
            face: BoundingBox { x, y, width: side, height: side },
            landmarks: Landmarks([
                point(0.3, 0.4),
                point(0.7, 0.4),
                point(0.5, 0.6),
                point(0.35, 0.8),
                point(0.65, 0.8),
            ]),
            score,
            turn: 0.0,
        }
    }

    fn detections() -> impl Strategy<Value = Vec<Detection>> {
        prop::collection::vec(
            (0.0f32..200.0, 0.0f32..200.0, 5.0f32..90.0, 0.3f32..1.0).prop_map(|(x, y, s, p)| detection(x, y, s, p)),
            0..40,
        )
    }

    proptest! {
        #[test]
        fn suppression_is_idempotent_and_keeps_the_best(found in detections(), iou in 0.1f32..0.9) {
            let once = suppress(found.clone(), iou);
            prop_assert_eq!(&suppress(once.clone(), iou), &once);
            for (i, a) in once.iter().enumerate() {
                prop_assert!(once[i + 1..].iter().all(|b| a.face.iou(&b.face) <= iou && a.score >= b.score));
            }
            for dropped in &found {
                let covered = once.iter().any(|k| k == dropped || (k.score >= dropped.score && k.face.iou(&dropped.face) > iou));
                prop_assert!(covered, "{dropped:?}");
            }
        }

        #[test]
        fn mirroring_twice_restores_a_detection(x in 0.0f32..200.0, side in 5.0f32..90.0) {
            let detection = detection(x, 7.0, side, 0.9);
            let back = detection.mirrored(320).mirrored(320);
            prop_assert!(detection.numbers().iter().zip(back.numbers()).all(|(a, b)| (a - b).abs() < 1e-3));
        }
    }

    /// The outline holds the turned face; the tilt is what is left of the turn.
    #[test]
    fn an_outline_is_upright_and_a_tilt_is_relative() {
        let mut detection = detection(100.0, 50.0, 40.0, 0.9);
        detection.face.height = 60.0;
        assert_eq!(detection.outline(), detection.face);
        assert_eq!(detection.tilt(), 0.0);
        detection.turn = 90.0;
        let outline = detection.outline();
        assert!((outline.width - 60.0).abs() < 1e-3 && (outline.height - 40.0).abs() < 1e-3, "{outline:?}");
        assert!(outline.center().distance(detection.face.center()) < 1e-3);
        assert_eq!(detection.tilt(), -90.0);
        let [eye, ..] = detection.landmarks.0;
        detection.landmarks.0[1] = Point { x: eye.x - 10.0, y: eye.y };
        detection.turn = -170.0;
        assert!((detection.tilt() + 10.0).abs() < 1e-4, "{}", detection.tilt());
    }

    #[test]
    fn candidates_that_agree_are_averaged() {
        let limits = Merge { nms_iou: 0.3, vote_iou: 0.5 };
        let faces = merge(
            vec![detection(100.0, 50.0, 50.0, 0.9), detection(104.0, 50.0, 50.0, 0.9), detection(0.0, 0.0, 30.0, 0.8)],
            limits,
        );
        assert_eq!(faces.len(), 2);
        assert!((faces[0].face.x - 102.0).abs() < 1e-3);
        assert_eq!(faces[1], detection(0.0, 0.0, 30.0, 0.8));
    }
}
