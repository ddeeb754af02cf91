//! Finds the faces of a photo.
//!
//! A search of the whole photo finds candidates; the pack defines the steps and their limits. A refinement then runs
//! the network on a square around the candidate at a canonical scale, and on that square's mirror image: landmarks are
//! most accurate when a face is 200 to 300 pixels high in the network's input, and few false alarms are confirmed.
//!
//! Each input may be turned ([`TurnedWindow`]), because the network finds upright faces only.

use super::detection::{Detection, Merge, merge};
use super::model_pack::{DetectorFamily, DetectorSpec, Faces, ModelPack, When};
use super::runtime::{Model, Runtime};
use super::yunet::YuNet;
use super::{InferenceError, LoadError};
use crate::domain::{Point, Subject};
use crate::image::{Scaler, TurnedWindow, UprightImage, Window};

/// Finds faces.
#[derive(Debug)]
pub(super) struct FaceDetector {
    /// By name, as the steps call them.
    detectors: Vec<(String, YuNet)>,
    spec: DetectorSpec,
    faces: Faces,
    mirror: Vec<u8>,
}

impl FaceDetector {
    /// Loads the pack's detectors.
    ///
    /// # Errors
    /// When one does not load.
    pub(super) fn load(runtime: &Runtime, pack: &ModelPack) -> Result<Self, LoadError> {
        let spec = pack.detector.clone();
        let DetectorFamily::Yunet = spec.family;
        let detectors = spec
            .inputs
            .iter()
            .map(|(name, input)| Ok((name.clone(), YuNet::load(runtime, pack, input)?)))
            .collect::<Result<_, LoadError>>()?;
        Ok(Self { detectors, spec, faces: pack.faces, mirror: Vec::new() })
    }

    /// The models, for their self-check.
    pub(super) fn models(&mut self) -> impl Iterator<Item = &mut Model> {
        self.detectors.iter_mut().map(|(_, detector)| detector.model())
    }

    /// Searches a black image that is larger than every input: upright, under every turn, and turned. This runs every
    /// step.
    ///
    /// # Errors
    /// When a run fails.
    pub(super) fn warm(&mut self, scaler: &mut Scaler) -> Result<(), InferenceError> {
        let largest = self.detectors.iter().map(|(_, detector)| detector.size()).max();
        let black = UprightImage::black(1 + largest.unwrap_or_default());
        self.search(scaler, &black, 0.0)?;
        self.best_turn(scaler, &black, None)?;
        self.search(scaler, &black, 30.0).map(drop)
    }

    /// Searches the whole photo, turned by so many degrees, in the steps of the pack. The best face for the subject
    /// comes first.
    ///
    /// # Errors
    /// When a run fails.
    pub(super) fn find(
        &mut self,
        scaler: &mut Scaler,
        image: &UprightImage,
        subject: Subject,
        degrees: f64,
    ) -> Result<Vec<Detection>, InferenceError> {
        let mut found = self.search(scaler, image, degrees)?;
        match subject {
            Subject::Only | Subject::Largest => found.sort_by(|a, b| b.face.area().total_cmp(&a.face.area())),
            Subject::Central => {
                let middle = Point { x: image.width() as f32 / 2.0, y: image.height() as f32 / 2.0 };
                let away = |detection: &Detection| detection.face.center().distance(middle);
                found.sort_by(|a, b| away(a).total_cmp(&away(b)));
            }
        }
        Ok(found)
    }

