//! Selects the face of a photo that is meant, upright, with its embedding.
//!
//! The photo is searched as it is. If that finds no face, or a doubtful one, turns are tried: on a face that is upside
//! down the detector places upright landmarks, and its embedding resembles that of any other such face. A face that is
//! not human is skipped like a false alarm of the detector; a second face is confirmed the same way as the main one.

use super::detection::Detection;
use super::embedder::Embedder;
use super::face_detector::FaceDetector;
use super::heads::{Heads, Outputs};
use super::model_pack::{Doubt, Faces, ModelPack, Output};
use super::runtime::{Model, Runtime};
use super::{AnalyzeError, InferenceError, LoadError};
use crate::domain::{AnalysisRequest, Embedding, Landmarks, PhotoFault, Shortfall, Subject, Timings, stopwatch};
use crate::image::align::TEMPLATE;
use crate::image::{AlignedFace, Scaler, UprightImage, align};

/// Faces of one photo that are examined closely, the best for the subject first: this bounds the cost of a hostile
/// photo.
const MAX_CANDIDATES: usize = 16;

/// Selects the face that is meant.
#[derive(Debug)]
pub(super) struct Chooser {
    detector: FaceDetector,
    embedder: Embedder,
    faces: Faces,
    doubt: Option<Doubt>,
}

/// A face and what is known of it before the other heads run.
#[derive(Debug)]
pub(super) struct Chosen {
    /// Where it is.
    pub(super) detection: Detection,
    /// The aligned face.
    pub(super) aligned: AlignedFace,
    /// Its embedding.
    pub(super) embedding: Embedding,
    /// The feature map that the embedding was made of.
    pub(super) feature_map: Vec<f32>,
    /// The outputs of the heads that read the feature map.
    pub(super) outputs: Outputs,
}

/// One analysis: the photo, what is needed of it, and the parts of the engine that the chooser borrows.
pub(super) struct Context<'a> {
    /// The photo.
    pub(super) image: &'a UprightImage,
    /// What the caller needs.
    pub(super) request: AnalysisRequest,
    /// Resamples windows of the photo.
    pub(super) scaler: &'a mut Scaler,
    /// Judge faces.
    pub(super) heads: &'a mut Heads,
    /// Time spent so far.
    pub(super) timings: &'a mut Timings,
}

/// The result of a search under one turn.
struct Attempt {
    /// The face that counts, or why no face does.
    outcome: Result<Chosen, PhotoFault>,
    /// The first face that was confirmed, whether it was chosen or not.
    first: Option<Detection>,
    /// Other confirmed faces that matter.
    others: Vec<Detection>,
}

impl Attempt {
    fn failed(fault: PhotoFault, first: Option<Detection>) -> Self {
        Self { outcome: Err(fault), first, others: Vec::new() }
    }
}

impl Chooser {
    /// Loads the detectors and the embedding model.
    ///
    /// # Errors
    /// When one does not load.
    pub(super) fn load(runtime: &Runtime, pack: &ModelPack) -> Result<Self, LoadError> {
        Ok(Self {
            detector: FaceDetector::load(runtime, pack)?,
            embedder: Embedder::load(runtime, pack)?,
            faces: pack.faces,
            doubt: pack.detector.turn.as_ref().map(|turn| turn.doubt),
        })
    }

    /// The models, for their self-check.
    pub(super) fn models(&mut self) -> impl Iterator<Item = &mut Model> {
        self.detector.models().chain([self.embedder.model()])
    }

    /// Takes every step of the search once, so that all models allocate their memory.
    ///
    /// # Errors
    /// When a run fails.
    pub(super) fn warm(&mut self, scaler: &mut Scaler) -> Result<(), InferenceError> {
        self.detector.warm(scaler)
    }

    /// The face that is meant.
    ///
    /// # Errors
    /// The photo's fault, or a failed run.
    pub(super) fn choose(&mut self, context: &mut Context<'_>) -> Result<Chosen, AnalyzeError> {
        let mut attempt = self.attempt(context, 0.0)?;
        if self.is_doubtful(&attempt) {
            attempt = self.try_turns(context, attempt)?;
        }
        if self.any_human(context, &attempt.others)? {
            return Err(PhotoFault::ManyFaces.into());
        }
        let chosen = attempt.outcome?;
        match self.faces.min_trusted.and_then(|limit| shortfall(&chosen.outputs, Output::Trusted, limit)) {
            Some(shortfall) if context.request.embedding => Err(PhotoFault::Untrusted(shortfall).into()),
            _ => Ok(chosen),
        }
    }

