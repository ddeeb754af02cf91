//! Which face of a photo is meant, upright, with its embedding.
//!
//! The photo is looked at as it is. Where no face comes of it, or a doubtful one, turns are tried: a detector lays
//! upright landmarks on a face that is upside down, and its embedding resembles that of any other such
//! face. What is no human face is passed over as a false alarm of the detector is; a second face is confirmed as the
//! main one is.

use std::time::Instant;

use super::detection::Detection;
use super::embedder::Embedder;
use super::finder::Finder;
use super::manifest::{Doubt, Faces, Finding, Manifest};
use super::networks::{Findings, Networks};
use super::runtime::{Model, Runtime};
use super::{AnalyzeError, InferenceError, LoadError};
use crate::domain::{Embedding, Landmarks, Need, PhotoFault, Shortfall, Subject, Timings};
use crate::image::align::TEMPLATE;
use crate::image::{AlignedFace, Scaler, UprightImage, align};

/// Faces of one photo that are looked at closely, the best for the subject first: a hostile picture must not
/// make this expensive.
const MAX_CANDIDATES: usize = 16;

/// Finds the face that is meant.
#[derive(Debug)]
pub(super) struct Chooser {
    finder: Finder,
    embedder: Embedder,
    faces: Faces,
    doubt: Option<Doubt>,
}

/// A face and what is known of it before its surroundings are looked at.
#[derive(Debug)]
pub(super) struct Chosen {
    /// Where it is.
    pub(super) seen: Detection,
    /// In its canonical place.
    pub(super) aligned: AlignedFace,
    /// Its embedding.
    pub(super) embedding: Embedding,
    /// The map that the embedding was made of.
    pub(super) trunk: Vec<f32>,
    /// What the networks that look at the map found.
    pub(super) findings: Findings,
}

/// The tools of one analysis that the chooser does not own.
pub(super) struct Tools<'a> {
    pub(super) scaler: &'a mut Scaler,
    pub(super) networks: &'a mut Networks,
    pub(super) timings: &'a mut Timings,
}

/// What came of a photo under one turn.
struct Attempt {
    /// The face that is meant, or why there is none.
    outcome: Result<Chosen, PhotoFault>,
    /// The first face that was confirmed, whatever became of it.
    first: Option<Detection>,
    /// Other faces that matter, confirmed by a second look.
    others: Vec<Detection>,
}

impl Chooser {
    /// Loads the detectors and the embedding model.
    ///
    /// # Errors
    /// When one does not load.
    pub(super) fn load(runtime: &Runtime, manifest: &Manifest) -> Result<Self, LoadError> {
        Ok(Self {
            finder: Finder::load(runtime, manifest)?,
            embedder: Embedder::load(runtime, manifest)?,
            faces: manifest.faces,
            doubt: manifest.detector.turn.as_ref().map(|turn| turn.doubt),
        })
    }

    /// The models, for their self-check.
    pub(super) fn models(&mut self) -> impl Iterator<Item = &mut Model> {
        self.finder.models().chain([self.embedder.model()])
    }

    /// Takes every step of the search once.
    ///
    /// # Errors
    /// When a run fails.
    pub(super) fn warm(&mut self, scaler: &mut Scaler) -> Result<(), InferenceError> {
        self.finder.warm(scaler)
    }

    /// The face that is meant.
    ///
    /// # Errors
    /// The photo's fault, or a failed run.
    pub(super) fn choose(
        &mut self,
        tools: &mut Tools<'_>,
        image: &UprightImage,
        need: Need,
    ) -> Result<Chosen, AnalyzeError> {
        let mut attempt = self.attempt(tools, image, need, 0.0)?;
        if self.is_doubtful(&attempt) {
            attempt = self.turned(tools, image, need, attempt)?;
        }
        if self.has_company(tools, image, &attempt.others)? {
            return Err(PhotoFault::ManyFaces.into());
        }
        let chosen = attempt.outcome?;
        match self.faces.min_trusted.and_then(|limit| shortfall(&chosen.findings, Finding::Trusted, limit)) {
            Some(missed) if need.embedding => Err(PhotoFault::Untrusted(missed).into()),
            _ => Ok(chosen),
        }
    }