    fn search(
        &mut self,
        scaler: &mut Scaler,
        image: &UprightImage,
        degrees: f64,
    ) -> Result<Vec<Detection>, InferenceError> {
        let mut found: Vec<Detection> = Vec::new();
        let mut sure = false;
        for step in &self.spec.search {
            let Some((_, detector)) = self.detectors.iter_mut().find(|(name, _)| *name == step.input) else { continue };
            let size = detector.size();
            let longest = image.width().max(image.height());
            let needed = match step.when {
                When::Always => true,
                When::Unsure => !sure,
                When::Nothing => found.is_empty(),
            };
            if !needed {
                continue;
            }
            let window = TurnedWindow::whole(image, step.margin, degrees);
            let candidates = detector.candidates(&scaler.turned(image, &window, size), self.spec.score)?;
            let faces = merge(candidates, merge_of(&self.spec));
            let largest = faces.iter().max_by(|a, b| a.face.area().total_cmp(&b.face.area()));
            // A photo that fits into this input has no more detail for a larger one.
            sure = longest <= size
                || largest
                    .is_some_and(|f| f.face.height >= self.spec.unsure.height && f.score >= self.spec.unsure.score);
            if !faces.is_empty() {
                found = faces.iter().map(|f| to_photo(f, &window, size)).collect();
            }
        }
        Ok(found)
    }

    /// Refines a candidate, and levels it by its eyes if it is tilted. `None` when it was a false alarm.
    ///
    /// # Errors
    /// When a run fails.
    pub(super) fn confirm(
        &mut self,
        scaler: &mut Scaler,
        image: &UprightImage,
        candidate: &Detection,
    ) -> Result<Option<Detection>, InferenceError> {
        self.confirm_until(scaler, image, candidate, f32::INFINITY)
    }

    /// The same when it only matters that there is a face: one run with the score `enough` suffices.
    ///
    /// # Errors
    /// When a run fails.
    pub(super) fn confirm_until(
        &mut self,
        scaler: &mut Scaler,
        image: &UprightImage,
        candidate: &Detection,
        enough: f32,
    ) -> Result<Option<Detection>, InferenceError> {
        let detection = match self.refine(scaler, image, candidate, enough)? {
            None if candidate.score >= self.spec.refine.trust => *candidate,
            None => return Ok(None),
            Some(detection) if detection.score.max(candidate.score) < self.spec.refine.confirm => return Ok(None),
            Some(detection) => Detection { score: detection.score.max(candidate.score), ..detection },
        };
        self.level(scaler, image, detection).map(Some)
    }

    /// Runs the network on a square around the candidate, turned like it, and on that square's mirror image unless the
    /// first run scores `enough`.
    fn refine(
        &mut self,
        scaler: &mut Scaler,
        image: &UprightImage,
        candidate: &Detection,
        enough: f32,
    ) -> Result<Option<Detection>, InferenceError> {
        let spec = &self.spec.refine;
        let Some((_, detector)) = self.detectors.iter_mut().find(|(name, _)| *name == spec.input) else {
            return Ok(Some(*candidate));
        };
        let size = detector.size();
        let window = TurnedWindow { window: Window::around(&candidate.face, spec.factor), degrees: candidate.turn };
        let square = scaler.turned(image, &window, size);
        let limits = merge_of(&self.spec);
        let mut run = |rgb: &[u8]| -> Result<Option<Detection>, InferenceError> {
            Ok(central(merge(detector.candidates(rgb, spec.score)?, limits), size, spec.factor))
        };
        let straight = run(&square)?;
        if let Some(detection) = straight.filter(|detection| detection.score >= enough) {
            return Ok(Some(to_photo(&detection, &window, size)));
        }
        mirror(&square, size as usize, &mut self.mirror);
        let mirrored = run(&self.mirror)?.map(|detection| detection.mirrored(size));
        let detection = match (straight, mirrored) {
            (Some(a), Some(b)) => Some(a.between(b)),
            (a, b) => a.or(b),
        };
        Ok(detection.map(|detection| to_photo(&detection, &window, size)))
    }

    /// Refines a face with its eyes level, as long as that helps.
    fn level(
        &mut self,
        scaler: &mut Scaler,
        image: &UprightImage,
        mut detection: Detection,
    ) -> Result<Detection, InferenceError> {
        let (limit, rounds) = self.spec.turn.as_ref().map_or((0.0, 0), |turn| (turn.tilt, turn.rounds));
        for _ in 0..rounds {
            let tilt = detection.tilt();
            // A face that is already turned is leveled more exactly.
            if tilt.abs() <= if detection.turn == 0.0 { limit } else { limit / 3.0 } {
                break;
            }
            let leveled = Detection { turn: normal(detection.turn + tilt), ..detection };
            match self.refine(scaler, image, &leveled, f32::INFINITY)? {
                Some(better) if better.score >= self.spec.refine.confirm => {
                    detection = Detection { score: better.score.max(detection.score), ..better };
                }
                _ => break,
            }
        }
        Ok(detection)
    }