    /// Searches the photo under one turn, and adds the time to the timings.
    fn attempt(&mut self, context: &mut Context<'_>, degrees: f64) -> Result<Attempt, AnalyzeError> {
        let start = stopwatch();
        let embedded = context.timings.embed;
        let attempt = self.first_face(context, degrees);
        // `judge` counts the time of embeddings itself; the rest is detection.
        context.timings.detect += start.elapsed().saturating_sub(context.timings.embed - embedded);
        attempt
    }

    fn first_face(&mut self, context: &mut Context<'_>, degrees: f64) -> Result<Attempt, AnalyzeError> {
        let Context { image, request, .. } = *context;
        let found =
            self.detector.find(context.scaler, image, request.subject, degrees).map_err(AnalyzeError::failed)?;
        let mut refused: Option<(Detection, PhotoFault)> = None;
        for (at, candidate) in found.iter().take(MAX_CANDIDATES).enumerate() {
            let confirmed = self.detector.confirm(context.scaler, image, candidate).map_err(AnalyzeError::failed)?;
            let Some(detection) = confirmed else { continue };
            // All earlier candidates were false alarms or not human.
            let rest = found.get(at + 1..).unwrap_or_default();
            let rest = rest.iter().filter(|other| self.detector.matters(candidate, other)).collect();
            let mut others = self.confirm_others(context, &detection, rest)?;
            // If the detector is sure of the main face, a second one is decided without the main one's embedding.
            if detection.score >= self.faces.sure_score && !others.is_empty() {
                if self.any_human(context, &others)? {
                    return Ok(Attempt::failed(PhotoFault::ManyFaces, Some(detection)));
                }
                others.clear();
            }
            let needed = |output| request.attributes || !matches!(output, Output::Age | Output::Male | Output::Race);
            let chosen = match self.judge(context, detection, needed)? {
                Ok(chosen) => chosen,
                Err(fault) => {
                    let (first, fault) = refused.unwrap_or((detection, fault));
                    return Ok(Attempt { outcome: Err(fault), first: Some(first), others });
                }
            };
            if let Some(shortfall) = self.not_human(&chosen.outputs) {
                refused.get_or_insert((detection, PhotoFault::NotHuman(shortfall)));
                continue;
            }
            // A face that the detector is sure of counts as a second face even if the network refused it.
            if request.subject == Subject::Only
                && refused.is_some_and(|(first, _)| first.score >= self.faces.sure_score)
            {
                return Ok(Attempt::failed(PhotoFault::ManyFaces, Some(detection)));
            }
            let first = Some(refused.map_or(detection, |(first, _)| first));
            return Ok(Attempt { outcome: Ok(chosen), first, others });
        }
        Ok(match refused {
            Some((first, fault)) => Attempt::failed(fault, Some(first)),
            None => Attempt::failed(PhotoFault::NoFace, None),
        })
    }

    /// The faces of `rest` that are confirmed beside the main `detection`; none unless the subject must be the only
    /// face.
    fn confirm_others(
        &mut self,
        context: &mut Context<'_>,
        detection: &Detection,
        mut rest: Vec<&Detection>,
    ) -> Result<Vec<Detection>, AnalyzeError> {
        let mut others = Vec::new();
        if context.request.subject != Subject::Only {
            return Ok(others);
        }
        let sure = self.faces.sure_score;
        rest.sort_by(|a, b| b.score.total_cmp(&a.score));
        for other in rest.into_iter().take(MAX_CANDIDATES) {
            let confirmed = self
                .detector
                .confirm_until(context.scaler, context.image, other, sure)
                .map_err(AnalyzeError::failed)?;
            others.extend(confirmed.filter(|confirmed| !self.detector.is_same(detection, confirmed)));
            // One is enough.
            if others.last().is_some_and(|other| other.score >= sure) {
                break;
            }
        }
        Ok(others)
    }