    /// Looks at the photo under one turn.
    fn attempt(
        &mut self,
        tools: &mut Tools<'_>,
        image: &UprightImage,
        need: Need,
        degrees: f64,
    ) -> Result<Attempt, AnalyzeError> {
        let start = Instant::now();
        let embedded = tools.timings.embed;
        let attempt = self.first_face(tools, image, need, degrees);
        // What was not spent on embeddings was spent on finding faces.
        tools.timings.detect += start.elapsed().saturating_sub(tools.timings.embed - embedded);
        attempt
    }

    fn first_face(
        &mut self,
        tools: &mut Tools<'_>,
        image: &UprightImage,
        need: Need,
        degrees: f64,
    ) -> Result<Attempt, AnalyzeError> {
        let found = self.finder.find(tools.scaler, image, need.subject, degrees).map_err(AnalyzeError::failed)?;
        let mut refused: Option<(Detection, PhotoFault)> = None;
        for (at, candidate) in found.iter().take(MAX_CANDIDATES).enumerate() {
            let Some(seen) = self.finder.confirm(tools.scaler, image, candidate).map_err(AnalyzeError::failed)? else {
                continue;
            };
            // Those before were false alarms, or this one would not be looked at.
            let rest = found.get(at + 1..).unwrap_or_default();
            let mut others = self.others(tools, image, need, (candidate, &seen), rest)?;
            // Where the detector is sure of the main face, a second one is decided without the main one's embedding.
            if seen.score >= self.faces.sure_score && !others.is_empty() {
                if self.has_company(tools, image, &others)? {
                    return Ok(Attempt { outcome: Err(PhotoFault::ManyFaces), first: Some(seen), others: Vec::new() });
                }
                others.clear();
            }
            let wanted = |finding| need.attributes || !matches!(finding, Finding::Age | Finding::Male | Finding::Race);
            match self.judge(tools, image, seen, wanted)? {
                Ok(chosen) => match self.not_human(&chosen.findings) {
                    // Of a face that the detector is sure of, the network alone does not make nothing.
                    None if need.subject == Subject::Only
                        && refused.is_some_and(|(first, _)| first.score >= self.faces.sure_score) =>
                    {
                        return Ok(Attempt {
                            outcome: Err(PhotoFault::ManyFaces),
                            first: Some(seen),
                            others: Vec::new(),
                        });
                    }
                    None => {
                        let first = Some(refused.map_or(seen, |(first, _)| first));
                        return Ok(Attempt { outcome: Ok(chosen), first, others });
                    }
                    Some(missed) => {
                        refused.get_or_insert((seen, PhotoFault::NotHuman(missed)));
                    }
                },
                Err(fault) => {
                    let (first, fault) = refused.unwrap_or((seen, fault));
                    return Ok(Attempt { outcome: Err(fault), first: Some(first), others });
                }
            }
        }
        let (first, fault) = refused.map_or((None, PhotoFault::NoFace), |(first, fault)| (Some(first), fault));
        Ok(Attempt { outcome: Err(fault), first, others: Vec::new() })
    }

    /// The other faces that matter, looked at a second time, when the only face is meant.
    fn others(
        &mut self,
        tools: &mut Tools<'_>,
        image: &UprightImage,
        need: Need,
        (candidate, seen): (&Detection, &Detection),
        rest: &[Detection],
    ) -> Result<Vec<Detection>, AnalyzeError> {
        let mut others = Vec::new();
        if need.subject != Subject::Only {
            return Ok(others);
        }
        let finder = &self.finder;
        let mut doubtful: Vec<&Detection> = rest.iter().filter(|other| finder.matters(candidate, other)).collect();
        doubtful.sort_by(|a, b| b.score.total_cmp(&a.score));
        for other in doubtful.into_iter().take(MAX_CANDIDATES) {
            let sure = self.faces.sure_score;
            let confirmed =
                self.finder.confirm_until(tools.scaler, image, other, sure).map_err(AnalyzeError::failed)?;
            others.extend(confirmed.filter(|confirmed| !self.finder.is_same(seen, confirmed)));
            // One is enough.
            if others.last().is_some_and(|other| other.score >= self.faces.sure_score) {
                break;
            }
        }
        Ok(others)
    }

