//! From a photo to faces on it.
//!
//! A search over the whole photo finds faces; the steps and their limits are the pack's. A face
//! is looked at a second time, in a square around it at a canonical scale and in that square's
//! mirror image: landmarks are best where a face is 200 to 300 pixels high in the network's input,
//! whatever its size in the photo, and a false alarm of the search rarely survives.
//!
//! Every look may be turned ([`TurnedWindow`]): the network finds upright faces only.

use super::detection::{Detection, Merge, merge};
use super::manifest::{DetectorFamily, DetectorSpec, Faces, Manifest, When};
use super::runtime::{Model, Runtime};
use super::yunet::YuNet;
use super::{InferenceError, LoadError};
use crate::domain::{Point, Subject};
use crate::image::{Scaler, TurnedWindow, UprightImage, Window};

/// Finds faces.
#[derive(Debug)]
pub(super) struct Finder {
    /// By name, as the steps call them.
    detectors: Vec<(String, YuNet)>,
    spec: DetectorSpec,
    faces: Faces,
    mirror: Vec<u8>,
}

impl Finder {
    /// Loads the pack's detectors.
    ///
    /// # Errors
    /// When one does not load.
    pub(super) fn load(runtime: &Runtime, manifest: &Manifest) -> Result<Self, LoadError> {
        let spec = manifest.detector.clone();
        let DetectorFamily::Yunet = spec.family;
        let detectors = spec
            .inputs
            .iter()
            .map(|(name, input)| Ok((name.clone(), YuNet::load(runtime, manifest, input)?)))
            .collect::<Result<_, LoadError>>()?;
        Ok(Self { detectors, spec, faces: manifest.faces, mirror: Vec::new() })
    }

    /// The models, for their self-check.
    pub(super) fn models(&mut self) -> impl Iterator<Item = &mut Model> {
        self.detectors.iter_mut().map(|(_, detector)| detector.model())
    }

    /// Searches a black picture that fits into none of the inputs, upright, under every turn and turned, so that no
    /// step is left out.
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

