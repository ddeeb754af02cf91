//! From a photo to the one face that matters.
//!
//! A search over the whole photo finds faces; the steps and their limits are the pack's. The main
//! face is looked at a second time, in a square around it at a canonical scale and in that square's
//! mirror image: landmarks are best where a face is 200 to 300 pixels high in the network's input,
//! whatever its size in the photo, and a false alarm of the search rarely survives.

use super::detection::{Detection, Merge, merge};
use super::manifest::{DetectorFamily, DetectorSpec, Faces, Manifest, When};
use super::runtime::{Model, Runtime};
use super::yunet::YuNet;
use super::{AnalyzeError, InferenceError, LoadError};
use crate::domain::{BoundingBox, PhotoFault, Point, Subject};
use crate::image::{Scaler, UprightImage, Window};

/// Finds the face that matters.
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

    /// Searches a black picture that fits into none of the inputs, so that no step is left out.
    ///
    /// # Errors
    /// When a run fails.
    pub(super) fn warm(&mut self, scaler: &mut Scaler) -> Result<(), InferenceError> {
        let largest = self.detectors.iter().map(|(_, detector)| detector.size()).max();
        self.search(scaler, &UprightImage::black(1 + largest.unwrap_or_default())).map(drop)
    }

    /// The face that is meant, in photo coordinates.
    ///
    /// # Errors
    /// [`PhotoFault::NoFace`], [`PhotoFault::ManyFaces`] (only when the only face is meant), or a
    /// failed run.
    pub(super) fn find(
        &mut self,
        scaler: &mut Scaler,
        image: &UprightImage,
        subject: Subject,
    ) -> Result<Detection, AnalyzeError> {
        let mut found = self.search(scaler, image).map_err(AnalyzeError::failed)?;
        match subject {
            Subject::Only | Subject::Largest => found.sort_by(|a, b| b.face.area().total_cmp(&a.face.area())),
            Subject::Central => {
                let middle = Point { x: image.width() as f32 / 2.0, y: image.height() as f32 / 2.0 };
                let away = |seen: &Detection| seen.face.center().distance(middle);
                found.sort_by(|a, b| away(a).total_cmp(&away(b)));
            }
        }
        for (at, candidate) in found.iter().enumerate() {
            let Some(face) = self.confirm(scaler, image, candidate).map_err(AnalyzeError::failed)? else { continue };
            // Larger ones were false alarms, or this one would not be looked at.
            let company = found.iter().skip(at + 1).any(|other| matters(&self.faces, &candidate.face, other));
            return if company && subject == Subject::Only { Err(PhotoFault::ManyFaces.into()) } else { Ok(face) };
        }
        Err(PhotoFault::NoFace.into())
    }

    /// Looks over the whole photo, step by step as the pack says.
    fn search(&mut self, scaler: &mut Scaler, image: &UprightImage) -> Result<Vec<Detection>, InferenceError> {
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
            let window = Window::whole(image, step.margin);
            let candidates = detector.candidates(scaler.square(image, &window, size), self.spec.score)?;
            let how = Merge { nms_iou: self.spec.nms_iou, vote_iou: self.spec.vote_iou };
            let faces = merge(candidates, how);
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

    /// Looks at a face a second time. `None`: it was a false alarm.
    fn confirm(
        &mut self,
        scaler: &mut Scaler,
        image: &UprightImage,
        candidate: &Detection,
    ) -> Result<Option<Detection>, InferenceError> {
        let spec = &self.spec.refine;
        let Some((_, detector)) = self.detectors.iter_mut().find(|(name, _)| *name == spec.input) else {
            return Ok(Some(*candidate));
        };
        let size = detector.size();
        let window = Window::around(&candidate.face, spec.factor);
        let square = scaler.square(image, &window, size);
        mirror(square, size as usize, &mut self.mirror);
        let how = Merge { nms_iou: self.spec.nms_iou, vote_iou: self.spec.vote_iou };
        let mut look = |rgb: &[u8]| -> Result<Option<Detection>, InferenceError> {
            Ok(central(merge(detector.candidates(rgb, spec.score)?, how), size, spec.factor))
        };
        let straight = look(square)?;
        let mirrored = look(&self.mirror)?.map(|seen| seen.mirrored(size));
        let seen = match (straight, mirrored) {
            (Some(a), Some(b)) => Some(a.between(b)),
            (a, b) => a.or(b),
        };
        Ok(match seen {
            None => (candidate.score >= spec.trust).then_some(*candidate),
            Some(seen) if seen.score.max(candidate.score) < spec.confirm => None,
            Some(seen) => {
                let score = seen.score.max(candidate.score);
                Some(Detection { score, ..to_photo(&seen, &window, size) })
            }
        })
    }
}

fn to_photo(seen: &Detection, window: &Window, size: u32) -> Detection {
    seen.mapped(|face| window.box_to_photo(face, size), |point| window.to_photo(point, size))
}

/// Whether another face is one the caller must know of.
fn matters(faces: &Faces, main: &BoundingBox, other: &Detection) -> bool {
    let smaller = main.area().min(other.face.area());
    let same = smaller > 0.0 && main.intersection(&other.face) / smaller > faces.same_overlap;
    other.score >= faces.second_score && other.face.area() >= faces.second_area * main.area() && !same
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