    /// Runs the network on the surroundings of a face, or on the whole photo, under turns of the full circle. `None`
    /// when no turn scores higher, by the pack's gain, than no further turn.
    ///
    /// # Errors
    /// When a run fails.
    pub(super) fn best_turn(
        &mut self,
        scaler: &mut Scaler,
        image: &UprightImage,
        around: Option<&Detection>,
    ) -> Result<Option<f64>, InferenceError> {
        let Some(spec) = &self.spec.turn else { return Ok(None) };
        let Some((_, detector)) = self.detectors.iter_mut().find(|(name, _)| *name == spec.input) else {
            return Ok(None);
        };
        let size = detector.size();
        let base = around.map_or(0.0, |detection| detection.turn);
        let window = around.map_or_else(
            || Window::whole(image, spec.margin),
            |detection| Window::around(&detection.face, spec.factor),
        );
        let patch = scaler.patch(image, &window, size);
        let mut scores = Vec::with_capacity(spec.looks as usize);
        for step in 0..spec.looks {
            let degrees = normal(base + 360.0 * f64::from(step) / f64::from(spec.looks));
            let candidates = detector.candidates(&scaler.turned_patch(&patch, degrees), self.spec.score)?;
            let score = candidates.iter().map(|detection| detection.score).fold(0.0, f32::max);
            scores.push((degrees, score));
        }
        let unturned = scores.first().map_or(0.0, |(_, score)| *score);
        let best = scores.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
        Ok(best.filter(|(_, score)| *score > unturned + spec.gain).map(|(degrees, _)| degrees))
    }

    /// Whether another face counts as a second face.
    pub(super) fn matters(&self, main: &Detection, other: &Detection) -> bool {
        let faces = &self.faces;
        other.score >= faces.second_score
            && other.face.area() >= faces.second_area * main.face.area()
            && !self.is_same(main, other)
    }

    /// Whether two detections are of one face.
    pub(super) fn is_same(&self, main: &Detection, other: &Detection) -> bool {
        let smaller = main.face.area().min(other.face.area());
        smaller > 0.0 && main.face.intersection(&other.face) / smaller > self.faces.same_overlap
    }
}

fn merge_of(spec: &DetectorSpec) -> Merge {
    Merge { nms_iou: spec.nms_iou, vote_iou: spec.vote_iou }
}

/// The same turn, above -180 and at most 180 degrees.
fn normal(degrees: f64) -> f64 {
    let turned = degrees.rem_euclid(360.0);
    if turned > 180.0 { turned - 360.0 } else { turned }
}

fn to_photo(detection: &Detection, window: &TurnedWindow, size: u32) -> Detection {
    let mapped = detection.mapped(|face| window.box_to_photo(face, size), |point| window.to_photo(point, size));
    Detection { turn: window.degrees, ..mapped }
}

/// The detection nearest to the center of the square and to the expected size.
fn central(found: Vec<Detection>, size: u32, factor: f64) -> Option<Detection> {
    let expected = f64::from(size) / factor;
    let middle = f64::from(size) / 2.0;
    let distance = |detection: &Detection| {
        let center = detection.face.center();
        let away = (f64::from(center.x) - middle).hypot(f64::from(center.y) - middle) / expected;
        away + (f64::from(detection.face.width.max(detection.face.height)) / expected).ln().abs()
    };
    found.into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

/// The mirror image of a square of packed RGB pixels.
fn mirror(rgb: &[u8], side: usize, out: &mut Vec<u8>) {
    out.clear();
    for row in rgb.chunks_exact(3 * side) {
        out.extend(row.as_chunks::<3>().0.iter().rev().flatten());
    }
}
