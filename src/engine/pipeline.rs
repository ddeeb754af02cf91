//! One engine: everything one thread needs to analyse photos.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chooser::{Chooser, Chosen, Tools};
use super::manifest::golden::Golden;
use super::manifest::{Finding, Manifest};
use super::networks::{Findings, Networks, View};
use super::runtime::{Model, Runtime};
use super::template_check::TemplateCheck;
use super::{Ahead, AnalyzeError, InferenceError, LoadError};
use crate::domain::{Analysis, Check, Demography, Landmarks, Limit, Need, PhotoFault, Pose, Quality, Timings, Verdict};
use crate::image::align::TEMPLATE;
use crate::image::measure::measure;
use crate::image::{DecodeLimits, Photo, Scaler, Similarity, UprightImage, decode};

/// How an engine is set up.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The pack.
    pub manifest: Arc<Manifest>,
    /// What a photo may cost.
    pub limits: DecodeLimits,
}

/// Every model session, owned by one thread. Synchronous.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    scaler: Scaler,
    chooser: Chooser,
    networks: Networks,
    /// Looks at no photo; loaded so that the self-check covers every model of the pack.
    template_check: Option<TemplateCheck>,
}

impl Engine {
    /// Checks and loads every model of the pack.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(config: &EngineConfig) -> Result<Self, LoadError> {
        let manifest = &config.manifest;
        let runtime = Runtime::load(&manifest.runtime()?)?;
        Ok(Self {
            config: config.clone(),
            scaler: Scaler::default(),
            chooser: Chooser::load(&runtime, manifest)?,
            networks: Networks::load(&runtime, manifest)?,
            template_check: TemplateCheck::load_with(&runtime, manifest)?,
        })
    }

    /// Runs every model on the built-in input and compares the numbers with the stored ones, so that
    /// a build, a library or a processor that computes something else serves nobody. It is also the
    /// first run, on which ONNX Runtime plans: the first caller does not pay for it. A picture of nobody
    /// goes through the whole search last, so that a step that is rarely taken has its memory, too.
    ///
    /// # Errors
    /// [`LoadError::Model`] for the first model whose numbers differ, or when the search fails.
    pub fn self_check(&mut self) -> Result<(), LoadError> {
        let manifest = Arc::clone(&self.config.manifest);
        for model in self.models() {
            let id = model.id().to_owned();
            let outcome = model.sample().map_err(|error| error.message);
            let outcome = outcome.and_then(|sample| manifest.golden().compare(&id, &sample));
            outcome.map_err(|message| LoadError::Model { model: id, message })?;
        }
        let warmed = self.chooser.warm(&mut self.scaler);
        warmed.map_err(|error| LoadError::Model { model: error.model, message: error.message })
    }

    /// The text of `golden.toml` for the models of this pack, as this machine computes them.
    ///
    /// # Errors
    /// When a model does not run.
    pub fn golden(&mut self) -> Result<String, LoadError> {
        let samples = self.models().map(|model| {
            let id = model.id().to_owned();
            match model.sample() {
                Ok(sample) => Ok((id, sample)),
                Err(error) => Err(LoadError::Model { model: id, message: error.message }),
            }
        });
        Ok(Golden::of(samples.collect::<Result<_, _>>()?).to_text())
    }

    /// How long each model takes on the built-in input, by its id.
    ///
    /// # Errors
    /// When a model does not run.
    pub fn time_models(&mut self, rounds: usize) -> Result<Vec<(String, Vec<Duration>)>, LoadError> {
        let timed = self.models().map(|model| {
            let failed = |id: String, error: InferenceError| LoadError::Model { model: id, message: error.message };
            let id = model.id().to_owned();
            model.time(rounds).map(|times| (id.clone(), times)).map_err(|error| failed(id, error))
        });
        timed.collect()
    }

    /// Whether a network for a check is in the box.
    pub fn offers(&self, check: Check) -> bool {
        self.config.manifest.offers(check)
    }

    fn models(&mut self) -> impl Iterator<Item = &mut Model> {
        let template_check = self.template_check.iter_mut().map(TemplateCheck::model);
        self.chooser.models().chain(self.networks.models()).chain(template_check)
    }

    /// Analyses one photo.
    ///
    /// # Errors
    /// [`AnalyzeError::NotInstalled`] before any work when a check has no model,
    /// [`AnalyzeError::Fault`] when the photo is at fault, [`AnalyzeError::Failed`] when a model is.
    pub fn analyze(&mut self, photo: &Photo, need: Need) -> Result<Analysis, AnalyzeError> {
        self.analyze_ahead(photo, need, Ahead::default())
    }

    /// Analyses one photo, and hands its embedding over, if it is needed, before it is looked at further.
    ///
    /// # Errors
    /// As [`Engine::analyze`].
    pub fn analyze_ahead(&mut self, photo: &Photo, need: Need, ahead: Ahead) -> Result<Analysis, AnalyzeError> {
        if let Some(check) = need.checks.asked().find(|&check| !self.config.manifest.offers(check)) {
            return Err(AnalyzeError::NotInstalled(check));
        }
        let mut timings = Timings::default();
        let start = Instant::now();
        let image = decode(photo, &self.config.limits)?;
        timings.decode = start.elapsed();

        let mut tools = Tools { scaler: &mut self.scaler, networks: &mut self.networks, timings: &mut timings };
        let mut chosen = self.chooser.choose(&mut tools, &image, need)?;
        // Only what was found to be a human face that can be trusted is searched for.
        if need.embedding {
            ahead.send(&chosen.embedding);
        }

        let start = Instant::now();
        let seen = chosen.seen;
        let too_small = seen.landmarks.eye_distance() < self.config.manifest.deepfake.min_eye_distance;
        let view = View { image: &image, landmarks: &seen.landmarks, aligned: &chosen.aligned, trunk: &chosen.trunk };
        let wanted = |finding| match finding {
            Finding::Liveness => need.checks.liveness,
            Finding::Deepfake => need.checks.deepfake && !too_small,
            Finding::Age | Finding::Male | Finding::Race => need.attributes,
            Finding::Pose | Finding::Crfiqa => true,
            _ => need.quality,
        };
        let found = &mut chosen.findings;
        self.networks.look_at_face(&mut self.scaler, &view, wanted, found).map_err(AnalyzeError::failed)?;
        let found = &chosen.findings;
        let quality = if need.quality {
            self.quality(&image, &chosen)
        } else {
            Quality {
                crfiqa: self.learnt(found, self.config.manifest.fine.crfiqa, Finding::Crfiqa),
                ..Quality::default()
            }
        };
        let pose = pose(&seen.landmarks, found)?;
        timings.assess = start.elapsed();

        Ok(Analysis {
            photo_size: (image.width(), image.height()),
            face: seen.outline().clamped((image.width(), image.height())),
            landmarks: seen.landmarks.clamped((image.width(), image.height())),
            detection_score: seen.score,
            pose,
            quality,
            demography: if need.attributes { demography(found) } else { Demography::default() },
            embedding: need.embedding.then_some(chosen.embedding),
            liveness: need.checks.liveness.then(|| self.verdict(Check::Liveness, found)).flatten(),
            deepfake: need.checks.deepfake.then(|| self.verdict(Check::Deepfake, found)).flatten(),
            timings,
        })
    }

    /// The verdict of a check that was asked for. A face too small to be judged for forgery gets the
    /// limit itself, which counts as fine.
    fn verdict(&self, check: Check, found: &Findings) -> Option<Verdict> {
        let fine = &self.config.manifest.fine;
        match check {
            Check::Liveness => Some(fine.liveness.judge(found.number(Finding::Liveness)?)),
            Check::Deepfake => {
                let limit = fine.deepfake;
                let (Limit::AtLeast(neutral) | Limit::Below(neutral) | Limit::Within(neutral, _)) = limit;
                Some(limit.judge(found.number(Finding::Deepfake).unwrap_or(neutral)))
            }
        }
    }

    /// A measure that a network gives.
    fn learnt(&self, found: &Findings, limit: Limit, finding: Finding) -> Option<Verdict> {
        found.number(finding).map(|value| limit.judge(value))
    }

    fn quality(&self, image: &UprightImage, chosen: &Chosen) -> Quality {
        let (seen, found) = (&chosen.seen, &chosen.findings);
        // Compression blocks lie in the photo's own axes, however the face is turned.
        let measured = measure(image, &seen.outline(), &seen.landmarks, &chosen.aligned);
        let fine = &self.config.manifest.fine;
        let judge = |limit: Limit, value: f64| limit.judge(value);
        let learnt = |limit: Limit, finding| self.learnt(found, limit, finding);
        Quality {
            uniformity: measured.uniformity.map(|value| judge(fine.uniformity, value)),
            exposure: Some(judge(fine.exposure, measured.exposure)),
            contrast: Some(judge(fine.contrast, measured.contrast)),
            blur: Some(judge(fine.blur, measured.blur)),
            macroblocks: Some(judge(fine.macroblocks, measured.macroblocks)),
            flare: learnt(fine.flare, Finding::Flare),
            occlusion: learnt(fine.occlusion, Finding::Occlusion),
            emotion: learnt(fine.emotion, Finding::Emotion),
            right_eye_closed: learnt(fine.right_eye_closed, Finding::RightEyeClosed),
            left_eye_closed: learnt(fine.left_eye_closed, Finding::LeftEyeClosed),
            crfiqa: learnt(fine.crfiqa, Finding::Crfiqa),
            distortion: learnt(fine.distortion, Finding::Distortion),
        }
    }
}