    /// Whether one of the other faces is human: the detector is sure of it, the network accepts it, or it is too small
    /// to be judged.
    fn any_human(&mut self, context: &mut Context<'_>, others: &[Detection]) -> Result<bool, AnalyzeError> {
        if others.iter().any(|other| other.score >= self.faces.sure_score) {
            return Ok(true);
        }
        for other in others {
            let human = match self.judge(context, *other, |output| output == Output::Human)? {
                Ok(judged) => self.not_human(&judged.outputs).is_none(),
                Err(_) => true,
            };
            if human {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the photo must be searched under other turns.
    fn is_doubtful(&self, attempt: &Attempt) -> bool {
        let Some(doubt) = self.doubt else { return false };
        match &attempt.outcome {
            Ok(chosen) => chosen.outputs.number(doubt.output).is_none_or(|value| value < doubt.below),
            Err(PhotoFault::ManyFaces) => false,
            Err(_) => true,
        }
    }

    /// Finds the best turn around the face and, while there is no face, of the whole photo; then searches under it.
    /// Returns the better attempt.
    fn try_turns(&mut self, context: &mut Context<'_>, mut best: Attempt) -> Result<Attempt, AnalyzeError> {
        let first = best.first;
        for around in first.iter().map(Some).chain([None]) {
            let start = stopwatch();
            let turn = self.detector.best_turn(context.scaler, context.image, around).map_err(AnalyzeError::failed)?;
            context.timings.detect += start.elapsed();
            if let Some(degrees) = turn {
                let other = self.attempt(context, degrees)?;
                if self.is_better(&other, &best) {
                    best = other;
                }
            }
            if best.outcome.is_ok() {
                break;
            }
        }
        Ok(best)
    }

    fn is_better(&self, other: &Attempt, than: &Attempt) -> bool {
        let worth = |attempt: &Attempt| match &attempt.outcome {
            Ok(chosen) => 2.0 + self.doubt.and_then(|doubt| chosen.outputs.number(doubt.output)).unwrap_or_default(),
            Err(PhotoFault::NoFace | PhotoFault::NotHuman(_)) => 0.0,
            Err(_) => 1.0,
        };
        worth(other) > worth(than)
    }

    /// The embedding of a face, and the `needed` outputs of the heads that read the feature map.
    fn judge(
        &mut self,
        context: &mut Context<'_>,
        detection: Detection,
        needed: impl Fn(Output) -> bool,
    ) -> Result<Result<Chosen, PhotoFault>, AnalyzeError> {
        let start = stopwatch();
        if let Some(fault) = eyes_too_close(&detection.landmarks, self.faces.min_eye_distance) {
            return Ok(Err(fault));
        }
        let Some(aligned) = align(context.scaler, context.image, &detection.landmarks) else {
            return Ok(Err(PhotoFault::TooSmall));
        };
        let embedding = self.embedder.embed(&aligned).map_err(AnalyzeError::failed)?;
        let feature_map = self.embedder.take_feature_map();
        let outputs = context.heads.run_on_feature_map(&feature_map, needed).map_err(AnalyzeError::failed)?;
        context.timings.embed += start.elapsed();
        Ok(Ok(Chosen { detection, aligned, embedding, feature_map, outputs }))
    }

    fn not_human(&self, outputs: &Outputs) -> Option<Shortfall> {
        self.faces.min_human.and_then(|limit| shortfall(outputs, Output::Human, limit))
    }
}

/// Why eyes this close allow no embedding: the face is too small, or a profile. `None` when they are far enough apart.
fn eyes_too_close(landmarks: &Landmarks, least: f32) -> Option<PhotoFault> {
    if landmarks.eye_distance() >= least {
        return None;
    }
    // The distance between the eyes of a face of this height that is seen from the front.
    let front = Landmarks(TEMPLATE);
    let expected = landmarks.eyes_to_mouth() * front.eye_distance() / front.eyes_to_mouth();
    Some(if expected >= least { PhotoFault::Profile } else { PhotoFault::TooSmall })
}

/// By how much an output misses its limit; `None` when it does not, or was not computed.
fn shortfall(outputs: &Outputs, output: Output, limit: f64) -> Option<Shortfall> {
    outputs.number(output).filter(|value| *value < limit).map(|value| Shortfall::new(value, limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Point;

    #[test]
    fn a_profile_is_not_too_small() {
        // The template's eyes are 35 pixels apart, its mouth 41 below them.
        let scaled = |across: f32, down: f32| Landmarks(TEMPLATE.map(|p| Point { x: p.x * across, y: p.y * down }));
        assert_eq!(eyes_too_close(&scaled(1.0, 1.0), 12.0), None);
        assert_eq!(eyes_too_close(&scaled(0.3, 0.3), 12.0), Some(PhotoFault::TooSmall));
        assert_eq!(eyes_too_close(&scaled(0.1, 1.0), 12.0), Some(PhotoFault::Profile));
        assert_eq!(eyes_too_close(&scaled(0.1, 0.3), 12.0), Some(PhotoFault::TooSmall));
        assert_eq!(eyes_too_close(&scaled(0.0, 0.0), 12.0), Some(PhotoFault::TooSmall));
        assert_eq!(eyes_too_close(&scaled(f32::NAN, 1.0), 12.0), Some(PhotoFault::TooSmall));
    }
}