    /// Whether one of the other faces is a human one: the detector is sure of it, the network says so, or it is too
    /// small to be judged.
    fn has_company(
        &mut self,
        tools: &mut Tools<'_>,
        image: &UprightImage,
        others: &[Detection],
    ) -> Result<bool, AnalyzeError> {
        if others.iter().any(|other| other.score >= self.faces.sure_score) {
            return Ok(true);
        }
        for other in others {
            let human = match self.judge(tools, image, *other, |finding| finding == Finding::Human)? {
                Ok(judged) => self.not_human(&judged.findings).is_none(),
                Err(_) => true,
            };
            if human {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the photo is to be looked at under other turns.
    fn is_doubtful(&self, attempt: &Attempt) -> bool {
        let Some(doubt) = self.doubt else { return false };
        match &attempt.outcome {
            Ok(chosen) => chosen.findings.number(doubt.finding).is_none_or(|value| value < doubt.below),
            Err(PhotoFault::ManyFaces) => false,
            Err(_) => true,
        }
    }

    /// Looks under turns around the face, and where there is still none, at the whole photo; then as usual under
    /// the best turn. Returns the better attempt.
    fn turned(
        &mut self,
        tools: &mut Tools<'_>,
        image: &UprightImage,
        need: Need,
        mut best: Attempt,
    ) -> Result<Attempt, AnalyzeError> {
        let first = best.first;
        for around in first.iter().map(Some).chain([None]) {
            let start = Instant::now();
            let turn = self.finder.best_turn(tools.scaler, image, around).map_err(AnalyzeError::failed)?;
            tools.timings.detect += start.elapsed();
            if let Some(degrees) = turn {
                let other = self.attempt(tools, image, need, degrees)?;
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
            Ok(chosen) => 2.0 + self.doubt.and_then(|doubt| chosen.findings.number(doubt.finding)).unwrap_or_default(),
            Err(PhotoFault::NoFace | PhotoFault::NotHuman(_)) => 0.0,
            Err(_) => 1.0,
        };
        worth(other) > worth(than)
    }

    /// The embedding of a face, and what the networks that look at the same map find of what is `wanted`.
    fn judge(
        &mut self,
        tools: &mut Tools<'_>,
        image: &UprightImage,
        seen: Detection,
        wanted: impl Fn(Finding) -> bool,
    ) -> Result<Result<Chosen, PhotoFault>, AnalyzeError> {
        let start = Instant::now();
        if let Some(fault) = eyes_too_close(&seen.landmarks, self.faces.min_eye_distance) {
            return Ok(Err(fault));
        }
        let Some(aligned) = align(tools.scaler, image, &seen.landmarks) else { return Ok(Err(PhotoFault::TooSmall)) };
        let embedding = self.embedder.embed(&aligned).map_err(AnalyzeError::failed)?;
        let trunk = self.embedder.take_trunk();
        let findings = tools.networks.look_at_trunk(&trunk, wanted).map_err(AnalyzeError::failed)?;
        tools.timings.embed += start.elapsed();
        Ok(Ok(Chosen { seen, aligned, embedding, trunk, findings }))
    }

    fn not_human(&self, findings: &Findings) -> Option<Shortfall> {
        self.faces.min_human.and_then(|limit| shortfall(findings, Finding::Human, limit))
    }
}

/// Why eyes that are this close admit no embedding, if they do not: the face is small, or seen from the side.
fn eyes_too_close(landmarks: &Landmarks, least: f32) -> Option<PhotoFault> {
    if landmarks.eye_distance() >= least {
        return None;
    }
    // The distance between the eyes of a face of this height that is seen from the front.
    let front = Landmarks(TEMPLATE);
    let expected = landmarks.eyes_to_mouth() * front.eye_distance() / front.eyes_to_mouth();
    Some(if expected >= least { PhotoFault::Profile } else { PhotoFault::TooSmall })
}

/// By how much a finding misses its limit. One that was not looked for misses none.
fn shortfall(findings: &Findings, finding: Finding, limit: f64) -> Option<Shortfall> {
    findings.number(finding).filter(|value| *value < limit).map(|value| Shortfall::new(value, limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Point;

    #[test]
    fn a_profile_is_not_called_small() {
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