    /// Looks over the whole photo, step by step as the pack says, turned by so many degrees. The best face for
    /// the subject comes first.
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
                let away = |seen: &Detection| seen.face.center().distance(middle);
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
            let wanted = match step.when {
                When::Always => true,
                When::Unsure => !sure,
                When::Nothing => found.is_empty(),
            };
            if !wanted {
                continue;
            }
            let window = TurnedWindow::whole(image, step.margin, degrees);
            let candidates = detector.candidates(&scaler.turned(image, &window, size), self.spec.score)?;
            let faces = merge(candidates, how(&self.spec));
            let largest = faces.iter().max_by(|a, b| a.face.area().total_cmp(&b.face.area()));
            // A larger input shows no more of a photo that fitted into this one.
            sure = longest <= size
                || largest
                    .is_some_and(|f| f.face.height >= self.spec.unsure.height && f.score >= self.spec.unsure.score);
            if !faces.is_empty() {
                found = faces.iter().map(|f| to_photo(f, &window, size)).collect();
            }
        }
        Ok(found)
    }

    /// Looks at a face a second time, and again where it is tilted, turned upright by its eyes. `None`: it was a
    /// false alarm.
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

    /// The same for a face of which nothing is needed but that it is one: a look with that score is enough.
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
        let seen = match self.second_look(scaler, image, candidate, enough)? {
            None if candidate.score >= self.spec.refine.trust => *candidate,
            None => return Ok(None),
            Some(seen) if seen.score.max(candidate.score) < self.spec.refine.confirm => return Ok(None),
            Some(seen) => Detection { score: seen.score.max(candidate.score), ..seen },
        };
        self.turned_upright(scaler, image, seen).map(Some)
    }

    /// The face in a square around it that is turned as the candidate is, and in that square's mirror image unless the
    /// first look is `enough`.
    fn second_look(
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
        let how = how(&self.spec);
        let mut look = |rgb: &[u8]| -> Result<Option<Detection>, InferenceError> {
            Ok(central(merge(detector.candidates(rgb, spec.score)?, how), size, spec.factor))
        };
        let straight = look(&square)?;
        if let Some(seen) = straight.filter(|seen| seen.score >= enough) {
            return Ok(Some(to_photo(&seen, &window, size)));
        }
        mirror(&square, size as usize, &mut self.mirror);
        let mirrored = look(&self.mirror)?.map(|seen| seen.mirrored(size));
        let seen = match (straight, mirrored) {
            (Some(a), Some(b)) => Some(a.between(b)),
            (a, b) => a.or(b),
        };
        Ok(seen.map(|seen| to_photo(&seen, &window, size)))
    }

    /// A face whose eyes are not level is looked at once more with the eyes level, while that helps.
    fn turned_upright(
        &mut self,
        scaler: &mut Scaler,
        image: &UprightImage,
        mut seen: Detection,
    ) -> Result<Detection, InferenceError> {
        let (limit, rounds) = self.spec.turn.as_ref().map_or((0.0, 0), |turn| (turn.tilt, turn.rounds));
        for _ in 0..rounds {
            let tilt = seen.tilt();
            // A face that is turned anyway is leveled more exactly.
            if tilt.abs() <= if seen.turn == 0.0 { limit } else { limit / 3.0 } {
                break;
            }
            let level = Detection { turn: normal(seen.turn + tilt), ..seen };
            match self.second_look(scaler, image, &level, f32::INFINITY)? {
                Some(better) if better.score >= self.spec.refine.confirm => {
                    seen = Detection { score: better.score.max(seen.score), ..better };
                }
                _ => break,
            }
        }
        Ok(seen)
    }

    /// Looks at the surroundings of a face, or at the whole photo, under turns all round. `None` when no turn shows
    /// a face clearer than the look that is not turned further.
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
        let base = around.map_or(0.0, |seen| seen.turn);
        let window =
            around.map_or_else(|| Window::whole(image, spec.margin), |seen| Window::around(&seen.face, spec.factor));
        let patch = scaler.patch(image, &window, size);
        let mut scores = Vec::with_capacity(spec.looks as usize);
        for look in 0..spec.looks {
            let degrees = normal(base + 360.0 * f64::from(look) / f64::from(spec.looks));
            let candidates = detector.candidates(&scaler.turned_patch(&patch, degrees), self.spec.score)?;
            let score = candidates.iter().map(|seen| seen.score).fold(0.0, f32::max);
            scores.push((degrees, score));
        }
        let unturned = scores.first().map_or(0.0, |(_, score)| *score);
        let best = scores.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
        Ok(best.filter(|(_, score)| *score > unturned + spec.gain).map(|(degrees, _)| degrees))
    }

    /// Whether another face is one the caller must know of.
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

fn how(spec: &DetectorSpec) -> Merge {
    Merge { nms_iou: spec.nms_iou, vote_iou: spec.vote_iou }
}

/// The same turn, above -180 and up to 180 degrees.
fn normal(degrees: f64) -> f64 {
    let turned = degrees.rem_euclid(360.0);
    if turned > 180.0 { turned - 360.0 } else { turned }
}

fn to_photo(seen: &Detection, window: &TurnedWindow, size: u32) -> Detection {
    let mapped = seen.mapped(|face| window.box_to_photo(face, size), |point| window.to_photo(point, size));
    Detection { turn: window.degrees, ..mapped }
}
/// The detection nearest to the middle of the square, and to the size the face must have there.
fn central(found: Vec<Detection>, size: u32, factor: f64) -> Option<Detection> {
    let expected = f64::from(size) / factor;
    let middle = f64::from(size) / 2.0;
    let distance = |seen: &Detection| {
        let center = seen.face.center();
        let away = (f64::from(center.x) - middle).hypot(f64::from(center.y) - middle) / expected;
        away + (f64::from(seen.face.width.max(seen.face.height)) / expected).ln().abs()
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