/// The pose that was found in the aligned face, turned back by what the alignment turned it.
fn pose(landmarks: &Landmarks, found: &Findings) -> Result<Pose, AnalyzeError> {
    let turned = Similarity::between(&landmarks.0, &TEMPLATE).ok_or(PhotoFault::TooSmall)?.angle().to_degrees();
    let Some(&[pitch, yaw, roll]) = found.get(Finding::Pose) else {
        return Err(AnalyzeError::Failed("no network gave a pose".into()));
    };
    let [pitch, yaw, roll] = [pitch, yaw, roll].map(f64::from);
    let roll = (roll + turned + 180.0).rem_euclid(360.0) - 180.0;
    // Above -180 and up to 180.
    let roll = if roll > -180.0 { roll } else { 180.0 };
    Ok(Pose { pitch: pitch.clamp(-90.0, 90.0), yaw: yaw.clamp(-90.0, 90.0), roll })
}

/// Ages above are not told apart by any data.
const OLDEST: f64 = 110.0;

/// What the classes of [`Finding::Race`] are called.
const RACES: [&str; 5] = ["white", "black", "asian", "indian", "other"];

fn demography(found: &Findings) -> Demography {
    let race = found
        .get(Finding::Race)
        .and_then(|chances| chances.iter().zip(RACES).max_by(|a, b| a.0.total_cmp(b.0)).map(|(_, race)| race));
    Demography {
        age: found.number(Finding::Age).map(|years| years.round().clamp(0.0, OLDEST) as u32),
        gender: found.number(Finding::Male).map(|male| if male >= 0.5 { "male" } else { "female" }),
        race,
    }
}
